"""Every fault has a row in ``docs/faults.md`` with a test that exists or the reason why there is none."""

from __future__ import annotations

import re

from tests import faults_table

CURE = "write the page again: python -m tests.faults_table"


def test_every_row_has_a_test_or_a_reason() -> None:
    tests = faults_table.tests_of_rows()
    assert list(faults_table.FAULTS) == [f"F{n}" for n in range(1, 74)]
    assert [row for row in faults_table.FAULTS if (row in tests) == (row in faults_table.UNTESTED)] == []


def test_every_test_names_rows_that_there_are() -> None:
    assert faults_table.tests_of_rows().keys() <= faults_table.FAULTS.keys()


def test_the_page_is_what_the_tests_say() -> None:
    text = faults_table.PAGE.read_text("utf-8")
    assert text == faults_table.page(faults_table.kept(text)), CURE


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", faults_table.PAGE.read_text("utf-8"))
    assert [link for link in links if not (faults_table.PAGE.parent / link).exists()] == []


def test_of_several_measurements_the_slowest_is_shown() -> None:
    said = '{"row": "F1", "name": "seen", "value": %s, "bound": 8, "unit": "s"}'
    assert faults_table.measurements([said % 2, said % 6.5, said % 3]) == {"F1": ("seen ≤ 8 s", "6.50 s")}


def test_what_is_no_time_is_shown_with_its_unit() -> None:
    said = '{"row": "F49", "name": "at once", "value": 14, "bound": 20, "unit": "connections"}'
    assert faults_table.measurements([said]) == {"F49": ("at once ≤ 20 connections", "14 connections")}
