"""A worker on whose way to Redis its reports, or the answers to them, are lost."""

import time
from pathlib import Path

import pytest

from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Json
from tests.system.proxy import Proxy
from tests.waiting import wait_until

CRASH_SEEN_S = 8.0
TASKS = """
[tasks.until]
# The first attempt goes on until it is told to end.
run = '''
echo "$RUNFLEET_RUN_ID began" >> $HISTORY
while [ $RUNFLEET_RETRY_ATTEMPT = 0 ] && [ ! -e go ]; do sleep 0.05; done
echo "$RUNFLEET_RUN_ID ended" >> $HISTORY
'''
retry_attempts = 2
retry_delay = "1ms"

[tasks.second]
run = 'echo "$RUNFLEET_RUN_ID began" >> $HISTORY; sleep 1; echo "line of $RUNFLEET_RUN_ID"'
"""


def end_it(fleet: Fleet, run: Json) -> None:
    """Let the command end, and see that nothing of it is left."""
    (fleet.folder / "go").touch()
    fleet.wait_for_word(run["id"], "ended")
    wait_until(lambda: not fleet.run_processes(run["id"]), "its process is gone")


@pytest.mark.parametrize("report", ["arrives late", "is refused"])
def test_a_worker_killed_before_its_report_arrived_has_ended_its_run_once(
    make_fleet: StartFleet, short_path: Path, measured: Measured, report: str
) -> None:
    """F4: what it had sent is on its way still; it counts if nobody has decided meanwhile."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    with Proxy(short_path / "p", fleet.redis.socket).serving() as proxy:
        (worker,) = fleet.start("worker", RUNFLEET_REDIS_URL=proxy.url)
        assert fleet.perform("second")["end_reason"] == "success"  # Redis knows the script of an end now
        run = fleet.trigger("until")
        fleet.wait_for_word(run["id"], "began")
        proxy.swallow()
        end_it(fleet, run)
        time.sleep(0.3)  # it cannot be seen when its report is on the way
        worker.kill()
        killed_s = time.monotonic()
        fleet.start("worker")
        if report == "arrives late":
            proxy.pass_on()
            assert fleet.ended(run)["end_reason"] == "success"
            assert len(fleet.chain(run)) == 1
        else:
            crashed = fleet.ended(run)
            measured("F4", "crash on record", time.monotonic() - killed_s, CRASH_SEEN_S)
            chain = fleet.chain_of(run, 2)
            proxy.pass_on()
            assert [one["end_reason"] for one in chain] == ["crashed", "success"]
            assert fleet.perform("second")["end_reason"] == "success"  # time passes
            assert (fleet.run(run["id"]), fleet.chain(run)) == (crashed, chain)


def test_a_worker_killed_before_the_reply_to_its_report_has_succeeded(make_fleet: StartFleet, short_path: Path) -> None:
    """F5: nothing holds a lease any more, so nothing can be rescued."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    with Proxy(short_path / "p", fleet.redis.socket).serving() as proxy:
        (worker,) = fleet.start("worker", RUNFLEET_REDIS_URL=proxy.url)
        assert fleet.perform("second")["end_reason"] == "success"  # Redis knows the script of an end now
        run = fleet.trigger("until")
        fleet.wait_for_word(run["id"], "began")
        proxy.lose_replies()
        end_it(fleet, run)
        ended = fleet.ended(run)
        worker.kill()
        assert ended["end_reason"] == "success"
        with fleet.redis.client() as client:
            assert client.zcard("{runfleet}:leases") == 0
        assert fleet.chain(run) == [ended]


def test_lost_replies_make_nothing_happen_twice(make_fleet: StartFleet, short_path: Path) -> None:
    """F18: for longer than a time-out, while runs are claimed, print and end."""
    fleet = make_fleet(TASKS, "web", "scheduler", threads=4)
    with Proxy(short_path / "p", fleet.redis.socket).serving() as proxy:
        fleet.start("worker", RUNFLEET_REDIS_URL=proxy.url, RUNFLEET_REDIS_TIMEOUT="1")
        runs = [fleet.trigger("second") for _ in range(12)]
        fleet.wait_for_word(runs[3]["id"], "began")
        proxy.lose_replies()
        time.sleep(3.5)  # how long replies are lost
        proxy.lose_replies(False)
        for run in runs:
            ended = fleet.ended(run)
            assert (ended["end_reason"], fleet.log(ended)) == ("success", [f"line of {run['id']}"])
    assert sorted(line[0] for line in fleet.wrote()) == sorted(run["id"] for run in runs)
    assert len(fleet.runs(task_name="second")) == 12
