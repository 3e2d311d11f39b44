"""Figures of a measurement with their goals, and the table in which they are printed."""

import math
import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

Verdict = Literal["stretch", "goal", "missed", ""]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """
    One measured value.

    ``goal`` and ``stretch`` are None when nothing was promised; ``more_is_better`` says on which side of them a value
    is good. ``note`` says what it was compared with, or what is worth knowing about it.
    """

    part: str
    name: str
    value: float
    unit: str
    goal: float | None = None
    stretch: float | None = None
    more_is_better: bool = False
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """How it stands to what was promised; "" when nothing was."""
        if self.stretch is not None and self._reaches(self.stretch):
            return "stretch"
        if self.goal is None:
            return ""
        return "goal" if self._reaches(self.goal) else "missed"

    def _reaches(self, wanted: float) -> bool:
        return self.value >= wanted if self.more_is_better else self.value <= wanted


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that *percent* of *values* (at least one) do not exceed: the nearest rank, never in between."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle one of *values* (at least one)."""
    return statistics.median(values)


def table(figures: Sequence[Figure]) -> str:
    """All figures as aligned Markdown."""
    head = ("part", "figure", "value", "unit", "goal", "stretch", "reached", "note")
    rows = [
        (f.part, f.name, number(f.value), f.unit, number(f.goal), number(f.stretch), f.verdict, f.note) for f in figures
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    right = {2, 4, 5}

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = [("-" * (width - 1) + ":") if column in right else "-" * width for column, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def number(value: float | None) -> str:
    """A value with about three digits that say something; "" for None."""
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
