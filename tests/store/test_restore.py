"""A store that was wiped under running work: what runs is written back, and nothing else is invented."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from shared import ops
from shared.errors import NotFound
from shared.executions import Execution
from shared.runs import Reason
from shared.store import executions, fleet, runs
from shared.store.redis.call import Call
from tests.store.checking import check_store, dump
from tests.store.desk import Desk


def wipe(desk: Desk) -> None:
    desk.run(Call("FLUSHALL", (), bool))


def restore(desk: Desk, held: runs.Claimed, gates: list[tuple[str, int]] | None = None) -> str:
    return desk.run(runs.restore(held.id, held.record, gates or []))


def test_a_wiped_store_has_another_name(desk: Desk) -> None:
    before = desk.run(fleet.beat("w", [], None)).instance
    assert desk.run(fleet.beat("w", [], None)).instance == before
    wipe(desk)
    desk.pass_s(1)
    assert desk.run(fleet.beat("w", [], None)).instance != before
    assert desk.run(fleet.pulse("s")).instance == desk.run(fleet.beat("w", [], None)).instance


def test_a_run_is_written_back_and_can_end(desk: Desk) -> None:
    """F14: in the store."""
    desk.task(retry_attempts=1)
    held = desk.started()
    wipe(desk)
    assert restore(desk, held) == "restored"
    desk.apply()
    assert restore(desk, held) == "there"
    assert desk.beat(held) == [""]
    assert desk.end(held).verdict == "ended"
    assert desk.trigger().number == held.record.number + 1


def test_a_failed_run_that_was_written_back_is_tried_again(desk: Desk) -> None:
    entry = desk.task(retry_attempts=1, retry_delay_ms=(0,))
    held = desk.started()
    wipe(desk)
    restore(desk, held)
    desk.apply()
    desk.fail(held, entry)
    assert desk.claimed().record.attempt == 1


def test_replicas_are_listed_in_order_whichever_is_written_back_first(desk: Desk) -> None:
    desk.task(replicas=4)
    held = [desk.started(), *(desk.claimed() for _ in range(3))]
    wipe(desk)
    for number in (2, 0, 3, 1):
        assert restore(desk, held[number]) == "restored"
    desk.apply()
    found = desk.run(runs.execution_runs(held[0].id))
    assert [run.replica_index for run in found] == [0, 1, 2, 3]
    check_store(desk)


def test_replicas_that_are_written_back_are_one_execution_at_one_gate(desk: Desk) -> None:
    entry = desk.task(max_concurrent=1, replicas=2)
    first, second = desk.started(), desk.claimed()
    wipe(desk)
    for held in (first, second):
        assert restore(desk, held, ops.gates(entry.task)) == "restored"
    desk.apply()
    desk.trigger()
    assert desk.claim() is None, "the execution that was written back still holds its place"
    desk.end(first)
    assert desk.claim() is None
    desk.end(second)
    assert desk.claimed()


def test_no_token_is_given_twice_after_a_wipe(desk: Desk) -> None:
    desk.task()
    for _ in range(3):
        desk.end(desk.started())
    held = desk.started()
    wipe(desk)
    assert restore(desk, held) == "restored"
    desk.apply()
    assert desk.started().record.token > held.record.token


def test_what_the_store_knows_better_is_left_alone(desk: Desk) -> None:
    desk.task()
    held = desk.started()
    desk.end(held, Reason.SUCCESS)
    before = dump(desk)
    assert restore(desk, held) == "refused"
    assert dump(desk) == before


def look(desk: Desk, execution: UUID) -> Execution:
    found = desk.run(executions.get(execution))
    assert found is not None
    (listed,) = desk.run(executions.page()).executions
    assert (listed.task, listed.phase, listed.message) == (found.task, found.phase, found.message)
    return found


def plan(desk: Desk, **settings: dict[str, Any]) -> None:
    """``fetch`` and ``build`` → ``deploy``; *settings* by task."""
    for name, needs in (("fetch", ()), ("build", ()), ("deploy", ("build", "fetch"))):
        desk.task(name, depends_on=needs, **settings.get(name, {}))


def test_a_plan_that_lost_its_later_steps_is_no_success(desk: Desk) -> None:
    plan(desk)
    first, second = desk.started("deploy"), desk.claimed()
    wipe(desk)
    for held in (first, second):
        assert restore(desk, held) == "restored"
        assert restore(desk, held) == "there"
    desk.apply()
    seen = look(desk, first.id)
    assert (seen.task, seen.phase, [run.id for run in seen.runs]) == ("deploy", "running", [first.id, second.id])
    desk.end(first)
    assert look(desk, first.id).phase == "running"
    desk.end(second)
    seen = look(desk, first.id)
    assert [(step.task, step.phase) for step in seen.steps] == [("build", "succeeded"), ("fetch", "succeeded")]
    assert (seen.phase, seen.message) == ("failed", executions.LOST)
    assert desk.run(runs.is_over(first.id))
    with pytest.raises(NotFound, match="start deploy itself"):
        desk.run(ops.rerun_execution(desk.catalog, first.id))
    check_store(desk)
    for run in seen.runs:
        desk.run(ops.delete(str(run.id)))
        check_store(desk)


def test_a_plan_whose_last_step_was_saved_whole_succeeds(desk: Desk) -> None:
    plan(desk, deploy={"replicas": 2})
    first, second = desk.started("deploy"), desk.claimed()
    desk.end(first)
    desk.end(second)
    last = [desk.claimed(), desk.claimed()]
    wipe(desk)
    restore(desk, last[0])
    desk.apply()
    desk.end(last[0])
    assert look(desk, first.id).phase == "failed", "its other replica is not there"
    restore(desk, last[1])
    assert look(desk, first.id).phase == "running"
    desk.end(last[1])
    assert (look(desk, first.id).phase, look(desk, first.id).message) == ("succeeded", "")
    check_store(desk)


def test_replicas_that_were_lost_are_missed(desk: Desk) -> None:
    desk.task(replicas=3)
    first, second = desk.started(), desk.claimed()
    wipe(desk)
    for held in (first, second):
        restore(desk, held)
        desk.end(held)
    assert (look(desk, first.id).phase, look(desk, first.id).message) == ("failed", executions.LOST)


def test_a_step_whose_inputs_are_lost_is_not_tried_again(desk: Desk) -> None:
    plan(desk, deploy={"retry_attempts": 3}, fetch={"retry_attempts": 3})
    desk.trigger("deploy")
    for held in (desk.claimed(), desk.claimed()):
        desk.end(held)
    deploy = desk.claimed()
    wipe(desk)
    restore(desk, deploy)
    desk.apply()
    desk.fail(deploy, desk.entry("deploy"))
    seen = look(desk, UUID(deploy.record.execution))
    assert (seen.phase, [run.retry_attempt for run in seen.runs]) == ("failed", [0])
    check_store(desk)
