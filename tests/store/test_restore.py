"""A store that was wiped under running work: what runs is written back, and nothing else is invented."""

from typing import Any
from uuid import UUID

import pytest

from shared import ops
from shared.errors import NotFound
from shared.executions import Execution
from shared.runs import Reason
from shared.store import executions, fleet, leadership, runs
from shared.store.redis.call import Call
from tests.store.consistency import check_store, dump
from tests.store.harness import StoreHarness


def wipe(harness: StoreHarness) -> None:
    harness.run(Call("FLUSHALL", (), bool))


def restore(harness: StoreHarness, held: runs.Claimed, gates: list[tuple[str, int]] | None = None) -> str:
    return harness.run(runs.restore(held.id, held.record, gates or []))


def test_a_wiped_store_has_another_name(harness: StoreHarness) -> None:
    before = harness.run(fleet.heartbeat("w", [], None)).store_id
    assert harness.run(fleet.heartbeat("w", [], None)).store_id == before
    wipe(harness)
    harness.pass_s(1)
    assert harness.run(fleet.heartbeat("w", [], None)).store_id != before
    assert harness.run(leadership.poll("s")).store_id == harness.run(fleet.heartbeat("w", [], None)).store_id


def test_a_run_is_written_back_and_can_end(harness: StoreHarness) -> None:
    """F14: in the store."""
    harness.task(retry_attempts=1)
    held = harness.started()
    wipe(harness)
    assert restore(harness, held) == "restored"
    harness.apply()
    assert restore(harness, held) == "there"
    assert harness.heartbeat(held) == [""]
    assert harness.end(held).verdict == "ended"
    assert harness.trigger().number == held.record.number + 1


def test_a_failed_run_that_was_written_back_is_tried_again(harness: StoreHarness) -> None:
    entry = harness.task(retry_attempts=1, retry_delay_ms=(0,))
    held = harness.started()
    wipe(harness)
    restore(harness, held)
    harness.apply()
    harness.fail(held, entry)
    assert harness.claimed().record.attempt == 1


def test_replicas_are_listed_in_order_whichever_is_written_back_first(harness: StoreHarness) -> None:
    harness.task(replicas=4)
    held = [harness.started(), *(harness.claimed() for _ in range(3))]
    wipe(harness)
    for number in (2, 0, 3, 1):
        assert restore(harness, held[number]) == "restored"
    harness.apply()
    found = harness.run(runs.execution_runs(held[0].id))
    assert [run.replica_index for run in found] == [0, 1, 2, 3]
    check_store(harness)


def test_replicas_that_are_written_back_are_one_execution_at_one_gate(harness: StoreHarness) -> None:
    entry = harness.task(max_concurrent=1, replicas=2)
    first, second = harness.started(), harness.claimed()
    wipe(harness)
    for held in (first, second):
        assert restore(harness, held, ops.gates(entry.task)) == "restored"
    harness.apply()
    harness.trigger()
    assert harness.claim() is None, "the execution that was written back still holds its place"
    harness.end(first)
    assert harness.claim() is None
    harness.end(second)
    assert harness.claimed()


def test_no_token_is_given_twice_after_a_wipe(harness: StoreHarness) -> None:
    harness.task()
    for _ in range(3):
        harness.end(harness.started())
    held = harness.started()
    wipe(harness)
    assert restore(harness, held) == "restored"
    harness.apply()
    assert harness.started().record.token > held.record.token


def test_what_the_store_knows_better_is_left_alone(harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()
    harness.end(held, Reason.SUCCESS)
    before = dump(harness)
    assert restore(harness, held) == "refused"
    assert dump(harness) == before


def look(harness: StoreHarness, execution: UUID) -> Execution:
    found = harness.run(executions.get(execution))
    assert found is not None
    (listed,) = harness.run(executions.page()).executions
    assert (listed.task, listed.phase, listed.message) == (found.task, found.phase, found.message)
    return found


def plan(harness: StoreHarness, **settings: dict[str, Any]) -> None:
    """``fetch`` and ``build`` → ``deploy``; *settings* by task."""
    for name, needs in (("fetch", ()), ("build", ()), ("deploy", ("build", "fetch"))):
        harness.task(name, depends_on=needs, **settings.get(name, {}))


def test_a_plan_that_lost_its_later_steps_is_no_success(harness: StoreHarness) -> None:
    plan(harness)
    first, second = harness.started("deploy"), harness.claimed()
    wipe(harness)
    for held in (first, second):
        assert restore(harness, held) == "restored"
        assert restore(harness, held) == "there"
    harness.apply()
    seen = look(harness, first.id)
    assert (seen.task, seen.phase, [run.id for run in seen.runs]) == ("deploy", "running", [first.id, second.id])
    harness.end(first)
    assert look(harness, first.id).phase == "running"
    harness.end(second)
    seen = look(harness, first.id)
    assert [(step.task, step.phase) for step in seen.steps] == [("build", "succeeded"), ("fetch", "succeeded")]
    assert (seen.phase, seen.message) == ("failed", executions.LOST)
    assert harness.run(runs.is_over(first.id))
    with pytest.raises(NotFound, match="start deploy itself"):
        harness.run(ops.rerun_execution(harness.catalog, first.id))
    check_store(harness)
    for run in seen.runs:
        harness.run(ops.delete(str(run.id)))
        check_store(harness)


def test_a_plan_whose_last_step_was_saved_whole_succeeds(harness: StoreHarness) -> None:
    plan(harness, deploy={"replicas": 2})
    first, second = harness.started("deploy"), harness.claimed()
    harness.end(first)
    harness.end(second)
    last = [harness.claimed(), harness.claimed()]
    wipe(harness)
    restore(harness, last[0])
    harness.apply()
    harness.end(last[0])
    assert look(harness, first.id).phase == "failed", "its other replica is not there"
    restore(harness, last[1])
    assert look(harness, first.id).phase == "running"
    harness.end(last[1])
    assert (look(harness, first.id).phase, look(harness, first.id).message) == ("succeeded", "")
    check_store(harness)


def test_replicas_that_were_lost_are_missed(harness: StoreHarness) -> None:
    harness.task(replicas=3)
    first, second = harness.started(), harness.claimed()
    wipe(harness)
    for held in (first, second):
        restore(harness, held)
        harness.end(held)
    assert (look(harness, first.id).phase, look(harness, first.id).message) == ("failed", executions.LOST)


def test_a_step_whose_inputs_are_lost_is_not_tried_again(harness: StoreHarness) -> None:
    plan(harness, deploy={"retry_attempts": 3}, fetch={"retry_attempts": 3})
    harness.trigger("deploy")
    for held in (harness.claimed(), harness.claimed()):
        harness.end(held)
    deploy = harness.claimed()
    wipe(harness)
    restore(harness, deploy)
    harness.apply()
    harness.fail(deploy, harness.entry("deploy"))
    seen = look(harness, UUID(deploy.record.execution))
    assert (seen.phase, [run.retry_attempt for run in seen.runs]) == ("failed", [0])
    check_store(harness)
