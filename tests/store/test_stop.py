"""A wish to stop: at once for who waits, through the worker for who runs."""

from __future__ import annotations

import pytest

from shared import ops
from shared.errors import NotFound, Refused
from shared.runs import Reason
from shared.store import runs
from tests.store.checking import check_store, dump
from tests.store.desk import Desk, driven


def test_a_waiting_run_has_ended_when_the_call_returns(desk: Desk) -> None:
    desk.task()
    run = desk.trigger()
    stopped = desk.run(ops.stop(str(run.id), by="ada"))
    assert (stopped.end_reason, stopped.exit_code, stopped.message) == (Reason.STOPPED, -1, "stopped by ada")
    assert desk.claim() is None


def test_a_delayed_run_leaves_nothing_behind(desk: Desk) -> None:
    desk.task()
    run = desk.trigger(delay_ms=5000)
    desk.run(ops.stop(str(run.id)))
    assert b"due" not in dump(desk)


def test_a_running_run_is_asked_and_its_worker_woken(desk: Desk) -> None:
    desk.task()
    held = desk.started()
    asked = desk.run(ops.stop("a#1"))
    assert (asked.status, asked.stop_requested) == ("running", True)
    assert len(dump(desk)[b"wake:worker:w"].content) == 1
    assert desk.beat(held) == ["stop"]
    desk.run(ops.stop("a#1", force=True))
    assert desk.beat(held) == ["kill"]
    desk.run(ops.stop("a#1"))
    assert desk.beat(held) == ["kill"], "a wish is not taken back"
    assert len(dump(desk)[b"wake:worker:w"].content) == 1


def test_who_wished_it_is_in_the_message(desk: Desk) -> None:
    desk.task()
    held = desk.started()
    desk.run(ops.stop("a#1", by="ada"))
    desk.end(held, Reason.STOPPED, 143, message="killed by signal 15")
    assert desk.get(held.id).message == "stopped by ada"


def test_an_ended_run_keeps_its_own_result(desk: Desk) -> None:
    desk.task()
    held = desk.started()
    desk.run(ops.stop("a#1"))
    desk.end(held, Reason.SUCCESS, 0, message="")
    assert (desk.get(held.id).end_reason, desk.get(held.id).message is not None) == (Reason.SUCCESS, True)
    with pytest.raises(Refused, match=r"is ended \(success\); it cannot be stopped") as refused:
        desk.run(ops.stop("a#1"))
    assert refused.value.state == Reason.SUCCESS


def test_a_run_nobody_knows_cannot_be_stopped(desk: Desk) -> None:
    with pytest.raises(NotFound):
        desk.run(ops.stop("00000000-0000-7000-8000-000000000000"))


def test_stopping_an_execution_stops_every_live_run_of_it(desk: Desk) -> None:
    desk.task("a", replicas=4)
    desk.trigger()
    other = desk.trigger()
    ended, running = desk.claimed(), desk.claimed()
    desk.end(ended)
    assert desk.run(ops.stop_execution(ended.id)) == 3
    assert desk.beat(running) == ["stop"]
    assert desk.state(other.id) == "pending"
    assert desk.run(ops.stop_execution(ended.id)) == 0, "everything was asked already"


def test_stopping_a_task_stops_the_running_and_the_waiting(desk: Desk) -> None:
    desk.task("a", max_concurrent=1)
    desk.task("b")
    other = desk.trigger("b")
    held = desk.started("a")
    held = held if held.record.task == "a" else desk.claimed()
    waiting = [desk.trigger("a") for _ in range(3)]
    delayed = desk.trigger("a", delay_ms=1000)
    assert desk.run(ops.stop_task("a")) == 5
    assert {desk.state(run.id) for run in [*waiting, delayed]} == {Reason.STOPPED}
    assert desk.beat(held) == ["stop"]
    assert desk.state(other.id) != Reason.STOPPED


def test_stopping_a_long_queue_starts_none_of_it(desk: Desk) -> None:
    desk.task("a", max_concurrent=1, max_queued=1000)
    for _ in range(520):
        desk.trigger()
    assert desk.run(ops.stop_task("a")) == 520
    assert desk.claim() is None
    check_store(desk)


@pytest.mark.parametrize("by", ["execution", "task"])
def test_a_large_execution_is_stopped_in_small_steps(desk: Desk, by: str) -> None:
    desk.task(replicas=250)
    desk.task("after", depends_on=("a",))
    run = desk.trigger("after" if by == "task" else "a")
    before = desk.round_trips
    stop = ops.stop_task("after") if by == "task" else ops.stop_execution(run.execution_id)
    assert desk.run(stop) == 250
    assert desk.round_trips - before >= 3
    assert desk.run(runs.is_over(run.execution_id))
    assert desk.claim() is None
    check_store(desk)


def test_a_retry_that_is_made_while_its_execution_is_stopped_is_stopped_too(desk: Desk) -> None:
    entry = desk.task(replicas=150, retry_attempts=1, retry_delay_ms=(0,))
    oldest = desk.started()

    def fail(calls: object) -> None:
        if desk.state(oldest.id) == "running":  # only the newest hundred have heard of it
            desk.fail(oldest, entry)

    driven(desk, ops.stop_execution(oldest.id), after=fail)
    assert desk.run(runs.is_over(oldest.id))
    check_store(desk)
