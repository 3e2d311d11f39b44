"""Plans: whatever is killed, cut off, wiped or stopped in the middle of one, no step of it is lost or runs twice."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Json, Process
from tests.system.proxy import Proxy
from tests.waiting import wait_until

LEASE_S = 6.0
PLANS = 10
NEEDS = {"fetch": [], "clean": ["fetch"], "index": ["fetch"], "publish": ["clean", "index"]}
REPLICAS = {"fetch": 2, "clean": 1, "index": 3, "publish": 1}
TASKS = """
[defaults]
# Says that it began and, unless it is to wait for a file of its name, ends a moment later.
run = '''
echo "$RUNFLEET_EXECUTION_ID $RUNFLEET_TASK $RUNFLEET_REPLICA_INDEX $RUNFLEET_RUN_ID began" >> $HISTORY
if [ -e "hold-$RUNFLEET_TASK" ]; then while [ ! -e "go-$RUNFLEET_TASK" ]; do sleep 0.05; done; else sleep 0.1; fi
echo "$RUNFLEET_EXECUTION_ID $RUNFLEET_TASK $RUNFLEET_REPLICA_INDEX $RUNFLEET_RUN_ID ended" >> $HISTORY
'''
retry_attempts = 9
retry_delay = "1ms"
graceful_stop = "300ms"
""" + "".join(
    f"\n[tasks.{name}]\nreplicas = {REPLICAS[name]}\ndepends_on = {needs}\n".replace("'", '"')
    for name, needs in NEEDS.items()
)
HOURLY = '\n[tasks.hourly]\ndepends_on = ["publish"]\ncron = "@every 1s"\n'


def expect_whole(fleet: Fleet, execution: str, *, last: str = "publish", doubled: bool = False) -> None:
    """
    Every replica of every step has succeeded once, and no command began before all it needs had ended.

    With *doubled* a replica may have done its work more than once, in another attempt each time.
    """
    runs = fleet.runs(execution_id=execution)
    needs = NEEDS if last == "publish" else NEEDS | {last: ["publish"]}
    succeeded = sorted((run["task_name"], run["replica_index"]) for run in runs if run["end_reason"] == "success")
    assert succeeded == sorted((name, n) for name in needs for n in range(REPLICAS.get(name, 1)))
    attempts = [(run["task_name"], run["replica_index"], run["retry_attempt"]) for run in runs]
    assert len(attempts) == len(set(attempts))
    told = fleet.wrote(execution)
    began = [line[3] for line in told if line[4] == "began"]
    assert len(began) == len(set(began)), "no run was executed twice"
    assert set(began) <= {run["id"] for run in runs}
    done: dict[str, set[str]] = {name: set() for name in needs}
    for _, name, replica, _, word in told:
        if word == "ended":
            assert doubled or replica not in done[name], f"{name}/{replica} did its work twice"
            done[name].add(replica)
        else:
            assert all(len(done[need]) == REPLICAS.get(need, 1) for need in needs[name]), f"{name} began too early"


def over(fleet: Fleet, execution: str, timeout_s: float = 60.0) -> None:
    """Wait until an execution is over."""
    wait_until(lambda: fleet.get(f"/api/executions/{execution}")["over"], "the plan is over", timeout_s)


def hold(fleet: Fleet, task: str) -> Callable[[], None]:
    """Make the runs of a step wait; call what comes back to let them end."""
    (fleet.folder / f"hold-{task}").touch()
    return (fleet.folder / f"go-{task}").touch


def triggered(fleet: Fleet, key: str) -> str:
    """A new plan's execution, however often it has to be asked for; each time with the same key."""

    def ask() -> str:
        try:
            answer = fleet.http.post("/api/tasks/publish/run", headers={"Idempotency-Key": key}, timeout=3)
        except httpx.TransportError:
            return ""
        return str(answer.json()["execution_id"]) if answer.is_success else ""

    return wait_until(ask, "the plan is accepted", 30)


