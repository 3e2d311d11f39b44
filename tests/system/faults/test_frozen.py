"""A worker that sleeps through its lease: its run is given to another, and when it wakes up it is told so."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Json, Process
from tests.system.processes import command_line, is_alive, send
from tests.system.proxy import Proxy
from tests.waiting import wait_until

CRASH_SEEN_S = 8.0
TASKS = """
[defaults]
# Says ten times a second that it lives; a second attempt ends after half a second.
run = '''
i=0
while [ $RUNFLEET_RETRY_ATTEMPT = 0 ] || [ $i -lt 5 ]; do
  echo "$RUNFLEET_RUN_ID lives $(date +%s%N)" >> $HISTORY
  i=$((i+1))
  sleep 0.1
done
'''
retry_attempts = 1
retry_delay = "1ms"

[tasks.lax]

[tasks.held_up]
env_file = "slow.env"

[tasks.held_up_strict]
env_file = "slow.env"
strict_lease = true

[tasks.strict]
strict_lease = true

[tasks.strict_call]
call = "living:live"
strict_lease = true
"""
MODULE = """
import os, time

def live():
    for _ in range(600 if os.environ["RUNFLEET_RETRY_ATTEMPT"] == "0" else 5):
        with open(os.environ["HISTORY"], "a") as file:
            file.write(os.environ["RUNFLEET_RUN_ID"] + f" lives {time.time_ns()}\\n")
        time.sleep(0.1)
"""


def lived(fleet: Fleet, run: Json) -> tuple[float, float]:
    """When a run first and last said that it lives."""
    said = [int(line[2]) / 1e9 for line in fleet.wrote(run["id"], "lives")]
    return said[0], said[-1]


def test_a_worker_that_wakes_up_too_late_learns_so_and_ends_its_run(make_fleet: StartFleet, measured: Measured) -> None:
    """F8: the record is not touched by who comes too late."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    (sleeper,) = fleet.start("worker")
    run = fleet.trigger("lax")
    fleet.wait_for_word(run["id"], "lives")
    tree = [one.pid for one in fleet.run_processes(run["id"])]
    tree += [sleeper.pid, sleeper.worker_process(), sleeper.spawner()]
    fleet.start("worker")
    send(tree, signal.SIGSTOP)
    slept_s = time.monotonic()
    first, second = fleet.chain_of(run, 2)
    measured("F8", "crash on record, retry over", time.monotonic() - slept_s, CRASH_SEEN_S + 2)
    assert (first["end_reason"], second["end_reason"]) == ("crashed", "success")
    assert first["worker"] != second["worker"]
    time.sleep(max(0.0, slept_s + 10 - time.monotonic()))  # how long it sleeps is what is tested

    send(tree, signal.SIGCONT)
    woken_s = time.monotonic()
    wait_until(lambda: not fleet.run_processes(run["id"]), "it ends what it should not run any more", 2.0)
    measured("F8", "ends the lost run", time.monotonic() - woken_s, 1.0)
    sleeper.wait_for("run.lost", 3)
    assert fleet.run(run["id"]) == first
    assert len(fleet.chain(run)) == 2


