"""
The connections that the threads of a process share.

A thread takes a free one, makes its calls, and gives it back. While all are in use calls wait, and the first connection
that is free makes all of them in one round trip: a few connections serve any number of threads, and no call waits for
more than the round trip that is under way. A thread that must never wait behind others has a connection of its own.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from shared.store.redis.connect import AWAY, SILENT, DataError, RedisError

Command = tuple[Any, ...]

BATCH: Final = 64
"""Most threads whose commands go out in one round trip."""


FEW: Final = 3
"""From so many pieces on they are joined before they are sent: each would be a call of the operating system."""


class _Ask:
    """The calls of one thread, and their outcome: its replies, or an error, or the line to ask it with."""

    __slots__ = ("commands", "error", "line", "ready", "replies")

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands = commands
        self.replies: list[Any] | None = None
        self.error: BaseException | None = None
        self.line: Any = None
        self.ready = threading.Lock()
        self.ready.acquire()

    def result(self) -> list[Any]:
        if self.replies is not None:
            return self.replies
        raise self.error or ConnectionError("the thread that made this call was interrupted")


class Lines:
    """
    Up to *most* connections that ``connect`` makes, opened when there is something to ask. Thread-safe.

    ``trips`` counts round trips, ``losses`` how often a connection was lost.
    """

    def __init__(self, connect: Callable[[], Any], most: int) -> None:
        self.trips = 0
        self.losses = 0
        self._connect = connect
        self._unmade = most
        self._made: list[Any] = []
        self._idle: list[Any] = []
        self._waiting: deque[_Ask] = deque()
        self._lock = threading.Lock()
        self._mine = threading.local()

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """
        The replies to *commands*, in order and in one round trip; a refusal stands among them as the error it is.

        Once more, at once, when the line turns out dead, so every command must be one that may be repeated. Raises what
        ``connect.AWAY`` lists when Redis can't be reached.
        """
        line = getattr(self._mine, "line", None)
        if line is not None:
            return self._alone(line, commands)
        with self._lock:
            line = self._idle.pop() if self._idle else self._make_another()
        if line is not None:
            try:
                return self._alone(line, commands)
            finally:
                self._give(line)
        return self._with_others(commands)

    @property
    def own(self) -> Any:
        """The calling thread's own line, None when it shares them."""
        return getattr(self._mine, "line", None)

    @contextmanager
    def dedicated(self) -> Iterator[None]:
        """Whatever the calling thread asks goes over a line of its own until the end of the ``with``."""
        line = self._mine.line = self._make()
        try:
            yield
        finally:
            self._mine.line = None
            with suppress(*AWAY):
                line.disconnect()
            with self._lock:
                self._made.remove(line)

    def close(self) -> None:
        """Disconnect all of them, also those in use."""
        for line in list(self._made):
            with suppress(*AWAY):
                line.disconnect()

    def _make(self) -> Any:
        line = self._connect()
        self._made.append(line)
        return line

    def _make_another(self) -> Any:
        """One more that all share; None when there are as many as there may be."""
        if not self._unmade:
            return None
        self._unmade -= 1
        try:
            return self._make()
        except BaseException:
            self._unmade += 1
            raise

    def _alone(self, line: Any, commands: Sequence[Command]) -> list[Any]:
        try:
            return self._exchange(line, commands)
        except AWAY as error:
            self.losses += 1
            if isinstance(error, SILENT):
                raise
        return self._exchange(line, commands)

    def _with_others(self, commands: Sequence[Command]) -> list[Any]:
        """Wait for a line that is free: to ask with it for all who wait then, unless one of them has done so."""
        ask = _Ask(commands)
        with self._lock:
            self._waiting.append(ask)
            # One may have been given back just now, when no thread waited yet.
            freed = self._idle.pop() if self._idle else None
        if freed is not None:
            self._give(freed)
        try:
            ask.ready.acquire()
        except BaseException:
            self._leave(ask)
            raise
        if ask.line is not None:
            try:
                self._carry(ask.line, [ask, *self._waiting_now()])
            finally:
                self._give(ask.line)
        return ask.result()

    def _leave(self, ask: _Ask) -> None:
        """It waits no longer: its thread was interrupted."""
        with self._lock:
            if ask in self._waiting:
                self._waiting.remove(ask)
        if ask.line is not None:
            self._give(ask.line)

    def _give(self, line: Any) -> None:
        """Let the thread that waits longest use it for all that wait then."""
        with self._lock:
            if not self._waiting:
                self._idle.append(line)
                return
            ask = self._waiting.popleft()
            ask.line = line
        ask.ready.release()

    def _waiting_now(self) -> list[_Ask]:
        if not self._waiting:
            return []
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH - 1))]

    def _carry(self, line: Any, asks: list[_Ask]) -> None:
        """Ask for all of them in one round trip, the first one being the calling thread's own, and wake the others."""
        try:
            packed, sent = [], []
            for ask in asks:
                try:
                    packed += self._pack(line, ask.commands)
                    sent.append(ask)
                except RedisError as error:  # it fails alone
                    ask.error = error
            replies = self._send(line, packed, sum(len(ask.commands) for ask in sent))
            for ask in sent:
                ask.replies, replies = replies[: len(ask.commands)], replies[len(ask.commands) :]
        except AWAY as error:
            self.losses += 1
            failure: BaseException | None = error
            for ask in sent:
                if not isinstance(failure, SILENT):  # else there is no server to answer the next one either
                    failure = self._once_more(line, ask)  # each for itself: none fails because of what another asked
                ask.error = failure
        except Exception as error:
            for ask in sent:
                ask.error = error if isinstance(error, RedisError) else ConnectionError(f"reading failed: {error}")
        finally:
            for ask in asks[1:]:
                ask.ready.release()

    def _once_more(self, line: Any, ask: _Ask) -> BaseException | None:
        try:
            ask.replies = self._exchange(line, ask.commands)
        except (*AWAY, RedisError) as error:
            return error
        return None

    def _exchange(self, line: Any, commands: Sequence[Command]) -> list[Any]:
        return self._send(line, self._pack(line, commands), len(commands))

    def _pack(self, line: Any, commands: Sequence[Command]) -> list[bytes]:
        """The bytes of some commands. Raises DataError for what has none, such as half a character."""
        try:
            packed: list[bytes] = line.pack_commands(commands)
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(f"it cannot be sent: {error}") from None
        return packed

    def _send(self, line: Any, packed: list[bytes], count: int) -> list[Any]:
        """The *count* replies to commands that are packed already."""
        self.trips += 1
        try:
            line.connect()  # when it isn't: only this asks the Sentinels where to, sending does not
            line.send_packed_command(packed if len(packed) < FEW else [b"".join(packed)])
            replies: list[Any] = []
            for _ in range(count):
                try:
                    replies.append(line.read_response())
                except AWAY:
                    raise
                except RedisError as error:
                    replies.append(error)
        except BaseException:
            line.disconnect()  # replies may still be on their way: no other thread may read them
            raise
        else:
            return replies
