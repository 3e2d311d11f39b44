"""Executions of several steps: group after group, each step once, whatever ends how."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import pytest

from shared import ops
from shared.errors import Conflict, DefinitionChanged, Invalid, NotFound
from shared.executions import Execution, Phase
from shared.runs import Reason, Run
from shared.store import executions, listing, retention, runs
from shared.store.runs import Claimed, Facts
from shared.tasks import Param, Task
from tests.store.checking import check_store, dump
from tests.store.desk import START, Desk

MINUTE = 60_000_000


def diamond(desk: Desk, **settings: dict[str, Any]) -> None:
    """``install`` → ``lint`` and ``test`` → ``deploy``; *settings* by task."""
    for name, needs in (("install", ()), ("lint", ("install",)), ("test", ("install",)), ("deploy", ("lint", "test"))):
        desk.task(name, depends_on=needs, **settings.get(name, {}))


def claim_all(desk: Desk) -> dict[str, Claimed]:
    """Claim whatever waits, by task (and replica, if there are several)."""
    found: dict[str, Claimed] = {}
    while held := desk.claim():
        many = held.record.replica_count > 1
        found[held.record.task + (f"[{held.record.replica_index}]" if many else "")] = held
    check_store(desk)
    return found


def states(desk: Desk, execution: UUID) -> dict[str, str]:
    """What became of each task's newest run of an execution."""
    return {run.task_name: str(run.end_reason or run.status) for run in desk.run(runs.execution_runs(execution))}


def test_groups_run_one_after_another_each_step_once(desk: Desk) -> None:
    diamond(desk)
    first = desk.trigger("deploy")
    assert first.task_name == "install"
    order = []
    while held := claim_all(desk):
        order.append(sorted(held))
        for one in held.values():
            assert not desk.do(runs.is_over(first.execution_id))
            desk.end(one)
            check_store(desk)
    assert order == [["install"], ["lint", "test"], ["deploy"]]
    made = desk.run(runs.execution_runs(first.execution_id))
    assert {run.execution_id for run in made} == {first.execution_id}
    assert [run.task_name for run in made] == ["install", "lint", "test", "deploy"]
    assert desk.do(runs.is_over(first.execution_id))


def test_the_next_group_begins_with_the_end_that_completes_the_one_before(desk: Desk) -> None:
    diamond(desk)
    desk.trigger("deploy")
    desk.end(claim_all(desk)["install"])
    held = claim_all(desk)
    assert desk.end(held["lint"]).ready == {}
    ended = desk.end(held["test"], wanted=desk.wanted())
    assert ended.claimed is not None
    assert ended.claimed.record.task == "deploy"


def test_a_step_that_fails_lets_its_group_finish_and_nothing_begin(desk: Desk) -> None:
    diamond(desk)
    first = desk.trigger("deploy")
    desk.end(claim_all(desk)["install"])
    held = claim_all(desk)
    desk.end(held["lint"], Reason.FAILED, 1)
    assert states(desk, first.execution_id) == {"install": "success", "lint": "failed", "test": "running"}
    desk.end(held["test"])
    assert states(desk, first.execution_id)["deploy"] == "skipped"
    deploy = desk.run(runs.find("deploy#1"))
    assert (deploy.message, deploy.exit_code) == ("skipped: lint#1 ended as failed", -1)
    assert desk.claim() is None
    assert desk.do(runs.is_over(first.execution_id))
    check_store(desk)


def test_a_retry_that_succeeds_saves_the_plan(desk: Desk) -> None:
    diamond(desk, lint={"retry_attempts": 1, "retry_delay_ms": (0,)})
    first = desk.trigger("deploy")
    desk.end(claim_all(desk)["install"])
    held = claim_all(desk)
    desk.end(held["test"])
    desk.fail(held["lint"], desk.entry("lint"))
    again = claim_all(desk)["lint"]
    assert again.record.attempt == 1
    desk.end(again)
    desk.end(claim_all(desk)["deploy"])
    assert states(desk, first.execution_id)["deploy"] == "success"
    check_store(desk)


