"""Executions of several steps: group after group, each step once, whatever ends how."""

from __future__ import annotations

import random

import pytest

from shared import ops
from shared.errors import DefinitionChanged, Invalid
from shared.runs import Reason, Run
from shared.store import executions, runs
from shared.store.runs import Claimed, Facts
from shared.tasks import Param, Task
from tests.store.checking import check_store
from tests.store.desk import START, Desk
from tests.store.planned import claim_all, diamond, states

MINUTE = 60_000_000


def test_groups_run_one_after_another_each_step_once(desk: Desk) -> None:
    diamond(desk)
    first = desk.trigger("deploy")
    assert first.task_name == "install"
    order = []
    while held := claim_all(desk):
        order.append(sorted(held))
        for one in held.values():
            assert not desk.run(runs.is_over(first.execution_id))
            desk.end(one)
            check_store(desk)
    assert order == [["install"], ["lint", "test"], ["deploy"]]
    made = desk.run(runs.execution_runs(first.execution_id))
    assert {run.execution_id for run in made} == {first.execution_id}
    assert [run.task_name for run in made] == ["install", "lint", "test", "deploy"]
    assert desk.run(runs.is_over(first.execution_id))


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
    assert desk.run(runs.is_over(first.execution_id))
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
    last = claim_all(desk)
    assert set(last) == {"deploy"}
    desk.end(last["deploy"])
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
    assert desk.run(runs.is_over(execution))
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
        if held is None and desk.run(ops.make_all(first.execution_id)):  # as the scheduler does
            held = desk.claim()
    assert ended == count
    assert desk.run(runs.is_over(first.execution_id))
    check_store(desk)


def test_the_outputs_of_a_step_are_handed_on_to_those_that_need_it(desk: Desk) -> None:
    diamond(desk, test={"replicas": 2})
    first = desk.trigger("deploy")

    def say(held: Claimed, outputs: str) -> None:
        desk.end(held, facts=Facts(outputs=outputs))

    say(claim_all(desk)["install"], '{"path":"/opt"}')
    held = claim_all(desk)
    assert desk.run(executions.inputs(first.execution_id, held["lint"].record.step)) == [("install", {"path": "/opt"})]
    say(held["lint"], "")
    say(held["test[1]"], '{"b":1}')
    say(held["test[0]"], '{"a":1}')
    deploy = claim_all(desk)["deploy"].record
    assert deploy.needs == 2
    assert desk.run(executions.inputs(first.execution_id, deploy.step)) == [("test", {"a": 1}), ("test", {"b": 1})]
