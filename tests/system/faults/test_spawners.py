"""A spawner that hangs: nothing is failed for it, nothing runs twice, and what must end ends without it."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Json
from tests.system.processes import is_alive
from tests.waiting import wait_until

TASKS = """
[tasks.short]
run = 'echo "$RUNFLEET_RUN_ID ran" >> $HISTORY'

[tasks.slow]
run = 'echo "$RUNFLEET_RUN_ID ran" >> $HISTORY; sleep 60'
timeout = "3s"
graceful_stop = "1s"

[tasks.stops]
run = 'echo "$RUNFLEET_RUN_ID ran" >> $HISTORY; kill -STOP $PPID; sleep 60'
timeout = "2s"
graceful_stop = "1s"

[tasks.goes_on_stopping]
run = 'echo "$RUNFLEET_RUN_ID ran" >> $HISTORY; while :; do kill -STOP $PPID; done'
timeout = "2s"
graceful_stop = "1s"

[tasks.stops_from_afar]
run = '''
spawner=$PPID
setsid sh -c "while kill -STOP $spawner; do :; done" &
echo "$RUNFLEET_RUN_ID ran" >> $HISTORY
sleep 60
'''
timeout = "2s"
graceful_stop = "1s"

[tasks.held]
run = 'echo "$RUNFLEET_RUN_ID ran" >> $HISTORY; sleep 60'
"""
TRACER = """
import ctypes, os, sys
libc, pid = ctypes.CDLL(None), int(sys.argv[1])
seized = libc.ptrace(0x4206, pid, None, None) == 0 and libc.ptrace(0x4207, pid, None, None) == 0
print("hangs" if seized else "refused", flush=True)
while seized:  # who is killed while it is traced ends for its parent when its tracer has asked for it
    if not os.WIFSTOPPED(os.waitpid(pid, 0x40000000)[1]):
        break
