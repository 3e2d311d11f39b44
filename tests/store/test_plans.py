"""Executions of several steps: group after group, each step once, whatever ends how."""

import random

import pytest

from shared import ops
from shared.errors import DefinitionChanged, Invalid
from shared.runs import Reason, Run
from shared.store import executions, runs
from shared.store.runs import Claimed, Facts
from shared.tasks import Param, Task
from tests.store.consistency import check_store
from tests.store.diamonds import claim_all, diamond, states
from tests.store.harness import START, StoreHarness

MINUTE = 60_000_000


def test_groups_run_one_after_another_each_step_once(harness: StoreHarness) -> None:
    diamond(harness)
    first = harness.trigger("deploy")
    assert first.task_name == "install"
    order = []
    while held := claim_all(harness):
        order.append(sorted(held))
        for one in held.values():
            assert not harness.run(runs.is_over(first.execution_id))
            harness.end(one)
            check_store(harness)
    assert order == [["install"], ["lint", "test"], ["deploy"]]
    made = harness.run(runs.execution_runs(first.execution_id))
    assert {run.execution_id for run in made} == {first.execution_id}
    assert [run.task_name for run in made] == ["install", "lint", "test", "deploy"]
    assert harness.run(runs.is_over(first.execution_id))


def test_the_next_group_begins_with_the_end_that_completes_the_one_before(harness: StoreHarness) -> None:
    diamond(harness)
    harness.trigger("deploy")
    harness.end(claim_all(harness)["install"])
    held = claim_all(harness)
    assert harness.end(held["lint"]).ready == {}
    ended = harness.end(held["test"], wanted=harness.wanted())
    assert ended.claimed is not None
    assert ended.claimed.record.task == "deploy"


def test_a_step_that_fails_lets_its_group_finish_and_nothing_begin(harness: StoreHarness) -> None:
    diamond(harness)
    first = harness.trigger("deploy")
    harness.end(claim_all(harness)["install"])
    held = claim_all(harness)
    harness.end(held["lint"], Reason.FAILED, 1)
    assert states(harness, first.execution_id) == {"install": "success", "lint": "failed", "test": "running"}
    harness.end(held["test"])
    assert states(harness, first.execution_id)["deploy"] == "skipped"
    deploy = harness.run(runs.find("deploy#1"))
    assert (deploy.message, deploy.exit_code) == ("skipped: lint#1 ended as failed", -1)
    assert harness.claim() is None
    assert harness.run(runs.is_over(first.execution_id))
    check_store(harness)


def test_a_retry_that_succeeds_saves_the_plan(harness: StoreHarness) -> None:
    diamond(harness, lint={"retry_attempts": 1, "retry_delay_ms": (0,)})
    first = harness.trigger("deploy")
    harness.end(claim_all(harness)["install"])
    held = claim_all(harness)
    harness.end(held["test"])
    harness.fail(held["lint"], harness.entry("lint"))
    again = claim_all(harness)["lint"]
    assert again.record.attempt == 1
    harness.end(again)
    last = claim_all(harness)
    assert set(last) == {"deploy"}
    harness.end(last["deploy"])
    assert states(harness, first.execution_id)["deploy"] == "success"
    check_store(harness)


def test_all_replicas_of_a_step_have_to_succeed(harness: StoreHarness) -> None:
    harness.task("shard", replicas=3)
    harness.task("merge", depends_on=("shard",))
    for reason, becomes in ((Reason.SUCCESS, "pending"), (Reason.TIMEOUT, "skipped")):
        first = harness.trigger("merge")
        held = claim_all(harness)
        assert sorted(held) == ["shard[0]", "shard[1]", "shard[2]"]
        harness.end(held["shard[0]"])
        harness.end(held["shard[1]"], reason, 1)
        assert "merge" not in states(harness, first.execution_id)
        harness.end(held["shard[2]"])
        assert states(harness, first.execution_id)["merge"] == becomes
        check_store(harness)
        harness.run(ops.stop_execution(first.execution_id))


def test_stopping_an_execution_ends_it_also_when_what_runs_ends_well(harness: StoreHarness) -> None:
    diamond(harness)
    first = harness.trigger("deploy")
    held = claim_all(harness)["install"]
    assert harness.run(ops.stop_execution(first.execution_id)) == 1
    harness.end(held)
    assert states(harness, first.execution_id) == dict.fromkeys(("lint", "test", "deploy"), "skipped") | {
        "install": "success"
    }
    assert harness.run(runs.find("deploy#1")).message == "skipped: the execution was stopped"
    check_store(harness)


def test_stopping_a_task_stops_executions_that_have_yet_to_come_to_it(harness: StoreHarness) -> None:
    diamond(harness)
    first = harness.trigger("deploy")
    assert harness.run(ops.stop_task("deploy")) == 1
    assert set(states(harness, first.execution_id).values()) == {"stopped", "skipped"}
    check_store(harness)


def test_a_stopped_step_is_a_failed_one(harness: StoreHarness) -> None:
    diamond(harness)
    first = harness.trigger("deploy")
    harness.run(ops.stop(str(first.id)))
    assert harness.run(runs.find("deploy#1")).message == "skipped: install#1 ended as stopped"
    check_store(harness)


