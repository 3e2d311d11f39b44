"""A Redis that answers but refuses to write: it is full, it is a replica, or its disk is full."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import redis

from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet
from tests.waiting import wait_until

LEASE_S = 6.0
TASKS = """
[tasks.until]
# Goes on until it is told to end, and prints something last.
run = '''
echo "$RUNFLEET_RUN_ID began" >> $HISTORY
while [ ! -e go ]; do sleep 0.05; done
echo "the last words"
'''

[tasks.loud]
run = ["python3", "-c", "for n in range(40_000): print(f'{n:0100d}')"]
log_max_size = "8mb"

[tasks.sleepy]
run = 'echo "$RUNFLEET_RUN_ID began" >> $HISTORY; sleep 60'
retry_attempts = 1
retry_delay = "1ms"

[tasks.lost]
run = 'echo "$RUNFLEET_RUN_ID began" >> $HISTORY; sleep 60'
queue = "aside"

[tasks.later]
run = "true"
queue = "later"

[tasks.quick]
run = "true"
"""
Refusing = Callable[[Fleet], AbstractContextManager[str]]


def test_a_redis_full_of_logs_lets_everything_end(make_fleet: StartFleet) -> None:
    """F21: what could not be stored is counted, and new runs are refused with the cure."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    (worker,) = fleet.start("worker", RUNFLEET_QUEUES="default")
    until, stopped, lost = fleet.trigger("until"), fleet.trigger("sleepy"), fleet.trigger("lost")
    (doomed,) = fleet.start("worker", RUNFLEET_QUEUES="aside")
    for run in (until, stopped, lost):
        fleet.wait_for_word(run["id"], "began")
    waiting = fleet.trigger("later")
    with fleet.redis.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 1_000_000)
        loud = fleet.perform("loud")
        client.config_set("maxmemory", 1)  # full of logs, and full it stays though they are compressed
        assert fleet.http.post("/api/tasks/quick/run").status_code == 507
        assert "raise maxmemory" in fleet.http.post("/api/tasks/quick/run").json()["detail"]

        (fleet.folder / "go").touch()
        assert fleet.ended(until)["end_reason"] == "success"
        fleet.post(f"/api/runs/{stopped['id']}/stop")
        assert fleet.ended(stopped)["end_reason"] == "stopped"
        doomed.kill()
        assert fleet.ended(lost)["end_reason"] == "crashed"
        fleet.start("worker", RUNFLEET_QUEUES="later")
        assert fleet.ended(waiting)["end_reason"] == "success"  # what was accepted is executed
        assert fleet.http.post("/api/tasks/quick/run").status_code == 507

        log = fleet.get(f"/api/runs/{loud['id']}/log", limit=10000)
        assert (loud["end_reason"], loud["log_truncated"], log["truncated"]) == ("success", True, True)
        assert log["total_lines"] >= 40_000
        assert fleet.run(until["id"])["log_truncated"]  # its only line found no room
        client.config_set("maxmemory", 0)
    assert fleet.perform("quick")["end_reason"] == "success"
    unstored = worker.events("run.lines_dropped")
    assert [run["id"] in said for run, said in zip([loud, until], unstored, strict=True)] == [True, True]
    assert not [line for process in fleet.processes for line in process.said().splitlines() if "Traceback" in line]
    assert fleet.log(fleet.perform("until")) == ["the last words"]


@contextmanager
def replica(fleet: Fleet) -> Iterator[str]:
    """The server became a replica; what its answers say."""
    with fleet.redis.client() as client:
        client.replicaof("127.0.0.1", "1")  # where nobody is, so that it keeps what it has
        yield "READONLY"
        client.replicaof("NO", "ONE")


@contextmanager
def full_disk(fleet: Fleet) -> Iterator[str]:
    """The server's disk is full: its file may not grow; what its answers say."""
    with fleet.redis.client() as client:
        _, hard = resource.prlimit(fleet.redis.popen.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(fleet.redis.popen.pid, resource.RLIMIT_FSIZE, (1, hard))
        wait_until(lambda: _refuses(client), "it refuses to write")
        yield "MISCONF"
        resource.prlimit(fleet.redis.popen.pid, resource.RLIMIT_FSIZE, (hard, hard))
        wait_until(lambda: not _refuses(client), "it writes again")


def _refuses(client: redis.Redis) -> bool:
    try:
        client.set("written", "1")
    except redis.ResponseError as error:
        return "MISCONF" in str(error)
    return False


@pytest.mark.parametrize("refusing", [replica, full_disk])
def test_a_redis_that_does_not_write_is_away(make_fleet: StartFleet, refusing: Refusing) -> None:
    """F25, F50: for longer than a lease; callers are told why."""
    fleet = make_fleet(TASKS, redis_options=("--appendfsync", "everysec"))
    fleet.start_all()
    before = {one.pid for one in fleet.look()}
    going_on, ending = fleet.trigger("until"), fleet.trigger("until")
    for run in (going_on, ending):
        fleet.wait_for_word(run["id"], "began")
    with refusing(fleet) as code:
        refused_s = time.monotonic()
        answer = fleet.http.post("/api/tasks/quick/run")
        assert (answer.status_code, code in answer.json()["detail"]) == (503, True)
        assert int(answer.headers["retry-after"]) >= 1
        assert fleet.get("/health")
        ready = fleet.http.get("/ready")
        assert (ready.status_code, code in ready.json()["detail"]) == (503, True), "it is not ready, and says why"
        (fleet.folder / "go").touch()
        wait_until(lambda: not fleet.run_processes(ending["id"]), "it ends while nobody can be told")
        time.sleep(max(0.0, refused_s + LEASE_S + 2 - time.monotonic()))  # how long it refuses
    for run in (going_on, ending):
        ended = fleet.ended(run)
        assert (ended["end_reason"], fleet.log(ended)) == ("success", ["the last words"])
    assert fleet.perform("quick")["end_reason"] == "success"
    assert fleet.runs(end_reason="crashed") == []
    assert before <= {one.pid for one in fleet.look()}