@pytest.mark.parametrize("task", ["lax", "strict"])
def test_a_worker_cut_off_loses_its_run_and_a_strict_one_never_overlaps(
    make_fleet: StartFleet, short_path: Path, task: str
) -> None:
    """F9, F17: a black hole on one worker's way, and none on the other's."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    with Proxy(short_path / "p", fleet.redis.socket).serving() as proxy:
        (cut_off,) = fleet.start("worker", RUNFLEET_REDIS_URL=proxy.url)
        run = fleet.trigger(task)
        fleet.wait_for_word(run["id"], "lives")
        fleet.start("worker")
        proxy.swallow()
        first, second = fleet.chain_of(run, 2)
        assert (first["end_reason"], second["end_reason"]) == ("crashed", "success")
        if task == "strict":
            assert lived(fleet, first)[1] < lived(fleet, second)[0]
        proxy.pass_on()
        expect_lost(fleet, cut_off, first)


@pytest.mark.parametrize("task", ["strict", "strict_call"])
def test_a_strict_run_does_not_outlive_its_lease_though_its_worker_is_frozen(make_fleet: StartFleet, task: str) -> None:
    """F9: its spawner ends it."""
    fleet = make_fleet(TASKS)
    (fleet.folder / "living.py").write_text(MODULE)
    fleet.start("web", "scheduler")
    (sleeper,) = fleet.start("worker")
    run = fleet.trigger(task)
    fleet.wait_for_word(run["id"], "lives")
    frozen = [sleeper.pid, sleeper.worker_process()]
    fleet.start("worker")
    wait_until(lambda: lived(fleet, run)[1] - lived(fleet, run)[0] > 4.5, "it lives longer than one may be silent")
    assert fleet.run(run["id"])["status"] == "running"
    send(frozen, signal.SIGSTOP)
    first, second = fleet.chain_of(run, 2)
    assert (first["end_reason"], second["end_reason"]) == ("crashed", "success")
    assert lived(fleet, first)[1] < lived(fleet, second)[0]
    send(frozen, signal.SIGCONT)
    wait_until(lambda: run["id"] in sleeper.said(), "it wakes up and reports an end that is an old story", 5)
    assert fleet.run(run["id"]) == first


@pytest.mark.parametrize("task", ["held_up", "held_up_strict"])
def test_a_worker_that_slept_since_its_claim_starts_nothing(make_fleet: StartFleet, task: str) -> None:
    """F8, F9: the run is another's by then; nobody has to be told to end what never began."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    (sleeper,) = fleet.start("worker")
    slow = fleet.folder / "slow.env"
    os.mkfifo(slow)  # whoever reads it waits until it is written
    run = fleet.started(fleet.trigger(task))
    frozen = [sleeper.pid, sleeper.worker_process()]
    with slow.open("w") as writer:
        send(frozen, signal.SIGSTOP)
        slow.unlink()
        slow.touch()
        fleet.start("worker")
        first, second = fleet.chain_of(run, 2)
        assert (first["end_reason"], second["end_reason"]) == ("crashed", "success")
        writer.write("A=1\n")
    fleet.redis.freeze()  # it is told as late as possible
    send(frozen, signal.SIGCONT)
    time.sleep(0.5)  # long enough for a process to say that it lives
    fleet.redis.thaw()
    sleeper.wait_for("run.lost", 5)
    assert fleet.wrote(first["id"]) == []
    assert fleet.run(first["id"]) == first


def expect_lost(fleet: Fleet, worker: Process, run: Json) -> None:
    """The worker notices that a run is no longer its own, ends it, and the record stays as it was."""
    worker.wait_for("run.lost", 15)
    wait_until(lambda: not any(map(is_alive, fleet.run_processes(run["id"]))), "nothing of it is left", 2)
    assert fleet.run(run["id"]) == run


@pytest.mark.parametrize("task", ["strict", "strict_call"])
def test_a_strict_run_does_not_outlive_its_lease_though_all_that_watches_it_is_frozen(
    make_fleet: StartFleet, task: str
) -> None:
    """F9: worker, spawner and interpreter, and not the run itself."""
    fleet = make_fleet(TASKS)
    (fleet.folder / "living.py").write_text(MODULE)
    fleet.start("web", "scheduler")
    (sleeper,) = fleet.start("worker")
    run = fleet.trigger(task)
    fleet.wait_for_word(run["id"], "lives")
    spawner = sleeper.spawner()
    started = Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split()
    interpreters = [int(pid) for pid in started if "interpreter.py" in command_line(int(pid))]
    assert len(interpreters) == (task == "strict_call")
    frozen = [sleeper.worker_process(), spawner, *interpreters]
    fleet.start("worker")
    send(frozen, signal.SIGSTOP)
    first, second = fleet.chain_of(run, 2)
    assert (first["end_reason"], second["end_reason"]) == ("crashed", "success")
    assert lived(fleet, first)[1] < lived(fleet, second)[0]
    send(frozen, signal.SIGCONT)
    wait_until(lambda: not fleet.run_processes(run["id"]), "nothing is left of it")
    assert fleet.chain(run) == [first, second]
