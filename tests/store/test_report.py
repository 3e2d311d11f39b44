"""Runs that others execute: what they report, when it was, and what becomes of one that falls silent."""

from __future__ import annotations

from typing import Any

import pytest

from shared import ops
from shared.errors import NotFound
from shared.ids import new_id
from shared.runs import Reason, Run
from shared.store import creation, fleet, metadata, runs
from shared.store.metadata import Annex
from shared.store.origin import Origin
from shared.tasks import Task
from tests.store.checking import check_store, dump
from tests.store.desk import SECOND, START, Desk


def external(desk: Desk, **settings: Any) -> Run:
    """A pending run of task ``ext``."""
    desk.task("ext", run=None, external=True, **settings)
    return desk.trigger("ext")


def report(desk: Desk, run: Run, target: Any, **details: Any) -> runs.Reported:
    return desk.run(ops.report(desk.catalog, run.id, target, **details))


def test_nobody_here_claims_it(desk: Desk) -> None:
    external(desk)
    assert desk.claim() is None
    check_store(desk)


def test_times_are_those_reported_as_far_as_they_can_be_true(desk: Desk) -> None:
    run = external(desk)
    desk.pass_s(10)
    report(desk, run, "running", at_us=START + 2 * SECOND)
    report(desk, run, "ended", reason=Reason.SUCCESS, at_us=START + 5 * SECOND)
    assert desk.get(run.id).duration_ms == 3000

    early = desk.trigger("ext")
    report(desk, early, "running", at_us=1)
    assert desk.record(early.id).start_us == desk.record(early.id).created_us
    report(desk, early, "ended", reason=Reason.FAILED, at_us=desk.now + 3600 * SECOND)
    assert desk.record(early.id).end_us == desk.now
    check_store(desk)


def test_an_end_is_never_before_its_start(desk: Desk) -> None:
    run = external(desk)
    desk.pass_s(10)
    report(desk, run, "running", at_us=START + 8 * SECOND)
    report(desk, run, "ended", reason=Reason.SUCCESS, at_us=START + 5 * SECOND)
    assert desk.get(run.id).duration_ms == 0


def test_the_earliest_start_counts(desk: Desk) -> None:
    run = external(desk)
    desk.pass_s(10)
    for at_s, start_s in ((5, 5), (7, 5), (3, 3)):
        report(desk, run, "running", at_us=START + at_s * SECOND)
        assert desk.record(run.id).start_us == START + start_s * SECOND
    check_store(desk)


def test_a_start_that_comes_after_the_end_is_filled_in_only_when_that_is_wanted(desk: Desk) -> None:
    run = external(desk)
    desk.pass_s(10)
    report(desk, run, "ended", reason=Reason.SUCCESS, at_us=START + 8 * SECOND)
    late = report(desk, run, "running", at_us=START + 2 * SECOND)
    assert (late.verdict, late.state) == ("refused", "success")
    late = report(desk, run, "running", at_us=START + 2 * SECOND, late_start=True)
    assert (late.verdict, desk.get(run.id).duration_ms) == ("same", 6000)
    report(desk, run, "running", at_us=START + 1 * SECOND, late_start=True)
    assert desk.get(run.id).duration_ms == 6000
    check_store(desk)


def test_what_was_heard_of_late_is_believed(desk: Desk) -> None:
    run = external(desk)
    told = {"backdated": True, "late_start": True}
    desk.pass_s(10)
    report(desk, run, "ended", reason=Reason.SUCCESS, at_us=START - 10 * SECOND, **told)
    for at_s, start_s in ((-20, -20), (-15, -20), (-30, -30), (5, -30)):
        report(desk, run, "running", at_us=START + at_s * SECOND, **told)
        assert desk.record(run.id).start_us == START + start_s * SECOND
        check_store(desk)
    assert desk.get(run.id).duration_ms == 20_000


def test_another_system_may_name_the_run(desk: Desk) -> None:
    entry = desk.task("ext", run=None, external=True)
    chosen = new_id(START)
    origin = Origin(run_id=chosen, metadata={"x.a": b"1"}, nominal_us=START + SECOND)
    request = ops.Request(origin=origin, triggered_by="cloud")
    made = desk.run(ops.trigger(desk.catalog, entry.name, request))
    assert (made.run.id, made.repeated) == (chosen, False)
    assert desk.record(chosen).tick_us == START + SECOND
    assert desk.run(metadata.read(chosen)) == {"x.a": b"1"}
    assert desk.run(ops.trigger(desk.catalog, entry.name, request)).repeated
    check_store(desk)


def test_one_that_is_not_due_does_not_run(desk: Desk) -> None:
    desk.task("ext", run=None, external=True)
    run = desk.trigger("ext", delay_ms=5000)
    assert report(desk, run, "running").state == "waiting"
    desk.pass_s(6)
    desk.run(ops.release())
    assert report(desk, run, "running").verdict == "moved"
    check_store(desk)


def test_one_that_an_overlap_rule_holds_back_does_not_run_unless_forced(desk: Desk) -> None:
    first = external(desk, max_concurrent=1)
    second, third = desk.trigger("ext"), desk.trigger("ext")
    report(desk, first, "running")
    assert report(desk, second, "running").state == "waiting"
    assert desk.run(runs.report(third.id, "running", force=True)).verdict == "moved"
    report(desk, first, "ended", reason=Reason.SUCCESS)
    assert report(desk, second, "running").verdict == "moved"
    check_store(desk)


