"""
Schedules: cron text to ticks, pure arithmetic on stored time (microseconds since the epoch, UTC).

What is accepted: five fields (minute, hour, day of month, month, weekday); six with seconds *first*; ``@hourly @daily
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

from __future__ import annotations

import calendar
import difflib
import hashlib
import re
import zoneinfo
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import chain, pairwise
from typing import Final, NamedTuple

from shared.clock import SECOND_US

HORIZON_US: Final = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * SECOND_US
"""No tick lies at or after this (nor before the epoch)."""

MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86_400
MAX_PERIOD_US: Final = 366 * DAY_S * SECOND_US
EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
UNITS_US: Final = {"ms": 1000, "s": SECOND_US, "m": 60 * SECOND_US, "h": HOUR_S * SECOND_US, "d": DAY_S * SECOND_US}
ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class BadSchedule(ValueError):
    """A schedule that cannot be; the message names the expression, the field, the value and the cure."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    When a task is due: the union of its expressions, read in one time zone. Made by ``parse``.

    Intervals of time are open below and closed above, ``(after_us, until_us]``, so that consecutive ones neither share
    nor lose a tick.
    """

    expressions: tuple[str, ...]
    timezone: str
    rules: tuple[_Cron | _Every, ...] = field(repr=False, compare=False)

    def next_after(self, us: int) -> int | None:
        """The first tick strictly after *us*, in microseconds; None when none comes before the year 2100."""
        low = max(us + 1, 0)
        ticks = [tick for rule in self.rules if (tick := rule.first(self.timezone, low)) is not None]
        return min(ticks, default=None)

    def latest(self, until_us: int, after_us: int, count: int) -> list[int]:
        """The newest *count* ticks in ``(after_us, until_us]``, ascending; all of them when there are fewer."""
        low, high = max(after_us + 1, 0), min(until_us + 1, HORIZON_US)
        found: list[int] = []
        span = HOUR_S * SECOND_US
        while low < high and len(found) < count:
            start = max(low, high - span)
            found = self._ticks(start, high) + found
            high, span = start, span * 2
        return found[max(0, len(found) - count) :] if count > 0 else []

    def count_between(self, after_us: int, until_us: int) -> int:
        """
        How many ticks lie in ``(after_us, until_us]``; exact, without a cap.

        Arithmetic for one expression. Several may share instants, so theirs are walked, at some five million a second.
        """
        low, high = max(after_us + 1, 0), min(until_us + 1, HORIZON_US)
        if low >= high:
            return 0
        if len(self.rules) == 1:
            return self.rules[0].count(self.timezone, low, high)
        chunk = 7 * DAY_S * SECOND_US
        return sum(len(self._ticks(start, min(start + chunk, high))) for start in range(low, high, chunk))

    def words(self) -> str:
        """The schedule in plain English; an expression that has no short description stands for itself."""
        phrases = "; ".join(rule.words() or text for rule, text in zip(self.rules, self.expressions, strict=True))
        is_local = self.timezone != "UTC" and not all(rule.is_steady() for rule in self.rules)
        return f"{phrases} ({self.timezone})" if is_local else phrases

    def _ticks(self, low: int, high: int) -> list[int]:
        """All ticks in [low, high), ascending, each once."""
        if len(self.rules) == 1:
            return self.rules[0].ticks(self.timezone, low, high)
        runs = chain.from_iterable(rule.ticks(self.timezone, low, high) for rule in self.rules)
        return list(dict.fromkeys(sorted(runs)))


def parse(expressions: Sequence[str], timezone: str) -> Schedule:
    """The schedule of *expressions* (at least one) in the IANA zone *timezone*. Raises BadSchedule."""
    texts = (expressions,) if isinstance(expressions, str) else tuple(expressions)
    if not texts:
        raise BadSchedule('a schedule needs at least one cron expression, such as "30 2 * * *"')
    _require_zone(timezone)
    unique = tuple(dict.fromkeys(" ".join(text.split()) for text in texts))
    return Schedule(unique, timezone, tuple(_rule(text) for text in unique))


def jitter_us(task_name: str, tick_us: int, jitter_ms: int) -> int:
    """The delay of this tick, 0 to *jitter_ms* inclusive, in microseconds: the same for everybody who computes it."""
    digest = hashlib.sha256(f"jitter\0{task_name}\0{tick_us}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (max(jitter_ms, 0) * 1000 + 1)


# --- rules: one expression each ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Every:
    """Multiples of a period since the epoch."""

    period_us: int

    def first(self, _timezone: str, low: int) -> int | None:
        tick = -(-low // self.period_us) * self.period_us
        return tick if tick < HORIZON_US else None

    def count(self, _timezone: str, low: int, high: int) -> int:
        return -(-high // self.period_us) - -(-low // self.period_us)

    def ticks(self, _timezone: str, low: int, high: int) -> list[int]:
        return list(range(-(-low // self.period_us) * self.period_us, high, self.period_us))

    def is_steady(self) -> bool:
        return True

    def words(self) -> str:
        rest, parts = self.period_us, []
        for unit, name in (("d", "day"), ("h", "h"), ("m", "min"), ("s", "s"), ("ms", "ms")):
            number, rest = divmod(rest, UNITS_US[unit])
            if number:
                parts.append((number, name))
        if len(parts) > 1:
            return "every " + " ".join(
                f"{number} {'days' if name == 'day' and number > 1 else name}" for number, name in parts
            )
        number, name = parts[0]
        if name in ("s", "ms"):
            return f"every {number} {name}"
        return _each(number, {"h": "hour", "min": "minute"}.get(name, name))


@dataclass(frozen=True, slots=True)
class _Cron:
    """A cron expression: the times of a day, the days, and what happens when the clocks change."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: _Days
    repeats: bool
    is_owed_in_gap: bool

    def first(self, timezone: str, low: int) -> int | None:
        low_s = -(-low // SECOND_US)
        for stretch in _stretches_from(timezone, low_s):
            if low_s <= stretch.start and self._owes(stretch):
                return stretch.start * SECOND_US
            wall = self._wall_from(self._entry(stretch, low_s))
            if wall is not None and wall < stretch.end + stretch.offset:
                return (wall - stretch.offset) * SECOND_US
        return None

    def count(self, timezone: str, low: int, high: int) -> int:
        total = 0
        for _, entry, leave, is_owed in self._passes(timezone, low, high):
            total += is_owed + self._count(entry, leave)
        return total

    def ticks(self, timezone: str, low: int, high: int) -> list[int]:
        ticks: list[int] = []
        for stretch, entry, leave, is_owed in self._passes(timezone, low, high):
            if is_owed:
                ticks.append(stretch.start * SECOND_US)
            ticks += [(wall - stretch.offset) * SECOND_US for wall in self._walls(entry, leave)]
        return ticks

    def is_steady(self) -> bool:
        return len(self.hours) == 24 and self.days == _EVERY_DAY

    def words(self) -> str | None:
        times, days = self._time_words(), _day_words(self.days)
        if times is None or days is None:
            return None
        if days.startswith("in ") or not days:
            return " ".join(filter(None, ("every day" if times.startswith("at ") else "", days, times)))
        return f"{times} {days}"

    def _passes(self, timezone: str, low: int, high: int) -> Iterator[tuple[_Stretch, int, int, bool]]:
        """The stretches of [low, high), each with its wall times from and to, and whether it owes a tick for a gap."""
        low_s, high_s = -(-low // SECOND_US), -(-high // SECOND_US)
        for stretch in _stretches_from(timezone, low_s):
            if stretch.start >= high_s:
                return
            entry, leave = self._entry(stretch, low_s), min(stretch.end, high_s) + stretch.offset
            yield stretch, entry, max(entry, leave), low_s <= stretch.start and self._owes(stretch)

    def _entry(self, stretch: _Stretch, low_s: int) -> int:
        """The wall time from which *stretch* counts: a fixed schedule skips what the clocks showed before."""
        wall = max(stretch.start, low_s) + stretch.offset
        return wall if self.repeats else max(wall, stretch.seen)

    def _owes(self, stretch: _Stretch) -> bool:
        """Whether the gap before *stretch* swallowed a time, and its end is not a tick by itself."""
        begin = stretch.start + stretch.offset
        if not self.is_owed_in_gap or stretch.seen >= begin:
            return False
        wall = self._wall_from(stretch.seen)
        return wall is not None and wall < begin and self._wall_from(begin) != begin

    def _wall_from(self, wall: int) -> int | None:
        """The first wall time of the schedule at or after *wall*, in seconds of a clock that was never changed."""
        day, second = divmod(wall, DAY_S)
        rank = self._rank(second)
        is_over = rank == len(self.hours) * len(self.minutes) * len(self.seconds)
        found = _day_from(self.days, day + is_over)
        if found is None:
            return None
        rest, s = divmod(rank if found == day else 0, len(self.seconds))
        h, m = divmod(rest, len(self.minutes))
        return found * DAY_S + self.hours[h] * HOUR_S + self.minutes[m] * MINUTE_S + self.seconds[s]

    def _rank(self, second: int) -> int:
        """How many times of a day lie before *second* of it."""
        hour, rest = divmod(second, HOUR_S)
        h = bisect_left(self.hours, hour)
        rank = h * len(self.minutes) * len(self.seconds)
        if h < len(self.hours) and self.hours[h] == hour:
            minute, rest = divmod(rest, MINUTE_S)
            m = bisect_left(self.minutes, minute)
            rank += m * len(self.seconds)
            if m < len(self.minutes) and self.minutes[m] == minute:
                rank += bisect_left(self.seconds, rest)
        return rank

    def _count(self, entry: int, leave: int) -> int:
        """How many wall times lie in [entry, leave)."""
        (first, before), (last, until) = divmod(entry, DAY_S), divmod(leave, DAY_S)
        total = sum(1 for _ in _days_between(self.days, first, last))
        total *= len(self.hours) * len(self.minutes) * len(self.seconds)
        total -= self._rank(before) if _day_from(self.days, first) == first else 0
        return total + (self._rank(until) if _day_from(self.days, last) == last else 0)

    def _walls(self, entry: int, leave: int) -> list[int]:
        """The wall times in [entry, leave)."""
        walls: list[int] = []
        for day in _days_between(self.days, entry // DAY_S, -(-leave // DAY_S)):
            begin = day * DAY_S
            low, high = max(entry - begin, 0) // HOUR_S, -(-(leave - begin) // HOUR_S)
            hours = self.hours[bisect_left(self.hours, low) : bisect_left(self.hours, high)]
            marks = [begin + h * HOUR_S + m * MINUTE_S for h in hours for m in self.minutes]
            walls += [mark + s for mark in marks for s in self.seconds]
        return walls[bisect_left(walls, entry) : bisect_left(walls, leave)]

    def _time_words(self) -> str | None:
        s, m, h = _rhythm(self.seconds, 60), _rhythm(self.minutes, 60), _rhythm(self.hours, 24)
        pulse = None
        if s is not None and s < 60 and m == 1:
            pulse = "every second" if s == 1 else f"every {s} s"
        elif s == 60 and m is not None and m < 60:
            pulse = _each(m, "minute")
        if pulse and h == 1:
            return pulse
        if s == 60 and m == 60 and h is not None and h < 24 and self.repeats:
            return _each(h, "hour")
        times = [(x, y, z) for x in self.hours for y in self.minutes for z in self.seconds][:7]
        if len(times) < 7:
            return "at " + _listed([f"{x:02}:{y:02}" + (f":{z:02}" if z else "") for x, y, z in times])
        if h == 1 and len(self.minutes) == 1 and s == 60:
            return f"every hour at minute {self.minutes[0]}"
        if pulse and len(self.hours) == self.hours[-1] - self.hours[0] + 1:
            return f"{pulse} from {self.hours[0]:02}:00 to {self.hours[-1]:02}:59"
        return None


# --- time zones: stretches of constant offset -------------------------------------------------------------------------


class _Stretch(NamedTuple):
    """Seconds [start, end) of UTC with one offset; ``seen`` is how far the wall clock had come when it began."""

    start: int
    end: int
    offset: int
    seen: int


def _stretches_from(timezone: str, low_s: int) -> Iterator[_Stretch]:
    if low_s * SECOND_US >= HORIZON_US:
        return
    for year in range((datetime(1970, 1, 1) + timedelta(seconds=low_s)).year, 2100):
        for stretch in _stretches(timezone, year):
            if stretch.end > low_s:
                yield stretch


@lru_cache(maxsize=4096)
def _stretches(timezone: str, year: int) -> tuple[_Stretch, ...]:
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
            stretches.append(_Stretch(start, stop, offset, seen))
    return tuple(stretches)


def _offset_s(zone: zoneinfo.ZoneInfo, at_s: int) -> int:
    offset = datetime.fromtimestamp(at_s, zone).utcoffset()
    assert offset is not None  # a ZoneInfo always knows
    return offset // timedelta(seconds=1)


def _new_year_s(year: int) -> int:
    return (date(year, 1, 1).toordinal() - EPOCH_DAY) * DAY_S


def _require_zone(timezone: str) -> None:
    is_private = timezone in ("localtime", "posixrules", "Factory") or timezone.startswith(("posix/", "right/"))
    try:
        if not is_private and timezone.strip():
            zoneinfo.ZoneInfo(timezone)
            return
    except (KeyError, ValueError, OSError):
        pass  # not found, or not a name that may be looked up
    known = {name.lower(): name for name in sorted(zoneinfo.available_timezones())}
    near = difflib.get_close_matches(timezone.lower().replace(" ", "_"), known, n=1, cutoff=0.5)
    cure = f'did you mean "{known[near[0]]}"?' if near else 'write an IANA name such as "Europe/Berlin" or "UTC"'
    raise BadSchedule(f'timezone "{timezone}" is not known; {cure}')


# --- days: what croniter is asked for ---------------------------------------------------------------------------------


class _Days(NamedTuple):
    """
    Days of a month and weekdays in words that croniter reads alike everywhere: ``1,15``, ``l``, ``1#2``, ``l5``.

    None stands for a field that does not restrict. ``needs_both``: one of the fields begins with ``*``.
    """

    months: tuple[int, ...]
    month_days: tuple[str, ...] | None
    weekdays: tuple[str, ...] | None
    needs_both: bool


_EVERY_DAY: Final = _Days(tuple(range(1, 13)), None, None, needs_both=False)


def _day_from(days: _Days, day: int) -> int | None:
    """The first of *days* at or after *day* (both count from the epoch); None when none comes before 2100."""
    return next(_days_between(days, day, HORIZON_US // SECOND_US // DAY_S + 1), None)


def _days_between(days: _Days, first: int, last: int) -> Iterator[int]:
    """The *days* in [first, last)."""
    if days == _EVERY_DAY:
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


@lru_cache(maxsize=8192)
def _month(days: _Days, year: int, month: int) -> tuple[int, ...]:
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


# --- reading ----------------------------------------------------------------------------------------------------------


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_SECOND: Final = _Field("second", 0, 59)
_MINUTE: Final = _Field("minute", 0, 59)
_HOUR: Final = _Field("hour", 0, 23)
_MONTH_DAY: Final = _Field("day of month", 1, 31)
_MONTH: Final = _Field(
    "month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
)
_WEEKDAY: Final = _Field("weekday", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
_FIELDS: Final = (_SECOND, _MINUTE, _HOUR, _MONTH_DAY, _MONTH, _WEEKDAY)


@lru_cache(maxsize=4096)
def _rule(text: str) -> _Cron | _Every:
    lower = text.lower()
    if lower.startswith("@every"):
        return _every(text)
    if lower.startswith("@") and lower not in ALIASES:
        raise BadSchedule(f'cron "{text}" is not known; write one of {", ".join(ALIASES)}, or @every 30s')
    parts = ALIASES.get(lower, text).split()
    if parts and "=" in parts[0]:
        raise BadSchedule(f'cron "{text}": "{parts[0]}" does not belong here; set the time zone with timezone')
    if len(parts) not in (5, 6):
        raise BadSchedule(
            f'cron "{text}" has {len(parts)} fields; write 5 (minute, hour, day of month, month, weekday),'
            " or 6 with seconds first"
        )
    parts = ["0", *parts][-6:]
    values, words = zip(*(_read(text, place, part) for place, part in zip(_FIELDS, parts, strict=True)), strict=True)
    seconds, minutes, hours, month_days, months, weekdays = values
    asked_month_days = None if len(month_days) == 31 else _asking(month_days, words[3])
    asked_weekdays = None if len(weekdays) == 7 else _asking(weekdays, words[5])
    are_both_restricted = asked_month_days is not None and asked_weekdays is not None
    needs_both = are_both_restricted and "*" in (parts[3][0], parts[5][0])
    days = _Days(months, asked_month_days, asked_weekdays, needs_both)
    if _never(days):
        raise BadSchedule(
            f'cron "{text}" never fires: day of month "{parts[3]}" does not come in month "{parts[4]}"'
            f' with weekday "{parts[5]}"; choose a day that exists, or L for the last one'
        )
    is_interval = parts[2].startswith("*") or len(hours) == 24
    return _Cron(seconds, minutes, hours, days, repeats=is_interval, is_owed_in_gap=len(hours) < 24)


def _every(text: str) -> _Every:
    duration = text[len("@every") :].strip().lower()
    if not re.fullmatch(r"(?:[0-9]{1,12}(?:ms|s|m|h|d))+", duration):
        cure = f"write @every {duration}s" if re.fullmatch("[0-9]+", duration) else "write it like @every 30s or 1h30m"
        raise BadSchedule(f'cron "{text}": "{duration}" is not a duration; {cure}')
    period_us = sum(int(number) * UNITS_US[unit] for number, unit in re.findall(r"([0-9]+)(ms|s|m|h|d)", duration))
    if not SECOND_US <= period_us <= MAX_PERIOD_US:
        raise BadSchedule(f'cron "{text}": "{duration}" is out of range; write a duration from 1s to 366d')
    return _Every(period_us)


class _Wrong(Exception):
    """An item that cannot be; the message is the cure."""


def _read(text: str, place: _Field, part: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The numbers of a field, and beside them its words for croniter: ``l``, ``1#2``, ``l5``."""
    values: set[int] = set()
    words: set[str] = set()
    for item in part.split(","):
        try:
            word = _word(place, item.lower())
            if word:
                words.add(word)
            else:
                values.update(value % 7 if place is _WEEKDAY else value for value in _values(place, item.lower()))
        except _Wrong as wrong:
            raise BadSchedule(f'cron "{text}": {place.name} "{item}" is not possible: {wrong}') from None
    return tuple(sorted(values)), tuple(sorted(words))


def _word(place: _Field, item: str) -> str | None:
    """An item that is not a set of numbers, as croniter writes it."""
    if place is _MONTH_DAY and item == "l":
        return "l"
    if place is not _WEEKDAY:
        return None
    if item.endswith("l") and item != "l":
        return f"l{_value(place, item, item[:-1]) % 7}"
    day, hash_sign, nth = item.partition("#")
    if not hash_sign:
        return None
    if nth not in ("1", "2", "3", "4", "5"):
        raise _Wrong("after # write which one of the month, 1 to 5")
    return f"{_value(place, item, day) % 7}#{nth}"


def _values(place: _Field, item: str) -> range:
    """``*``, ``a``, ``a-b``, each with ``/step`` or without; ``a/step`` goes on to the field's end."""
    body, slash, step_text = item.partition("/")
    step = int(step_text) if re.fullmatch("[0-9]{1,9}", step_text) else 0
    most = place.high - place.low + 1
    if not slash:
        step = 1
    elif step > most:
        raise _Wrong(f"write a step from 1 to {most}; for a longer period write @every and a duration")
    elif step == 0:
        raise _Wrong(f"write a step from 1 to {most}")
    if body == "*" or (item == "?" and place in (_MONTH_DAY, _WEEKDAY)):
        return range(place.low, place.high + 1, step)
    first, dash, last = body.partition("-")
    low = _value(place, item, first)
    high = _value(place, item, last) if dash else place.high if slash else low
    if last == "sun" and low > 0:
        high = 7  # sat-sun
    if low > high:
        cure = f"{first}-{place.high},{place.low}-{last}"
        if place is _WEEKDAY:
            cure = ",".join(place.names[day % 7] for day in range(low, high + 8))
        raise _Wrong(f"the range runs backwards; write {cure}")
    return range(low, high + 1, step)


def _value(place: _Field, item: str, word: str) -> int:
    if word in place.names:
        return place.names.index(word) + place.low
    if re.fullmatch("[0-9]{1,9}", word):
        value = int(word)
        if place.low <= value <= place.high or (place is _WEEKDAY and value == 7):
            return value
    raise _Wrong(_cure(place, item))


def _cure(place: _Field, item: str) -> str:
    if not item:
        return "an item is empty; take the extra comma away"
    if re.fullmatch(r"[hr](?:[(/].*)?", item):
        return "random and hashed values are not supported; write a number, and set jitter to spread tasks"
    if place is _MONTH_DAY and re.search("[lw]", item):
        return "of the words only L by itself, the last day of the month, is supported"
    if place is _WEEKDAY and item == "l":
        return "say the last which: 5L is the last Friday of the month"
    if re.search("[a-z]", item) and not place.names:
        return f"names belong to month and weekday; write numbers from {place.low} to {place.high}"
    last = 7 if place is _WEEKDAY else place.high
    names = f" or names from {place.names[0].upper()} to {place.names[-1].upper()}" if place.names else ""
    return f"write numbers from {place.low} to {last}{names}"


def _asking(numbers: tuple[int, ...], words: tuple[str, ...]) -> tuple[str, ...]:
    return (",".join(map(str, numbers)), *words) if numbers else words


def _never(days: _Days) -> bool:
    """Whether none of *days* comes in 28 years, after which the calendar repeats (until 2100)."""
    return not any(_month(days, year, month) for year in range(2000, 2028) for month in days.months)


# --- English ----------------------------------------------------------------------------------------------------------

_MONTHS: Final = tuple(calendar.month_name)[1:]
_WEEKDAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


def _day_words(days: _Days) -> str | None:
    """Which days, to be said after the time: "on weekdays"; "" for every day, None when it takes too many words."""
    if len(days.months) == 12:
        months = ""
    elif len(days.months) > 6:
        return None
    else:
        months = _listed([_MONTHS[month - 1] for month in days.months])
    of = f"of {months or 'the month'}"
    sides = []
    if days.month_days is not None:
        names = [_date_name(word) for group in days.month_days for word in group.split(",")]
        sides.append(f"on the {_listed(names)} {of}" if len(names) <= 6 else None)
    if days.weekdays is not None:
        sides.append(_weekday_words(days.weekdays, of))
    if None in sides or (len(sides) == 2 and (days.needs_both or months)):
        return None
    phrase = " or ".join(filter(None, sides))
    if months and (not phrase or of not in phrase):
        phrase = " ".join(filter(None, (phrase, f"in {months}")))
    return phrase


def _weekday_words(weekdays: tuple[str, ...], of: str) -> str:
    if weekdays == ("1,2,3,4,5",):
        return "on weekdays"
    if weekdays == ("0,6",):
        return "at weekends"
    phrases = []
    for word in weekdays:
        if word.startswith("l"):
            phrases.append(f"the last {_WEEKDAYS[int(word[1:])]} {of}")
        elif "#" in word:
            phrases.append(f"the {_ordinal(int(word[2:]))} {_WEEKDAYS[int(word[0])]} {of}")
        else:
            phrases += [_WEEKDAYS[int(number)] for number in word.split(",")]
    return "on " + _listed(phrases)


def _date_name(word: str) -> str:
    return "last day" if word == "l" else _ordinal(int(word))


def _ordinal(number: int) -> str:
    suffix = "th" if 10 < number < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _rhythm(values: tuple[int, ...], span: int) -> int | None:
    """The step when *values* are evenly spread over *span* from 0 (1: all, *span*: only 0); None when they are not."""
    step = span // len(values)
    return step if values == tuple(range(0, span, step)) and span % step == 0 else None


def _each(number: int, unit: str) -> str:
    return f"every {unit}" if number == 1 else f"every {number} {unit}s"


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
