"""
Schedules: cron text to ticks, pure arithmetic on stored time (microseconds since the epoch, UTC).

``parse(["30 2 * * *"], "Europe/Berlin")`` is a ``Schedule``, with its next and latest ticks, their number, and a
description in words. Start reading at ``schedule.py``. ``reading.py`` parses text into rules; ``rules.py`` computes
ticks, with the calendar of ``days.py`` and the clocks of ``zones.py``; ``describe.py`` describes rules in words.

Syntax: five fields (minute, hour, day of month, month, weekday); six with seconds *first*; ``@hourly @daily
@midnight @weekly @monthly @yearly @annually``; ``@every 1h30m`` (at least 1 s, counted from the epoch, so that every
scheduler agrees). ``L`` is the last day of the month, ``5L`` its last Friday, ``1#2`` its second Monday, 7 is Sunday.
When day of month and weekday are both restricted, either is enough; if one of them begins with ``*`` (as ``*/2`` does),
both must match: vixie cron's rule.

When the clocks change, a *fixed* schedule names its hours and an *interval* schedule does not: its hour field begins
with ``*`` or covers the whole day. (Vixie also calls ``*/15 2 * * *`` an interval, and so loses that whole night in
spring; here it is fixed.)

============  =========================================  ==========================================================
clocks go     fixed                                      interval, ``@every``
============  =========================================  ==========================================================
back          the first pass only                        both passes
forward       all times in the gap: once, at its end     every hour: nothing is owed; ``*/2`` and the like: as fixed
============  =========================================  ==========================================================

croniter finds the days. Everything else is done here, because croniter reads ``5-5`` as ``*``, fires fixed times twice
when clocks go back, takes reversed ranges, ``*/90`` and dates that never come, expects seconds last, reads weekdays
like ``1,2#1`` not at all and ``13 * 5#1`` wrongly.
"""

from shared.schedules.reading import BadSchedule
from shared.schedules.schedule import Schedule, jitter_us, parse
from shared.schedules.units import HORIZON_US

__all__ = ["HORIZON_US", "BadSchedule", "Schedule", "jitter_us", "parse"]