def test_a_lost_worker_costs_a_step_no_more_than_an_attempt(harness: StoreHarness) -> None:
    diamond(harness, install={"retry_attempts": 1, "retry_delay_ms": (0,)})
    first = harness.trigger("deploy")
    lost = harness.claimed()
    harness.pass_s(7)
    harness.rescue(lost.id, harness.entry("install"))
    check_store(harness)
    assert harness.end(lost).verdict == "refused"
    harness.end(claim_all(harness)["install"])
    assert sorted(claim_all(harness)) == ["lint", "test"]
    assert states(harness, first.execution_id)["install"] == "success"


def test_an_end_that_is_repeated_begins_nothing_twice(harness: StoreHarness) -> None:
    diamond(harness)
    first = harness.trigger("deploy")
    held = claim_all(harness)["install"]
    harness.end(held)
    before = states(harness, first.execution_id)
    assert harness.end(held).verdict == "already_ended"
    assert states(harness, first.execution_id) == before
    assert len(harness.run(runs.execution_runs(first.execution_id))) == 3


def test_parameters_go_to_the_started_task_and_to_those_that_declare_them(harness: StoreHarness) -> None:
    harness.task("extract", params={"day": Param(required=True)})
    harness.task("report", params={"day": Param(), "to": Param(default="all")}, depends_on=("extract",))
    with pytest.raises(Invalid, match="day: is required by task extract"):
        harness.trigger("report")
    harness.trigger("report", params={"day": "monday"}, tags=("x",), priority=7, external_execution_id="e1")
    extract = claim_all(harness)["extract"]
    harness.end(extract)
    report = harness.get(claim_all(harness)["report"].id)
    assert harness.get(extract.id).params == {"day": "monday"}
    assert report.params == {"day": "monday", "to": "all"}
    assert (report.tags, report.priority, report.external_execution_id) == (["x"], 7, "e1")


def test_limits_of_all_steps_are_held_by_the_execution(harness: StoreHarness) -> None:
    diamond(harness, lint={"max_concurrent": 1})
    harness.task("alone", depends_on=("lint",))
    first, second = harness.trigger("deploy"), harness.trigger("alone")
    held = claim_all(harness)
    assert set(held) == {"install"}
    assert harness.get(second.id).status == "pending"
    harness.run(ops.stop_execution(first.execution_id))
    harness.end(held["install"])
    assert sorted(claim_all(harness)) == ["install"]


def test_an_overlap_rule_is_the_started_tasks(harness: StoreHarness) -> None:
    diamond(harness, deploy={"max_concurrent": 1, "on_overlap": "skip"})
    harness.trigger("deploy")
    refused = harness.trigger("deploy")
    assert (refused.task_name, refused.end_reason) == ("deploy", Reason.SKIPPED)
    check_store(harness)


def test_a_delayed_plan_begins_when_it_is_due_or_is_refused_then_with_all_its_steps(harness: StoreHarness) -> None:
    diamond(harness, deploy={"max_concurrent": 1, "on_overlap": "skip"})
    late = harness.trigger("deploy", delay_ms=1000)
    assert claim_all(harness) == {}
    harness.trigger("deploy")
    harness.pass_s(2)
    harness.run(ops.enqueue_due())
    assert set(states(harness, late.execution_id).values()) == {"skipped"}
    assert len(states(harness, late.execution_id)) == 4
    check_store(harness)


def test_a_tick_makes_a_plan_once(harness: StoreHarness) -> None:
    diamond(harness, deploy={"cron": ("* * * * *",)})
    tick = START // MINUTE * MINUTE + MINUTE
    assert harness.run(ops.fire(ops.Catalog(), harness.entry("deploy"), tick))
    assert not harness.run(ops.fire(ops.Catalog(), harness.entry("deploy"), tick))
    held = claim_all(harness)
    assert set(held) == {"install"}
    assert (held["install"].record.triggered_by, held["install"].record.tick_us) == ("cron", tick)


def test_a_dependency_that_changed_meanwhile_is_read_again(harness: StoreHarness) -> None:
    diamond(harness)
    catalog = ops.Catalog()
    harness.run(ops.trigger(catalog, "deploy", ops.Request()))
    harness.task("install", run="echo new")
    harness.run(ops.trigger(catalog, "deploy", ops.Request()))
    assert harness.claimed().record.definition != harness.entry("install").definition.hash
    assert harness.claimed().record.definition == harness.entry("install").definition.hash
    harness.task("deploy", depends_on=("lint", "test"), cron=("* * * * *",))
    entry = harness.entry("deploy")
    harness.run(ops.fire(catalog, entry, START + MINUTE))
    harness.task("install", run="echo newer")
    assert harness.run(ops.fire(catalog, entry, START + 2 * MINUTE))
    harness.task("deploy", depends_on=("lint",), cron=("* * * * *",))
    with pytest.raises(DefinitionChanged):
        harness.run(ops.fire(catalog, entry, START + 3 * MINUTE))


