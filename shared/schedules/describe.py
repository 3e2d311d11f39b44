"""Schedules in plain English, for the API and ``runfleet check``."""

import calendar
from typing import Final

from shared.schedules.days import Days
from shared.schedules.rules import Cron, Every
from shared.schedules.units import UNITS_US

_MONTHS: Final = tuple(calendar.month_name)[1:]
_WEEKDAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


def words(rule: Cron | Every) -> str | None:
    """The rule in plain English, such as "at 02:30 on weekdays"; None when it has no short description."""
    return _every_words(rule) if isinstance(rule, Every) else _cron_words(rule)


def _every_words(every: Every) -> str:
    rest, parts = every.period_us, []
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


def _cron_words(cron: Cron) -> str | None:
    times, days = _time_words(cron), _day_words(cron.days)
    if times is None or days is None:
        return None
    if days.startswith("in ") or not days:
        return " ".join(filter(None, ("every day" if times.startswith("at ") else "", days, times)))
    return f"{times} {days}"


def _time_words(cron: Cron) -> str | None:
    s, m, h = _rhythm(cron.seconds, 60), _rhythm(cron.minutes, 60), _rhythm(cron.hours, 24)
    pulse = None
    if s is not None and s < 60 and m == 1:
        pulse = "every second" if s == 1 else f"every {s} s"
    elif s == 60 and m is not None and m < 60:
        pulse = _each(m, "minute")
    if pulse and h == 1:
        return pulse
    if s == 60 and m == 60 and h is not None and h < 24 and cron.repeats:
        return _each(h, "hour")
    times = [(x, y, z) for x in cron.hours for y in cron.minutes for z in cron.seconds][:7]
    if len(times) < 7:
        return "at " + _listed([f"{x:02}:{y:02}" + (f":{z:02}" if z else "") for x, y, z in times])
    if h == 1 and len(cron.minutes) == 1 and s == 60:
        return f"every hour at minute {cron.minutes[0]}"
    if pulse and len(cron.hours) == cron.hours[-1] - cron.hours[0] + 1:
        return f"{pulse} from {cron.hours[0]:02}:00 to {cron.hours[-1]:02}:59"
    return None


def _day_words(days: Days) -> str | None:
    """Which days, to follow the time: "on weekdays"; "" for every day, None when it takes too many words."""
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
