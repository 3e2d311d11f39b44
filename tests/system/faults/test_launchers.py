"""The launcher: it outlives what goes wrong with its worker processes, and ends when none can ever start."""

import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.commands import run_command
from tests.system.conftest import StartFleet
from tests.system.fleet import ROOT, Process, procfile
from tests.system.processes import identity as identified
from tests.system.processes import is_alive, send
from tests.waiting import wait_until

TASKS = """
[tasks.long]
run = 'echo "began $RUNFLEET_RUN_ID" >> $HISTORY; sleep 3'

[tasks.short]
run = "true"
"""


def worker_processes(launcher: Process) -> list[int]:
    pids = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    return [int(pid) for pid in pids if b"--process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_worker_process_that_cannot_be_replaced_takes_no_other_along(make_fleet: StartFleet) -> None:
    """F66: there is no descriptor, or no process, left when one of two has died."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    (launcher,) = fleet.start("worker", RUNFLEET_WORKER_PROCESSES="2")
    wait_until(lambda: len(fleet.workers()) == 2, "both are there")
    runs = [fleet.trigger("long") for _ in range(2)]
    for run in runs:
        fleet.wait_for_word("began", run["id"])
    before = resource.prlimit(launcher.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(launcher.pid, resource.RLIMIT_NOFILE, (4, before[1]))
    holder = {worker["pid"] for worker in fleet.workers() if not worker["running"]}
    victim = (holder or {worker_processes(launcher)[0]}).pop()
    os.kill(victim, signal.SIGKILL)
    launcher.wait_for("worker.not_started")
    survivor = next(pid for pid in worker_processes(launcher) if pid != victim)
    assert fleet.perform("short")["end_reason"] == "success"
    resource.prlimit(launcher.pid, resource.RLIMIT_NOFILE, before)
    wait_until(lambda: len(worker_processes(launcher)) == 2, "it was replaced", 20)
    assert survivor in worker_processes(launcher)
    assert launcher.popen.poll() is None


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"RUNFLEET_REDIS_URL": "ftp://nowhere"}, "is no Redis URL"),
        ({"RUNFLEET_WORKER_THREADS": "none"}, "RUNFLEET_WORKER_THREADS='none'"),
    ],
)
def test_a_process_that_needs_a_change_of_settings_ends_with_2(
    make_fleet: StartFleet, env: dict[str, str], said: str
) -> None:
    """F66: the platform, or systemd's RestartPreventExitStatus, is told."""
    fleet = make_fleet(TASKS)
    launcher = fleet.launch("worker", **env)
    assert launcher.wait(20) == 2
    assert said in launcher.said()
    assert "Traceback" not in launcher.said()
    assert launcher.events("worker.restarted") == []


def test_a_worker_process_that_keeps_dying_is_started_again_after_longer_and_longer_pauses(
    make_fleet: StartFleet,
) -> None:
    """F66: each pause is twice the one before, and is kept."""
    launcher = make_fleet(TASKS).launch("worker")
    for number in range(4):
        worker, killed_s, pause_s = launcher.worker_process(), time.monotonic(), 0.2 * 2**number
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: len(launcher.events("worker.restarted")) > number, "it is logged")  # noqa: B023  # at once
        assert f"pause_s={pause_s:g}" in launcher.events("worker.restarted")[number]
        launcher.worker_process()
        assert time.monotonic() - killed_s >= pause_s


def test_a_redis_that_evicts_ends_all_worker_processes_with_2(make_fleet: StartFleet) -> None:
    """F66: each would say the same."""
    fleet = make_fleet(TASKS, redis_options=("--maxmemory-policy", "allkeys-lru"))
    launcher = fleet.launch("worker", RUNFLEET_WORKER_PROCESSES="3")
    assert launcher.wait(30) == 2
    assert "allkeys-lru" in launcher.said()


