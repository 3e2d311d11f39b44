"""
The days of a cron expression: from months, days of the month and weekdays to days since the epoch.

croniter finds the days of one month, from the part of its syntax that is the same in all versions. Months, and the rule
for two restricted fields, are implemented here.
"""

import calendar
from bisect import bisect_left
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from shared.clock import SECOND_US
from shared.schedules.units import DAY_S, EPOCH_DAY, HORIZON_US


class Days(NamedTuple):
    """
    Days of a month and weekdays in syntax that all versions of croniter read alike: ``1,15``, ``l``, ``1#2``, ``l5``.

    None stands for a field that does not restrict. ``needs_both``: one of the fields begins with ``*``.
    """

    months: tuple[int, ...]
    month_days: tuple[str, ...] | None
    weekdays: tuple[str, ...] | None
    needs_both: bool


EVERY_DAY: Final = Days(tuple(range(1, 13)), None, None, needs_both=False)


def day_from(days: Days, day: int) -> int | None:
    """The first of *days* at or after *day* (both count from the epoch); None when none comes before 2100."""
    return next(days_between(days, day, HORIZON_US // SECOND_US // DAY_S + 1), None)


def days_between(days: Days, first: int, last: int) -> Iterator[int]:
    """The *days* in [first, last)."""
    if days == EVERY_DAY:
        yield from range(first, last)
        return
    if first >= last:
        return
    start = date.fromordinal(first + EPOCH_DAY)
    year, month = start.year, start.month
    while (date(year, month, 1).toordinal() - EPOCH_DAY) < last:
        if month in days.months:
            matching = _month(days, year, month)
            yield from matching[bisect_left(matching, first) : bisect_left(matching, last)]
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


def never_come(days: Days) -> bool:
    """Whether none of *days* comes in 28 years, after which the calendar repeats (until 2100)."""
    return not any(_month(days, year, month) for year in range(2000, 2028) for month in days.months)


@lru_cache(maxsize=8192)
def _month(days: Days, year: int, month: int) -> tuple[int, ...]:
    begin = date(year, month, 1).toordinal() - EPOCH_DAY
    found = set(range(begin, begin + calendar.monthrange(year, month)[1]))
    sides = []
    if days.month_days is not None:
        sides.append(set().union(*(_asked(year, month, word, "*") for word in days.month_days)))
    if days.weekdays is not None:
        sides.append(set().union(*(_asked(year, month, "*", word) for word in days.weekdays)))
    if len(sides) == 2:
        found &= sides[0] & sides[1] if days.needs_both else sides[0] | sides[1]
    elif sides:
        found &= sides[0]
    return tuple(sorted(found))


@lru_cache(maxsize=8192)
def _asked(year: int, month: int, month_day: str, weekday: str) -> frozenset[int]:
    """The days of one month, from croniter, which is loaded only when a schedule restricts its days."""
    from croniter import croniter

    found = set()
    dates = croniter(f"0 0 {month_day} * {weekday}", datetime(year, month, 1) - timedelta(seconds=1), ret_type=datetime)
    while (moment := dates.get_next()).month == month and moment.year == year:
        found.add(moment.toordinal() - EPOCH_DAY)
    return frozenset(found)
