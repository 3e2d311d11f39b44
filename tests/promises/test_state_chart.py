"""The state chart in the store's README is the table of moves, edge by edge."""

from __future__ import annotations

import re
from pathlib import Path

import shared.store
from shared.runs import TRANSITIONS

README = Path(shared.store.__file__).with_name("README.md")
Edge = tuple[str, str, str, frozenset[str]]


def test_the_chart_is_the_table() -> None:
    chart = README.read_text("utf-8").partition("stateDiagram-v2\n")[2].partition("```")[0]
    drawn = [_edge(line) for line in chart.splitlines() if line.strip()]
    table = [
        (move, str(row.source or "[*]"), str(row.target or "[*]"), frozenset(map(str, row.reasons)))
        for move, rows in TRANSITIONS.items()
        for row in rows
    ]
    assert sorted(drawn, key=repr) == sorted(table, key=repr)


def _edge(line: str) -> Edge:
    found = re.fullmatch(r"\s*(\S+) --> (\S+): (\w+)(?: as (.+))?", line)
    assert found, f"no edge: {line}"
    source, target, move, reasons = found.groups()
    return move, source, target, frozenset(reasons.split(", ") if reasons else ())
