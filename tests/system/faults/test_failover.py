"""A primary that dies: a replica takes over that has not heard the last writes, or Sentinels choose one."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Json, Server
from tests.system.proxy import Proxy
from tests.waiting import wait_until

TASKS = """
[tasks.until]
run = '''
echo "$RUNFLEET_RUN_ID began" >> $HISTORY
while [ ! -e "go-$RUNFLEET_RUN_ID" ]; do sleep 0.05; done
echo "$RUNFLEET_RUN_ID ended" >> $HISTORY
'''
retry_attempts = 3
retry_delay = "1ms"

[tasks.quick]
run = "true"
"""


def let_go(fleet: Fleet, run: Json) -> None:
    (fleet.folder / f"go-{run['id']}").touch()


def begin(fleet: Fleet) -> Json:
    run = fleet.trigger("until")
    fleet.wait_for_word(run["id"], "began")
    return run


@pytest.mark.parametrize("away_s", [0.0, 11.0])
def test_what_a_failed_primary_took_with_it_is_said_again(
    make_fleet: StartFleet, short_path: Path, away_s: float
) -> None:
    """F24: ends that it had accepted and not passed on; a run whose start it had not passed on starts anew, alone."""
    fleet = make_fleet(TASKS, threads=2)
    (fleet.folder / "replica").mkdir()
    replica = Server(fleet.folder / "replica", fleet.env["FLEET_MARK"], ("--port", "0"))
    try:
        with Proxy(short_path / "p", fleet.redis.socket).serving() as proxy:
            fleet.start("web", "scheduler", "worker", RUNFLEET_REDIS_URL=proxy.url, RUNFLEET_REDIS_TIMEOUT="1")
            assert fleet.perform("quick")["end_reason"] == "success"
            ending, going_on = begin(fleet), begin(fleet)
            starting = fleet.trigger("until")  # waits for one of the two threads
            copy(fleet.redis, replica)

            let_go(fleet, ending)  # from here on the replica hears nothing
            assert fleet.ended(ending)["end_reason"] == "success"
            fleet.wait_for_word(starting["id"], "began")
            fleet.redis.freeze()
            time.sleep(away_s)  # how long nobody is there
            proxy.lead_to(replica.socket)

            worker = fleet.of("worker")
            worker.wait_for("run.ended_again", 5)
            assert fleet.ended(ending)["end_reason"] == "success"
            worker.wait_for("run.lost", 5)  # the one whose start is forgotten
            wait_until(lambda: len(fleet.wrote(starting["id"], "began")) == 2, "it starts anew")
            wait_until(lambda: len(groups(fleet, starting)) == 1, "it is there once")
            for run in (going_on, starting):
                let_go(fleet, run)
                assert fleet.ended(run)["end_reason"] == "success"
                assert len(fleet.chain(run)) == 1
            assert [len(fleet.wrote(run["id"], "ended")) for run in (ending, going_on, starting)] == [1, 1, 1]
            assert fleet.runs(end_reason="crashed") == []
            fleet.of("worker").kill()
    finally:
        replica.close()


def groups(fleet: Fleet, run: Json) -> set[int]:
    """The process groups of a run's processes."""
    found = set()
    for one in fleet.run_processes(run["id"]):
        with contextlib.suppress(OSError):
            found.add(int(Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()[2]))
    return found


def copy(primary: Server, replica: Server) -> None:
    """Have all that the primary holds now in the replica, which then hears nothing more."""
    with primary.client() as source, replica.client() as target:
        for key in source.keys("*"):
            target.restore(key, max(0, source.pttl(key)), source.dump(key), replace=True)
