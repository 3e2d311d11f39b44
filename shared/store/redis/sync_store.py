"""Makes calls from threads: one round trip a call, or one for several that need not wait for each other."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, TypeVar

from shared.errors import RunfleetError
from shared.settings import Settings
from shared.store.redis.call import Call, Drive, Operation, Trip
from shared.store.redis.connect import AWAY, NoScriptError, RedisError, explain, maker, pool
from shared.store.redis.connections import Command, Lines
from shared.store.redis.outage import outage_of
from shared.store.redis.scripts import Script

T = TypeVar("T")

WAITING: Final = 256
"""Most connections that wait for something at once: a worker has one for each of its queues."""


class Store:
    """
    The store as threads see it; safe to share between them. They share ``settings.redis_pool`` connections.

    A connection that turns out dead is replaced and the call made once more at once (every call may be repeated); what
    then still fails raises StoreUnavailable or StoreFull. A refusal raises what the call's ``read`` raises.
    """

    def __init__(self, settings: Settings) -> None:
        self.prefix = settings.key_prefix.encode()
        self._blocking = pool(settings, timeout_s=settings.redis_timeout_s, size=WAITING)
        self._lines = Lines(maker(self._blocking), settings.redis_pool)
        self._outage = outage_of(settings.redis_url)
        self._closed = False

    @property
    def round_trips(self) -> int:
        """How many there have been, without the blocking calls."""
        return self._lines.trips

    @property
    def losses(self) -> int:
        """How often a connection was lost: what was accepted just before may be gone with a failed primary."""
        return self._lines.losses

    def dedicated_connection(self) -> AbstractContextManager[None]:
        """
        For a thread whose calls must not wait behind those of others: until the end of the ``with`` all that it makes,
        the blocking ones too, go over a connection of its own.
        """
        return self._lines.dedicated()

    def run(self, what: Trip[T] | Operation[T]) -> T:
        """
        Make a call (one round trip), several together, or all the calls of an operation one after another; the result.
        """
        if isinstance(what, Call):
            result: T = self._make((what,))[0]
            return result
        operation = Drive(what)
        while not operation.is_over:
            try:
                answers = self._make(operation.calls)
            except Exception as error:
                operation.fail(error)
            else:
                operation.answer(answers)
        return operation.result

    def settle(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """
        Make several calls in one round trip, in order; a call that failed has its error in the list of the answers.

        No call is made before the ones in front of it: a server that forgot its scripts may know the last one already,
        and a log's last lines would come after the end of their run. So all but the last are spelled out.
        """
        commands = [call.packed_eval(self.prefix) for call in calls[:-1]] + [c.packed(self.prefix) for c in calls[-1:]]
        settled: list[Any] = []
        for call, reply in zip(calls, self._replies(calls, commands, fail=False) if calls else [], strict=True):
            try:
                settled.append(reply if isinstance(reply, RunfleetError) else call.read(reply))
            except RunfleetError as error:
                settled.append(error)
        return settled

    def block(self, call: Call[T], seconds: float) -> T:
        """
        Make a blocking call (its own time-out is *seconds*) on the thread's own line, or on one that only waits.

        Raises StoreUnavailable when no reply came two seconds after that.
        """
        own = connection = self._lines.own
        try:
            if own is None:
                connection = self._blocking.get_connection()
            connection.connect()
            connection.send_packed_command(connection.pack_command(*call.packed(self.prefix)))
            reply = connection.read_response(timeout=seconds + 2.0)
        except AWAY as error:
            if connection is not None:
                connection.disconnect()
            raise self._failure(error) from None
        except RedisError as error:
            raise self._failure(error) from None
        finally:
            if own is None and connection is not None:
                self._blocking.release(connection)
        self._outage.worked()
        return call.read(reply)

    def close(self) -> None:
        """Give the connections back."""
        self._closed = True
        self._lines.close()
        with suppress(*AWAY):
            self._blocking.disconnect()

    def _make(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """The results of the calls, after one round trip. The first refusal is raised after all were made."""
        replies = self._replies(calls, [call.packed(self.prefix) for call in calls]) if calls else []
        return [call.read(reply) for call, reply in zip(calls, replies, strict=True)]

    def _replies(self, calls: Sequence[Call[Any]], commands: list[Command], *, fail: bool = True) -> list[Any]:
        replies = self._exchange(commands)
        for number, (call, reply) in enumerate(zip(calls, replies, strict=True)):
            if isinstance(reply, NoScriptError) and isinstance(call.what, Script):
                # Redis was restarted or its scripts were flushed: hand the text over, once.
                replies[number] = reply = self._exchange([call.packed_eval(self.prefix)])[0]
            if isinstance(reply, Exception):
                replies[number] = error = self._failure(reply)
                if fail:
                    raise error
        return replies

    def _exchange(self, commands: list[Command]) -> list[Any]:
        try:
            replies = self._lines.ask(commands)
        except (*AWAY, RedisError) as error:
            raise self._failure(error) from None
        self._outage.worked()
        return replies

    def _failure(self, error: BaseException) -> RunfleetError:
        """The error for callers in place of redis-py's; an outage is noted, unless it is of our own making."""
        explained = explain(error)
        if not self._closed:
            self._outage.failed(explained)
        return explained
