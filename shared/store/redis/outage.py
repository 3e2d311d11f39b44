"""
Logs each outage of Redis once when it begins and once when it is over, for all stores of the process.

A store reports here each call that failed or worked.
"""

from __future__ import annotations

import re
import threading
import time
from functools import lru_cache
from typing import Final

from shared.errors import RunfleetError, StoreFull, StoreUnavailable
from shared.telemetry import get_logger

log = get_logger("store")

MOST_CAUSES: Final = 5
"""Most causes that are logged of one outage, each once."""

_DETAILS: Final = re.compile(r"(?<=: )([A-Z]{4,}) .*|\d+")
"""The text behind an error's code, which names the script that was refused, or ports and other numbers."""

_REFUSES_WRITES: Final = re.compile(r": (READONLY|MISCONF|NOREPLICAS) ")

CALM_S: Final = 1.0
"""It is back when a call works and none has failed for so long: several connections learn of it one after another."""

READS_CALM_S: Final = 5.0
"""The same after a write was refused: reads work meanwhile, and a busy process writes every second or two."""


@lru_cache(64)
def outage_of(url: str) -> Outage:
    """The one that all stores of this process share that are at *url*."""
    return Outage()


class Outage:
    """Whether Redis is away, as far as this process has seen. Thread-safe; costs nothing while all is well."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._failed_s = 0.0
        self._calm_s = CALM_S
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def failed(self, error: RunfleetError) -> None:
        """A call failed. A refusal is no outage, and neither is a Redis that is only full."""
        if not isinstance(error, StoreUnavailable) or isinstance(error, StoreFull):
            return
        now_s, cause = time.monotonic(), str(error)
        with self._lock:
            self._failed_s = now_s
            if self._since_s is None:
                self._since_s = now_s
            self._calm_s = READS_CALM_S if _REFUSES_WRITES.search(cause) else CALM_S
            kind = _DETAILS.sub(r"\1", cause)  # without what may change with every try
            if kind in self._said or len(self._said) >= MOST_CAUSES:
                return
            self._said.add(kind)
        log.warning("store.unavailable", error=cause)

    def worked(self) -> None:
        """A call was answered."""
        if self._since_s is None:
            return
        now_s = time.monotonic()
        with self._lock:
            since_s = self._since_s
            if since_s is None or now_s - self._failed_s < self._calm_s:
                return
            self._since_s = None
            self._said.clear()
        log.info("store.recovered", away_s=round(now_s - since_s, 1))
