"""Schedules keep their promises: what fires when, through clock changes, and what is refused with which words."""

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.clock import SECOND_US, from_datetime
from shared.schedules import HORIZON_US, BadSchedule, Schedule, jitter_us, parse

HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu"]
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


# --- a reference: the plainest matcher that could be right, minute by minute ------------------------------------------


@dataclass(frozen=True)
class Cron:
    """An expression and the sets that it stands for, made together so that the reference need not read cron text."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    month_days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    def matches(self, wall: datetime) -> bool:
        return wall.hour in self.hours and wall.minute in self.minutes and self.matches_day(wall)

    def matches_day(self, wall: datetime) -> bool:
        stars = [part.startswith("*") for part in (self.text.split()[2], self.text.split()[4])]
        by_date, by_weekday = wall.day in self.month_days, wall.isoweekday() % 7 in self.weekdays
        is_restricted = len(self.month_days) < 31 and len(self.weekdays) < 7
        either = by_date or by_weekday if is_restricted and not any(stars) else by_date and by_weekday
        return wall.month in self.months and either

    def ticks(self, timezone: str, after_us: int, until_us: int) -> list[int]:
        zone = ZoneInfo(timezone)
        is_interval = self.text.split()[1].startswith("*") or len(self.hours) == 24
        found = []
        for at_us in range(-(-(after_us + 1) // (60 * SECOND_US)) * 60 * SECOND_US, until_us + 1, 60 * SECOND_US):
            now = datetime.fromtimestamp(at_us // SECOND_US, zone)
            wall = now.replace(tzinfo=None)
            before = datetime.fromtimestamp(at_us // SECOND_US - 60, zone).replace(tzinfo=None)
            jump = (wall - before) // timedelta(minutes=1)
            gap = [before + timedelta(minutes=n) for n in range(1, jump)] if len(self.hours) < 24 else []
            if (self.matches(wall) and (is_interval or not now.fold)) or any(map(self.matches, gap)):
                found.append(at_us)
        return found


@st.composite
def fields(draw: st.DrawFn, low: int, high: int, names: tuple[str, ...] = ()) -> tuple[str, frozenset[int]]:
    texts: list[str] = []
    values: set[int] = set()
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(low, high))
        last = draw(st.integers(first, high))
        step = draw(st.integers(1, high - low + 1))
        written = [names[n - low].title() if names else f"{n:02}" for n in (first, last)]
        if "Sun" in written and last > first:
            written[0] = "0"  # the name would be read as the end of the week only at the end of a range
        shape = draw(st.sampled_from(["*", "*/n", "a", "a-b", "a-b/n", "a/n"]))
        text, items = {
            "*": ("*", range(low, high + 1)),
            "*/n": (f"*/{step}", range(low, high + 1, step)),
            "a": (written[0], range(first, first + 1)),
            "a-b": (f"{written[0]}-{written[1]}", range(first, last + 1)),
            "a-b/n": (f"{written[0]}-{written[1]}/{step}", range(first, last + 1, step)),
            "a/n": (f"{written[0]}/{step}", range(first, high + 1, step)),
        }[shape]
        texts.append(text)
        values.update(items)
    return ",".join(texts), frozenset(values)


@st.composite
def crons(draw: st.DrawFn) -> Cron:
    minute, hour = draw(fields(0, 59)), draw(fields(0, 23))
    days = [
        ("*", frozenset(range(low, high + 1))) if draw(st.booleans()) else draw(fields(low, high, names))
        for low, high, names in ((1, 31, ()), (1, 12, MONTHS), (0, 6, WEEKDAYS))
    ]
    parts = [minute, hour, *days]
    return Cron(" ".join(text for text, _ in parts), *(values for _, values in parts))


def parsed(text: str | list[str], timezone: str = "UTC") -> Schedule | None:
    """The schedule, or None when the random expression is one that never fires."""
    try:
        return parse([text] if isinstance(text, str) else text, timezone)
    except BadSchedule as bad:
        assert "never fires" in str(bad)  # noqa: PT017 - the only refusal that a well-formed expression may meet
        return None


def enumerate_ticks(schedule: Schedule, after_us: int, until_us: int, most: int = 3000) -> list[int]:
    ticks: list[int] = []
    tick = schedule.next_after(after_us)
    while tick is not None and tick <= until_us and len(ticks) < most:
        ticks.append(tick)
        tick = schedule.next_after(tick)
    return ticks


def utc(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


def clock_changes() -> list[tuple[str, int]]:
    """Every change of the clocks of 2026 in ZONES, and New Year."""
    found = []
    for timezone in ZONES:
        zone = ZoneInfo(timezone)
        hours = range(utc("2026-01-01"), utc("2027-01-01"), HOUR_US)
        offsets = [(at, datetime.fromtimestamp(at // SECOND_US, zone).utcoffset()) for at in hours]
        found += [(timezone, at) for (_, old), (at, new) in pairwise(offsets) if old != new]
        found.append((timezone, utc("2026-01-01")))
    return found


instants = st.integers(utc("1999-12-01"), utc("2038-03-01"))
expressions = st.one_of(
    crons().map(lambda cron: cron.text),
    st.integers(1, 100_000).map(lambda seconds: f"@every {seconds}s"),
    st.sampled_from(["@hourly", "@weekly", "0 0 L * *", "15 10 * * 5L", "0 12 13 * 1#2", "*/20 * * * * *"]),
)


# --- properties -------------------------------------------------------------------------------------------------------


@given(crons(), st.sampled_from(clock_changes()))
@settings(max_examples=150)
def test_around_clock_changes_it_fires_as_the_plain_reference_does(cron: Cron, change: tuple[str, int]) -> None:
    """F33: any schedule, against a plain reference."""
    timezone, at_us = change
    schedule = parsed(cron.text, timezone)
    after_us, until_us = at_us - 26 * HOUR_US, at_us + 26 * HOUR_US
    expected = cron.ticks(timezone, after_us, until_us)
    if schedule is None:
        assert expected == []
    else:
        assert schedule.latest(until_us, after_us, 10_000) == expected
        assert schedule.count_between(after_us, until_us) == len(expected)
        assert enumerate_ticks(schedule, after_us, until_us, 10_000) == expected


@given(crons(), st.dates(date(1999, 1, 1), date(2060, 1, 1)))
@settings(max_examples=100)
def test_every_matching_day_fires_and_no_other(cron: Cron, first: date) -> None:
    schedule = parsed(f"0 0 {' '.join(cron.text.split()[2:])}")
    if schedule is None:
        return
    start = datetime.combine(first, datetime.min.time(), UTC)
    days = [start + timedelta(days=n) for n in range(800)]
    expected = [from_datetime(day) for day in days if cron.matches_day(day)]
    assert enumerate_ticks(schedule, from_datetime(days[0]) - 1, from_datetime(days[-1])) == expected


@given(st.lists(expressions, min_size=1, max_size=3), st.sampled_from(ZONES), instants)
@settings(max_examples=100)
def test_next_after_only_goes_forward(texts: list[str], timezone: str, start_us: int) -> None:
    schedule = parsed(texts, timezone)
    if schedule is None:
        return
    at_us = start_us
    for _ in range(20):
        tick = schedule.next_after(at_us)
        if tick is None:
            break
        assert tick > at_us
        assert schedule.next_after(tick - 1) == tick
        assert schedule.next_after((at_us + tick) // 2) == (tick if (at_us + tick) // 2 < tick else None)
        at_us = tick


@given(st.lists(expressions, min_size=1, max_size=3), st.sampled_from(ZONES), instants, st.data())
@settings(max_examples=100)
def test_count_and_latest_agree_with_the_enumeration(
    texts: list[str], timezone: str, after_us: int, data: st.DataObject
) -> None:
    schedule = parsed(texts, timezone)
    if schedule is None:
        return
    until_us = after_us + data.draw(st.integers(0, 3 * DAY_US))
    ticks = enumerate_ticks(schedule, after_us, until_us)
    if len(ticks) == 3000:
        until_us = ticks[-1]
    count = data.draw(st.integers(1, 200))
    assert schedule.count_between(after_us, until_us) == len(ticks)
    assert schedule.latest(until_us, after_us, count) == ticks[-count:]
    assert schedule.latest(until_us, after_us, 0) == []
    assert schedule.earliest(after_us, until_us, count) == ticks[:count]
    assert schedule.earliest(after_us, until_us, 0) == []
    middle_us = data.draw(st.integers(after_us, until_us))
    parts = schedule.count_between(after_us, middle_us), schedule.count_between(middle_us, until_us)
    assert sum(parts) == len(ticks)


@given(st.lists(expressions, min_size=1, max_size=3), st.sampled_from(ZONES))
def test_every_parsed_schedule_has_a_description(texts: list[str], timezone: str) -> None:
    schedule = parsed(texts, timezone)
    assert schedule is None or schedule.words().strip()


@given(st.text(max_size=30) | st.text("*/-,#@0123456789lLhRmonsun ?", max_size=30))
def test_any_text_is_either_a_schedule_or_refused_by_name(text: str) -> None:
    try:
        assert parse([text], "UTC").next_after(0) is not None
    except BadSchedule as bad:
        assert " ".join(text.split()) in str(bad)  # noqa: PT017 - one or the other


@given(st.text(min_size=1, max_size=20), instants, st.integers(0, 10_000_000))
def test_jitter_is_the_same_everywhere_and_within_bounds(task: str, tick_us: int, jitter_ms: int) -> None:
    assert 0 <= jitter_us(task, tick_us, jitter_ms) <= jitter_ms * 1000
    assert jitter_us(task, tick_us, jitter_ms) == jitter_us(task, tick_us, jitter_ms)


def test_jitter_spreads_tasks_and_ticks() -> None:
    assert jitter_us("report", 0, 0) == 0
    assert jitter_us("report", 1_000_000, 60_000) == 39_117_500
    assert len({jitter_us(f"task-{n}", 0, 60_000) // SECOND_US for n in range(1000)}) == 60
    assert len({jitter_us("report", n * DAY_US, 60_000) // SECOND_US for n in range(1000)}) == 60


# --- when the clocks change -------------------------------------------------------------------------------------------

CHANGES = {
    # forward
    "Berlin, in the gap: at its end": (
        "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00",
        ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"],
    ),
    "Berlin, several in the gap: once": (
        "*/15 2 * * *", "Europe/Berlin", "2026-03-28T12:00",
        ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"],
    ),
    "Berlin, in the gap and at its end: once": (
        "0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00",
        ["2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00", "2026-03-30T02:00+02:00"],
    ),
    "Berlin, every hour: nothing is owed": (
        "30 * * * *", "Europe/Berlin", "2026-03-29T00:00",
        ["2026-03-29T00:30+01:00", "2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00", "2026-03-29T04:30+02:00"],
    ),
    "Berlin, every quarter of an hour": (
        "*/15 * * * *", "Europe/Berlin", "2026-03-29T01:30",
        ["2026-03-29T01:45+01:00", "2026-03-29T03:00+02:00", "2026-03-29T03:15+02:00"],
    ),
    "Berlin, every two hours: none is lost": (
        "0 */2 * * *", "Europe/Berlin", "2026-03-28T23:00",
        ["2026-03-29T00:00+01:00", "2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00"],
    ),
    "New York, in the gap": (
        "15 2 8 3 *", "America/New_York", "2026-01-01T00:00",
        ["2026-03-08T03:00-04:00", "2027-03-08T02:15-05:00"],
    ),
    "Lord Howe, a gap of half an hour": (
        "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00",
        ["2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"],
    ),
    "Lord Howe, the hour goes on after the gap": (
        "0,30,45 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00",
        ["2026-10-04T02:30+11:00", "2026-10-04T02:45+11:00", "2026-10-05T02:00+11:00"],
    ),
    "Sao Paulo, a day without midnight": (
        "@daily", "America/Sao_Paulo", "2018-11-03T12:00",
        ["2018-11-04T01:00-02:00", "2018-11-05T00:00-02:00"],
    ),
    "Apia, a day that never was": (
        "0 9 * * *", "Pacific/Apia", "2011-12-29T00:00",
        ["2011-12-29T09:00-10:00", "2011-12-31T00:00+14:00", "2011-12-31T09:00+14:00"],
    ),
    "Apia, every six hours": (
        "0 */6 * * *", "Pacific/Apia", "2011-12-29T15:00",
        ["2011-12-29T18:00-10:00", "2011-12-31T00:00+14:00", "2011-12-31T06:00+14:00"],
    ),
    "Casablanca, after Ramadan": (
        "30 2 * * *", "Africa/Casablanca", "2026-03-21T12:00",
        ["2026-03-22T03:00+01:00", "2026-03-23T02:30+01:00"],
    ),
    # back
    "Berlin, in the repeated hour: the first": (
        "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00",
        ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"],
    ),
    "Berlin, several in the repeated hour: each once": (
        "*/30 2,3 * * *", "Europe/Berlin", "2026-10-24T12:00",
        ["2026-10-25T02:00+02:00", "2026-10-25T02:30+02:00", "2026-10-25T03:00+01:00", "2026-10-25T03:30+01:00"],
    ),
    "Berlin, every half hour: both passes": (
        "*/30 * * * *", "Europe/Berlin", "2026-10-25T01:30",
        ["2026-10-25T02:00+02:00", "2026-10-25T02:30+02:00", "2026-10-25T02:00+01:00", "2026-10-25T02:30+01:00"],
    ),
    "Berlin, every two hours: both passes": (
        "0 */2 * * *", "Europe/Berlin", "2026-10-25T01:30",
        ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T04:00+01:00"],
    ),
    "Berlin, hours that cover the day are no fixed time": (
        "0 0-23 * * *", "Europe/Berlin", "2026-10-25T01:30",
        ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"],
    ),
    "Berlin, @every": (
        "@every 40m", "Europe/Berlin", "2026-10-25T01:30",
        ["2026-10-25T02:00+02:00", "2026-10-25T02:40+02:00", "2026-10-25T02:20+01:00", "2026-10-25T03:00+01:00"],
    ),
    "New York, in the repeated hour": (
        "30 1 * * *", "America/New_York", "2026-10-31T12:00",
        ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"],
    ),
    "Lord Howe, the repeated half hour": (
        "0,45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00",
        ["2026-04-05T01:00+11:00", "2026-04-05T01:45+11:00", "2026-04-06T01:00+10:30"],
    ),
    "Sao Paulo, the repeated hour is the evening before": (
        "30 23 * * *", "America/Sao_Paulo", "2019-02-16T12:00",
        ["2019-02-16T23:30-02:00", "2019-02-17T23:30-03:00"],
    ),
    "Casablanca, into Ramadan": (
        "30 2 * * *", "Africa/Casablanca", "2026-02-14T12:00",
        ["2026-02-15T02:30+01:00", "2026-02-16T02:30+00:00"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "timezone", "after", "expected"), CHANGES.values(), ids=CHANGES)
def test_when_the_clocks_change(text: str, timezone: str, after: str, expected: list[str]) -> None:
    """F33: forward and back, in zones of every kind."""
    zone = ZoneInfo(timezone)
    after_us = from_datetime(datetime.fromisoformat(after).replace(tzinfo=zone))
    schedule = parse([text], timezone)
    ticks = enumerate_ticks(schedule, after_us, HORIZON_US, len(expected))
    said = [datetime.fromtimestamp(tick // SECOND_US, zone).isoformat(timespec="minutes") for tick in ticks]
    assert said == expected
    assert schedule.latest(ticks[-1], after_us, 100) == ticks
    assert schedule.count_between(after_us, ticks[-1]) == len(ticks)


# --- reading ----------------------------------------------------------------------------------------------------------

SAME = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 jan *"),
    ("@monthly", "0 0 1 * *"),
    ("@Weekly", "0 0 * * SUN"),
    ("@daily", "0 0 0 * * *"),
    ("@midnight", "0  0 * * ?"),
    ("@hourly", "@every 60m"),
    ("@every 1h30m", "@every 5400s"),
    ("@every 1500ms", "@every 1s500ms"),
    ("0 0 * * 7", "0 0 * * 0"),
    ("0 0 * * 5-7", "0 0 * * fri-sun"),
    ("0 0 * * sat-sun", "0 0 * * 0,6"),
    ("0 0 * * sun-sun", "0 0 * * 0"),
    ("0 0 * * 7#1", "0 0 * * SUN#1"),
    ("0 0 * * friL", "0 0 * * 5l"),
    ("0 0 31 2 1", "0 0 * 2 1"),
    ("10/20 * * * *", "10,30,50 * * * *"),
    ("59/15 * * * *", "59 * * * *"),
    ("*/60 * * * *", "0 * * * *"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_spellings_are_one_schedule(one: str, other: str) -> None:
    start_us, end_us = utc("2026-01-01"), utc("2026-01-01") + 3 * 366 * DAY_US
    first, second = parse([one], "UTC"), parse([other], "UTC")
    assert enumerate_ticks(first, start_us, end_us, 400) == enumerate_ticks(second, start_us, end_us, 400)


DAYS = [
    ("0 0 L * *", ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]),
    ("0 0 1,L * *", ["2026-01-01", "2026-01-31", "2026-02-01", "2026-02-28"]),
    ("0 0 * * 5L", ["2026-01-30", "2026-02-27", "2026-03-27", "2026-04-24"]),
    ("0 0 * * 1#5", ["2026-03-30", "2026-06-29", "2026-08-31", "2026-11-30"]),
    ("0 0 * * 2,1#1", ["2026-01-05", "2026-01-06", "2026-01-13", "2026-01-20"]),
    ("0 0 13 * 5", ["2026-01-02", "2026-01-09", "2026-01-13", "2026-01-16"]),
    ("0 0 13 * 1#1", ["2026-01-05", "2026-01-13", "2026-02-02", "2026-02-13"]),
    ("0 0 */2 * 1", ["2026-01-05", "2026-01-19", "2026-02-09", "2026-02-23"]),
    ("0 0 29 2 *", ["2028-02-29", "2032-02-29", "2036-02-29", "2040-02-29"]),
    ("0 0 * 2 5#5", ["2036-02-29", "2064-02-29", "2092-02-29"]),
    ("0 0 31 4-5 *", ["2026-05-31", "2027-05-31", "2028-05-31", "2029-05-31"]),
]


@pytest.mark.parametrize(("text", "expected"), DAYS)
def test_days(text: str, expected: list[str]) -> None:
    ticks = enumerate_ticks(parse([text], "UTC"), utc("2026-01-01") - 1, HORIZON_US, 4)
    assert [datetime.fromtimestamp(tick // SECOND_US, UTC).date().isoformat() for tick in ticks] == expected


def test_several_expressions_fire_together_once() -> None:
    schedule = parse(["0 * * * *", "*/30 * * * *", "30 2 * * *", "30 2 * * *"], "UTC")
    day_us = utc("2026-05-01")
    assert schedule.expressions == ("0 * * * *", "*/30 * * * *", "30 2 * * *")
    assert schedule.count_between(day_us - 1, day_us + DAY_US - 1) == 48
    assert schedule.latest(day_us, day_us - HOUR_US, 9) == [day_us - HOUR_US // 2, day_us]


def test_every_counts_from_the_epoch() -> None:
    assert parse(["@every 7s"], "UTC").next_after(-1) == 0
    assert (
        parse(["@every 7s"], "Asia/Tokyo").next_after(utc("2026-01-01"))
        == (utc("2026-01-01") // 7_000_000 + 1) * 7_000_000
    )


def test_after_the_horizon_there_is_nothing() -> None:
    for text in ("* * * * *", "@every 1s", "0 0 29 2 *"):
        schedule = parse([text], "Pacific/Kiritimati")
        assert schedule.next_after(HORIZON_US - 1) is None
        assert schedule.next_after(HORIZON_US * 9) is None
        assert schedule.count_between(HORIZON_US - 1, HORIZON_US * 9) == 0
        assert schedule.latest(HORIZON_US * 9, HORIZON_US, 5) == []
        assert schedule.count_between(10, 5) == 0


# --- what croniter gets wrong and Runfleet must not -------------------------------------------------------------------


def ours(text: str, after: str, count: int, timezone: str = "UTC") -> list[str]:
    ticks = enumerate_ticks(parse([text], timezone), utc(after), HORIZON_US, count)
    return [datetime.fromtimestamp(tick // SECOND_US, UTC).isoformat(timespec="minutes")[:16] for tick in ticks]


WRONG = [
    ("5-5 * * * *", ["2026-01-01T00:05", "2026-01-01T01:05"]),
    ("0 0 */2 * 1", ["2026-01-05T00:00", "2026-01-19T00:00"]),
    ("0 0 13 * 1#1", ["2026-01-05T00:00", "2026-01-13T00:00"]),
    ("0 30 9 * * *", ["2026-01-01T09:30", "2026-01-02T09:30"]),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_what_croniter_reads_otherwise_is_read_as_written(text: str, expected: list[str]) -> None:
    assert ours(text, "2026-01-01", 2) == expected


# --- speed ------------------------------------------------------------------------------------------------------------


def test_a_month_of_missed_minutes_of_fifty_schedules_is_counted_quickly() -> None:
    until_us = utc("2026-11-22")
    after_us = until_us - 30 * DAY_US
    schedules = [parse(["* * * * *", f"{n} 3 * * *"], "Europe/Berlin") for n in range(25)]
    schedules += [parse(["* * * * *"], "Europe/Berlin") for _ in range(25)]
    began = time.process_time()
    assert {schedule.count_between(after_us, until_us) for schedule in schedules} == {43_200}
    assert {len(schedule.latest(until_us, after_us, 100)) for schedule in schedules} == {100}
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("expressions", "period_s"),
    [
        (["* * * * *"], 60),
        (["@every 90s"], 90),
        (["0 3 * * *", "30 3 * * *"], 1800),
        (["0 9-17 * * 1-5"], 3600),
        (["0 0 1 1 *"], 365 * 86_400),
        (["0 0 29 2 *"], None),
    ],
)
def test_the_shortest_period_is_that_between_any_two_ticks(expressions: list[str], period_s: int | None) -> None:
    assert parse(expressions, "UTC").shortest_period_us() == (period_s and period_s * SECOND_US)
