"""Workers that are killed, frozen, told to leave or on a wrong clock, while they run something or nothing."""

import signal
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Json, Process
from tests.system.processes import is_alive, send
from tests.waiting import wait_until

CRASH_SEEN_S = 8.0
GONE_S = 2.0
LEASE_S = 6.0
TASKS = """
[tasks.deaf]
run = 'trap "" TERM; echo "$RUNFLEET_RUN_ID began" >> $HISTORY; while :; do sleep 60 || :; done'
on_interrupt = "end"

[tasks.sleepy]
run = 'echo "$RUNFLEET_RUN_ID began" >> $HISTORY; sleep 60'
graceful_stop = "300ms"

[tasks.timely]
run = 'echo "$RUNFLEET_RUN_ID began" >> $HISTORY; sleep 60'
timeout = "8s"
graceful_stop = "300ms"

[tasks.other]
run = 'echo "$RUNFLEET_RUN_ID began" >> $HISTORY; sleep 60'
queue = "aside"

[tasks.told]
run = "echo a line; sleep 0.2; echo another"
"""
# A worker process in whose interpreter the clock is wrong by so many seconds.
ON_A_WRONG_CLOCK = """
import runpy, sys, time
wrong_s = float(sys.argv[1])
right, right_ns = time.time, time.time_ns
time.time = lambda: right() + wrong_s
time.time_ns = lambda: right_ns() + int(wrong_s * 1e9)
sys.argv = ["worker", "--process"]
runpy.run_module("worker", run_name="__main__", alter_sys=True)
"""


def begin(fleet: Fleet, task: str) -> Json:
    run = fleet.trigger(task)
    fleet.wait_for_word(run["id"], "began")
    return run


def test_a_killed_idle_worker_is_missed_and_nothing_else_happens(make_fleet: StartFleet, measured: Measured) -> None:
    """F1: the run of another worker goes on."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    (busy,) = fleet.start("worker", RUNFLEET_QUEUES="aside")
    run = begin(fleet, "other")
    (idle,) = fleet.start("worker", RUNFLEET_QUEUES="default")
    wait_until(lambda: len(fleet.workers()) == 2, "both are there")
    idle.kill()
    killed_s = time.monotonic()
    wait_until(lambda: len(fleet.workers()) == 1, "it is missed")
    measured("F1", "missed", time.monotonic() - killed_s, CRASH_SEEN_S)
    assert fleet.run(run["id"])["status"] == "running"
    assert len(fleet.runs()) == 1
    assert busy.popen.poll() is None


def test_a_worker_killed_while_it_drains_crashes_its_runs(make_fleet: StartFleet, measured: Measured) -> None:
    """F7: the command ignores the signal that it is not sent yet."""
    fleet = make_fleet(TASKS, grace_s=30.0).start_all()
    worker = fleet.of("worker")
    run = begin(fleet, "deaf")
    doomed = fleet.run_processes(run["id"])
    worker.signal_group(signal.SIGTERM)
    worker.wait_for("worker.drain")
    worker.kill()
    killed_s = time.monotonic()
    wait_until(lambda: not any(map(is_alive, doomed)), "nothing of it is left", GONE_S)
    measured("F7", "no process left", time.monotonic() - killed_s, GONE_S)
    assert fleet.ended(run)["end_reason"] == "crashed"
    measured("F7", "crash on record", time.monotonic() - killed_s, CRASH_SEEN_S)


def test_a_worker_leaves_within_what_each_platform_gives_it(make_fleet: StartFleet, measured: Measured) -> None:
    """F6: Fly gives 5 s, Compose 10 s, Heroku 30 s; the grace is set a little below."""
    fleet = make_fleet(TASKS, "web", "scheduler", threads=1)
    given = {"Fly": (4.0, 5), "Compose": (9.0, 10), "Heroku": (25.0, 30)}
    leaving: dict[str, Process] = {}
    for name, (grace_s, _) in given.items():
        (leaving[name],) = fleet.start("worker", RUNFLEET_SHUTDOWN_GRACE=f"{grace_s:g}", RUNFLEET_QUEUES="default")
        begin(fleet, "deaf")
    for _ in range(5):
        for worker in leaving.values():
            worker.signal_group(signal.SIGTERM)
        time.sleep(0.02)  # the distance is what is tested
    asked_s = time.monotonic()
    for name, (_, seconds) in given.items():
        assert leaving[name].wait(seconds) == 0
        measured("F6", f"drain on {name}", time.monotonic() - asked_s, seconds)
    assert {run["message"] for run in fleet.runs(task_name="deaf")} == {"interrupted: its worker was shut down"}


def test_a_frozen_command_is_no_lost_one_and_its_timeout_works(make_fleet: StartFleet) -> None:
    """F10: for longer than a lease."""
    fleet = make_fleet(TASKS).start_all()
    run = begin(fleet, "timely")
    processes = fleet.run_processes(run["id"])
    send([one.pid for one in processes], signal.SIGSTOP)
    ended = fleet.ended(run)
    assert (ended["end_reason"], ended["exit_code"]) == ("timeout", 137)
    assert ended["duration_ms"] > LEASE_S * 1000
    assert not any(map(is_alive, processes))
    assert fleet.runs(end_reason="crashed") == []


def test_a_stop_comes_true_without_the_worker(make_fleet: StartFleet, measured: Measured) -> None:
    """F38: one worker is dead, another is frozen."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    (frozen,) = fleet.start("worker", RUNFLEET_QUEUES="default")
    (dead,) = fleet.start("worker", RUNFLEET_QUEUES="aside")
    runs = [begin(fleet, "sleepy"), begin(fleet, "other")]
    tree = [one.pid for one in fleet.run_processes(runs[0]["id"])] + [frozen.worker_process(), frozen.spawner()]
    send(tree, signal.SIGSTOP)
    dead.kill()
    for run in runs:
        fleet.post(f"/api/runs/{run['id']}/stop")
    asked_s = time.monotonic()
    ended = [fleet.ended(run) for run in runs]
    measured("F38", "stop", time.monotonic() - asked_s, LEASE_S + 2)
    assert {(one["end_reason"], one["exit_code"]) for one in ended} == {("stopped", -2)}
    send(tree, signal.SIGCONT)
    wait_until(lambda: not any(fleet.run_processes(run["id"]) for run in runs), "nothing of them is left", GONE_S)
    assert [fleet.run(run["id"]) for run in runs] == ended


@pytest.mark.parametrize("wrong_s", [-70.0, 3600.0])
def test_the_clock_of_a_worker_is_of_no_account(make_fleet: StartFleet, wrong_s: float) -> None:
    """F26: what is written down is what Redis's clock says, times of log lines included."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    command = [sys.executable, "-P", "-c", ON_A_WRONG_CLOCK, str(wrong_s)]
    worker = Process("worker", command, fleet.env, fleet.folder)
    fleet.processes.append(worker)
    worker.wait_for("worker.started")
    before = datetime.now(UTC)
    run = fleet.perform("told")
    after = datetime.now(UTC) + timedelta(milliseconds=50)
    assert (run["end_reason"], len(fleet.chain(run))) == ("success", 1)
    lines = fleet.get(f"/api/runs/{run['id']}/log")["lines"]
    times = [run["created_at"], run["start_at"], *(line["at"] for line in lines), run["end_at"]]
    moments = [datetime.fromisoformat(time) for time in times]
    assert moments == sorted(moments)
    assert before - timedelta(milliseconds=50) <= moments[0]
    assert moments[-1] <= after
    assert 200 <= run["duration_ms"] < 5000
    assert [one["alive"] for one in fleet.get("/api/workers")["workers"]] == [True]
