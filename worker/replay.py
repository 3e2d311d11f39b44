"""
Replays recently accepted ends of runs after a connection to Redis was lost.

A primary that fails may lose its last writes. The store that takes over would then show a run as running whose end was
accepted, until its lease expires and it counts as crashed. Replaying an end that the store has changes nothing.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from shared.errors import RunfleetError, StoreUnavailable
from shared.store.redis.call import Call, each
from shared.store.redis.sync_store import Store
from shared.store.runs import Ended
from shared.telemetry import get_logger

log = get_logger("worker")

BEFORE_S: Final = 10.0
"""How long before the connection was lost a primary may have stopped replicating its writes."""

MOST: Final = 2000
MOST_BYTES: Final = 8 * 1024 * 1024
"""At most so much is remembered; an end carries its run's outputs."""

BATCH: Final = 100
BATCH_BYTES: Final = 256 * 1024
"""At most so much is sent in one round trip, unless a single end is longer."""

AGAIN_S: Final = 0.5


class _AcceptedEnd(NamedTuple):
    """An end, when it was accepted (measured time), and the size of its arguments in bytes."""

    at_s: float
    end: Call[Ended]
    size: int


class EndReplay:
    """The most recently accepted ends, bounded in number and in bytes. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ends: deque[_AcceptedEnd] = deque()
        self._bytes = 0
        self._pending_since_s = math.inf
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    def add(self, end: Call[Ended]) -> None:
        """Remember *end*, which was just accepted and claims no run."""
        size = sum(len(argument) for argument in end.args if isinstance(argument, str | bytes))
        with self._lock:
            self._ends.append(_AcceptedEnd(time.monotonic(), end, size))
            self._bytes += size
            while len(self._ends) > MOST or self._bytes > MOST_BYTES:
                self._bytes -= self._ends.popleft().size
            if self._pending_since_s != math.inf:
                self._ensure_thread()  # if it could not before

    def replay(self, lost_s: float) -> None:
        """
        Replay the ends that were accepted shortly before measured time *lost_s*, when the store was lost, or later.

        Returns at once, because leases must not wait for it: a thread sends them, and retries while the store is
        unavailable. It logs how many of them the store had lost.
        """
        with self._lock:
            self._pending_since_s = min(self._pending_since_s, lost_s - BEFORE_S)
            self._ensure_thread()

    def stop(self) -> None:
        """Wait for the current replay, if the store is available; takes at most a few seconds."""
        self._stopping.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(3)

    def _ensure_thread(self) -> None:
        """Start the thread unless it runs. If that fails, the next end tries again."""
        if self._thread is not None and self._thread.is_alive():
            return
        thread = threading.Thread(target=self._run, name="replay", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            log.warning("worker.replay_failed", error=str(error))
        else:
            self._thread = thread

    def _run(self) -> None:
        while True:
            try:
                with (
                    self._store.dedicated_connection()
                ):  # what it sends may be long, and ends and claims are not to wait behind it
                    while (pending := self._take_pending()) is not None:
                        self._replay_pending(*pending)
                        if self._stopping.is_set():
                            return
                    return
            except Exception:  # any error: unsent ends stay pending
                log.exception("worker.replay_failed")
                if self._stopping.wait(AGAIN_S):
                    return

    def _replay_pending(self, since_s: float, ends: list[_AcceptedEnd]) -> None:
        try:
            self._replay(ends)
        except RunfleetError as error:
            if not isinstance(error, StoreUnavailable):
                log.exception("worker.replay_failed")
                return
            with self._lock:
                self._pending_since_s = min(self._pending_since_s, since_s)
            self._stopping.wait(AGAIN_S)
        except BaseException:
            with self._lock:
                self._pending_since_s = min(self._pending_since_s, since_s)
            raise

    def _take_pending(self) -> tuple[float, list[_AcceptedEnd]] | None:
        """
        The time since which ends are to be replayed, and these ends; None when there are none and the thread ends.
        """
        with self._lock:
            if self._pending_since_s == math.inf:
                self._thread = None
                return None
            since_s, self._pending_since_s = self._pending_since_s, math.inf
            return since_s, [accepted for accepted in self._ends if accepted.at_s > since_s]

    def _replay(self, ends: Sequence[_AcceptedEnd]) -> None:
        lost = 0
        try:
            for batch in _batches(ends):
                answers = self._store.run(each(batch))
                lost += sum(answer.verdict == "ended" for answer in answers)
        finally:
            if lost:
                log.warning("run.end_replayed", runs=lost)


def _batches(ends: Sequence[_AcceptedEnd]) -> Iterator[list[Call[Ended]]]:
    """
    The ends in batches. The first has one end: a server that took over gets the script with it, and the others omit it.
    """
    batch: list[Call[Ended]] = []
    size = 0
    for number, accepted in enumerate(ends):
        if batch and (number == 1 or len(batch) == BATCH or size + accepted.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(accepted.end)
        size += accepted.size
    if batch:
        yield batch