def test_a_silent_one_crashes_when_its_task_says_so(desk: Desk) -> None:
    run = external(desk, heartbeat_timeout_ms=30_000)
    report(desk, run, "running")
    desk.pass_s(20)
    assert report(desk, run, "running").verdict == "same"
    for passed_s in range(1, 32):
        desk.pass_s(1)
        expired = [run_id for run_id, _ in desk.run(fleet.pulse("s")).expired]
        assert expired == ([run.id] if passed_s >= 30 else [])
    desk.rescue(run.id, desk.entry("ext"))
    crashed = desk.get(run.id)
    assert (crashed.end_reason, crashed.exit_code) == (Reason.CRASHED, -2)
    assert crashed.message == "crashed: nobody reported on it within 30s (heartbeat_timeout)"
    assert report(desk, run, "ended", reason=Reason.SUCCESS).verdict == "refused"
    check_store(desk)


def test_a_stop_ends_it_at_once_unless_its_reporter_can_hear_of_it(desk: Desk) -> None:
    deaf = external(desk)
    report(desk, deaf, "running")
    stopped = desk.run(ops.stop(str(deaf.id)))
    assert (stopped.end_reason, stopped.exit_code) == (Reason.STOPPED, -2)

    hearing = external(desk, heartbeat_timeout_ms=30_000)
    report(desk, hearing, "running")
    assert desk.run(ops.stop(str(hearing.id), by="ada")).stop_requested is True
    assert report(desk, hearing, "running").stop_request == "stop"
    report(desk, hearing, "ended", reason=Reason.STOPPED, message="as you wish")
    assert desk.get(hearing.id).message == "stopped by ada"

    forced = desk.trigger("ext")
    report(desk, forced, "running")
    assert desk.run(ops.stop(str(forced.id), force=True)).end_reason == Reason.STOPPED
    assert not [key for key in dump(desk) if key.startswith(b"wake:worker:")]
    check_store(desk)


def test_its_end_lets_the_next_execution_start(desk: Desk) -> None:
    desk.task("work", limits={"db": 1})
    run = external(desk, limits={"db": 1})
    desk.trigger("work")
    assert desk.claim() is None
    reported = report(desk, run, "ended", reason=Reason.FAILED, exit_code=3, message="no luck", outputs={"rows": 7})
    assert reported.ready == {"default": 1}
    ended = desk.get(run.id)
    assert (ended.exit_code, ended.message, ended.outputs) == (3, "no luck", {"rows": 7})
    assert desk.claim() is not None


def test_a_report_on_nothing_is_not_found(desk: Desk) -> None:
    with pytest.raises(NotFound, match="there is no run"):
        desk.run(ops.report(desk.catalog, new_id(START), "running"))
    assert desk.run(runs.report(new_id(START), "running")).verdict == "gone"


def test_an_annex_is_written_with_the_move_or_not_at_all(desk: Desk) -> None:
    run = external(desk)
    note = Annex(run.id, {"x.state": b"one"})
    assert desk.run(runs.report(run.id, "running", annex=note)).verdict == "moved"
    clash = Annex(run.id, {"x.state": b"two"}, expect=("x.state", b"other"))
    assert desk.run(runs.report(run.id, "ended", reason=Reason.SUCCESS, annex=clash)).verdict == "conflict"
    assert desk.state(run.id) == "running"
    fits = Annex(run.id, {"x.state": b"two", "x.more": b""}, expect=("x.state", b"one"))
    assert desk.run(metadata.write(fits))
    assert desk.run(metadata.write(fits)), "it comes again when its answer was lost"
    late = Annex(run.id, {"x.state": b"three", "x.more": b""}, expect=("x.state", b"one"))
    assert not desk.run(metadata.write(late))
    assert not desk.run(metadata.write(Annex(new_id(START), {"x.state": b""})))
    assert desk.run(metadata.read_many([run.id])) == [{"x.state": b"two"}]
    check_store(desk)


def test_an_annex_goes_with_its_run(desk: Desk) -> None:
    entry = desk.task("ext", run=None, external=True)
    what = ops.creation(entry, ops.Request(origin=Origin(metadata={"x.a": b"1"})), desk.now)
    first = what.ids[0]
    desk.run(creation.create(what))
    assert desk.run(metadata.read(first)) == {"x.a": b"1"}
    desk.run(runs.report(first, "ended", reason=Reason.SUCCESS))
    desk.run(ops.delete(str(first)))
    assert desk.run(metadata.read(first)) == {}
    check_store(desk)


def test_naming_an_external_task_declares_it_but_never_over_one_of_the_file(desk: Desk) -> None:
    file = desk.task("mine", description="of the file")
    catalog = ops.Catalog()
    kept = desk.run(ops.declare(catalog, Task(name="mine", external=True)))
    assert kept.definition == file.definition
    made = desk.run(ops.declare(catalog, Task(name="theirs", external=True)))
    assert (made.source, made.task.external) == ("api", True)
    changed = desk.run(ops.declare(catalog, Task(name="theirs", external=True, description="new")))
    assert changed.task.description == "new"
    desk.apply()
    assert desk.entry("theirs").definition == changed.definition
    with pytest.raises(ValueError, match="is not external"):
        desk.run(ops.declare(catalog, Task(name="runs", run="true")))
    check_store(desk)
