"""Redis goes away and comes back: runs go on, nobody is accused, everybody recovers by itself, and callers are told."""

import time
from collections.abc import Callable

import pytest

from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Json
from tests.waiting import wait_until

LEASE_S = 6.0
TASKS = """
[tasks.until]
# Goes on until it is told to end.
run = '''
echo "$RUNFLEET_RUN_ID began" >> $HISTORY
while [ ! -e go ]; do sleep 0.1; done
echo "$RUNFLEET_RUN_ID ended" >> $HISTORY
'''
retry_attempts = 3

[tasks.quick]
run = "true"

[tasks.tick]
run = "true"
cron = "@every 1s"
"""


def expect_refusals(fleet: Fleet) -> None:
    """What callers are told while Redis is away."""
    for answer in (fleet.http.post("/api/tasks/quick/run"), fleet.http.get("/api/runs"), fleet.http.get("/ready")):
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["content-type"] == "application/problem+json"
        assert "Redis" in answer.json()["detail"]
    assert fleet.http.get("/health").status_code == 200


def keep_busy(fleet: Fleet, seconds: float) -> None:
    """Run things for so long, all of which succeed."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        assert fleet.perform("quick")["end_reason"] == "success"


def is_fine(fleet: Fleet) -> Callable[[], bool]:
    return lambda: fleet.http.get("/ready").status_code == 200


@pytest.mark.parametrize("away_s", [4.0, 14.0, 60.0])
def test_a_silent_redis_crashes_no_run(make_fleet: StartFleet, away_s: float) -> None:
    """F15, F20: for less than the time-out, for longer than the lease, and with a worker that starts meanwhile."""
    fleet = make_fleet(TASKS)
    fleet.start("web", RUNFLEET_REDIS_TIMEOUT="1")  # so that all that is asked of it meanwhile is answered in time
    fleet.start("worker", "scheduler")
    before = {one.pid for one in fleet.look()}
    run = fleet.trigger("until")
    fleet.wait_for_word(run["id"], "began")
    fleet.redis.freeze()
    frozen_s = time.monotonic()
    assert fleet.http.get("/health").status_code == 200
    if away_s > 10:
        expect_refusals(fleet)
        late = fleet.launch("worker")
        late.wait_for("store.unavailable")
    time.sleep(max(0.0, frozen_s + away_s - time.monotonic()))  # the length of the outage is what is tested
    fleet.redis.thaw()
    wait_until(is_fine(fleet), "it is back", 5)
    if away_s > 10:
        late.wait_for("worker.started", 5)
        assert not late.events("worker.restarted")
    keep_busy(fleet, LEASE_S + 1)
    assert fleet.run(run["id"])["status"] == "running"
    (fleet.folder / "go").touch()
    assert fleet.ended(run)["end_reason"] == "success"
    assert len(fleet.chain(run)) == 1
    assert fleet.runs(end_reason="crashed") == []
    assert before <= {one.pid for one in fleet.look()}  # nobody had to be started again


def test_a_killed_redis_comes_back_with_everything_that_was_accepted(make_fleet: StartFleet) -> None:
    """F12: with a run that ends meanwhile."""
    fleet = make_fleet(TASKS).start_all()
    before = {one.pid for one in fleet.look()} - {fleet.redis.popen.pid}
    run = fleet.trigger("until")
    delayed = fleet.trigger("quick", delay_ms=1500)
    fleet.wait_for_word(run["id"], "began")
    fleet.redis.kill()
    killed_s = time.monotonic()
    expect_refusals(fleet)
    assert time.monotonic() - killed_s < 2
    (fleet.folder / "go").touch()
    fleet.wait_for_word(run["id"], "ended")  # it ends while nobody can be told
    time.sleep(max(0.0, killed_s + 3 - time.monotonic()))  # the length of the outage
    fleet.redis.start()
    assert fleet.ended(run, 8)["end_reason"] == "success"
    assert fleet.ended(delayed, 8)["end_reason"] == "success"
    assert fleet.perform("quick")["end_reason"] == "success"
    ticked = len(fleet.runs(task_name="tick"))
    wait_until(lambda: len(fleet.runs(task_name="tick")) > ticked, "it ticks again")
    assert fleet.runs(end_reason="crashed") == []
    assert before <= {one.pid for one in fleet.look()}


def test_a_fleet_that_starts_before_redis_waits_for_it(make_fleet: StartFleet) -> None:
    """F20: refused connections."""
    fleet = make_fleet(TASKS)
    fleet.redis.kill()
    fleet.start("web")
    assert fleet.http.get("/ready").status_code == 503
    waiting = [fleet.launch("worker"), fleet.launch("scheduler")]
    for process in waiting:
        process.wait_for("store.unavailable")
    fleet.redis.start()
    run = wait_until(lambda: _accepted(fleet), "the tasks are there")
    assert fleet.ended(run)["end_reason"] == "success"
    assert [process.popen.poll() for process in waiting] == [None, None]
    assert waiting[0].events("worker.restarted") == []


def _accepted(fleet: Fleet) -> Json:
    answer = fleet.http.post("/api/tasks/quick/run")
    return dict(answer.json()) if answer.status_code == 201 else {}
