"""
Two clocks with two names.

*Stored* time is what is written down and compared between hosts: integer microseconds since the Unix epoch, UTC, and in
the store always Redis's own ``TIME``. *Measured* time is for durations inside one process: monotonic seconds that no
clock step can move. Never compute a timeout from stored time, never store measured time.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_US = 1_000_000


class Clock(Protocol):
    """What code that waits or stamps takes as an argument, so that a test can hand one in."""

    def now_us(self) -> int:
        """Stored time: microseconds since the epoch."""
        ...

    def measured_s(self) -> float:
        """Measured time: monotonic seconds, origin meaningless."""
        ...


class SystemClock:
    """The clocks of this host."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def measured_s(self) -> float:
        return time.monotonic()


def to_datetime(us: int) -> datetime:
    """Stored time as an aware UTC datetime, exact to the microsecond."""
    return EPOCH + timedelta(microseconds=us)


def from_datetime(moment: datetime) -> int:
    """An aware datetime as stored time. Raises ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; append Z or an offset")
    return (moment - EPOCH) // timedelta(microseconds=1)


def rfc3339(us: int) -> str:
    """Stored time as RFC 3339 UTC with microseconds: ``2026-11-22T04:36:00.000000Z``."""
    return to_datetime(us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
