"""The schedule of a task: the union of its expressions, and the jitter of its ticks."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Final

from shared.clock import SECOND_US
from shared.schedules import describe
from shared.schedules.reading import BadSchedule, read_rule, require_zone
from shared.schedules.rules import Cron, Every
from shared.schedules.units import DAY_S, HORIZON_US, HOUR_S

_SAMPLE_FROM_US: Final = 1_767_225_600 * SECOND_US
_SAMPLE_UNTIL_US: Final = 1_924_991_999 * SECOND_US


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    When a task is due: the union of its expressions, read in one time zone. Made by ``parse``.

    Intervals of time are open below and closed above, ``(after_us, until_us]``, so that consecutive ones neither share
    nor lose a tick.
    """

    expressions: tuple[str, ...]
    timezone: str
    rules: tuple[Cron | Every, ...] = field(repr=False, compare=False)

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

    def earliest(self, after_us: int, until_us: int, count: int) -> list[int]:
        """The oldest *count* ticks in ``(after_us, until_us]``, ascending; all of them when there are fewer."""
        low, high = max(after_us + 1, 0), min(until_us + 1, HORIZON_US)
        found: list[int] = []
        span = HOUR_S * SECOND_US
        while low < high and len(found) < count:
            end = min(high, low + span)
            found += self._ticks(low, end)
            low, span = end, span * 2
        return found[:count]

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

    def shortest_period_us(self) -> int | None:
        """The shortest time between two of its first thousand ticks from 2026 on; None without two of them by 2031."""
        ticks = self.earliest(_SAMPLE_FROM_US, _SAMPLE_UNTIL_US, 1000)
        return min((later - earlier for earlier, later in pairwise(ticks)), default=None)

    def words(self) -> str:
        """The schedule in plain English; an expression without a short description is shown as it is."""
        phrases = "; ".join(
            describe.words(rule) or text for rule, text in zip(self.rules, self.expressions, strict=True)
        )
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
    require_zone(timezone)
    unique = tuple(dict.fromkeys(" ".join(text.split()) for text in texts))
    return Schedule(unique, timezone, tuple(read_rule(text) for text in unique))


def jitter_us(task_name: str, tick_us: int, jitter_ms: int) -> int:
    """The delay of this tick, 0 to *jitter_ms* inclusive, in microseconds: the same wherever it is computed."""
    digest = hashlib.sha256(f"jitter\0{task_name}\0{tick_us}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (max(jitter_ms, 0) * 1000 + 1)
