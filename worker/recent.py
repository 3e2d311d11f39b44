"""
The ends that were accepted a moment ago, to be said again when a connection was lost.

A primary that fails may take its last writes with it: a run whose end was accepted would then be running for ever in
the store that took over, until its lease is over and it counts as crashed. Saying it again costs nothing where it is
known.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

from shared.errors import RunfleetError
from shared.store.call import Call
from shared.store.runs import Ended
from shared.store.threads import Store
from shared.telemetry import get_logger

log = get_logger("worker")

KEEP_S: Final = 10.0
MOST: Final = 2000


class RecentEnds:
    """Thread-safe; bounded in time and number."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ends: deque[tuple[float, Call[Ended]]] = deque(maxlen=MOST)
        self._lock = threading.Lock()

    def add(self, end: Call[Ended]) -> None:
        """An end that claims nothing, just accepted."""
        now_s = time.monotonic()
        with self._lock:
            self._ends.append((now_s, end))
            while self._ends and self._ends[0][0] < now_s - KEEP_S:
                self._ends.popleft()

    def repeat(self) -> None:
        """Say them all again; how many of them the store had lost is told in the log."""
        with self._lock:
            ends = [end for said_s, end in self._ends if said_s > time.monotonic() - KEEP_S]
        try:
            answers = self._store.settle(ends)
        except RunfleetError:
            return  # away again: the next loss repeats them
        lost = sum(1 for answer in answers if isinstance(answer, Ended) and answer.verdict == "ended")
        if lost:
            log.warning("run.ended_again", runs=lost)
