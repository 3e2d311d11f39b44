"""Executions as they are shown and listed, and run again as a whole or in their failed part."""

from uuid import UUID

import pytest

from shared import ops
from shared.errors import Conflict, NotFound
from shared.executions import Execution, Phase
from shared.runs import Reason
from shared.store import executions, runs, stops
from shared.store.runs import Facts
from shared.tasks import Param
from tests.store.consistency import check_store
from tests.store.diamonds import claim_all, diamond
from tests.store.harness import StoreHarness


def test_an_execution_shows_its_plan_and_how_far_it_is(harness: StoreHarness) -> None:
    diamond(harness)
    first = harness.trigger("deploy")

    def look() -> Execution:
        found = harness.run(executions.get(first.execution_id))
        assert found is not None
        return found

    seen = [look()]
    assert [(step.task, step.group, step.needs, step.phase) for step in seen[0].steps] == [
        ("install", 0, (), "pending"),
        ("lint", 1, (0,), "pending"),
        ("test", 1, (0,), "pending"),
        ("deploy", 2, (1, 2), "pending"),
    ]
    held = claim_all(harness)["install"]
    seen.append(look())
    harness.end(held)
    seen.append(look())
    held_now = claim_all(harness)
    seen.append(look())
    harness.run(ops.stop_execution(first.execution_id))
    seen.append(look())
    harness.end(held_now["lint"], Reason.STOPPED, 143)
    seen.append(look())
    harness.end(held_now["test"])
    seen.append(look())
    assert [one.phase for one in seen] == ["pending", *["running"] * 5, "stopped"]
    assert [one.desired for one in seen] == [None] * 4 + ["stopped"] * 3
    versions = [one.version for one in seen]
    assert versions == sorted(set(versions)), "every change is seen"
    assert [step.phase for step in seen[-1].steps] == ["succeeded", "stopped", "succeeded", "skipped"]
    assert seen[-1].message == "lint#1 ended as stopped"
    assert seen[-1].over_us >= seen[-1].start_us >= seen[-1].created_us


def test_the_version_grows_with_a_stop_request_for_one_run(harness: StoreHarness) -> None:
    diamond(harness)
    first = harness.trigger("deploy")
    claim_all(harness)
    before = _version(harness, first.execution_id)
    harness.run(stops.stop(first.id, "stop", "stopped"))
    assert _version(harness, first.execution_id) > before


def test_the_version_grows_with_a_stop_of_the_whole_after_one_of_its_run(harness: StoreHarness) -> None:
    diamond(harness)
    first = harness.trigger("deploy")
    claim_all(harness)
    harness.run(stops.stop(first.id, "stop", "stopped"))
    before = _version(harness, first.execution_id)
    harness.run(ops.stop_execution(first.execution_id))
    assert _version(harness, first.execution_id) > before


def test_the_version_counts_the_end_of_a_group_and_the_group_that_begins(harness: StoreHarness) -> None:
    diamond(harness)
    first = harness.trigger("deploy")
    held = claim_all(harness)["install"]
    before = _version(harness, first.execution_id)
    harness.end(held)
    assert _version(harness, first.execution_id) == before + 2


def _version(harness: StoreHarness, execution: UUID) -> int:
    found = harness.run(executions.version(execution))
    assert found is not None
    return found


def test_executions_without_a_plan_are_seen_the_same_way(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=1, retry_delay_ms=(0,))
    run = harness.trigger("a")
    seen: list[tuple[str, int]] = []

    def look() -> None:
        found = harness.run(executions.get(run.id))
        assert found is not None
        seen.append((found.phase, found.version))

    look()
    held = harness.claimed()
    look()
    harness.fail(held, entry)
    look()
    held = harness.claimed()
    look()
    harness.end(held)
    look()
    assert [phase for phase, _ in seen] == ["pending", "running", "running", "running", "succeeded"]
    versions = [version for _, version in seen]
    assert versions == sorted(set(versions))
    assert harness.run(executions.get(UUID(int=1))) is None


def test_executions_are_listed_newest_first_page_by_page(harness: StoreHarness) -> None:
    diamond(harness)
    harness.task("single")
    harness.task("many", replicas=3)
    made = [harness.trigger(name).execution_id for name in ("single", "deploy", "many", "single", "deploy") * 3]
    made.reverse()
    seen: list[UUID] = []
    cursor = ""
    while True:
        page = harness.run(executions.page(limit=4, cursor=cursor))
        assert page.total == 15
        seen += [one.id for one in page.executions]
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == made
    assert len(harness.run(executions.page(task="deploy")).executions) == 6
    harness.run(ops.stop_execution(made[0]))
    stopped = harness.run(executions.page(phases=[Phase.STOPPED])).executions
    assert [(one.id, one.task, one.first is not None) for one in stopped] == [(made[0], "deploy", True)]
    with pytest.raises(ValueError, match="is not a cursor"):
        harness.run(executions.page(cursor="nonsense"))


