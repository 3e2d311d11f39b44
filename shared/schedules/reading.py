"""The strict cron parser: refuses expressions that are invalid or would never fire, with the cure."""

import difflib
import re
import zoneinfo
from functools import lru_cache
from typing import Final, NamedTuple

from shared.clock import SECOND_US
from shared.schedules.days import Days, never_come
from shared.schedules.rules import Cron, Every
from shared.schedules.units import DAY_S, UNITS_US

MAX_PERIOD_US: Final = 366 * DAY_S * SECOND_US
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
    """An invalid schedule; the message names the expression, the field, the value and the cure."""


@lru_cache(maxsize=4096)
def read_rule(text: str) -> Cron | Every:
    """One expression, its blanks single already. Raises BadSchedule."""
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
    days = Days(months, asked_month_days, asked_weekdays, needs_both)
    if never_come(days):
        raise BadSchedule(
            f'cron "{text}" never fires: day of month "{parts[3]}" does not come in month "{parts[4]}"'
            f' with weekday "{parts[5]}"; choose a day that exists, or L for the last one'
        )
    is_interval = parts[2].startswith("*") or len(hours) == 24
    return Cron(seconds, minutes, hours, days, repeats=is_interval, is_owed_in_gap=len(hours) < 24)


def _every(text: str) -> Every:
    duration = text[len("@every") :].strip().lower()
    if not re.fullmatch(r"(?:[0-9]{1,12}(?:ms|s|m|h|d))+", duration):
        cure = f"write @every {duration}s" if re.fullmatch("[0-9]+", duration) else "write it like @every 30s or 1h30m"
        raise BadSchedule(f'cron "{text}": "{duration}" is not a duration; {cure}')
    period_us = sum(int(number) * UNITS_US[unit] for number, unit in re.findall(r"([0-9]+)(ms|s|m|h|d)", duration))
    if not SECOND_US <= period_us <= MAX_PERIOD_US:
        raise BadSchedule(f'cron "{text}": "{duration}" is out of range; write a duration from 1s to 366d')
    return Every(period_us)


def require_zone(timezone: str) -> None:
    """Raises BadSchedule unless *timezone* is an IANA name that means the same on every machine."""
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


class _Wrong(Exception):
    """An invalid item; the message is the cure."""


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
