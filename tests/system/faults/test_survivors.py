"""Runs that were claimed and not started: whatever happens between, they are executed, once, and by nobody's fault."""

import os
import signal
import tempfile
import time
from pathlib import Path

import pytest

from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Json
from tests.system.proxy import Proxy
from tests.waiting import wait_until

TASKS = """
[tasks.short]
run = 'echo "$RUNFLEET_RUN_ID ran" >> $HISTORY'

[tasks.second]
run = 'echo "$RUNFLEET_RUN_ID ran" >> $HISTORY; sleep 1'
graceful_stop = "10s"
"""


def claimed(fleet: Fleet, run: Json) -> None:
    """Wait until the claim of a run was carried out, whether or not anybody has heard."""
    wait_until(lambda: fleet.run(run["id"])["status"] == "running", "it is claimed")


@pytest.mark.parametrize("heard", ["its claim", "its definition"])
def test_a_redis_that_goes_away_before_a_run_is_started_delays_it(
    make_fleet: StartFleet, short_path: Path, heard: str
) -> None:
    """F65: longer than its lease; neither the answer to its claim nor its definition has come."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    with Proxy(short_path / "p", fleet.redis.socket).serving() as proxy:
        (worker,) = fleet.start("worker", RUNFLEET_REDIS_URL=proxy.url, RUNFLEET_REDIS_TIMEOUT="1")
        proxy.latency_s = 0.5
        run = fleet.trigger("short")
        claimed(fleet, run)
        time.sleep(0.0 if heard == "its claim" else 0.7)  # the answer takes half a second; the definition as much again
        proxy.swallow()
        time.sleep(4)  # how long it is away; with its time-outs this is more than the worker waits for one answer
        proxy.latency_s = 0.0
        proxy.pass_on()
        ended = fleet.ended(run, 30)
        assert ended["end_reason"] == "success", worker.said()
        assert len(fleet.chain(run)) == 1
        assert [line[0] for line in fleet.wrote()] == [run["id"]]


def test_a_run_claimed_by_a_draining_worker_is_given_back(make_fleet: StartFleet, short_path: Path) -> None:
    """F65: the answer to the claim comes after the signal."""
    fleet = make_fleet(TASKS, "web", "scheduler", grace_s=5.0)
    with Proxy(short_path / "p", fleet.redis.socket).serving() as proxy:
        (worker,) = fleet.start("worker", RUNFLEET_REDIS_URL=proxy.url)
        proxy.latency_s = 0.4
        run = fleet.trigger("short")
        claimed(fleet, run)
        worker.popen.send_signal(signal.SIGTERM)
        assert worker.wait(15) == 0
        waiting = fleet.run(run["id"])
        assert (waiting["status"], waiting["message"]) == ("pending", "its worker was shut down before it started")
    fleet.start("worker")
    assert fleet.ended(run)["end_reason"] == "success"
    assert len(fleet.chain(run)) == 1
    assert [line[0] for line in fleet.wrote()] == [run["id"]]


def test_runs_that_end_within_the_grace_may(make_fleet: StartFleet) -> None:
    """F6: also when their stop sequence would take longer than the grace."""
    fleet = make_fleet(TASKS, "web", "scheduler", grace_s=4.0, threads=4)
    (worker,) = fleet.start("worker")
    runs = [fleet.trigger("second") for _ in range(4)]
    for run in runs:
        fleet.wait_for_word(run["id"], "ran")
    worker.popen.send_signal(signal.SIGTERM)
    assert worker.wait(8) == 0
    assert {fleet.run(run["id"])["end_reason"] for run in runs} == {"success"}


def test_a_killed_worker_leaves_no_folder_behind(make_fleet: StartFleet, tmp_path: Path) -> None:
    """F2: its spawner takes it along; when that was killed too, the next worker does."""
    place = tmp_path / "tmp"
    place.mkdir()
    fleet = make_fleet(TASKS, "web", "scheduler")
    (worker,) = fleet.start("worker", TMPDIR=str(place))
    fleet.perform("short")
    (folder,) = place.iterdir()
    os.kill(worker.worker_process(), signal.SIGKILL)
    wait_until(lambda: not folder.exists(), "its spawner has removed it")
    (left,) = wait_until(lambda: list(place.iterdir()), "another worker process is there")
    worker.signal_group(signal.SIGKILL)
    os.utime(left, (time.time() - 3600, time.time() - 3600))
    wait_until(lambda: worker.popen.poll() is not None, "it is gone")
    if left.exists():  # the spawner, which leads a session of its own, was quicker
        os.utime(left, (time.time() - 3600, time.time() - 3600))
    fleet.start("worker", TMPDIR=str(place))
    wait_until(lambda: not left.exists(), "it was removed")
    assert len(list(place.iterdir())) == 1
    assert tempfile.gettempdir() != str(place)


def test_a_worker_cut_off_from_redis_says_so_once(make_fleet: StartFleet, short_path: Path) -> None:
    """F17: whatever its threads wait for, Dramatiq's too; and once that it is back."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    with Proxy(short_path / "p", fleet.redis.socket).serving() as proxy:
        (worker,) = fleet.start("worker", RUNFLEET_REDIS_URL=proxy.url)
        fleet.perform("short")
        proxy.lead_to(short_path / "nobody")
        worker.wait_for("store.unavailable")
        time.sleep(5)  # in which it tries again and again
        proxy.lead_to(fleet.redis.socket)
        worker.wait_for("store.recovered")
        assert fleet.perform("short")["end_reason"] == "success"
        outage = worker.said()
        assert len(worker.events("store.unavailable")) <= 3, outage  # one a cause
        assert len(worker.events("store.recovered")) == 1, outage
        assert "level=critical" not in outage
        assert "Traceback" not in outage