@pytest.mark.parametrize("victim", ["worker", "worker process", "scheduler", "web"])
def test_killed_at_any_moment_of_plans_it_costs_no_step(make_fleet: StartFleet, victim: str) -> None:
    """F51: while ten of them run; the one that is killed is started again a moment later."""
    fleet = make_fleet(TASKS, "web", "scheduler", "scheduler", "worker", "worker", threads=4)
    chance = random.Random(51)
    executions = []
    for n in range(PLANS):
        executions.append(triggered(fleet, f"plan-{n}"))
        time.sleep(chance.uniform(0, 0.3))  # the moment is what is tested
        if n % 3 < 2:
            if victim == "worker process":
                os.kill(fleet.of("worker").worker_process(), signal.SIGKILL)
            else:
                fleet.of(victim).kill()
                fleet.start(victim)
    for n, execution in enumerate(executions):
        assert triggered(fleet, f"plan-{n}") == execution
        over(fleet, execution)
        expect_whole(fleet, execution, doubled="worker" in victim)
    assert {run["execution_id"] for run in fleet.runs()} == set(executions)


@pytest.mark.parametrize("then", ["dies", "hears again"])
def test_a_group_whose_last_report_got_no_answer_is_followed_once(
    make_fleet: StartFleet, short_path: Path, then: str
) -> None:
    """F52: the next group begins in the very step that ends the one before, however often that is said."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    with Proxy(short_path / "p", fleet.redis.socket).serving() as proxy:
        (cut_off,) = fleet.start("worker", RUNFLEET_REDIS_URL=proxy.url, RUNFLEET_REDIS_TIMEOUT="0.5")
        over(fleet, fleet.trigger("publish")["execution_id"])  # Redis knows the script of an end now
        go = hold(fleet, "fetch")
        execution = fleet.trigger("publish")["execution_id"]
        wait_until(lambda: len(fleet.wrote(execution, "fetch")) == 2, "both replicas run")
        fleet.start("worker")
        proxy.lose_replies()
        go()
        wait_until(lambda: fleet.runs(execution_id=execution, task_name="index"), "the next group is there")
        if then == "dies":
            cut_off.kill()
        else:
            time.sleep(2)  # for some repetitions
            proxy.lose_replies(False)
        over(fleet, execution)
        expect_whole(fleet, execution, doubled=True)
        made = fleet.runs(execution_id=execution)
        assert sum(run["retry_attempt"] == 0 for run in made) == sum(REPLICAS.values())
        assert {run["end_reason"] for run in made if run["task_name"] == "fetch"} == {"success"}


def test_a_tick_creates_its_whole_plan_once_under_any_leader(make_fleet: StartFleet) -> None:
    """F53: the leader is killed again and again, and once its heir is frozen."""
    fleet = make_fleet(TASKS + HOURLY, "web", "worker", "scheduler", "scheduler", threads=8)
    for is_frozen in (False, True, False):
        _wait_for_ticks(fleet)
        leader = _leader(fleet)
        if is_frozen:
            leader.popen.send_signal(signal.SIGSTOP)
            _wait_for_heir(fleet, leader)
            leader.popen.send_signal(signal.SIGCONT)
        leader.kill()
        fleet.start("scheduler")
        _wait_for_heir(fleet, leader)
    _wait_for_ticks(fleet)
    fleet.post("/api/tasks/hourly/pause")
    ticks = _ticks(fleet)
    for executions in ticks.values():
        assert len(executions) == 1
        over(fleet, executions[0])
        expect_whole(fleet, executions[0], last="hourly")


def _ticks(fleet: Fleet) -> dict[str, list[str]]:
    """Tick → the executions that were made for it."""
    found: dict[str, set[str]] = {}
    for run in fleet.runs(task_name="fetch"):
        found.setdefault(run["scheduled_for"], set()).add(run["execution_id"])
    return {tick: sorted(executions) for tick, executions in found.items()}


def _wait_for_ticks(fleet: Fleet) -> None:
    so_far = len(_ticks(fleet))
    wait_until(lambda: len(_ticks(fleet)) > so_far + 1, "it ticks")


def _leader(fleet: Fleet) -> Process:
    """The one that said last that it leads."""
    said = [(one.events("scheduler.leading")[-1], one) for one in fleet.processes if one.events("scheduler.leading")]
    return max(said, key=lambda pair: pair[0])[1]


def _wait_for_heir(fleet: Fleet, leader: Process) -> None:
    wait_until(lambda: _leader(fleet) is not leader, "another leads")


def test_a_wiped_redis_leaves_no_plan_half_alive(make_fleet: StartFleet) -> None:
    """F54: what runs is written back and ends; what was to follow is gone with the store, and its execution says so."""
    fleet = make_fleet(TASKS).start_all()
    go = hold(fleet, "fetch")
    first = fleet.trigger("publish")
    wait_until(lambda: len(fleet.wrote(first["execution_id"], "fetch")) == 2, "both replicas run")
    with fleet.redis.client() as client:
        client.flushall()
    fleet.of("worker").wait_for("store.wiped", 5)
    wait_until(lambda: len(_known(fleet, first["execution_id"])) == 2, "they are back", 5)
    go()
    over(fleet, first["execution_id"])
    assert [run["end_reason"] for run in _known(fleet, first["execution_id"])] == ["success"] * 2
    (listed,) = fleet.get("/api/executions")["executions"]
    assert (listed["task_name"], listed["phase"]) == ("publish", "failed")
    assert "lost its other runs and the steps that were to follow" in listed["message"]
    wait_until(lambda: fleet.http.get("/api/tasks/publish").status_code == 200, "the tasks are back", 5)
    again = fleet.trigger("publish")["execution_id"]
    over(fleet, again)
    expect_whole(fleet, again)
    assert {run["execution_id"] for run in fleet.runs()} == {first["execution_id"], again}


def _known(fleet: Fleet, execution: str) -> list[Json]:
    return fleet.runs(execution_id=execution)


@pytest.mark.parametrize("worker", ["is dead", "is frozen"])
def test_a_stop_of_a_plan_comes_true_without_its_worker(
    make_fleet: StartFleet, measured: Measured, worker: str
) -> None:
    """F55: what it runs is stopped within a lease + 2 s, and no later step begins."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    (lost,) = fleet.start("worker")
    hold(fleet, "clean")
    execution = fleet.trigger("publish")["execution_id"]
    wait_until(lambda: fleet.wrote(execution, "clean"), "the second group runs")
    wait_until(lambda: len([line for line in fleet.wrote(execution, "index") if line[4] == "ended"]) == 3, "in part")
    frozen = [lost.pid, lost.worker_process(), lost.spawner()]
    if worker == "is dead":
        lost.kill()
    else:
        os.kill(frozen[0], signal.SIGSTOP)
        os.kill(frozen[1], signal.SIGSTOP)
    fleet.start("worker")
    fleet.post(f"/api/executions/{execution}/stop")
    asked_s = time.monotonic()
    over(fleet, execution)
    measured("F55", "stop", time.monotonic() - asked_s, LEASE_S + 2)
    ended = {(run["task_name"], run["replica_index"]): run for run in fleet.runs(execution_id=execution)}
    assert ended["clean", 0]["end_reason"] == "stopped"
    assert (ended["publish", 0]["end_reason"], len(ended)) == ("skipped", 2 + 1 + 3 + 1)
    if worker == "is frozen":
        for pid in frozen[:2]:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: not fleet.run_processes(ended["clean", 0]["id"]), "it ends what it should not run", 2)
    time.sleep(1)  # in which a step that is not to begin could
    assert not fleet.wrote(execution, "publish")
    assert {run["id"]: run for run in fleet.runs(execution_id=execution)} == {run["id"]: run for run in ended.values()}