"""
Hang = Callable[[int], subprocess.Popen[str]]


def times_run(fleet: Fleet) -> Counter[str]:
    return Counter(line[0] for line in fleet.wrote())


def started_slow(fleet: Fleet, task: str) -> Json:
    run = fleet.trigger(task)
    fleet.wait_for_word(run["id"], "ran")
    return run


@pytest.fixture
def hang() -> Iterator[Hang]:
    """Have a process hang, as on a disk that does not answer, until the returned one is killed: SIGKILL alone helps."""
    tracers: list[subprocess.Popen[str]] = []

    def hang(pid: int) -> subprocess.Popen[str]:
        tracer = subprocess.Popen([sys.executable, "-c", TRACER, str(pid)], stdout=subprocess.PIPE, text=True)
        tracers.append(tracer)
        assert tracer.stdout is not None
        if tracer.stdout.readline() != "hangs\n":
            pytest.skip("no process may be traced here")
        return tracer

    yield hang
    for tracer in tracers:
        tracer.kill()
        tracer.communicate()


def test_runs_of_a_worker_whose_spawner_hangs_wait_and_run_once(make_fleet: StartFleet, hang: Hang) -> None:
    """F64: for ten seconds."""
    fleet = make_fleet(TASKS, "web", "scheduler", threads=4)
    (worker,) = fleet.start("worker")
    timed = started_slow(fleet, "slow")
    left = fleet.run_processes(timed["id"])
    tracer = hang(worker.spawner())
    frozen_s = time.monotonic()
    runs = [fleet.trigger("short") for _ in range(12)]
    wait_until(lambda: "unfit" in fleet.workers()[0], "it says that it takes no runs")
    assert "its spawner has not answered" in fleet.workers()[0]["unfit"]
    wait_until(lambda: not any(map(is_alive, left)), "what ran too long is dead without the spawner", 8)
    assert {run["status"] for run in fleet.runs(task_name="short")} <= {"pending", "running"}
    assert fleet.wrote() == [[timed["id"], "ran"]]
    wait_until(lambda: time.monotonic() > frozen_s + 10.5, "a start would have been given up", 11)
    tracer.kill()
    assert {fleet.ended(run)["end_reason"] for run in runs} == {"success"}
    assert fleet.ended(timed)["end_reason"] == "timeout"
    assert set(times_run(fleet).values()) == {1}
    assert all(len(fleet.chain(run)) == 1 for run in runs)


def test_a_spawner_that_hangs_for_long_is_killed_and_its_worker_replaced(make_fleet: StartFleet, hang: Hang) -> None:
    """F64: what it had started is lost; what it had not is executed by the next one."""
    fleet = make_fleet(TASKS, "web", "scheduler", threads=4)
    (worker,) = fleet.start("worker")
    held = started_slow(fleet, "held")
    left = fleet.run_processes(held["id"])
    hang(worker.spawner())
    runs = [fleet.trigger("short") for _ in range(6)]
    worker.wait_for("worker.spawner_unresponsive", 40)
    lost = fleet.ended(held)
    assert (lost["end_reason"], lost["message"]) == ("crashed", "crashed: the spawner process died")
    assert {fleet.ended(run, 30)["end_reason"] for run in runs} == {"success"}
    assert set(times_run(fleet).values()) == {1}
    assert not any(map(is_alive, left))
    assert worker.events("worker.restarted")
    told = [line for line in worker.events("worker.unfit") if "its spawner has not answered" in line]
    assert len(told) == 1, told


@pytest.mark.parametrize("task", ["short"])
def test_a_frozen_spawner_does_not_stop_a_drain(make_fleet: StartFleet, hang: Hang, task: str) -> None:
    """F64: the worker leaves in time, and what was not started waits for another one."""
    fleet = make_fleet(TASKS, "web", "scheduler", threads=2, grace_s=3.0)
    (worker,) = fleet.start("worker")
    fleet.perform(task)
    hang(worker.spawner())
    runs = [fleet.trigger(task) for _ in range(3)]
    wait_until(lambda: fleet.run(runs[0]["id"])["status"] == "running", "one was claimed")
    worker.popen.send_signal(signal.SIGTERM)
    worker.wait(25)
    fleet.start("worker")
    for run in runs:
        assert fleet.chain_of(run, 1, 30)[-1]["end_reason"] in ("success", "crashed")
    assert max(times_run(fleet).values()) == 1


@pytest.mark.parametrize("task", ["stops", "goes_on_stopping"])
def test_the_timeout_of_a_run_that_stops_its_spawner_is_kept(
    make_fleet: StartFleet, measured: Measured, task: str
) -> None:
    """F64: the spawner is continued, and that it was stopped is in the log; other runs don't notice."""
    fleet = make_fleet(TASKS, "web", "scheduler", threads=4)
    (worker,) = fleet.start("worker")
    began_s = time.monotonic()
    run = started_slow(fleet, task)
    held = fleet.trigger("held")
    ended = fleet.ended(run, 15)
    measured("F64", f"{task}: timeout, graceful stop and end", time.monotonic() - began_s, 9.0)
    assert (ended["end_reason"], ended["message"]) == ("timeout", "ran longer than timeout = 2s")
    worker.wait_for("worker.spawner_stopped", 3)
    assert fleet.perform("short")["end_reason"] == "success"
    assert fleet.run(held["id"])["status"] == "running"
    assert not worker.events("worker.restarted")


def test_a_run_that_outlives_its_group_to_stop_its_spawner_ends_by_its_timeout(make_fleet: StartFleet) -> None:
    """F64: the spawner is killed in the end, and what stopped it, too; the reason stays the right one."""
    fleet = make_fleet(TASKS, "web", "scheduler", threads=4)
    fleet.start("worker")
    run = started_slow(fleet, "stops_from_afar")
    left = fleet.run_processes(run["id"])
    ended = fleet.ended(run, 35)
    assert ended["end_reason"] == "timeout", ended
    assert ended["message"].startswith("ran longer than timeout = 2s")
    wait_until(lambda: not any(map(is_alive, left)), "what stopped the spawner is gone", 10)
    assert fleet.ended(fleet.trigger("short"), 30)["end_reason"] == "success"
