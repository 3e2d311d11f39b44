"""The table of transitions, and the public face of a stored record."""

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from shared.clock import to_datetime
from shared.runs import FIELDS, TRANSITIONS, Reason, Record, Run, Status, to_run

ID = UUID("0190a1b2-0000-7000-8000-000000000001")
OTHER = UUID("0190a1b2-0000-7000-8000-000000000002")


def _record(**changes: Any) -> Record:
    return Record(**{"triggered_by": "api", "task": "a", "definition": "", **changes})


def test_an_ended_run_can_only_be_deleted() -> None:
    leaving = [(name, row.target) for name, rows in TRANSITIONS.items() for row in rows if row.source is Status.ENDED]
    assert leaving == [("prune", None)]


def test_an_end_has_a_reason_and_nothing_else_has() -> None:
    for rows in TRANSITIONS.values():
        for row in rows:
            assert bool(row.reasons) == (row.target is Status.ENDED)


def test_every_reason_can_be_reached_and_skipped_only_by_who_never_ran() -> None:
    assert {reason for rows in TRANSITIONS.values() for row in rows for reason in row.reasons} == set(Reason)
    for rows in TRANSITIONS.values():
        for row in rows:
            assert row.source is not Status.RUNNING or Reason.SKIPPED not in row.reasons


def test_only_a_run_that_was_not_started_goes_back() -> None:
    order = [None, Status.PENDING, Status.RUNNING, Status.ENDED]
    for name, rows in TRANSITIONS.items():
        for row in [row for row in rows if name not in ("give_back", "prune")]:
            assert order.index(row.target) >= order.index(row.source)
            assert row.target is not Status.PENDING or row.source is None


def test_what_is_not_known_is_absent() -> None:
    shown = msgspec.to_builtins(to_run(ID, _record()))
    assert None not in shown.values()
    assert set(shown) == {
        "id",
        "task_name",
        "status",
        "exit_code",
        "triggered_by",
        "created_at",
        "replica_index",
        "retry_attempt",
        "execution_id",
        "replica_count",
        "number",
        "queue",
        "priority",
        "log_bytes",
        "log_lines",
        "definition",
    }
    assert shown["execution_id"] == str(ID)


def test_what_is_known_is_shown() -> None:
    record = _record(
        status="ended",
        reason="failed",
        exit_code=3,
        created_us=1_000_000,
        start_us=2_000_000,
        end_us=4_500_999,
        tick_us=1_000_000,
        execution=str(OTHER),
        retry_of=str(OTHER),
        attempt=1,
        worker="w",
        message="m",
        external_id="e",
        params='{"x":1}',
        tags='["t"]',
        labels='{"l":"1"}',
        outputs='{"rows":3}',
        log_truncated=1,
        peak_memory=4096,
        cpu_ms=7,
        stop_request="stop",
    )
    run = to_run(ID, record)
    assert (run.status, run.end_reason, run.exit_code, run.duration_ms) == (Status.ENDED, Reason.FAILED, 3, 2500)
    assert (run.execution_id, run.retry_of_run_id, run.retry_attempt) == (OTHER, OTHER, 1)
    assert (run.created_at, run.scheduled_for) == (to_datetime(1_000_000), to_datetime(1_000_000))
    assert (run.params, run.tags, run.labels, run.outputs) == ({"x": 1}, ["t"], {"l": "1"}, {"rows": 3})
    assert (run.worker, run.message, run.external_execution_id, run.log_truncated) == ("w", "m", "e", True)
    assert (run.peak_memory_bytes, run.cpu_time_ms) == (4096, 7)
    assert run.stop_requested is UNSET, "it is over"


@pytest.mark.parametrize(
    ("changes", "due", "asked"),
    [
        ({"due_us": 5}, True, False),
        ({"due_us": 5, "status": "running"}, True, False),
        ({"status": "running", "stop_request": "kill"}, False, True),
        ({"status": "ended", "reason": "stopped", "stop_request": "stop", "due_us": 5}, True, False),
        ({"status": "ended", "reason": "success"}, False, False),
    ],
)
def test_when_it_was_due_is_kept_and_only_who_runs_was_asked(changes: dict[str, Any], due: bool, asked: bool) -> None:
    run = to_run(ID, _record(**changes))
    assert (run.due_at is not UNSET, run.stop_requested is not UNSET) == (due, asked)


def test_a_run_that_never_started_has_no_duration() -> None:
    run = to_run(ID, _record(status="ended", reason="stopped", end_us=5))
    assert (run.duration_ms, run.start_at, run.end_at) == (UNSET, UNSET, to_datetime(5))


def test_times_are_utc_to_the_microsecond() -> None:
    run = to_run(ID, _record(created_us=1_700_000_000_000_001))
    assert b'"created_at":"2023-11-14T22:13:20.000001Z"' in msgspec.json.encode(run)


@given(status=st.sampled_from(Status), reason=st.sampled_from(Reason), times=st.tuples(*[st.integers(0, 2**52)] * 3))
def test_a_run_survives_the_wire(status: Status, reason: Reason, times: tuple[int, int, int]) -> None:
    created, started, ended = (t % 4_000_000_000_000_000 for t in times)
    record = _record(
        status=status,
        reason=reason if status is Status.ENDED else "",
        created_us=created,
        start_us=started,
        end_us=ended,
    )
    run = to_run(ID, record)
    assert msgspec.json.decode(msgspec.json.encode(run), type=Run) == run


def test_a_record_is_an_array_in_its_documented_order() -> None:
    record = _record(task="x")
    packed = msgspec.msgpack.decode(msgspec.msgpack.encode(record))
    assert dict(zip(FIELDS, packed, strict=True)) == msgspec.structs.asdict(record)
    assert None not in packed


def test_a_record_of_an_older_release_is_read() -> None:
    packed = msgspec.msgpack.decode(msgspec.msgpack.encode(_record()))
    without_the_newest = packed[: FIELDS.index("external")]
    record = msgspec.msgpack.decode(msgspec.msgpack.encode(without_the_newest), type=Record)
    assert (record.external, record.log_first) == (0, 0)


def test_a_record_of_a_newer_release_is_read() -> None:
    packed = msgspec.msgpack.decode(msgspec.msgpack.encode(_record(task="x")))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode([*packed, "new"]), type=Record).task == "x"