def test_all_replicas_of_a_step_have_to_succeed(desk: Desk) -> None:
    desk.task("shard", replicas=3)
    desk.task("merge", depends_on=("shard",))
    for reason, becomes in ((Reason.SUCCESS, "pending"), (Reason.TIMEOUT, "skipped")):
        first = desk.trigger("merge")
        held = claim_all(desk)
        assert sorted(held) == ["shard[0]", "shard[1]", "shard[2]"]
        desk.end(held["shard[0]"])
        desk.end(held["shard[1]"], reason, 1)
        assert "merge" not in states(desk, first.execution_id)
        desk.end(held["shard[2]"])
        assert states(desk, first.execution_id)["merge"] == becomes
        check_store(desk)
        desk.run(ops.stop_execution(first.execution_id))


def test_stopping_an_execution_ends_it_also_when_what_runs_ends_well(desk: Desk) -> None:
    diamond(desk)
    first = desk.trigger("deploy")
    held = claim_all(desk)["install"]
    assert desk.run(ops.stop_execution(first.execution_id)) == 1
    desk.end(held)
    assert states(desk, first.execution_id) == dict.fromkeys(("lint", "test", "deploy"), "skipped") | {
        "install": "success"
    }
    assert desk.run(runs.find("deploy#1")).message == "skipped: the execution was stopped"
    check_store(desk)


def test_stopping_a_task_stops_executions_that_have_yet_to_come_to_it(desk: Desk) -> None:
    diamond(desk)
    first = desk.trigger("deploy")
    assert desk.run(ops.stop_task("deploy")) == 1
    assert set(states(desk, first.execution_id).values()) == {"stopped", "skipped"}
    check_store(desk)


def test_a_stopped_step_is_a_failed_one(desk: Desk) -> None:
    diamond(desk)
    first = desk.trigger("deploy")
    desk.run(ops.stop(str(first.id)))
    assert desk.run(runs.find("deploy#1")).message == "skipped: install#1 ended as stopped"
    check_store(desk)


def test_a_lost_worker_costs_a_step_no_more_than_an_attempt(desk: Desk) -> None:
    diamond(desk, install={"retry_attempts": 1, "retry_delay_ms": (0,)})
    first = desk.trigger("deploy")
    lost = desk.claimed()
    desk.pass_s(7)
    desk.rescue(lost.id, desk.entry("install"))
    check_store(desk)
    assert desk.end(lost).verdict == "refused"
    desk.end(claim_all(desk)["install"])
    assert sorted(claim_all(desk)) == ["lint", "test"]
    assert states(desk, first.execution_id)["install"] == "success"


def test_an_end_that_is_repeated_begins_nothing_twice(desk: Desk) -> None:
    diamond(desk)
    first = desk.trigger("deploy")
    held = claim_all(desk)["install"]
    desk.end(held)
    before = states(desk, first.execution_id)
    assert desk.end(held).verdict == "again"
    assert states(desk, first.execution_id) == before
    assert len(desk.run(runs.execution_runs(first.execution_id))) == 3


def test_parameters_go_to_the_started_task_and_to_those_that_declare_them(desk: Desk) -> None:
    desk.task("extract", params={"day": Param(required=True)})
    desk.task("report", params={"day": Param(), "to": Param(default="all")}, depends_on=("extract",))
    with pytest.raises(Invalid, match="day: is required by task extract"):
        desk.trigger("report")
    desk.trigger("report", params={"day": "monday"}, tags=("x",), priority=7, external_execution_id="e1")
    extract = claim_all(desk)["extract"]
    desk.end(extract)
    report = desk.get(claim_all(desk)["report"].id)
    assert desk.get(extract.id).params == {"day": "monday"}
    assert report.params == {"day": "monday", "to": "all"}
    assert (report.tags, report.priority, report.external_execution_id) == (["x"], 7, "e1")


def test_limits_of_all_steps_are_held_by_the_execution(desk: Desk) -> None:
    diamond(desk, lint={"max_concurrent": 1})
    desk.task("alone", depends_on=("lint",))
    first, second = desk.trigger("deploy"), desk.trigger("alone")
    held = claim_all(desk)
    assert set(held) == {"install"}
    assert desk.get(second.id).status == "pending"
    desk.run(ops.stop_execution(first.execution_id))
    desk.end(held["install"])
    assert sorted(claim_all(desk)) == ["install"]


