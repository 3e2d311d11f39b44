"""Runs that others execute: what they report, when it was, and what becomes of one that falls silent."""

from typing import Any

import pytest

from shared import ops
from shared.errors import NotFound
from shared.ids import new_id
from shared.runs import Reason, Run
from shared.store import creation, leadership, metadata, runs
from shared.store.metadata import MetadataChange
from shared.store.origin import Origin
from shared.tasks import Task
from tests.store.consistency import check_store, dump
from tests.store.harness import SECOND, START, StoreHarness


def external(harness: StoreHarness, **settings: Any) -> Run:
    """A pending run of task ``ext``."""
    harness.task("ext", run=None, external=True, **settings)
    return harness.trigger("ext")


def report(harness: StoreHarness, run: Run, target: Any, **details: Any) -> runs.Reported:
    return harness.run(ops.report(harness.catalog, run.id, target, **details))


def test_no_worker_claims_it(harness: StoreHarness) -> None:
    external(harness)
    assert harness.claim() is None
    check_store(harness)


def test_times_are_those_reported_as_far_as_they_can_be_true(harness: StoreHarness) -> None:
    run = external(harness)
    harness.pass_s(10)
    report(harness, run, "running", at_us=START + 2 * SECOND)
    report(harness, run, "ended", reason=Reason.SUCCESS, at_us=START + 5 * SECOND)
    assert harness.get(run.id).duration_ms == 3000

    early = harness.trigger("ext")
    report(harness, early, "running", at_us=1)
    assert harness.record(early.id).start_us == harness.record(early.id).created_us
    report(harness, early, "ended", reason=Reason.FAILED, at_us=harness.now + 3600 * SECOND)
    assert harness.record(early.id).end_us == harness.now
    check_store(harness)


def test_an_end_is_never_before_its_start(harness: StoreHarness) -> None:
    run = external(harness)
    harness.pass_s(10)
    report(harness, run, "running", at_us=START + 8 * SECOND)
    report(harness, run, "ended", reason=Reason.SUCCESS, at_us=START + 5 * SECOND)
    assert harness.get(run.id).duration_ms == 0


def test_the_earliest_start_counts(harness: StoreHarness) -> None:
    run = external(harness)
    harness.pass_s(10)
    for at_s, start_s in ((5, 5), (7, 5), (3, 3)):
        report(harness, run, "running", at_us=START + at_s * SECOND)
        assert harness.record(run.id).start_us == START + start_s * SECOND
    check_store(harness)


def test_a_start_that_comes_after_the_end_is_filled_in_only_when_that_is_wanted(harness: StoreHarness) -> None:
    run = external(harness)
    harness.pass_s(10)
    report(harness, run, "ended", reason=Reason.SUCCESS, at_us=START + 8 * SECOND)
    late = report(harness, run, "running", at_us=START + 2 * SECOND)
    assert (late.verdict, late.state) == ("refused", "success")
    late = report(harness, run, "running", at_us=START + 2 * SECOND, late_start=True)
    assert (late.verdict, harness.get(run.id).duration_ms) == ("same", 6000)
    report(harness, run, "running", at_us=START + 1 * SECOND, late_start=True)
    assert harness.get(run.id).duration_ms == 6000
    check_store(harness)


def test_a_late_report_is_accepted(harness: StoreHarness) -> None:
    run = external(harness)
    told = {"backdated": True, "late_start": True}
    harness.pass_s(10)
    report(harness, run, "ended", reason=Reason.SUCCESS, at_us=START - 10 * SECOND, **told)
    for at_s, start_s in ((-20, -20), (-15, -20), (-30, -30), (5, -30)):
        report(harness, run, "running", at_us=START + at_s * SECOND, **told)
        assert harness.record(run.id).start_us == START + start_s * SECOND
        check_store(harness)
    assert harness.get(run.id).duration_ms == 20_000


def test_one_that_is_due_does_not_run_before_its_limit_lets_it_through(harness: StoreHarness) -> None:
    harness.task("ext", run=None, external=True, max_concurrent=1)
    later = harness.trigger("ext", delay_ms=5000)
    report(harness, harness.trigger("ext"), "running")
    harness.pass_s(6)
    assert report(harness, later, "running").state == "waiting"
    harness.run(ops.enqueue_due())
    assert report(harness, later, "running").state == "waiting"
    assert harness.state(later.id) == "pending"


def test_another_system_may_name_the_run(harness: StoreHarness) -> None:
    entry = harness.task("ext", run=None, external=True)
    chosen = new_id(START)
    origin = Origin(run_id=chosen, metadata={"x.a": b"1"}, nominal_us=START + SECOND)
    request = ops.Request(origin=origin, triggered_by="cloud")
    made = harness.run(ops.trigger(harness.catalog, entry.name, request))
    assert (made.run.id, made.repeated) == (chosen, False)
    assert harness.record(chosen).tick_us == START + SECOND
    assert harness.run(metadata.read(chosen)) == {"x.a": b"1"}
    assert harness.run(ops.trigger(harness.catalog, entry.name, request)).repeated
    check_store(harness)


def test_one_that_is_not_due_does_not_run(harness: StoreHarness) -> None:
    harness.task("ext", run=None, external=True)
    run = harness.trigger("ext", delay_ms=5000)
    assert report(harness, run, "running").state == "waiting"
    harness.pass_s(6)
    harness.run(ops.enqueue_due())
    assert report(harness, run, "running").verdict == "changed"
    check_store(harness)