def test_a_running_plan_keeps_the_definitions_it_began_with(harness: StoreHarness) -> None:
    diamond(harness)
    old = harness.entry("deploy").definition.hash
    harness.trigger("deploy")
    harness.task("deploy", run="echo another", depends_on=("lint",))
    harness.end(claim_all(harness)["install"])
    for held in claim_all(harness).values():
        harness.end(held)
    assert claim_all(harness)["deploy"].record.definition == old


def test_external_steps_take_their_turn(harness: StoreHarness) -> None:
    harness.task("build")
    harness.task("approve", run=None, external=True, depends_on=("build",))
    harness.task("deploy", depends_on=("approve",))
    harness.trigger("deploy")
    harness.end(claim_all(harness)["build"])
    approve = harness.run(runs.find("approve#1"))
    assert approve.status == "pending"
    assert harness.run(ops.report(harness.catalog, approve.id, "ended", reason=Reason.SUCCESS)).ready == {"default": 1}
    assert set(claim_all(harness)) == {"deploy"}


@pytest.mark.parametrize("seed", range(12))
def test_any_plan_under_any_interleaving_runs_each_step_once_and_after_what_it_needs(
    harness: StoreHarness, seed: int
) -> None:
    """Random graphs; ends, crashes, repeats and stops in random order, checked against the graph alone."""
    dice = random.Random(seed)
    needs: dict[str, list[str]] = {}
    for number in range(dice.randint(2, 14)):
        name = f"t{number}"
        needs[name] = dice.sample(sorted(needs), dice.randint(0, min(3, len(needs))))
        harness.task(
            name,
            depends_on=tuple(needs[name]),
            replicas=dice.choice([1, 1, 1, 2]),
            retry_attempts=dice.randint(0, 2),
            retry_delay_ms=(0,),
        )
    target = f"t{len(needs) - 1}"
    execution = harness.trigger(target).execution_id
    succeeded: dict[str, set[int]] = {}
    stops = dice.random() < 0.2
    while held := [one for one in iter(harness.claim, None) if one is not None]:
        dice.shuffle(held)
        for one in held:
            task, entry = one.record.task, harness.entry(one.record.task)
            for need in needs[task]:
                assert len(succeeded.get(need, ())) == harness.entry(need).task.replicas, f"{task} ran before {need}"
            if stops and dice.random() < 0.1:
                harness.run(ops.stop_execution(execution))
            fate = dice.random()
            if fate < 0.75:
                assert one.record.replica_index not in succeeded.get(task, set()), f"{task} succeeded twice"
                succeeded.setdefault(task, set()).add(one.record.replica_index)
                harness.end(one)
            elif fate < 0.9:
                harness.fail(one, entry)
            else:
                harness.pass_s(7)
                harness.rescue(one.id, entry)
            harness.end(one, Reason.FAILED, 1)  # again, or too late: nothing comes of it
        check_store(harness)
    assert harness.run(runs.is_over(execution))
    all_runs = harness.run(runs.execution_runs(execution))
    planned = {step for step in needs if step == target or any(step == run.task_name for run in all_runs)}
    newest: dict[tuple[str, int], Run] = {(run.task_name, run.replica_index): run for run in all_runs}
    assert {task for task, _ in newest} == planned, "every step has a record"
    assert all(run.end_reason is not None for run in all_runs)


@pytest.mark.parametrize("shape", ["wide", "deep"])
def test_a_thousand_steps_are_made_and_run(harness: StoreHarness, shape: str) -> None:
    count = 1000
    harness.task("s0")
    for number in range(1, count - 1):
        needs = (f"s{number - 1}",) if shape == "deep" else ("s0",)
        harness._tasks[f"s{number}"] = Task(name=f"s{number}", run="true", depends_on=needs)
    last = (f"s{count - 2}",) if shape == "deep" else tuple(f"s{number}" for number in range(1, count - 1))
    harness.task("last", depends_on=last)
    first = harness.trigger("last")
    ended = 0
    held = harness.claim()
    while held is not None:
        ended += 1
        held = harness.end(held, wanted=harness.wanted()).claimed or harness.claim()
        if held is None and harness.run(ops.make_all(first.execution_id)):  # as the scheduler does
            held = harness.claim()
    assert ended == count
    assert harness.run(runs.is_over(first.execution_id))
    check_store(harness)


def test_the_outputs_of_a_step_are_handed_on_to_those_that_need_it(harness: StoreHarness) -> None:
    diamond(harness, test={"replicas": 2})
    first = harness.trigger("deploy")

    def say(held: Claimed, outputs: str) -> None:
        harness.end(held, facts=Facts(outputs=outputs))

    say(claim_all(harness)["install"], '{"path":"/opt"}')
    held = claim_all(harness)
    assert harness.run(executions.inputs(first.execution_id, held["lint"].record.step)) == [
        ("install", {"path": "/opt"})
    ]
    say(held["lint"], "")
    say(held["test[1]"], '{"b":1}')
    say(held["test[0]"], '{"a":1}')
    deploy = claim_all(harness)["deploy"].record
    assert deploy.needs == 2
    assert harness.run(executions.inputs(first.execution_id, deploy.step)) == [("test", {"a": 1}), ("test", {"b": 1})]
