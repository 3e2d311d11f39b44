"""A keeper that hangs: nothing is failed for it, nothing runs twice, and what must end ends without it."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

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

[tasks.held]
run = 'echo "$RUNFLEET_RUN_ID ran" >> $HISTORY; sleep 60'
"""


def times_run(fleet: Fleet) -> Counter[str]:
    return Counter(line[0] for line in fleet.wrote())


def started_slow(fleet: Fleet, task: str) -> Json:
    run = fleet.trigger(task)
    fleet.wait_for_word(run["id"], "ran")
    return run


def test_runs_of_a_worker_whose_keeper_hangs_wait_and_run_once(make_fleet: StartFleet) -> None:
    """F64: for ten seconds."""
    fleet = make_fleet(TASKS, threads=4)
    fleet.start("web", "scheduler")
    (worker,) = fleet.start("worker")
    timed = started_slow(fleet, "slow")
    left = fleet.run_processes(timed["id"])
    keeper = worker.keeper()
    os.kill(keeper, signal.SIGSTOP)
    frozen_s = time.monotonic()
    runs = [fleet.trigger("short") for _ in range(12)]
    wait_until(lambda: "unfit" in fleet.workers()[0], "it says that it takes no runs")
    assert "its keeper has not answered" in fleet.workers()[0]["unfit"]
    wait_until(lambda: not any(map(is_alive, left)), "what ran too long is dead without the keeper", 8)
    assert {run["status"] for run in fleet.runs(task_name="short")} <= {"pending", "running"}
    assert fleet.wrote() == [[timed["id"], "ran"]]
    wait_until(lambda: time.monotonic() > frozen_s + 10.5, "a start would have been given up", 11)
    os.kill(keeper, signal.SIGCONT)
    assert {fleet.ended(run)["end_reason"] for run in runs} == {"success"}
    assert fleet.ended(timed)["end_reason"] == "timeout"
    assert set(times_run(fleet).values()) == {1}
    assert all(len(fleet.chain(run)) == 1 for run in runs)


def test_a_keeper_that_hangs_for_long_is_killed_and_its_worker_replaced(make_fleet: StartFleet) -> None:
    """F64: what it had started is lost; what it had not is executed by the next one."""
    fleet = make_fleet(TASKS, threads=4)
    fleet.start("web", "scheduler")
    (worker,) = fleet.start("worker")
    held = started_slow(fleet, "held")
    left = fleet.run_processes(held["id"])
    os.kill(worker.keeper(), signal.SIGSTOP)
    runs = [fleet.trigger("short") for _ in range(6)]
    worker.wait_for("worker.keeper_silent", 40)
    lost = fleet.ended(held)
    assert (lost["end_reason"], lost["message"]) == ("crashed", "crashed: the process that kept it was lost")
    assert {fleet.ended(run, 30)["end_reason"] for run in runs} == {"success"}
    assert set(times_run(fleet).values()) == {1}
    assert not any(map(is_alive, left))
    assert worker.events("worker.restarted")
    told = [line for line in worker.events("worker.unfit") if "its keeper has not answered" in line]
    assert len(told) == 1, told


@pytest.mark.parametrize("task", ["short"])
def test_a_frozen_keeper_does_not_stop_a_drain(make_fleet: StartFleet, task: str) -> None:
    """F64: the worker leaves in time, and what was not started waits for another one."""
    fleet = make_fleet(TASKS, threads=2, grace_s=3.0)
    fleet.start("web", "scheduler")
    (worker,) = fleet.start("worker")
    fleet.perform(task)
    os.kill(worker.keeper(), signal.SIGSTOP)
    runs = [fleet.trigger(task) for _ in range(3)]
    wait_until(lambda: fleet.run(runs[0]["id"])["status"] == "running", "one was claimed")
    worker.popen.send_signal(signal.SIGTERM)
    worker.wait(25)
    fleet.start("worker")
    for run in runs:
        assert fleet.chain_of(run, 1, 30)[-1]["end_reason"] in ("success", "crashed")
    assert max(times_run(fleet).values()) == 1
