"""
The tests of each fault in ``docs/faults.md``, and what was measured.

A test covers the rows that its docstring begins with, as in ``F8, F9: …``.
"""

import ast
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_ROWS_OF_A_TEST: Final = re.compile(r"(F\d+(?:, F\d+)*): \S")


def tests_of_rows() -> dict[str, list[str]]:
    """Row → the tests whose docstring begins with it, as ``path::name``, sorted."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                said = _ROWS_OF_A_TEST.match(ast.get_docstring(node) or "")
                for row in said[1].split(", ") if said else ():
                    found.setdefault(row, []).append(f"{path.relative_to(ROOT).as_posix()}::{node.name}")
    return {row: sorted(tests) for row, tests in found.items()}


def measurements(lines: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Row → (bounds, measured values) as the page shows them, the worst of each name, from lines of JSON."""
    worst: dict[str, dict[str, tuple[float, float, str]]] = {}
    for line in lines:
        one = json.loads(line)
        of_row = worst.setdefault(one["row"], {})
        if one["name"] not in of_row or one["value"] > of_row[one["name"]][0]:
            of_row[one["name"]] = (one["value"], one["bound"], one["unit"])
    return {
        row: (
            "<br>".join(f"{name} ≤ {bound:g} {unit}" for name, (_, bound, unit) in sorted(names.items())),
            "<br>".join(
                f"{value:.{2 * (unit == 's')}f} {unit}".rstrip() for _, (value, _, unit) in sorted(names.items())
            ),
        )
        for row, names in worst.items()
    }


def faults_table(old: str, new: Iterable[str] = ()) -> str:
    """
    The rows with their tests anew. The numbers of one stay as in *old* where *new* (lines of JSON) has no measurement;
    everything else is written by hand.
    """
    measured, tests = measurements(new), tests_of_rows()
    heading, rows = old.splitlines()[:2], old.splitlines()[2:]
    for number, line in enumerate(rows):
        row, fault, holds, _, bound, value = (cell.strip() for cell in line.strip("|").split("|"))
        links = "<br>".join(_link(test) for test in tests.get(row, [])) or "–"
        rows[number] = f"| {' | '.join([row, fault, holds, links, *measured.get(row, (bound, value))])} |"
    return "\n".join([*heading, *rows, ""])


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[{name.removeprefix('test_').replace('_', ' ')}](../{path})"
