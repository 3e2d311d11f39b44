"""What of the history stays for as long as an execution needs it."""

import random
from uuid import UUID

import pytest

from shared import ops
from shared.errors import Conflict
from shared.runs import Reason
from shared.store import executions, listing, retention, runs
from shared.store.runs import Facts
from tests.store.consistency import check_store, dump
from tests.store.diamonds import claim_all, diamond
from tests.store.harness import StoreHarness


def test_a_run_with_needed_outputs_is_not_pruned(harness: StoreHarness) -> None:
    diamond(harness)
    entry = harness.task("install", keep_runs=1)
    executions_ = [harness.trigger("deploy").execution_id for _ in range(3)]
    installs = [held for held in iter(harness.claim, None) if held is not None]
    for held in installs:
        harness.end(held, facts=Facts(outputs='{"path":"/opt"}'))
    harness.run(ops.prune("install", entry.task))
    assert len(harness.run(listing.page(listing.Filter(task_name=("install",)))).runs) == 3
    lint = next(held for held in iter(harness.claim, None) if held is not None and held.record.task == "lint")
    assert harness.run(executions.inputs(UUID(lint.record.execution), lint.record.step)) == [
        ("install", {"path": "/opt"})
    ]
    for execution in executions_:
        harness.run(ops.stop_execution(execution))
    for held in [lint, *(held for held in iter(harness.claim, None) if held is not None)]:
        harness.end(held, Reason.STOPPED)
    check_store(harness)


def test_plans_that_take_long_hold_up_no_history(harness: StoreHarness) -> None:
    entry = harness.task("fetch", keep_runs=5)
    harness.task("approve", run=None, external=True, depends_on=("fetch",))
    for _ in range(3):
        harness.end(harness.started("approve"))
    for _ in range(9):
        harness.end(harness.started("fetch"))

    def numbers() -> list[int]:
        return sorted(run.number for run in harness.run(listing.page(listing.Filter(task_name=("fetch",)))).runs)

    after_number: int | None = 0
    steps = 0
    while after_number is not None:
        step = harness.run(
            retention.prune("fetch", 5, entry.task.keep_for_ms * 1000, batch=3, after_number=after_number)
        )
        after_number, steps = step.after_number, steps + 1
    assert (numbers(), steps) == ([1, 2, 3, 8, 9, 10, 11, 12], 3)
    harness.run(ops.stop_task("approve"))
    harness.run(ops.prune("fetch", entry.task))
    assert numbers() == [8, 9, 10, 11, 12]
    check_store(harness)


def test_a_run_with_needed_outputs_cannot_be_deleted(harness: StoreHarness) -> None:
    diamond(harness)
    first = harness.trigger("deploy")
    harness.end(claim_all(harness)["install"], facts=Facts(outputs='{"path":"/opt"}'))
    before = dump(harness)
    with pytest.raises(Conflict, match=f"needed by its execution {first.id}, or one that goes on from that; wait for"):
        harness.run(ops.delete(str(first.id)))
    assert dump(harness) == before
    harness.run(ops.stop_execution(first.execution_id))
    for held in claim_all(harness).values():
        harness.end(held, Reason.STOPPED)
    harness.run(ops.stop_execution(first.execution_id))
    harness.run(ops.delete(str(first.id)))
    check_store(harness)


def test_how_a_step_ended_is_known_when_its_runs_are_forgotten(harness: StoreHarness) -> None:
    diamond(harness, lint={"replicas": 2})
    first = harness.trigger("deploy")
    harness.end(claim_all(harness)["install"])
    held = claim_all(harness)
    harness.end(held["lint[0]"], Reason.TIMEOUT, 1)
    harness.end(held["lint[1]"], Reason.STOPPED)
    harness.end(held["test"])
    kept, *others = harness.run(runs.execution_runs(first.execution_id))[::-1]
    for run in others:
        harness.run(ops.delete(str(run.id)))
    seen = harness.run(executions.get(first.execution_id))
    assert seen is not None
    assert [run.id for run in seen.runs] == [kept.id]
    assert [(step.task, step.phase) for step in seen.steps] == [
        ("install", "succeeded"),
        ("lint", "failed"),
        ("test", "succeeded"),
        ("deploy", "skipped"),
    ]
    assert seen.phase == "failed"


def test_runs_that_another_execution_continues_from_are_not_pruned(harness: StoreHarness) -> None:
    diamond(harness)
    entry = harness.task("install", keep_runs=1)
    first = harness.trigger("deploy")
    harness.end(claim_all(harness)["install"], facts=Facts(outputs='{"path":"/opt"}'))
    for held in claim_all(harness).values():
        harness.end(held, Reason.FAILED, 1)
    harness.end(harness.started("install"))
    again = [
        harness.run(ops.rerun_execution(harness.catalog, first.execution_id, failed_only=True)).run.execution_id
        for _ in range(3)
    ]
    harness.run(ops.stop_execution(again[2]))
    with pytest.raises(Conflict, match="or one that goes on from that"):
        harness.run(ops.delete(str(first.id)))
    harness.run(ops.prune("install", entry.task))
    claimed = [one for one in iter(harness.claim, None) if one is not None]
    for one in claimed:
        execution = UUID(one.record.execution) if one.record.execution else one.id
        assert harness.run(executions.inputs(execution, one.record.step)) == [("install", {"path": "/opt"})]
    for execution in again:
        harness.run(ops.stop_execution(execution))
    for one in claimed:
        harness.end(one, Reason.STOPPED)
    harness.run(ops.delete(str(first.id)))
    check_store(harness)
    harness.run(ops.rerun_execution(harness.catalog, again[1], failed_only=True))
    assert set(claim_all(harness)) == {"install"}, "what it put out is gone, so it is run again"


def test_a_plan_goes_with_the_last_of_its_runs(harness: StoreHarness) -> None:
    diamond(harness)
    first = harness.trigger("deploy")
    while held := claim_all(harness):
        for one in held.values():
            harness.end(one)
    made = harness.run(runs.execution_runs(first.execution_id))
    random.Random(1).shuffle(made)
    for run in made:
        assert any(key.startswith(b"plan:") for key in dump(harness))
        harness.run(ops.delete(str(run.id)))
        check_store(harness)
    assert not any(key.startswith((b"plan:", b"executions:", b"exec-runs:")) for key in dump(harness))
