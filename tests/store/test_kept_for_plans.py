"""What of the history stays for as long as an execution needs it."""

from __future__ import annotations

import random
from uuid import UUID

import pytest

from shared import ops
from shared.errors import Conflict
from shared.runs import Reason
from shared.store import executions, listing, retention, runs
from shared.store.runs import Facts
from tests.store.checking import check_store, dump
from tests.store.desk import Desk
from tests.store.planned import claim_all, diamond


def test_what_is_still_to_be_handed_on_is_not_forgotten(desk: Desk) -> None:
    diamond(desk)
    entry = desk.task("install", keep_runs=1)
    executions_ = [desk.trigger("deploy").execution_id for _ in range(3)]
    installs = [held for held in iter(desk.claim, None) if held is not None]
    for held in installs:
        desk.end(held, facts=Facts(outputs='{"path":"/opt"}'))
    desk.run(ops.forget("install", entry.task))
    assert len(desk.run(listing.page(listing.Filter(task_name=("install",)))).runs) == 3
    lint = next(held for held in iter(desk.claim, None) if held is not None and held.record.task == "lint")
    assert desk.run(executions.inputs(UUID(lint.record.execution), lint.record.step)) == [("install", {"path": "/opt"})]
    for execution in executions_:
        desk.run(ops.stop_execution(execution))
    for held in [lint, *(held for held in iter(desk.claim, None) if held is not None)]:
        desk.end(held, Reason.STOPPED)
    check_store(desk)


def test_plans_that_take_long_hold_up_no_history(desk: Desk) -> None:
    entry = desk.task("fetch", keep_runs=5)
    desk.task("approve", run=None, external=True, depends_on=("fetch",))
    for _ in range(3):
        desk.end(desk.started("approve"))
    for _ in range(9):
        desk.end(desk.started("fetch"))

    def numbers() -> list[int]:
        return sorted(run.number for run in desk.run(listing.page(listing.Filter(task_name=("fetch",)))).runs)

    behind: int | None = 0
    steps = 0
    while behind is not None:
        step = desk.run(retention.forget("fetch", 5, entry.task.keep_for_ms * 1000, batch=3, behind=behind))
        behind, steps = step.behind, steps + 1
    assert (numbers(), steps) == ([1, 2, 3, 8, 9, 10, 11, 12], 3)
    desk.run(ops.stop_task("approve"))
    desk.run(ops.forget("fetch", entry.task))
    assert numbers() == [8, 9, 10, 11, 12]
    check_store(desk)


def test_what_is_still_to_be_handed_on_cannot_be_deleted(desk: Desk) -> None:
    diamond(desk)
    first = desk.trigger("deploy")
    desk.end(claim_all(desk)["install"], facts=Facts(outputs='{"path":"/opt"}'))
    before = dump(desk)
    with pytest.raises(Conflict, match=f"needed by its execution {first.id}, or one that goes on from that; wait for"):
        desk.run(ops.delete(str(first.id)))
    assert dump(desk) == before
    desk.run(ops.stop_execution(first.execution_id))
    for held in claim_all(desk).values():
        desk.end(held, Reason.STOPPED)
    desk.run(ops.stop_execution(first.execution_id))
    desk.run(ops.delete(str(first.id)))
    check_store(desk)


def test_how_a_step_ended_is_known_when_its_runs_are_forgotten(desk: Desk) -> None:
    diamond(desk, lint={"replicas": 2})
    first = desk.trigger("deploy")
    desk.end(claim_all(desk)["install"])
    held = claim_all(desk)
    desk.end(held["lint[0]"], Reason.TIMEOUT, 1)
    desk.end(held["lint[1]"], Reason.STOPPED)
    desk.end(held["test"])
    kept, *others = desk.run(runs.execution_runs(first.execution_id))[::-1]
    for run in others:
        desk.run(ops.delete(str(run.id)))
    seen = desk.run(executions.get(first.execution_id))
    assert seen is not None
    assert [run.id for run in seen.runs] == [kept.id]
    assert [(step.task, step.phase) for step in seen.steps] == [
        ("install", "succeeded"),
        ("lint", "failed"),
        ("test", "succeeded"),
        ("deploy", "skipped"),
    ]
    assert seen.phase == "failed"


def test_what_another_execution_goes_on_from_is_not_forgotten(desk: Desk) -> None:
    diamond(desk)
    entry = desk.task("install", keep_runs=1)
    first = desk.trigger("deploy")
    desk.end(claim_all(desk)["install"], facts=Facts(outputs='{"path":"/opt"}'))
    for held in claim_all(desk).values():
        desk.end(held, Reason.FAILED, 1)
    desk.end(desk.started("install"))
    again = [
        desk.run(ops.rerun_execution(desk.catalog, first.execution_id, failed_only=True)).run.execution_id
        for _ in range(3)
    ]
    desk.run(ops.stop_execution(again[2]))
    with pytest.raises(Conflict, match="or one that goes on from that"):
        desk.run(ops.delete(str(first.id)))
    desk.run(ops.forget("install", entry.task))
    claimed = [one for one in iter(desk.claim, None) if one is not None]
    for one in claimed:
        execution = UUID(one.record.execution) if one.record.execution else one.id
        assert desk.run(executions.inputs(execution, one.record.step)) == [("install", {"path": "/opt"})]
    for execution in again:
        desk.run(ops.stop_execution(execution))
    for one in claimed:
        desk.end(one, Reason.STOPPED)
    desk.run(ops.delete(str(first.id)))
    check_store(desk)
    desk.run(ops.rerun_execution(desk.catalog, again[1], failed_only=True))
    assert set(claim_all(desk)) == {"install"}, "what it put out is gone, so it is run again"


def test_a_plan_goes_with_the_last_of_its_runs(desk: Desk) -> None:
    diamond(desk)
    first = desk.trigger("deploy")
    while held := claim_all(desk):
        for one in held.values():
            desk.end(one)
    made = desk.run(runs.execution_runs(first.execution_id))
    random.Random(1).shuffle(made)
    for run in made:
        assert any(key.startswith(b"plan:") for key in dump(desk))
        desk.run(ops.delete(str(run.id)))
        check_store(desk)
    assert not any(key.startswith((b"plan:", b"executions:", b"exec-runs:")) for key in dump(desk))