def test_an_overlap_rule_is_the_started_tasks(desk: Desk) -> None:
    diamond(desk, deploy={"max_concurrent": 1, "on_overlap": "skip"})
    desk.trigger("deploy")
    refused = desk.trigger("deploy")
    assert (refused.task_name, refused.end_reason) == ("deploy", Reason.SKIPPED)
    check_store(desk)


def test_a_delayed_plan_begins_when_it_is_due_or_is_refused_then_with_all_its_steps(desk: Desk) -> None:
    diamond(desk, deploy={"max_concurrent": 1, "on_overlap": "skip"})
    late = desk.trigger("deploy", delay_ms=1000)
    assert claim_all(desk) == {}
    desk.trigger("deploy")
    desk.pass_s(2)
    desk.run(ops.release())
    assert set(states(desk, late.execution_id).values()) == {"skipped"}
    assert len(states(desk, late.execution_id)) == 4
    check_store(desk)


def test_a_tick_makes_a_plan_once(desk: Desk) -> None:
    diamond(desk, deploy={"cron": ("* * * * *",)})
    tick = START // MINUTE * MINUTE + MINUTE
    assert desk.run(ops.fire(ops.Catalog(), desk.entry("deploy"), tick))
    assert not desk.run(ops.fire(ops.Catalog(), desk.entry("deploy"), tick))
    held = claim_all(desk)
    assert set(held) == {"install"}
    assert (held["install"].record.triggered_by, held["install"].record.tick_us) == ("cron", tick)


def test_a_dependency_that_changed_meanwhile_is_read_again(desk: Desk) -> None:
    diamond(desk)
    catalog = ops.Catalog()
    desk.run(ops.trigger(catalog, "deploy", ops.Request()))
    desk.task("install", run="echo new")
    desk.run(ops.trigger(catalog, "deploy", ops.Request()))
    assert desk.claimed().record.definition != desk.entry("install").definition.hash
    assert desk.claimed().record.definition == desk.entry("install").definition.hash
    desk.task("deploy", depends_on=("lint", "test"), cron=("* * * * *",))
    entry = desk.entry("deploy")
    desk.run(ops.fire(catalog, entry, START + MINUTE))
    desk.task("install", run="echo newer")
    assert desk.run(ops.fire(catalog, entry, START + 2 * MINUTE))
    desk.task("deploy", depends_on=("lint",), cron=("* * * * *",))
    with pytest.raises(DefinitionChanged):
        desk.run(ops.fire(catalog, entry, START + 3 * MINUTE))


def test_a_running_plan_keeps_the_definitions_it_began_with(desk: Desk) -> None:
    diamond(desk)
    old = desk.entry("deploy").definition.hash
    desk.trigger("deploy")
    desk.task("deploy", run="echo another", depends_on=("lint",))
    desk.end(claim_all(desk)["install"])
    for held in claim_all(desk).values():
        desk.end(held)
    assert claim_all(desk)["deploy"].record.definition == old


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


def test_external_steps_take_their_turn(desk: Desk) -> None:
    desk.task("build")
    desk.task("approve", run=None, external=True, depends_on=("build",))
    desk.task("deploy", depends_on=("approve",))
    desk.trigger("deploy")
    desk.end(claim_all(desk)["build"])
    approve = desk.run(runs.find("approve#1"))
    assert approve.status == "pending"
    assert desk.run(ops.report(desk.catalog, approve.id, "ended", reason=Reason.SUCCESS)).ready == {"default": 1}
    assert set(claim_all(desk)) == {"deploy"}


