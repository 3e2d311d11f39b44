"""A line to Redis that is cut again and again, that is slow, or that leads nowhere when a worker starts."""

import time
from pathlib import Path

import httpx
import pytest

from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Json
from tests.system.proxy import Proxy
from tests.waiting import wait_until

LINES = 150
TASKS = f"""
[tasks.talk]
run = ["python3", "-c", '''
import os, time
with open(os.environ["HISTORY"], "a") as file:
    file.write(os.environ["RUNFLEET_RUN_ID"] + " began\\n")
for n in range({LINES}):
    print("line", n, flush=True)
    time.sleep(0.005)  # the command is to last while its line is cut
''']

[tasks.steady]
# Longer than a lease, and not quiet.
run = "for n in $(seq 85); do echo line $n; sleep 0.08; done"
strict_lease = true
"""


def accepted(fleet: Fleet, key: str) -> Json:
    """A run of ``talk``, however often it has to be asked for; each time with the same key."""

    def ask() -> Json:
        try:
            answer = fleet.http.post("/api/tasks/talk/run", json={}, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            return {}
        assert answer.status_code in (201, 200, 503), answer.text
        return dict(answer.json()) if answer.is_success else {}

    return wait_until(ask, "the run is accepted")


@pytest.mark.parametrize("every", [1301, 2903])
def test_lines_that_are_cut_lose_and_double_nothing(make_fleet: StartFleet, short_path: Path, every: int) -> None:
    """F16: in the middle of a reply, wherever that is; of the API's and of the worker's lines."""
    fleet = make_fleet(TASKS, "scheduler", threads=4)
    with Proxy(short_path / "p", fleet.redis.socket).serving() as proxy:
        fleet.start("web", "worker", RUNFLEET_REDIS_URL=proxy.url)
        proxy.cut_every = every
        runs = [accepted(fleet, f"wish-{n}") for n in range(16)]
        with fleet.redis.client() as client:
            wait_until(lambda: client.zcard("{runfleet}:ix:t:talk:success:created") == len(runs), "all succeeded", 30)
        proxy.cut_every = 0
        assert proxy.cuts >= 8
        for run in runs:
            assert fleet.ended(run)["end_reason"] == "success"
            assert fleet.log(run) == [f"line {n}" for n in range(LINES)]
        assert sorted(line[0] for line in fleet.wrote()) == sorted(run["id"] for run in runs)
        assert len(fleet.runs(task_name="talk")) == len(runs)


def test_a_slow_line_keeps_its_leases(make_fleet: StartFleet, short_path: Path) -> None:
    """F19: half a second for each answer, ten kilobytes a second."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    with Proxy(short_path / "p", fleet.redis.socket).serving() as proxy:
        proxy.latency_s, proxy.bytes_per_s = 0.5, 10_000
        (worker,) = fleet.start("worker", RUNFLEET_REDIS_URL=proxy.url)
        run = fleet.trigger("steady")
        assert fleet.ended(run, 30)["end_reason"] == "success"
        assert fleet.log(run) == [f"line {n}" for n in range(1, 86)]
        assert len(fleet.chain(run)) == 1
        assert not worker.events("run.lost")
        worker.kill()  # it would take its time to say goodbye


def test_a_worker_that_starts_before_a_silent_redis_waits_for_it(make_fleet: StartFleet, short_path: Path) -> None:
    """F20: connections stand, nothing answers."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    with Proxy(short_path / "p", fleet.redis.socket).serving() as proxy:
        proxy.swallow()
        worker = fleet.launch("worker", RUNFLEET_REDIS_URL=proxy.url, RUNFLEET_REDIS_TIMEOUT="1")
        worker.wait_for("store.unavailable")
        run = fleet.trigger("talk")
        time.sleep(3)  # how long it is silent
        proxy.pass_on()
        assert fleet.ended(run)["end_reason"] == "success"
        assert worker.events("worker.restarted") == []
