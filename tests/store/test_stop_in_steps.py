"""Executions of many runs are stopped in small steps, and to the end, whoever began it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from scheduler.loop import Loop
from shared import ops
from shared.runs import Reason, Status
from shared.store import executions, fleet, runs
from tests.store.checking import check_store
from tests.store.desk import Desk

MANY = 250
STEP = 100


def begun(desk: Desk) -> UUID:
    """An execution of many runs, the oldest three of which run."""
    desk.task(max_concurrent=1, on_overlap="kill", retry_attempts=3, retry_delay_ms=(0,))
    run = desk.run(ops.trigger(ops.Catalog(), "a", ops.Request(replicas=MANY))).run
    for _ in range(3):
        desk.claimed()
    return run.execution_id


def by_another(desk: Desk, large: UUID) -> None:
    desk.trigger()


def by_a_person_who_died(desk: Desk, large: UUID) -> None:
    desk.run(runs.stop_all("", large, "stop", "stopped by ada"))
    assert desk.run(fleet.pulse("s")).stopping == 0, "it may still go on with it"
    desk.pass_s(1.1)


def stopped(desk: Desk, large: UUID) -> int:
    """How many of its runs have ended, or were asked to end."""
    found = [desk.record(run.id) for run in desk.run(runs.execution_runs(large))]
    return sum(record.reason == Reason.STOPPED or record.stop_request == "stop" for record in found)


def led(desk: Desk, large: UUID) -> None:
    """A leader's rounds, for as long as it has something to do; on a machine that is not busy that is one."""
    loop = Loop(desk, "s")
    for _ in range(3):
        loop.tick()
        if stopped(desk, large) == MANY and not desk.run(fleet.pulse("s")).stopping:
            break
        desk.pass_s(1.1)


@pytest.mark.parametrize("begin", [by_another, by_a_person_who_died])
def test_what_one_step_left_the_leader_stops(desk: Desk, begin: Callable[[Desk, UUID], None]) -> None:
    large = begun(desk)
    begin(desk, large)
    assert stopped(desk, large) == STEP
    check_store(desk)
    led(desk, large)
    assert stopped(desk, large) == MANY
    assert {desk.state(run.id) for run in desk.run(runs.execution_runs(large))} == {"stopped", "running"}
    check_store(desk)
    assert desk.run(fleet.pulse("s")).stopping == 0


def test_who_took_its_place_starts_when_all_of_it_is_over(desk: Desk) -> None:
    large = begun(desk)
    held = [run for run in desk.run(runs.execution_runs(large)) if run.status is Status.RUNNING]
    newer = desk.trigger()
    led(desk, large)
    for number, run in enumerate(held):
        assert desk.claim() is None, f"{number} of its runs have ended"
        desk.run(runs.end(run.id, desk.record(run.id).token, Reason.STOPPED, 143, ""))
    assert desk.claimed().id == newer.id
    check_store(desk)


def test_a_person_stops_all_of_it_and_is_told_how_many(desk: Desk) -> None:
    large = begun(desk)
    assert desk.run(ops.stop_execution(large)) == MANY
    assert stopped(desk, large) == MANY
    assert desk.run(ops.stop_execution(large)) == 0
    check_store(desk)


def test_a_retry_that_is_made_between_two_steps_is_stopped_too(desk: Desk) -> None:
    large = begun(desk)
    first = desk.run(runs.execution_runs(large))[0]
    assert first.status is Status.RUNNING
    entry = desk.entry("a")
    record = desk.record(first.id)
    _, left, _ = desk.run(runs.stop_all("", large, "stop", "stopped by ada"))
    retry = ops.next_attempt(first.id, record, entry.task, Reason.FAILED, 1)
    desk.run(runs.end(first.id, record.token, Reason.FAILED, 1, "", retry=retry))
    assert len(desk.run(runs.execution_runs(large))) == MANY + 1
    assert left
    desk.run(ops.stop_rest(large))
    assert stopped(desk, large) == MANY, "all but the one that had failed"
    check_store(desk)


def test_who_asks_to_kill_is_not_outdone_by_an_earlier_wish_to_stop(desk: Desk) -> None:
    large = begun(desk)
    desk.run(runs.stop_all("", large, "stop", "stopped by ada"))
    desk.run(ops.stop_execution(large, force=True))
    running = [run.id for run in desk.run(runs.execution_runs(large)) if run.status is Status.RUNNING]
    assert [desk.record(one).stop_request for one in running] == ["kill"] * 3
    check_store(desk)


def test_a_wish_to_stop_does_not_soften_a_kill_that_is_under_way(desk: Desk) -> None:
    large = begun(desk)
    desk.run(runs.stop_all("", large, "kill", "stopped by ada"))
    desk.run(ops.stop_execution(large))
    running = [run.id for run in desk.run(runs.execution_runs(large)) if run.status is Status.RUNNING]
    assert [desk.record(one).stop_request for one in running] == ["kill"] * 3
    check_store(desk)


def test_asking_to_stop_what_was_asked_to_be_killed_comes_to_an_end(desk: Desk) -> None:
    desk.task()
    held = desk.started()
    assert desk.run(ops.stop_execution(held.id, force=True)) == 1
    assert desk.run(ops.stop_execution(held.id)) == 0
    assert desk.run(ops.stop_task("a")) == 0
    assert desk.record(held.id).stop_request == "kill"


def test_it_is_over_in_the_middle_of_a_step_and_leaves_nothing(desk: Desk) -> None:
    desk.task()
    run = desk.run(ops.trigger(ops.Catalog(), "a", ops.Request(replicas=MANY))).run
    assert desk.run(ops.stop_execution(run.execution_id)) == MANY
    assert desk.run(runs.is_over(run.execution_id))
    found = desk.run(executions.get(run.execution_id))
    assert found is not None
    assert found.phase == "stopped"
    check_store(desk)