@pytest.mark.parametrize("seed", range(12))
def test_any_plan_under_any_interleaving_runs_each_step_once_and_after_what_it_needs(desk: Desk, seed: int) -> None:
    """Random graphs; ends, crashes, repeats and stops in random order, checked against the graph alone."""
    dice = random.Random(seed)
    needs: dict[str, list[str]] = {}
    for number in range(dice.randint(2, 14)):
        name = f"t{number}"
        needs[name] = dice.sample(sorted(needs), dice.randint(0, min(3, len(needs))))
        desk.task(
            name,
            depends_on=tuple(needs[name]),
            replicas=dice.choice([1, 1, 1, 2]),
            retry_attempts=dice.randint(0, 2),
            retry_delay_ms=(0,),
        )
    target = f"t{len(needs) - 1}"
    execution = desk.trigger(target).execution_id
    succeeded: dict[str, set[int]] = {}
    stops = dice.random() < 0.2
    while held := [one for one in iter(desk.claim, None) if one is not None]:
        dice.shuffle(held)
        for one in held:
            task, entry = one.record.task, desk.entry(one.record.task)
            for need in needs[task]:
                assert len(succeeded.get(need, ())) == desk.entry(need).task.replicas, f"{task} ran before {need}"
            if stops and dice.random() < 0.1:
                desk.run(ops.stop_execution(execution))
            fate = dice.random()
            if fate < 0.75:
                assert one.record.replica_index not in succeeded.get(task, set()), f"{task} succeeded twice"
                succeeded.setdefault(task, set()).add(one.record.replica_index)
                desk.end(one)
            elif fate < 0.9:
                desk.fail(one, entry)
            else:
                desk.pass_s(7)
                desk.rescue(one.id, entry)
            desk.end(one, Reason.FAILED, 1)  # again, or too late: nothing comes of it
        check_store(desk)
    assert desk.do(runs.is_over(execution))
    all_runs = desk.run(runs.execution_runs(execution))
    planned = {step for step in needs if step == target or any(step == run.task_name for run in all_runs)}
    newest: dict[tuple[str, int], Run] = {(run.task_name, run.replica_index): run for run in all_runs}
    assert {task for task, _ in newest} == planned, "every step has a record"
    assert all(run.end_reason is not None for run in all_runs)


@pytest.mark.parametrize("shape", ["wide", "deep"])
def test_a_thousand_steps_are_made_and_run(desk: Desk, shape: str) -> None:
    count = 1000
    desk.task("s0")
    for number in range(1, count - 1):
        needs = (f"s{number - 1}",) if shape == "deep" else ("s0",)
        desk._tasks[f"s{number}"] = Task(name=f"s{number}", run="true", depends_on=needs)
    last = (f"s{count - 2}",) if shape == "deep" else tuple(f"s{number}" for number in range(1, count - 1))
    desk.task("last", depends_on=last)
    first = desk.trigger("last")
    ended = 0
    held = desk.claim()
    while held is not None:
        ended += 1
        held = desk.end(held, wanted=desk.wanted()).claimed or desk.claim()
    assert ended == count
    assert desk.do(runs.is_over(first.execution_id))
    check_store(desk)


def test_the_outputs_of_a_step_are_handed_on_to_those_that_need_it(desk: Desk) -> None:
    diamond(desk, test={"replicas": 2})
    first = desk.trigger("deploy")

    def say(held: Claimed, outputs: str) -> None:
        desk.end(held, facts=Facts(outputs=outputs))

    say(claim_all(desk)["install"], '{"path":"/opt"}')
    held = claim_all(desk)
    assert desk.do(executions.inputs(first.execution_id, held["lint"].record.step)) == [("install", {"path": "/opt"})]
    say(held["lint"], "")
    say(held["test[1]"], '{"b":1}')
    say(held["test[0]"], '{"a":1}')
    deploy = claim_all(desk)["deploy"].record
    assert deploy.needs == 2
    assert desk.do(executions.inputs(first.execution_id, deploy.step)) == [("test", {"a": 1}), ("test", {"b": 1})]


