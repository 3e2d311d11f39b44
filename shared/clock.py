"""
Two clocks with two names.

*Stored* time is what is written down and compared between hosts: integer microseconds since the Unix epoch, UTC, and in
the store always Redis's own ``TIME``. *Measured* time is for durations inside one process: monotonic seconds that no
clock step can move. Never compute a timeout from stored time, never store measured time.
"""

import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_US = 1_000_000


def now_us() -> int:
    """Stored time by this host's clock, for what Redis need not decide."""
    return time.time_ns() // 1000


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
