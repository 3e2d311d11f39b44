"""Executions of many runs are made in small steps, and are one from outside all the same."""

from __future__ import annotations

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
from shared.store import executions, fleet, runs
from shared.store.creation import create
from shared.store.redis.call import Call
from shared.store.tasks import Entry
from tests.store.checking import check_store
from tests.store.desk import Desk, driven


def begun(desk: Desk, entry: Entry, replicas: int = 500, **request: object) -> UUID:
    """An execution whose maker died after the first step."""
    wanted = ops.Request(replicas=replicas, **request)  # type: ignore[arg-type]
    made = desk.run(create(creation(entry, wanted, desk.now)))
    assert made.run is not None
    check_store(desk)
    return made.run.execution_id


def count(desk: Desk, execution_id: UUID) -> int:
    return len(desk.run(runs.execution_runs(execution_id)))


def test_a_trigger_makes_all_its_runs(desk: Desk) -> None:
    desk.task()
    run = desk.run(ops.trigger(ops.Catalog(), "a", ops.Request(replicas=1001))).run
    made = desk.run(runs.execution_runs(run.execution_id))
    assert sorted(one.replica_index for one in made) == list(range(1001))
    assert len({one.number for one in made}) == 1001
    assert {one.replica_count for one in made} == {1001}
    check_store(desk)


def test_no_step_makes_more_than_so_many_runs_or_bytes(desk: Desk) -> None:
    entry = desk.task(run=None, call="m:f")
    few = begun(desk, entry, external_execution_id="x" * 100_000)
    assert count(desk, few) == 9
    assert count(desk, begun(desk, entry)) == 200
    assert count(desk, begun(desk, entry, params={"blob": "x" * 100_000})) == 200, "it is in none of the records"
    large = begun(desk, entry, external_execution_id="x" * 250_000, replicas=10)
    assert count(desk, large) == 3
    for made in (6, 9, 10):
        desk.run(creating.make_rest(large))
        assert count(desk, large) == made
    check_store(desk)


def test_what_a_dead_maker_left_is_made_by_whoever_goes_on(desk: Desk) -> None:
    execution_id = begun(desk, desk.task())
    assert desk.run(fleet.pulse("s")).making == 1
    assert desk.run(creating.making(10, desk.now)) == [execution_id]
    assert desk.run(creating.make_rest(execution_id)) == (100, {"default": 200})
    check_store(desk)
    assert desk.run(creating.make_rest(execution_id)) == (0, {"default": 100})
    assert desk.run(creating.make_rest(execution_id)) == (0, {})
    made = desk.run(runs.execution_runs(execution_id))
    assert sorted(one.replica_index for one in made) == list(range(500))
    assert desk.run(fleet.pulse("s")).making == 0
    check_store(desk)


def test_it_is_not_over_before_its_last_run_is_made(desk: Desk) -> None:
    execution_id = begun(desk, desk.task(), replicas=201)
    for _ in range(200):
        desk.end(desk.claimed())
    assert not desk.run(runs.is_over(execution_id))
    found = desk.run(executions.get(execution_id))
    assert found is not None
    assert found.phase is Phase.RUNNING
    assert found.steps[0].phase is Phase.RUNNING
    check_store(desk)
    desk.run(creating.make_rest(execution_id))
    desk.end(desk.claimed())
    assert desk.run(runs.is_over(execution_id))
    check_store(desk)


def test_an_execution_that_waits_is_made_when_its_turn_has_come(desk: Desk) -> None:
    entry = desk.task(max_concurrent=1)
    held = desk.started()
    waiting = begun(desk, entry)
    assert desk.run(creating.make_rest(waiting)) == (0, {})
    assert desk.run(creating.making(10, desk.now)) == []
    desk.end(held)
    assert desk.run(creating.making(10, desk.now)) == [waiting]
    assert desk.run(ops.make_all(waiting)) == 2
    assert count(desk, waiting) == 500
    check_store(desk)


def test_a_delayed_execution_is_made_when_it_is_due(desk: Desk) -> None:
    delayed = begun(desk, desk.task(), delay_ms=1000)
    assert desk.run(creating.make_rest(delayed)) == (0, {})
    desk.pass_s(2)
    desk.run(ops.release(500))
    desk.run(ops.make_all(delayed))
    assert count(desk, delayed) == 500
    check_store(desk)


@pytest.mark.parametrize("ended", [0, 200])
def test_stopping_an_execution_makes_no_more_of_it(desk: Desk, ended: int) -> None:
    execution_id = begun(desk, desk.task())
    for _ in range(ended):
        desk.end(desk.claimed())
    desk.run(ops.stop_execution(execution_id))
    assert desk.run(runs.is_over(execution_id))
    made = desk.run(runs.execution_runs(execution_id))
    assert len(made) == 201
    assert sum(one.end_reason == Reason.STOPPED for one in made) == 201 - ended
    assert any("300 runs were not made yet" in (one.message or "") for one in made)
    found = desk.run(executions.get(execution_id))
    assert found is not None
    assert found.phase is Phase.STOPPED
    check_store(desk)


def test_stopping_a_task_makes_no_more_runs_of_it(desk: Desk) -> None:
    execution_id = begun(desk, desk.task())
    desk.run(ops.stop_task("a"))
    assert desk.run(runs.is_over(execution_id))
    assert desk.run(creating.make_rest(execution_id)) == (0, {})
    check_store(desk)


def test_a_large_later_group_is_made_in_steps_too(desk: Desk) -> None:
    desk.task("first")
    desk.task("wide", depends_on=("first",), replicas=450)
    desk.task("last", depends_on=("wide",))
    run = desk.run(ops.trigger(ops.Catalog(), "last", ops.Request())).run
    desk.end(desk.claimed())
    assert count(desk, run.execution_id) == 201
    check_store(desk)
    assert desk.run(ops.make_all(run.execution_id)) == 2
    assert count(desk, run.execution_id) == 451
    for _ in range(450):
        desk.end(desk.claimed())
    assert count(desk, run.execution_id) == 452, "the last step follows"
    desk.end(desk.claimed())
    assert desk.run(runs.is_over(run.execution_id))
    check_store(desk)


def test_a_wide_group_of_many_steps_is_made_in_steps_too(desk: Desk) -> None:
    names = [f"s{number}" for number in range(250)]
    for name in names:
        desk.task(name)
    desk.task("all", depends_on=tuple(names))
    run = desk.run(ops.trigger(ops.Catalog(), "all", ops.Request())).run
    assert count(desk, run.execution_id) == 250
    for _ in range(250):
        desk.end(desk.claimed())
    assert count(desk, run.execution_id) == 251
    check_store(desk)


def test_redis_that_goes_away_in_the_middle_loses_nothing(desk: Desk) -> None:
    desk.task()
    steps = []

    def be_away(calls: Sequence[Call[Any]]) -> None:
        if any(getattr(call.what, "name", "") == "create_rest" for call in calls):
            steps.append(calls)
            raise StoreUnavailable("away")

    run = driven(desk, ops.trigger(ops.Catalog(), "a", ops.Request(replicas=500)), be_away).run
    assert len(steps) == 1
    assert desk.run(creating.making(10, desk.now)) == [run.execution_id]
    assert desk.run(ops.make_all(run.execution_id)) == 2
    assert count(desk, run.execution_id) == 500
    check_store(desk)