def test_an_execution_shows_its_plan_and_how_far_it_is(desk: Desk) -> None:
    diamond(desk)
    first = desk.trigger("deploy")

    def look() -> Execution:
        found = desk.run(executions.get(first.execution_id))
        assert found is not None
        return found

    seen = [look()]
    assert [(step.task, step.group, step.needs, step.phase) for step in seen[0].steps] == [
        ("install", 0, (), "pending"),
        ("lint", 1, (0,), "pending"),
        ("test", 1, (0,), "pending"),
        ("deploy", 2, (1, 2), "pending"),
    ]
    held = claim_all(desk)["install"]
    seen.append(look())
    desk.end(held)
    seen.append(look())
    held_now = claim_all(desk)
    seen.append(look())
    desk.run(ops.stop_execution(first.execution_id))
    seen.append(look())
    desk.end(held_now["lint"], Reason.STOPPED, 143)
    seen.append(look())
    desk.end(held_now["test"])
    seen.append(look())
    assert [one.phase for one in seen] == ["pending", *["running"] * 5, "stopped"]
    assert [one.desired for one in seen] == [None] * 4 + ["stopped"] * 3
    versions = [one.version for one in seen]
    assert versions == sorted(set(versions)), "every change is seen"
    assert [step.phase for step in seen[-1].steps] == ["succeeded", "stopped", "succeeded", "skipped"]
    assert seen[-1].message == "lint#1 ended as stopped"
    assert seen[-1].over_us >= seen[-1].start_us >= seen[-1].created_us


def test_executions_without_a_plan_are_seen_the_same_way(desk: Desk) -> None:
    entry = desk.task("a", retry_attempts=1, retry_delay_ms=(0,))
    run = desk.trigger("a")
    seen: list[tuple[str, int]] = []

    def look() -> None:
        found = desk.run(executions.get(run.id))
        assert found is not None
        seen.append((found.phase, found.version))

    look()
    held = desk.claimed()
    look()
    desk.fail(held, entry)
    look()
    held = desk.claimed()
    look()
    desk.end(held)
    look()
    assert [phase for phase, _ in seen] == ["pending", "running", "running", "running", "succeeded"]
    versions = [version for _, version in seen]
    assert versions == sorted(set(versions))
    assert desk.run(executions.get(UUID(int=1))) is None


def test_executions_are_listed_newest_first_page_by_page(desk: Desk) -> None:
    diamond(desk)
    desk.task("single")
    desk.task("many", replicas=3)
    made = [desk.trigger(name).execution_id for name in ("single", "deploy", "many", "single", "deploy") * 3]
    made.reverse()
    seen: list[UUID] = []
    cursor = ""
    while True:
        page = desk.run(executions.page(limit=4, cursor=cursor))
        assert page.total == 15
        seen += [one.id for one in page.executions]
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == made
    assert len(desk.run(executions.page(task="deploy")).executions) == 6
    desk.run(ops.stop_execution(made[0]))
    stopped = desk.run(executions.page(phases=[Phase.STOPPED])).executions
    assert [(one.id, one.task, one.first is not None) for one in stopped] == [(made[0], "deploy", True)]
    with pytest.raises(ValueError, match="is not a cursor"):
        desk.run(executions.page(cursor="nonsense"))


def test_a_page_goes_on_behind_an_execution_that_was_forgotten(desk: Desk) -> None:
    desk.task("single")
    made = []
    for _ in range(4):
        desk.pass_s(1)
        made.append(desk.trigger("single").execution_id)
    page = desk.run(executions.page(limit=2))
    desk.run(ops.stop_execution(made[2]))
    desk.run(ops.delete(str(made[2])))
    page = desk.run(executions.page(limit=2, cursor=page.next_cursor))
    assert [one.id for one in page.executions] == [made[1], made[0]]


def test_a_whole_execution_can_be_run_again(desk: Desk) -> None:
    diamond(desk, deploy={"params": {"to": Param()}})
    first = desk.trigger("deploy", params={"to": "prod"}, tags=("x",))
    with pytest.raises(Conflict, match="is pending; wait for its end"):
        desk.run(ops.rerun_execution(desk.catalog, first.execution_id))
    desk.run(ops.stop_execution(first.execution_id))
    again = desk.run(ops.rerun_execution(desk.catalog, first.execution_id)).run
    while held := claim_all(desk):
        for one in held.values():
            desk.end(one)
    deploy = [run for run in desk.run(runs.execution_runs(again.execution_id)) if run.task_name == "deploy"]
    assert [(run.params, run.tags, run.end_reason) for run in deploy] == [({"to": "prod"}, ["x"], Reason.SUCCESS)]
    with pytest.raises(NotFound):
        desk.run(ops.rerun_execution(desk.catalog, UUID(int=1)))


