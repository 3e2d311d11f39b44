"""A wish to stop: at once for who waits, through the worker for who runs."""

import pytest

from shared import ops
from shared.errors import NotFound, Refused
from shared.runs import Reason
from shared.store import runs
from tests.store.consistency import check_store, dump
from tests.store.harness import StoreHarness, driven


def test_a_waiting_run_has_ended_when_the_call_returns(harness: StoreHarness) -> None:
    harness.task()
    run = harness.trigger()
    stopped = harness.run(ops.stop(str(run.id), by="ada"))
    assert (stopped.end_reason, stopped.exit_code, stopped.message) == (Reason.STOPPED, -1, "stopped by ada")
    assert harness.claim() is None


def test_a_delayed_run_leaves_nothing_behind(harness: StoreHarness) -> None:
    harness.task()
    run = harness.trigger(delay_ms=5000)
    harness.run(ops.stop(str(run.id)))
    assert b"due" not in dump(harness)


def test_a_running_run_is_asked_and_its_worker_woken(harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()
    asked = harness.run(ops.stop("a#1"))
    assert (asked.status, asked.stop_requested) == ("running", True)
    assert len(dump(harness)[b"wake:worker:w"].content) == 1
    assert harness.heartbeat(held) == ["stop"]
    harness.run(ops.stop("a#1", force=True))
    assert harness.heartbeat(held) == ["kill"]
    harness.run(ops.stop("a#1"))
    assert harness.heartbeat(held) == ["kill"], "a wish is not taken back"
    assert len(dump(harness)[b"wake:worker:w"].content) == 1


def test_the_message_names_who_requested_it(harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()
    harness.run(ops.stop("a#1", by="ada"))
    harness.end(held, Reason.STOPPED, 143, message="killed by signal 15")
    assert harness.get(held.id).message == "stopped by ada"


def test_an_ended_run_keeps_its_own_result(harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()
    harness.run(ops.stop("a#1"))
    harness.end(held, Reason.SUCCESS, 0, message="")
    assert (harness.get(held.id).end_reason, harness.get(held.id).message is not None) == (Reason.SUCCESS, True)
    with pytest.raises(Refused, match=r"is ended \(success\); it cannot be stopped") as refused:
        harness.run(ops.stop("a#1"))
    assert refused.value.state == Reason.SUCCESS


def test_an_unknown_run_cannot_be_stopped(harness: StoreHarness) -> None:
    with pytest.raises(NotFound):
        harness.run(ops.stop("00000000-0000-7000-8000-000000000000"))


def test_stopping_an_execution_stops_every_live_run_of_it(harness: StoreHarness) -> None:
    harness.task("a", replicas=4)
    harness.trigger()
    other = harness.trigger()
    ended, running = harness.claimed(), harness.claimed()
    harness.end(ended)
    assert harness.run(ops.stop_execution(ended.id)) == 3
    assert harness.heartbeat(running) == ["stop"]
    assert harness.state(other.id) == "pending"
    assert harness.run(ops.stop_execution(ended.id)) == 0, "everything was asked already"


def test_stopping_a_task_stops_the_running_and_the_waiting(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1)
    harness.task("b")
    other = harness.trigger("b")
    held = harness.started("a")
    held = held if held.record.task == "a" else harness.claimed()
    waiting = [harness.trigger("a") for _ in range(3)]
    delayed = harness.trigger("a", delay_ms=1000)
    assert harness.run(ops.stop_task("a")) == 5
    assert {harness.state(run.id) for run in [*waiting, delayed]} == {Reason.STOPPED}
    assert harness.heartbeat(held) == ["stop"]
    assert harness.state(other.id) != Reason.STOPPED


def test_stopping_a_long_queue_starts_none_of_it(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1, max_queued=1000)
    for _ in range(520):
        harness.trigger()
    assert harness.run(ops.stop_task("a")) == 520
    assert harness.claim() is None
    check_store(harness)


@pytest.mark.parametrize("by", ["execution", "task"])
def test_a_large_execution_is_stopped_in_small_steps(harness: StoreHarness, by: str) -> None:
    harness.task(replicas=250)
    harness.task("after", depends_on=("a",))
    run = harness.trigger("after" if by == "task" else "a")
    before = harness.round_trips
    stop = ops.stop_task("after") if by == "task" else ops.stop_execution(run.execution_id)
    assert harness.run(stop) == 250
    assert harness.round_trips - before >= 3
    assert harness.run(runs.is_over(run.execution_id))
    assert harness.claim() is None
    check_store(harness)


def test_a_retry_that_is_made_while_its_execution_is_stopped_is_stopped_too(harness: StoreHarness) -> None:
    entry = harness.task(replicas=150, retry_attempts=1, retry_delay_ms=(0,))
    oldest = harness.started()

    def fail(calls: object) -> None:
        if harness.state(oldest.id) == "running":  # only the newest hundred have heard of it
            harness.fail(oldest, entry)

    driven(harness, ops.stop_execution(oldest.id), after=fail)
    assert harness.run(runs.is_over(oldest.id))
    check_store(harness)