def test_one_that_an_overlap_rule_holds_back_does_not_run_unless_forced(harness: StoreHarness) -> None:
    first = external(harness, max_concurrent=1)
    second, third = harness.trigger("ext"), harness.trigger("ext")
    report(harness, first, "running")
    assert report(harness, second, "running").state == "waiting"
    assert harness.run(runs.report(third.id, "running", force=True)).verdict == "changed"
    report(harness, first, "ended", reason=Reason.SUCCESS)
    assert report(harness, second, "running").verdict == "changed"
    check_store(harness)


def test_a_silent_one_crashes_when_its_task_says_so(harness: StoreHarness) -> None:
    run = external(harness, heartbeat_timeout_ms=30_000)
    report(harness, run, "running")
    harness.pass_s(20)
    assert report(harness, run, "running").verdict == "same"
    for passed_s in range(1, 32):
        harness.pass_s(1)
        expired = [run_id for run_id, _ in harness.run(leadership.poll("s")).expired]
        assert expired == ([run.id] if passed_s >= 30 else [])
    harness.rescue(run.id, harness.entry("ext"))
    crashed = harness.get(run.id)
    assert (crashed.end_reason, crashed.exit_code) == (Reason.CRASHED, -2)
    assert crashed.message == "crashed: no report came within 30s (heartbeat_timeout)"
    assert report(harness, run, "ended", reason=Reason.SUCCESS).verdict == "refused"
    check_store(harness)


def test_a_stop_ends_it_at_once_unless_its_reporter_can_hear_of_it(harness: StoreHarness) -> None:
    deaf = external(harness)
    report(harness, deaf, "running")
    stopped = harness.run(ops.stop(str(deaf.id)))
    assert (stopped.end_reason, stopped.exit_code) == (Reason.STOPPED, -2)

    hearing = external(harness, heartbeat_timeout_ms=30_000)
    report(harness, hearing, "running")
    assert harness.run(ops.stop(str(hearing.id), by="ada")).stop_requested is True
    assert report(harness, hearing, "running").stop_request == "stop"
    report(harness, hearing, "ended", reason=Reason.STOPPED, message="as you wish")
    assert harness.get(hearing.id).message == "stopped by ada"

    forced = harness.trigger("ext")
    report(harness, forced, "running")
    assert harness.run(ops.stop(str(forced.id), force=True)).end_reason == Reason.STOPPED
    assert not [key for key in dump(harness) if key.startswith(b"wake:worker:")]
    check_store(harness)


def test_its_end_lets_the_next_execution_start(harness: StoreHarness) -> None:
    harness.task("work", limits={"db": 1})
    run = external(harness, limits={"db": 1})
    harness.trigger("work")
    assert harness.claim() is None
    reported = report(harness, run, "ended", reason=Reason.FAILED, exit_code=3, message="no luck", outputs={"rows": 7})
    assert reported.ready == {"default": 1}
    ended = harness.get(run.id)
    assert (ended.exit_code, ended.message, ended.outputs) == (3, "no luck", {"rows": 7})
    assert harness.claim() is not None


def test_a_report_on_nothing_is_not_found(harness: StoreHarness) -> None:
    with pytest.raises(NotFound, match="there is no run"):
        harness.run(ops.report(harness.catalog, new_id(START), "running"))
    assert harness.run(runs.report(new_id(START), "running")).verdict == "gone"


def test_metadata_is_written_with_the_transition_or_not_at_all(harness: StoreHarness) -> None:
    run = external(harness)
    note = MetadataChange(run.id, {"x.state": b"one"})
    assert harness.run(runs.report(run.id, "running", change=note)).verdict == "changed"
    clash = MetadataChange(run.id, {"x.state": b"two"}, expect=("x.state", b"other"))
    assert harness.run(runs.report(run.id, "ended", reason=Reason.SUCCESS, change=clash)).verdict == "conflict"
    assert harness.state(run.id) == "running"
    fits = MetadataChange(run.id, {"x.state": b"two", "x.more": b""}, expect=("x.state", b"one"))
    assert harness.run(metadata.write(fits))
    assert harness.run(metadata.write(fits)), "it comes again when its answer was lost"
    late = MetadataChange(run.id, {"x.state": b"three", "x.more": b""}, expect=("x.state", b"one"))
    assert not harness.run(metadata.write(late))
    assert not harness.run(metadata.write(MetadataChange(new_id(START), {"x.state": b""})))
    assert harness.run(metadata.read_many([run.id])) == [{"x.state": b"two"}]
    check_store(harness)


def test_metadata_goes_with_its_run(harness: StoreHarness) -> None:
    entry = harness.task("ext", run=None, external=True)
    what = ops.creation(entry, ops.Request(origin=Origin(metadata={"x.a": b"1"})), harness.now)
    first = what.ids[0]
    harness.run(creation.create(what))
    assert harness.run(metadata.read(first)) == {"x.a": b"1"}
    harness.run(runs.report(first, "ended", reason=Reason.SUCCESS))
    harness.run(ops.delete(str(first)))
    assert harness.run(metadata.read(first)) == {}
    check_store(harness)


def test_naming_an_external_task_declares_it_but_never_over_one_of_the_file(harness: StoreHarness) -> None:
    file = harness.task("mine", description="of the file")
    catalog = ops.Catalog()
    kept = harness.run(ops.declare(catalog, Task(name="mine", external=True)))
    assert kept.definition == file.definition
    made = harness.run(ops.declare(catalog, Task(name="theirs", external=True)))
    assert (made.source, made.task.external) == ("api", True)
    changed = harness.run(ops.declare(catalog, Task(name="theirs", external=True, description="new")))
    assert changed.task.description == "new"
    harness.apply()
    assert harness.entry("theirs").definition == changed.definition
    with pytest.raises(ValueError, match="is not external"):
        harness.run(ops.declare(catalog, Task(name="runs", run="true")))
    check_store(harness)
