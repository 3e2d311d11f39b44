"""Time zones as stretches of constant offset, found by asking zoneinfo for each day and bisecting changes."""

import zoneinfo
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from shared.clock import SECOND_US
from shared.schedules.units import DAY_S, EPOCH_DAY, HORIZON_US


class Stretch(NamedTuple):
    """Seconds [start, end) of UTC with one offset; ``seen`` is how far the wall clock had come when it began."""

    start: int
    end: int
    offset: int
    seen: int


def stretches_from(timezone: str, low_s: int) -> Iterator[Stretch]:
    """The stretches that end after *low_s* (seconds since the epoch), one after another, up to the year 2100."""
    if low_s * SECOND_US >= HORIZON_US:
        return
    for year in range((datetime(1970, 1, 1) + timedelta(seconds=low_s)).year, 2100):
        for stretch in _stretches(timezone, year):
            if stretch.end > low_s:
                yield stretch


@lru_cache(maxsize=4096)
def _stretches(timezone: str, year: int) -> tuple[Stretch, ...]:
    zone = zoneinfo.ZoneInfo(timezone)
    begin, end = _new_year_s(year), _new_year_s(year + 1)
    early = begin - 2 * DAY_S  # a change on the last days of December still has wall times to repeat in January
    cuts = [early]
    for day in range(early, end, DAY_S):
        low, high = day, day + DAY_S
        if _offset_s(zone, low) == _offset_s(zone, high):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _offset_s(zone, middle) == _offset_s(zone, day) else (low, middle)
        if high < end:
            cuts.append(high)
    stretches = []
    for start, stop in pairwise([*cuts, end]):
        offset, seen = _offset_s(zone, start), start + _offset_s(zone, start - 1)
        if start < begin:
            start, seen = begin, max(seen, begin + offset)
        if start < stop:
            stretches.append(Stretch(start, stop, offset, seen))
    return tuple(stretches)


def _offset_s(zone: zoneinfo.ZoneInfo, at_s: int) -> int:
    offset = datetime.fromtimestamp(at_s, zone).utcoffset()
    assert offset is not None  # a ZoneInfo always knows
    return offset // timedelta(seconds=1)


def _new_year_s(year: int) -> int:
    return (date(year, 1, 1).toordinal() - EPOCH_DAY) * DAY_S
