"""What dies without a word is noticed, put on record and made up for; and nothing of it is left running."""

import os
import signal
import time
from typing import Any

import pytest

from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet
from tests.system.processes import family, identity, is_alive
from tests.waiting import wait_until

CRASH_SEEN_S = 8.0
GONE_S = 2.0

TASKS = """
[tasks.long]
# The first attempt leaves a daemon and would go on for a minute; the second one just succeeds.
run = '''
echo "$RUNFLEET_RUN_ID began $$" >> $HISTORY
if [ $RUNFLEET_RETRY_ATTEMPT = 1 ]; then exit 0; fi
setsid sleep 61 &
sleep 60
'''
retry_attempts = 1
retry_delay = "10ms"

[tasks.poison]
# Kills its worker process: the parent of the spawner, which is the parent of this shell.
run = "kill -9 $(cut -d ' ' -f 4 /proc/$PPID/stat); sleep 60"
retry_attempts = 10
retry_delay = "10ms"

[tasks.other]
run = "true"

[tasks.forked]
call = "calling:call"

[tasks.warm]
call = "calling:call"
isolate = false
"""


def begin(fleet: Fleet) -> tuple[dict[str, Any], int]:
    """A run of ``long`` that is well under way, and the process id of its command."""
    run = fleet.trigger("long")
    pid = int(fleet.wait_for_word(run["id"], "began")[2])
    wait_until(lambda: len(fleet.run_processes(run["id"])) >= 3, "its daemon is there too")
    return fleet.run(run["id"]), pid


def expect_crash_and_retry(fleet: Fleet, run: dict[str, Any], died_s: float, measured: Measured) -> None:
    """The run is recorded as crashed in time, and its retry succeeded on another worker process."""
    crashed = fleet.ended(run)
    measured("F2", "crash on record", time.monotonic() - died_s, CRASH_SEEN_S)
    assert (crashed["end_reason"], crashed["exit_code"]) == ("crashed", -2)
    assert crashed["message"] == f"crashed: worker {run['worker']} was lost"
    first, second = fleet.chain_of(run, 2)
    assert (second["end_reason"], second["retry_of_run_id"], second["retry_attempt"]) == ("success", first["id"], 1)
    assert second["worker"] != first["worker"]


@pytest.mark.parametrize("victim", ["worker process", "launcher"])
def test_runs_of_a_killed_worker_crash_and_are_tried_elsewhere(
    make_fleet: StartFleet, victim: str, measured: Measured
) -> None:
    """F2, F11: crashed within 8 s and tried again; daemons included, nothing is left after 2 s."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    (worker,) = fleet.start("worker")
    run, _ = begin(fleet)
    doomed = fleet.run_processes(run["id"])
    fleet.start("worker")
    if victim == "launcher":
        doomed |= {one for one in fleet.look() if one.pid in (worker.pid, worker.worker_process(), worker.spawner())}
        worker.kill()
    else:
        os.kill(worker.worker_process(), signal.SIGKILL)
    died_s = time.monotonic()
    wait_until(lambda: not any(map(is_alive, doomed)), "nothing of it is left, daemons included", GONE_S)
    measured("F2", "no process left", time.monotonic() - died_s, GONE_S)
    expect_crash_and_retry(fleet, run, died_s, measured)
    if victim == "worker process":
        assert worker.events("worker.restarted")


def test_a_worker_that_is_still_on_its_way_up_ends_with_its_launcher(
    make_fleet: StartFleet, measured: Measured
) -> None:
    """F2: it has nothing yet, and takes nothing any more."""
    fleet = make_fleet(TASKS)
    worker = fleet.launch("worker")
    pid = worker.worker_process()  # busy with its imports, which take much longer than this look
    doomed = {one for one in fleet.look() if one.pid in (worker.pid, pid)}
    worker.kill()
    died_s = time.monotonic()
    assert worker.events("worker.started") == []
    wait_until(lambda: not any(map(is_alive, doomed)), "it is gone, too", GONE_S)
    measured("F2", "no process left", time.monotonic() - died_s, GONE_S)


def test_a_killed_child_is_a_failure_and_no_crash(make_fleet: StartFleet) -> None:
    """F3: the worker saw the signal that ended it."""
    fleet = make_fleet(TASKS).start_all()
    run, pid = begin(fleet)
    daemon = fleet.run_processes(run["id"])
    os.kill(pid, signal.SIGKILL)
    ended = fleet.ended(run, 2)
    assert (ended["end_reason"], ended["exit_code"]) == ("failed", 137)
    assert ended["message"] == "killed by signal 9 (SIGKILL), possibly out of memory"
    assert not any(map(is_alive, daemon))
    assert [one["end_reason"] for one in fleet.chain_of(run, 2)] == ["failed", "success"]


def test_a_killed_spawner_crashes_its_runs_and_the_worker_process_is_replaced(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS).start_all()
    worker = fleet.of("worker")
    before = worker.worker_process()
    run, _ = begin(fleet)
    doomed = fleet.run_processes(run["id"])
    os.kill(worker.spawner(), signal.SIGKILL)
    died_s = time.monotonic()
    wait_until(lambda: not any(map(is_alive, doomed)), "nothing of its runs is left", GONE_S)
    crashed = fleet.ended(run)
    assert time.monotonic() - died_s < CRASH_SEEN_S
    assert (crashed["end_reason"], crashed["exit_code"]) == ("crashed", -2)
    assert [one["end_reason"] for one in fleet.chain_of(run, 2)] == ["crashed", "success"]
    wait_until(lambda: worker.worker_process() != before, "another worker process took its place")


def test_processes_of_a_killed_spawner_end_though_redis_is_silent(make_fleet: StartFleet, measured: Measured) -> None:
    """F2, F15: the worker cannot report the ends and so leaves late; its launcher does not wait for that."""
    fleet = make_fleet(TASKS).start_all()
    (fleet.folder / "calling.py").write_text("def call():\n    return 1\n")
    for task in ("warm", "forked"):
        assert fleet.perform(task)["end_reason"] == "success"
    begin(fleet)
    worker = fleet.of("worker")
    doomed = {one for one in map(identity, family([worker.spawner()])) if one}
    assert len(doomed) >= 6, "the spawner, two interpreters, and a command with its daemon"
    fleet.redis.freeze()
    os.kill(worker.spawner(), signal.SIGKILL)
    died_s = time.monotonic()
    wait_until(lambda: not any(map(is_alive, doomed)), "nothing of it is left", GONE_S)
    measured("F2", "no process left", time.monotonic() - died_s, GONE_S)
    fleet.redis.thaw()


def test_a_worker_without_a_spawner_fails_no_waiting_run(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, threads=2).start_all()
    begin(fleet)
    waiting = fleet.trigger("other", replicas=100)
    os.kill(fleet.of("worker").spawner(), signal.SIGKILL)
    reasons = [run["end_reason"] for run in fleet.chain_of(waiting, 100)]
    assert reasons.count("crashed") <= 2, "each slot may have had one in its hands"
    assert set(reasons) <= {"success", "crashed"}


def test_a_run_that_kills_its_worker_each_time_ends_after_three(make_fleet: StartFleet) -> None:
    """F44: others go on."""
    fleet = make_fleet(TASKS).start_all()
    poison = fleet.trigger("poison")
    chain = fleet.chain_of(poison, 3, timeout_s=40)
    assert [run["end_reason"] for run in chain] == ["crashed"] * 3
    assert chain[-1]["message"].endswith("was lost; not tried again after 3 crashes in a row")
    assert fleet.perform("other")["end_reason"] == "success"
