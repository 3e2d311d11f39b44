"""Executions of many runs are stopped in small steps, and to the end, whoever began it."""

from collections.abc import Callable
from uuid import UUID

import pytest

from scheduler.loop import Loop
from shared import ops
from shared.runs import Reason, Status
from shared.store import executions, leadership, runs, stops
from tests.store.consistency import check_store
from tests.store.harness import StoreHarness

MANY = 250
STEP = 100


def begun(harness: StoreHarness) -> UUID:
    """An execution of many runs, the oldest three of which run."""
    harness.task(max_concurrent=1, on_overlap="kill", retry_attempts=3, retry_delay_ms=(0,))
    run = harness.run(ops.trigger(ops.Catalog(), "a", ops.Request(replicas=MANY))).run
    for _ in range(3):
        harness.claimed()
    return run.execution_id


def by_another(harness: StoreHarness, large: UUID) -> None:
    harness.trigger()


def by_a_person_who_died(harness: StoreHarness, large: UUID) -> None:
    harness.run(stops.stop_all("", large, "stop", "stopped by ada"))
    assert harness.run(leadership.poll("s")).stopping == 0, "it may still go on with it"
    harness.pass_s(1.1)


def stopped(harness: StoreHarness, large: UUID) -> int:
    """How many of its runs have ended, or were asked to end."""
    found = [harness.record(run.id) for run in harness.run(runs.execution_runs(large))]
    return sum(record.reason == Reason.STOPPED or record.stop_request == "stop" for record in found)


def led(harness: StoreHarness, large: UUID) -> None:
    """A leader's rounds, for as long as it has something to do; on a machine that is not busy that is one."""
    loop = Loop(harness, "s")
    for _ in range(3):
        loop.tick()
        if stopped(harness, large) == MANY and not harness.run(leadership.poll("s")).stopping:
            break
        harness.pass_s(1.1)


@pytest.mark.parametrize("begin", [by_another, by_a_person_who_died])
def test_what_one_step_left_the_leader_stops(
    harness: StoreHarness, begin: Callable[[StoreHarness, UUID], None]
) -> None:
    large = begun(harness)
    begin(harness, large)
    assert stopped(harness, large) == STEP
    check_store(harness)
    led(harness, large)
    assert stopped(harness, large) == MANY
    assert {harness.state(run.id) for run in harness.run(runs.execution_runs(large))} == {"stopped", "running"}
    check_store(harness)
    assert harness.run(leadership.poll("s")).stopping == 0


def test_the_replacing_execution_starts_when_all_of_the_old_one_is_over(harness: StoreHarness) -> None:
    large = begun(harness)
    held = [run for run in harness.run(runs.execution_runs(large)) if run.status is Status.RUNNING]
    newer = harness.trigger()
    led(harness, large)
    for number, run in enumerate(held):
        assert harness.claim() is None, f"{number} of its runs have ended"
        harness.run(runs.end(run.id, harness.record(run.id).token, Reason.STOPPED, 143, ""))
    assert harness.claimed().id == newer.id
    check_store(harness)


def test_a_stop_of_an_execution_returns_how_many_runs_it_stopped(harness: StoreHarness) -> None:
    large = begun(harness)
    assert harness.run(ops.stop_execution(large)) == MANY
    assert stopped(harness, large) == MANY
    assert harness.run(ops.stop_execution(large)) == 0
    check_store(harness)


def test_a_retry_that_is_made_between_two_steps_is_stopped_too(harness: StoreHarness) -> None:
    large = begun(harness)
    first = harness.run(runs.execution_runs(large))[0]
    assert first.status is Status.RUNNING
    entry = harness.entry("a")
    record = harness.record(first.id)
    _, left, _ = harness.run(stops.stop_all("", large, "stop", "stopped by ada"))
    retry = ops.next_attempt(first.id, record, entry.task, Reason.FAILED, 1)
    harness.run(runs.end(first.id, record.token, Reason.FAILED, 1, "", retry=retry))
    assert len(harness.run(runs.execution_runs(large))) == MANY + 1
    assert left
    harness.run(ops.stop_rest(large))
    assert stopped(harness, large) == MANY, "all but the one that had failed"
    check_store(harness)


def test_a_kill_overrides_an_earlier_stop_request(harness: StoreHarness) -> None:
    large = begun(harness)
    harness.run(stops.stop_all("", large, "stop", "stopped by ada"))
    harness.run(ops.stop_execution(large, force=True))
    running = [run.id for run in harness.run(runs.execution_runs(large)) if run.status is Status.RUNNING]
    assert [harness.record(one).stop_request for one in running] == ["kill"] * 3
    check_store(harness)


def test_a_stop_request_does_not_soften_a_kill_that_is_under_way(harness: StoreHarness) -> None:
    large = begun(harness)
    harness.run(stops.stop_all("", large, "kill", "stopped by ada"))
    harness.run(ops.stop_execution(large))
    running = [run.id for run in harness.run(runs.execution_runs(large)) if run.status is Status.RUNNING]
    assert [harness.record(one).stop_request for one in running] == ["kill"] * 3
    check_store(harness)


def test_asking_to_stop_what_was_asked_to_be_killed_comes_to_an_end(harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()
    assert harness.run(ops.stop_execution(held.id, force=True)) == 1
    assert harness.run(ops.stop_execution(held.id)) == 0
    assert harness.run(ops.stop_task("a")) == 0
    assert harness.record(held.id).stop_request == "kill"


def test_it_is_over_in_the_middle_of_a_step_and_leaves_nothing(harness: StoreHarness) -> None:
    harness.task()
    run = harness.run(ops.trigger(ops.Catalog(), "a", ops.Request(replicas=MANY))).run
    assert harness.run(ops.stop_execution(run.execution_id)) == MANY
    assert harness.run(runs.is_over(run.execution_id))
    found = harness.run(executions.get(run.execution_id))
    assert found is not None
    assert found.phase == "stopped"
    check_store(harness)