def test_a_page_continues_after_a_pruned_execution(harness: StoreHarness) -> None:
    harness.task("single")
    made = []
    for _ in range(4):
        harness.pass_s(1)
        made.append(harness.trigger("single").execution_id)
    page = harness.run(executions.page(limit=2))
    harness.run(ops.stop_execution(made[2]))
    harness.run(ops.delete(str(made[2])))
    page = harness.run(executions.page(limit=2, cursor=page.next_cursor))
    assert [one.id for one in page.executions] == [made[1], made[0]]


def test_a_whole_execution_can_be_run_again(harness: StoreHarness) -> None:
    diamond(harness, deploy={"params": {"to": Param()}})
    first = harness.trigger("deploy", params={"to": "prod"}, tags=("x",))
    with pytest.raises(Conflict, match="is pending; wait for its end"):
        harness.run(ops.rerun_execution(harness.catalog, first.execution_id))
    harness.run(ops.stop_execution(first.execution_id))
    again = harness.run(ops.rerun_execution(harness.catalog, first.execution_id)).run
    while held := claim_all(harness):
        for one in held.values():
            harness.end(one)
    deploy = [run for run in harness.run(runs.execution_runs(again.execution_id)) if run.task_name == "deploy"]
    assert [(run.params, run.tags, run.end_reason) for run in deploy] == [({"to": "prod"}, ["x"], Reason.SUCCESS)]
    with pytest.raises(NotFound):
        harness.run(ops.rerun_execution(harness.catalog, UUID(int=1)))


def test_only_the_failed_part_of_an_execution_is_run_again(harness: StoreHarness) -> None:
    diamond(harness, test={"replicas": 3})
    first = harness.trigger("deploy")
    harness.end(claim_all(harness)["install"], facts=Facts(outputs='{"path":"/opt"}'))
    held = claim_all(harness)
    harness.end(held["lint"], facts=Facts(outputs='{"warnings":3}'))
    harness.end(held["test[0]"])
    harness.end(held["test[1]"], Reason.FAILED, 1)
    harness.end(held["test[2]"], facts=Facts(outputs='{"third":1}'))

    again = harness.run(ops.rerun_execution(harness.catalog, first.execution_id, failed_only=True)).run
    assert (again.task_name, again.replica_index) == ("test", 1)
    held = claim_all(harness)
    assert set(held) == {"test[1]"}
    assert harness.run(executions.inputs(again.id, held["test[1]"].record.step)) == [("install", {"path": "/opt"})]
    harness.end(held["test[1]"])
    deploy = claim_all(harness)["deploy"]
    assert harness.run(executions.inputs(again.id, deploy.record.step)) == [
        ("lint", {"warnings": 3}),
        ("test", {"third": 1}),
    ]
    harness.end(deploy)
    seen = harness.run(executions.get(again.id))
    assert seen is not None
    assert seen.phase == "succeeded"
    assert [(step.task, step.group, len(step.done_before)) for step in seen.steps] == [
        ("install", -1, 1),
        ("lint", -1, 1),
        ("test", 0, 2),
        ("deploy", 1, 0),
    ]
    with pytest.raises(Conflict, match="nothing of it failed"):
        harness.run(ops.rerun_execution(harness.catalog, again.id, failed_only=True))
    check_store(harness)


def test_the_failed_replicas_of_a_single_task_can_be_run_again(harness: StoreHarness) -> None:
    harness.task("shard", replicas=4)
    first = harness.trigger("shard")
    held = claim_all(harness)
    for number in range(4):
        harness.end(held[f"shard[{number}]"], Reason.FAILED if number == 2 else Reason.SUCCESS)
    harness.run(ops.rerun_execution(harness.catalog, first.execution_id, failed_only=True))
    held = claim_all(harness)
    assert set(held) == {"shard[2]"}
    harness.end(held["shard[2]"])
    check_store(harness)


def test_replicas_count_for_nothing_when_what_they_were_made_from_is_made_anew(harness: StoreHarness) -> None:
    harness.task("fetch")
    harness.task("shard", depends_on=("fetch",), replicas=2)
    first = harness.trigger("shard")
    harness.end(claim_all(harness)["fetch"])
    held = claim_all(harness)
    harness.end(held["shard[0]"])
    harness.end(held["shard[1]"], Reason.FAILED, 1)
    harness.run(ops.delete(str(first.id)))
    harness.run(ops.rerun_execution(harness.catalog, first.execution_id, failed_only=True))
    harness.end(claim_all(harness)["fetch"])
    assert set(claim_all(harness)) == {"shard[0]", "shard[1]"}
    check_store(harness)
