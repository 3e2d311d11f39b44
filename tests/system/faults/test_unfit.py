"""A worker that cannot execute anything claims nothing: it says why, and others take the runs."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.commands import run_command
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Json, Process, procfile
from tests.waiting import wait_until

TASKS = """
[tasks.short]
run = 'echo "$RUNFLEET_RUN_ID ran" >> $HISTORY'

[tasks.elsewhere]
run = "true"
working_dir = "/"
"""


def start_in_a_shell(fleet: Fleet, words: str, **env: str) -> Process:
    """A worker started by a shell that executes *words* first, as a script of a platform would."""
    command = ["/bin/sh", "-c", f'{words} && exec "$@"', "sh", *procfile()["worker"]]
    fleet.processes.append(Process("worker", command, fleet.env | env, fleet.folder))
    return fleet.processes[-1]


def unfit(fleet: Fleet) -> list[str]:
    """Why workers take no runs, of those that say so."""
    return [worker["unfit"] for worker in fleet.workers() if "unfit" in worker]


def wait_until_unfit(fleet: Fleet, why: str) -> None:
    wait_until(lambda: any(re.search(why, each) for each in unfit(fleet)), f"a worker says {why!r}")


def diagnosis(fleet: Fleet) -> list[Json]:
    """What `runfleet doctor` finds."""
    command = [sys.executable, "-m", "shared", "doctor", "--json"]
    said = run_command(command, env=fleet.env, cwd=fleet.folder)
    return list(json.loads(said.stdout)["findings"])


def test_a_worker_with_another_secret_leaves_all_runs_to_the_others(make_fleet: StartFleet) -> None:
    """F63: it would have failed each run that it claimed."""
    fleet = make_fleet(TASKS, "web", "scheduler", "worker")
    (other,) = fleet.start("worker", RUNFLEET_SECRET="another secret of sixteen or more")
    wait_until_unfit(fleet, "none of 2 definitions that it read is signed with its RUNFLEET_SECRET")
    runs = [fleet.trigger("short") for _ in range(20)]
    assert {fleet.ended(run)["end_reason"] for run in runs} == {"success"}
    (said,) = [one for one in diagnosis(fleet) if one["code"] == "worker-unfit"]
    assert said["level"] == "error"
    assert "none of 2 definitions that it read is signed with its RUNFLEET_SECRET" in said["message"]
    assert len(other.events("worker.unfit")) == 1
    assert not other.events("run.ended")
    assert len(fleet.wrote()) == len(runs)


def test_runs_wait_for_a_worker_whose_directory_is_gone_and_run_when_it_is_back(make_fleet: StartFleet) -> None:
    """F63: deploys remove the directory of the release before."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    release = fleet.folder / "release"
    release.mkdir()
    worker = start_in_a_shell(fleet, "cd release")
    worker.wait_for("worker.started")
    assert fleet.perform("short")["end_reason"] == "success"
    release.rmdir()
    runs = [fleet.trigger("short") for _ in range(8)]
    wait_until_unfit(fleet, f"the directory that it was started in is gone: {release}")
    waiting = [run for run in runs if fleet.run(run["id"])["status"] == "pending"]
    assert {fleet.run(run["id"])["status"] for run in runs} <= {"pending", "ended"}
    release.mkdir()
    assert {fleet.ended(run)["end_reason"] for run in runs} == {"success"}
    assert worker.events("worker.fit")
    wait_until(lambda: not unfit(fleet), "it says so")
    assert not [one for one in diagnosis(fleet) if one["code"] == "worker-unfit"], "it is mended"
    assert len(fleet.wrote()) == 1 + len(runs), waiting
    assert not worker.events("worker.restarted")


def test_a_worker_that_may_open_too_few_files_takes_no_runs(make_fleet: StartFleet) -> None:
    """F63: with 8 threads, 48 are enough for it to start and for nothing else."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    few = start_in_a_shell(fleet, "ulimit -n 48")
    few.wait_for("worker.unfit")
    wait_until_unfit(fleet, r"only 48 files may be open here, and 8 runs at once need 128 \(ulimit -n\)")
    runs = [fleet.trigger("short") for _ in range(8)]
    fleet.start("worker")
    assert {fleet.ended(run)["end_reason"] for run in runs} == {"success"}
    assert not few.events("run.ended")


def test_a_worker_that_cannot_write_to_its_folder_takes_no_runs(make_fleet: StartFleet, tmp_path: Path) -> None:
    """F63: noticed at the first start that fails for it, or at the next look."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    place = tmp_path / "tmp"
    place.mkdir()
    (worker,) = fleet.start("worker", TMPDIR=str(place))
    assert fleet.perform("short")["end_reason"] == "success"
    shutil.rmtree(place)
    place.write_text("what is no folder, root cannot write into either")
    wait_until_unfit(fleet, f"cannot write to its folder {place}")
    run = fleet.trigger("short")
    place.unlink()
    assert fleet.ended(run)["end_reason"] == "success"
    assert len(worker.events("worker.fit")) == 1


@pytest.mark.parametrize("task", ["short", "elsewhere"])
def test_a_start_that_the_machine_refuses_is_not_the_runs_fault(make_fleet: StartFleet, task: str) -> None:
    """F63: no process may be started while the limit is reached; then the run is executed."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    (worker,) = fleet.start("worker")
    spawner = worker.spawner()
    import resource

    before = resource.prlimit(spawner, resource.RLIMIT_NOFILE)
    resource.prlimit(spawner, resource.RLIMIT_NOFILE, (3, before[1]))
    run = fleet.trigger(task)
    wait_until_unfit(fleet, "it cannot start processes")
    assert fleet.run(run["id"])["status"] == "pending"
    assert "no descriptors left" in fleet.run(run["id"])["message"]
    resource.prlimit(spawner, resource.RLIMIT_NOFILE, before)
    ended = fleet.ended(run)
    assert ended["end_reason"] == "success"
    assert len(fleet.chain(run)) == 1