def test_a_worker_process_that_hangs_is_replaced(make_fleet: StartFleet) -> None:
    """F66: stopped for longer than any Redis takes to answer; its run is tried elsewhere by then."""
    fleet = make_fleet(TASKS, "web", "scheduler", RUNFLEET_REDIS_TIMEOUT="0.5")
    (launcher,) = fleet.start("worker")
    hanging = launcher.worker_process()
    os.kill(hanging, signal.SIGSTOP)
    launcher.wait_for("worker.hanging", 60)
    wait_until(lambda: worker_processes(launcher) not in ([], [hanging]), "it was replaced", 20)
    assert fleet.perform("short")["end_reason"] == "success"


def test_the_folder_of_a_worker_that_was_killed_with_its_spawner_is_removed(make_fleet: StartFleet) -> None:
    """F66: by the launcher, with what its runs left in it; that of another worker stays."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    launcher, _ = fleet.start("worker", "worker")
    worker, spawner = launcher.worker_process(), launcher.spawner()
    (old,) = (path for path in fleet.temporary.iterdir() if path in held_by(worker))
    (other,) = (path for path in fleet.temporary.iterdir() if path not in held_by(worker))
    (old / "left").mkdir()
    send([spawner, worker], signal.SIGKILL)
    wait_until(lambda: not old.exists(), "it is gone", 5)
    launcher.wait_for("worker.restarted")
    wait_until(lambda: len(launcher.events("worker.started")) == 2, "another one has started", 20)
    assert len(list(fleet.temporary.iterdir())) == 2
    assert other.exists()


def held_by(pid: int) -> set[Path]:
    """The files and folders that a process has open."""
    return {Path(os.readlink(path)) for path in Path(f"/proc/{pid}/fd").iterdir()}


def test_it_kills_nothing_that_was_there_before_it(make_fleet: StartFleet, tmp_path: Path) -> None:
    """F66: a shell starts something and becomes the launcher; a killed spawner's runs are killed all the same."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    words = 'sleep 3333 & echo $! > first; setsid sh -c "echo \\$\\$ > second; exec sleep 3334" &'
    words += ' (sleep 0.2; sleep 3335 & echo $! > third) & exec "$@"'
    fleet.processes.append(
        Process("worker", ["/bin/sh", "-c", words, "sh", *procfile()["worker"]], fleet.env, tmp_path)
    )
    launcher = fleet.processes[-1]
    launcher.wait_for("worker.started")
    run = fleet.trigger("long")
    fleet.wait_for_word("began", run["id"])
    left = fleet.run_processes(run["id"])
    os.kill(launcher.spawner(), signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, left)), "what the run left is dead")
    launcher.wait_for("worker.restarted")
    others = [int((tmp_path / name).read_text()) for name in ("first", "second", "third")]
    assert all(identified(pid) is not None for pid in others)
    for pid in others:
        os.kill(pid, signal.SIGKILL)


def test_the_first_process_of_a_container_leaves_what_others_started_in_it() -> None:
    """F66: as process 1 it gets every orphan there is, not only those of lost spawners."""
    script = """
import os, subprocess, sys, time
from worker.adopted_processes import AdoptedProcesses
assert os.getpid() == 1
adopted = AdoptedProcesses()
def orphan(env):
    # A process of another session whose parent has ended: it comes to process 1.
    code = (
        "import subprocess; quiet = subprocess.DEVNULL;"
        "print(subprocess.Popen(['sleep', '60'], start_new_session=True, stdout=quiet, stderr=quiet).pid)"
    )
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout
    return int(out)
ours, other = orphan({"RUNFLEET_RUN_ID": "1"}), orphan({})
def lives(pid):
    with open(f"/proc/{pid}/cmdline") as file:
        return bool(file.read())
for _ in range(500):
    adopted.kill_all()
    if not os.path.exists(f"/proc/{ours}") or not lives(ours):
        break
    time.sleep(0.01)
print(os.path.exists(f"/proc/{ours}") and lives(ours), lives(other))
"""
    unshare = shutil.which("unshare")
    command = [str(unshare), "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c", script]
    done = run_command(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if unshare is None or "Operation not permitted" in done.stderr:
        pytest.skip("this machine makes no namespaces of processes")
    assert done.stdout.split() == ["False", "True"], done.stderr
