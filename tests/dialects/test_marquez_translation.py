"""Marquez's words and ours: nothing is left without a translation, and none is lost on the way back."""

from typing import get_args

import pytest

from api.dialects.marquez import mapping
from api.dialects.marquez.mapping import State
from shared.clock import rfc3339
from shared.runs import TRANSITIONS, Reason, Status
from shared.tasks import is_task_name


def test_every_status_and_reason_is_a_state() -> None:
    pairs = [(Status.PENDING, ""), (Status.RUNNING, ""), *((Status.ENDED, reason) for reason in Reason)]
    assert {mapping.state_of(status, reason) for status, reason in pairs} == set(get_args(State))


def test_a_verb_leads_to_the_state_it_is_called_for_by_a_move_of_the_table() -> None:
    wanted = {"start": "RUNNING", "complete": "COMPLETED", "fail": "FAILED", "abort": "ABORTED"}
    for verb, told in mapping.VERBS.items():
        assert mapping.state_of(told.target, told.reason or "") == wanted[verb]
        rows = [row for row in TRANSITIONS["report"] if row.target == told.target]
        assert any(told.reason is None or told.reason in row.reasons for row in rows)


@pytest.mark.parametrize(
    ("event_type", "state"),
    [
        ("START", "RUNNING"),
        ("RUNNING", "RUNNING"),
        ("complete", "COMPLETED"),
        ("Fail", "FAILED"),
        ("PAUSED", "RUNNING"),
        ("ABORT", "ABORTED"),
        ("OTHER", None),
        ("other", None),
        ("", None),
    ],
)
def test_an_event_type_leads_to_a_state_or_to_none(event_type: str, state: str | None) -> None:
    told = mapping.report_of(event_type)
    assert (told and mapping.state_of(told.target, told.reason or "")) == state


@pytest.mark.parametrize("names", [("ns", "job"), ("s3://b/c", "dir/sub job é"), ("a" * 1024, "b" * 1024), ("", "")])
def test_a_job_is_always_the_same_task(names: tuple[str, str]) -> None:
    task = mapping.task_of(*names)
    assert is_task_name(task)
    assert mapping.is_ours(task)
    assert task == mapping.task_of(*names) != mapping.task_of(names[0] + "x", names[1])


@pytest.mark.parametrize(
    ("job", "parent", "full"),
    [
        ("task", "dag", "dag.task"),
        ("dag.task", "dag", "dag.task"),
        ("task", "", "task"),
        ("dag.task", "dag.task", "dag.task"),
        ("same", "same", "same"),
    ],
)
def test_a_child_is_called_after_its_parent(job: str, parent: str, full: str) -> None:
    assert mapping.full_name(job, parent) == full


@pytest.mark.parametrize(
    "name", ["a b", "a\u00a0b", "a\u3000b", "\U0001f468\u200d\U0001f469", "\u202e", "\ue000", "x" * 1024]
)
def test_a_job_may_be_called_by_any_characters(name: str) -> None:
    assert mapping.is_job_name(name)


@pytest.mark.parametrize("name", ["", "x" * 1025, "a\nb", "\x00", "a\x7f", "a\x85b", "a\u2028b", "\ud800"])
def test_but_by_none_that_break_a_line_or_control_something(name: str) -> None:
    assert not mapping.is_job_name(name)


def test_any_text_can_be_a_run_id() -> None:
    text = "870492da-ecfb-4be0-91b9-9a89ddd3db90"
    assert str(mapping.run_id_of(text)) == str(mapping.run_id(text.upper())) == text
    # The MD5 of "hello" with the bits of version 3, as Java's nameUUIDFromBytes makes it.
    assert str(mapping.run_id_of("hello")) == "5d41402a-bc4b-3a76-b971-9d911017c592"
    assert mapping.run_id("hello") is None


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00.000000Z"),
        ("2030-01-01t02:00:00.5+02:00", "2030-01-01T00:00:00.500000Z"),
        ("2030-01-01T10:00:00+10:00[Australia/Sydney]", "2030-01-01T00:00:00.000000Z"),
        ("2030-01-01T00:00:00.123456789Z", "2030-01-01T00:00:00.123456Z"),
        ("2030-01-01T00:00Z", "2030-01-01T00:00:00.000000Z"),
    ],
)
def test_times_are_read_as_java_writes_them(text: str, same: str) -> None:
    assert rfc3339(mapping.instant(text, zone=True)) == same


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2030-01-01",
        "1893456000",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59Z",
        "2030-13-01T00:00Z",
        "0001-01-01T00:00:00+14:00",
        "2030-W01-1T00:00Z",
        "2030-01-01T00:00:00Z; drop",
    ],
)
def test_an_invalid_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        mapping.instant(text, zone=False)


def test_a_zone_may_be_required() -> None:
    assert rfc3339(mapping.instant("2019-05-09T15:17:32", zone=False)) == "2019-05-09T15:17:32.000000Z"
    with pytest.raises(ValueError, match="no time zone"):
        mapping.instant("2019-05-09T15:17:32", zone=True)
