"""
The rules of a schedule, one per expression: they compute ticks by arithmetic on the times of a day.

A *tick* is in microseconds of stored time. A *wall* time is in seconds of the local clock of the time zone, as if it
had never been changed; ``zones`` has its offset from UTC, and ``days`` the days of the expression.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from shared.clock import SECOND_US
from shared.schedules.days import EVERY_DAY, Days, day_from, days_between
from shared.schedules.units import DAY_S, HORIZON_US, HOUR_S, MINUTE_S
from shared.schedules.zones import Stretch, stretches_from


@dataclass(frozen=True, slots=True)
class Every:
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


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression: the times of a day, the days, and what happens when the clocks change."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: Days
    repeats: bool
    is_owed_in_gap: bool

    def first(self, timezone: str, low: int) -> int | None:
        low_s = -(-low // SECOND_US)
        for stretch in stretches_from(timezone, low_s):
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
        return len(self.hours) == 24 and self.days == EVERY_DAY

    def _passes(self, timezone: str, low: int, high: int) -> Iterator[tuple[Stretch, int, int, bool]]:
        """The stretches of [low, high), each with its wall times from and to, and whether it owes a tick for a gap."""
        low_s, high_s = -(-low // SECOND_US), -(-high // SECOND_US)
        for stretch in stretches_from(timezone, low_s):
            if stretch.start >= high_s:
                return
            entry, leave = self._entry(stretch, low_s), min(stretch.end, high_s) + stretch.offset
            yield stretch, entry, max(entry, leave), low_s <= stretch.start and self._owes(stretch)

    def _entry(self, stretch: Stretch, low_s: int) -> int:
        """The wall time from which *stretch* counts: a fixed schedule skips what the clocks showed before."""
        wall = max(stretch.start, low_s) + stretch.offset
        return wall if self.repeats else max(wall, stretch.seen)

    def _owes(self, stretch: Stretch) -> bool:
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
        found = day_from(self.days, day + is_over)
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
        total = sum(1 for _ in days_between(self.days, first, last))
        total *= len(self.hours) * len(self.minutes) * len(self.seconds)
        total -= self._rank(before) if day_from(self.days, first) == first else 0
        return total + (self._rank(until) if day_from(self.days, last) == last else 0)

    def _walls(self, entry: int, leave: int) -> list[int]:
        """The wall times in [entry, leave)."""
        walls: list[int] = []
        for day in days_between(self.days, entry // DAY_S, -(-leave // DAY_S)):
            begin = day * DAY_S
            low, high = max(entry - begin, 0) // HOUR_S, -(-(leave - begin) // HOUR_S)
            hours = self.hours[bisect_left(self.hours, low) : bisect_left(self.hours, high)]
            marks = [begin + h * HOUR_S + m * MINUTE_S for h in hours for m in self.minutes]
            walls += [mark + s for mark in marks for s in self.seconds]
        return walls[bisect_left(walls, entry) : bisect_left(walls, leave)]
