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

BEFORE_S: Final = 10.0
"""How long before its connection was lost a primary may have kept its writes to itself."""

MOST: Final = 2000


class RecentEnds:
    """Thread-safe; bounded in number."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ends: deque[tuple[float, Call[Ended]]] = deque(maxlen=MOST)
        self._lock = threading.Lock()

    def add(self, end: Call[Ended]) -> None:
        """An end that claims nothing, just accepted."""
        with self._lock:
            self._ends.append((time.monotonic(), end))

    def repeat(self, lost_s: float) -> None:
        """
        Say those again that were accepted shortly before measured time *lost_s*, when the store was lost, or later.

        How many of them the store did not know any more is told in the log.
        """
        with self._lock:
            ends = [end for said_s, end in self._ends if said_s > lost_s - BEFORE_S]
        try:
            answers = self._store.settle(ends)
        except RunfleetError:
            return  # away again: the next loss repeats them
        lost = sum(1 for answer in answers if isinstance(answer, Ended) and answer.verdict == "ended")
        if lost:
            log.warning("run.ended_again", runs=lost)
