"""Executions of many runs are made in small steps, and are one from outside all the same."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from shared import ops
from shared.errors import StoreUnavailable
from shared.executions import Phase
from shared.ops.new_execution import creation
from shared.runs import Reason
from shared.store import creation as creating
from shared.store import executions, leadership, runs
from shared.store.creation import create
from shared.store.redis.call import Call
from shared.store.tasks import Entry
from tests.store.consistency import check_store
from tests.store.harness import StoreHarness, driven


def begun(harness: StoreHarness, entry: Entry, replicas: int = 500, **request: object) -> UUID:
    """An execution whose maker died after the first step."""
    wanted = ops.Request(replicas=replicas, **request)  # type: ignore[arg-type]
    made = harness.run(create(creation(entry, wanted, harness.now)))
    assert made.run is not None
    check_store(harness)
    return made.run.execution_id


def count(harness: StoreHarness, execution_id: UUID) -> int:
    return len(harness.run(runs.execution_runs(execution_id)))


def test_a_trigger_makes_all_its_runs(harness: StoreHarness) -> None:
    harness.task()
    run = harness.run(ops.trigger(ops.Catalog(), "a", ops.Request(replicas=1001))).run
    made = harness.run(runs.execution_runs(run.execution_id))
    assert sorted(one.replica_index for one in made) == list(range(1001))
    assert len({one.number for one in made}) == 1001
    assert {one.replica_count for one in made} == {1001}
    check_store(harness)


def test_no_step_makes_more_than_so_many_runs_or_bytes(harness: StoreHarness) -> None:
    entry = harness.task(run=None, call="m:f")
    few = begun(harness, entry, external_execution_id="x" * 100_000)
    assert count(harness, few) == 9
    assert count(harness, begun(harness, entry)) == 200
    assert count(harness, begun(harness, entry, params={"blob": "x" * 100_000})) == 200, "it is in none of the records"
    large = begun(harness, entry, external_execution_id="x" * 250_000, replicas=10)
    assert count(harness, large) == 3
    for made in (6, 9, 10):
        harness.run(creating.create_rest(large))
        assert count(harness, large) == made
    check_store(harness)


def test_runs_that_a_dead_creator_left_are_created_by_the_next(harness: StoreHarness) -> None:
    execution_id = begun(harness, harness.task())
    assert harness.run(leadership.poll("s")).incomplete == 1
    assert harness.run(creating.incomplete(10, harness.now)) == [execution_id]
    assert harness.run(creating.create_rest(execution_id)) == (100, {"default": 200})
    check_store(harness)
    assert harness.run(creating.create_rest(execution_id)) == (0, {"default": 100})
    assert harness.run(creating.create_rest(execution_id)) == (0, {})
    made = harness.run(runs.execution_runs(execution_id))
    assert sorted(one.replica_index for one in made) == list(range(500))
    assert harness.run(leadership.poll("s")).incomplete == 0
    check_store(harness)


def test_it_is_not_over_before_its_last_run_is_made(harness: StoreHarness) -> None:
    execution_id = begun(harness, harness.task(), replicas=201)
    for _ in range(200):
        harness.end(harness.claimed())
    assert not harness.run(runs.is_over(execution_id))
    found = harness.run(executions.get(execution_id))
    assert found is not None
    assert found.phase is Phase.RUNNING
    assert found.steps[0].phase is Phase.RUNNING
    check_store(harness)
    harness.run(creating.create_rest(execution_id))
    harness.end(harness.claimed())
    assert harness.run(runs.is_over(execution_id))
    check_store(harness)


def test_an_execution_that_waits_is_made_when_its_turn_has_come(harness: StoreHarness) -> None:
    entry = harness.task(max_concurrent=1)
    held = harness.started()
    waiting = begun(harness, entry)
    assert harness.run(creating.create_rest(waiting)) == (0, {})
    assert harness.run(creating.incomplete(10, harness.now)) == []
    harness.end(held)
    assert harness.run(creating.incomplete(10, harness.now)) == [waiting]
    assert harness.run(ops.make_all(waiting)) == 2
    assert count(harness, waiting) == 500
    check_store(harness)


def test_a_delayed_execution_is_made_when_it_is_due(harness: StoreHarness) -> None:
    delayed = begun(harness, harness.task(), delay_ms=1000)
    assert harness.run(creating.create_rest(delayed)) == (0, {})
    harness.pass_s(2)
    harness.run(ops.enqueue_due(500))
    harness.run(ops.make_all(delayed))
    assert count(harness, delayed) == 500
    check_store(harness)


@pytest.mark.parametrize("ended", [0, 200])
def test_stopping_an_execution_makes_no_more_of_it(harness: StoreHarness, ended: int) -> None:
    execution_id = begun(harness, harness.task())
    for _ in range(ended):
        harness.end(harness.claimed())
    harness.run(ops.stop_execution(execution_id))
    assert harness.run(runs.is_over(execution_id))
    made = harness.run(runs.execution_runs(execution_id))
    assert len(made) == 201
    assert sum(one.end_reason == Reason.STOPPED for one in made) == 201 - ended
    assert any("300 runs were not made yet" in (one.message or "") for one in made)
    found = harness.run(executions.get(execution_id))
    assert found is not None
    assert found.phase is Phase.STOPPED
    check_store(harness)


def test_stopping_a_task_makes_no_more_runs_of_it(harness: StoreHarness) -> None:
    execution_id = begun(harness, harness.task())
    harness.run(ops.stop_task("a"))
    assert harness.run(runs.is_over(execution_id))
    assert harness.run(creating.create_rest(execution_id)) == (0, {})
    check_store(harness)


def test_a_large_later_group_is_made_in_steps_too(harness: StoreHarness) -> None:
    harness.task("first")
    harness.task("wide", depends_on=("first",), replicas=450)
    harness.task("last", depends_on=("wide",))
    run = harness.run(ops.trigger(ops.Catalog(), "last", ops.Request())).run
    harness.end(harness.claimed())
    assert count(harness, run.execution_id) == 201
    check_store(harness)
    assert harness.run(ops.make_all(run.execution_id)) == 2
    assert count(harness, run.execution_id) == 451
    for _ in range(450):
        harness.end(harness.claimed())
    assert count(harness, run.execution_id) == 452, "the last step follows"
    harness.end(harness.claimed())
    assert harness.run(runs.is_over(run.execution_id))
    check_store(harness)


def test_a_wide_group_of_many_steps_is_made_in_steps_too(harness: StoreHarness) -> None:
    names = [f"s{number}" for number in range(250)]
    for name in names:
        harness.task(name)
    harness.task("all", depends_on=tuple(names))
    run = harness.run(ops.trigger(ops.Catalog(), "all", ops.Request())).run
    assert count(harness, run.execution_id) == 250
    for _ in range(250):
        harness.end(harness.claimed())
    assert count(harness, run.execution_id) == 251
    check_store(harness)


def test_redis_that_goes_away_in_the_middle_loses_nothing(harness: StoreHarness) -> None:
    harness.task()
    steps = []

    def be_away(calls: Sequence[Call[Any]]) -> None:
        if any(getattr(call.what, "name", "") == "create_rest" for call in calls):
            steps.append(calls)
            raise StoreUnavailable("away")

    run = driven(harness, ops.trigger(ops.Catalog(), "a", ops.Request(replicas=500)), be_away).run
    assert len(steps) == 1
    assert harness.run(creating.incomplete(10, harness.now)) == [run.execution_id]
    assert harness.run(ops.make_all(run.execution_id)) == 2
    assert count(harness, run.execution_id) == 500
    check_store(harness)