def test_only_the_failed_part_of_an_execution_is_run_again(desk: Desk) -> None:
    diamond(desk, test={"replicas": 3})
    first = desk.trigger("deploy")
    desk.end(claim_all(desk)["install"], facts=Facts(outputs='{"path":"/opt"}'))
    held = claim_all(desk)
    desk.end(held["lint"], facts=Facts(outputs='{"warnings":3}'))
    desk.end(held["test[0]"])
    desk.end(held["test[1]"], Reason.FAILED, 1)
    desk.end(held["test[2]"], facts=Facts(outputs='{"third":1}'))

    again = desk.run(ops.rerun_execution(desk.catalog, first.execution_id, failed_only=True)).run
    assert (again.task_name, again.replica_index) == ("test", 1)
    held = claim_all(desk)
    assert set(held) == {"test[1]"}
    assert desk.do(executions.inputs(again.id, held["test[1]"].record.step)) == [("install", {"path": "/opt"})]
    desk.end(held["test[1]"])
    deploy = claim_all(desk)["deploy"]
    assert desk.do(executions.inputs(again.id, deploy.record.step)) == [
        ("lint", {"warnings": 3}),
        ("test", {"third": 1}),
    ]
    desk.end(deploy)
    seen = desk.run(executions.get(again.id))
    assert seen is not None
    assert seen.phase == "succeeded"
    assert [(step.task, step.group, len(step.done_before)) for step in seen.steps] == [
        ("install", -1, 1),
        ("lint", -1, 1),
        ("test", 0, 2),
        ("deploy", 1, 0),
    ]
    with pytest.raises(Conflict, match="nothing of it failed"):
        desk.run(ops.rerun_execution(desk.catalog, again.id, failed_only=True))
    check_store(desk)


def test_the_failed_replicas_of_a_single_task_can_be_run_again(desk: Desk) -> None:
    desk.task("shard", replicas=4)
    first = desk.trigger("shard")
    held = claim_all(desk)
    for number in range(4):
        desk.end(held[f"shard[{number}]"], Reason.FAILED if number == 2 else Reason.SUCCESS)
    desk.run(ops.rerun_execution(desk.catalog, first.execution_id, failed_only=True))
    held = claim_all(desk)
    assert set(held) == {"shard[2]"}
    desk.end(held["shard[2]"])
    check_store(desk)


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
    assert desk.do(executions.inputs(UUID(lint.record.execution), lint.record.step)) == [("install", {"path": "/opt"})]
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
        step = desk.do(retention.forget("fetch", 5, entry.task.keep_for_ms * 1000, batch=3, behind=behind))
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


def test_replicas_count_for_nothing_when_what_they_were_made_from_is_made_anew(desk: Desk) -> None:
    desk.task("fetch")
    desk.task("shard", depends_on=("fetch",), replicas=2)
    first = desk.trigger("shard")
    desk.end(claim_all(desk)["fetch"])
    held = claim_all(desk)
    desk.end(held["shard[0]"])
    desk.end(held["shard[1]"], Reason.FAILED, 1)
    desk.run(ops.delete(str(first.id)))
    desk.run(ops.rerun_execution(desk.catalog, first.execution_id, failed_only=True))
    desk.end(claim_all(desk)["fetch"])
    assert set(claim_all(desk)) == {"shard[0]", "shard[1]"}
    check_store(desk)


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
        assert desk.do(executions.inputs(execution, one.record.step)) == [("install", {"path": "/opt"})]
    for execution in again:
        desk.run(ops.stop_execution(execution))
    for one in claimed:
        desk.end(one, Reason.STOPPED)
    desk.run(ops.delete(str(first.id)))
    check_store(desk)
    desk.run(ops.rerun_execution(desk.catalog, again[1], failed_only=True))
    assert set(claim_all(desk)) == {"install"}, "what it put out is gone, so it is run again"
