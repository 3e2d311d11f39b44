"""Every fault has a row in ``docs/faults.md``, with a test that exists."""

import re
from pathlib import Path

from docs.generate import faults

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def test_every_row_has_a_test_and_every_test_a_row() -> None:
    rows = re.findall(r"^\| (F\d+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows == [f"F{n}" for n in range(1, 74)]
    assert faults.tests_of_rows().keys() == set(rows)


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", PAGE.read_text("utf-8"))
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


def test_the_slowest_of_several_measurements_is_shown() -> None:
    said = '{"row": "F1", "name": "seen", "value": %s, "bound": 8, "unit": "s"}'
    assert faults.measurements([said % 2, said % 6.5, said % 3]) == {"F1": ("seen ≤ 8 s", "6.50 s")}


def test_what_is_no_time_is_shown_with_its_unit() -> None:
    said = '{"row": "F49", "name": "at once", "value": 14, "bound": 20, "unit": "connections"}'
    assert faults.measurements([said]) == {"F49": ("at once ≤ 20 connections", "14 connections")}
