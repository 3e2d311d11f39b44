"""A Redis that is killed under load, or that forgets everything."""

import threading
import time
from collections import Counter

import httpx
import pytest

from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet
from tests.waiting import wait_until

LEASE_S = 6.0
TASKS = """
[tasks.short]
run = 'echo "$RUNFLEET_RUN_ID began" >> $HISTORY; sleep 0.2; echo "line of $RUNFLEET_RUN_ID"'
retry_attempts = 1

[tasks.tick]
run = "true"
cron = "@every 1s"
catch_up = 5

[tasks.minutely]
run = "true"
cron = "* * * * *"
catch_up = 1000

[tasks.until]
run = '''
echo "$RUNFLEET_RUN_ID began" >> $HISTORY
while [ ! -e "go-$RUNFLEET_RUN_ID" ]; do echo still here; sleep 0.2; done
'''
max_concurrent = 2
retry_attempts = 3
"""


class Clients:
    """Some that trigger again and again; ``accepted`` is run → measured time of the answer, in their own words."""

    def __init__(self, fleet: Fleet) -> None:
        self.accepted: dict[str, float] = {}
        self._fleet = fleet
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._trigger) for _ in range(3)]
        for thread in self._threads:
            thread.start()

    def _trigger(self) -> None:
        headers = dict(self._fleet.http.headers)
        with httpx.Client(base_url=self._fleet.http.base_url, headers=headers, timeout=15) as client:
            while not self._done.wait(0.05):
                answer = client.post("/api/tasks/short/run")
                assert answer.status_code in (201, 503), answer.text
                if answer.status_code == 201:
                    self.accepted[answer.json()["id"]] = time.monotonic()

    def stop(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_runs_accepted_under_load_survive_a_killed_redis(make_fleet: StartFleet, fsync: str) -> None:
    """F12, F13: nothing is lost, doubled or stuck; with everysec the last second may be lost."""
    fleet = make_fleet(TASKS, redis_options=("--appendfsync", fsync)).start_all()
    clients = Clients(fleet)
    try:
        wait_until(lambda: len(clients.accepted) > 20, "they are at work")
        fleet.redis.kill()
        killed_s = time.monotonic()
        time.sleep(2)  # the length of the outage
        fleet.redis.start()
        so_far = len(clients.accepted)
        wait_until(lambda: len(clients.accepted) > so_far + 20, "they go on")
    finally:
        clients.stop()
    ended = {run["id"]: run for run in wait_until(lambda: _all_ended(fleet), "everything ends", 30)}
    lost = {run_id: at_s for run_id, at_s in clients.accepted.items() if run_id not in ended}
    if fsync == "always":
        assert not lost
    assert all(killed_s - 1.0 < at_s <= killed_s for at_s in lost.values())
    assert {run["end_reason"] for run in ended.values()} == {"success"}
    assert max(Counter(line[0] for line in fleet.wrote()).values()) == 1
    ticks = Counter(run["scheduled_for"] for run in fleet.runs(task_name="tick"))
    assert max(ticks.values()) == 1


def _all_ended(fleet: Fleet) -> list[dict[str, object]]:
    found = fleet.runs(task_name="short")
    return found if all(run["status"] == "ended" for run in found) else []


def test_a_wiped_redis_gets_back_what_runs(make_fleet: StartFleet, measured: Measured) -> None:
    """F14: within two seconds; no crash, no tick made up for."""
    fleet = make_fleet(TASKS).start_all()
    runs = [fleet.trigger("until"), fleet.trigger("until")]
    for run in runs:
        fleet.wait_for_word(run["id"], "began")
    with fleet.redis.client() as client:
        client.flushall()
    wiped_s = time.monotonic()
    fleet.of("worker").wait_for("store.wiped", 5)
    measured("F14", "seen", time.monotonic() - wiped_s, 2)
    wait_until(lambda: all(_is_running(fleet, run["id"]) for run in runs), "they are back", 5)
    fleet.of("scheduler").wait_for("store.wiped", 5)
    wait_until(lambda: fleet.http.post("/api/tasks/short/run").status_code == 201, "the tasks are back", 5)
    waiting = fleet.trigger("until")
    time.sleep(max(0.0, wiped_s + LEASE_S + 1.5 - time.monotonic()))  # longer than a lease
    assert fleet.run(waiting["id"])["status"] == "pending"  # those that were written back hold their places
    for run in [*runs, waiting]:
        (fleet.folder / f"go-{run['id']}").touch()
        ended = fleet.ended(run)
        assert (ended["end_reason"], len(fleet.chain(run))) == ("success", 1)
    assert len([line for line in fleet.wrote() if line[0] in {run["id"] for run in runs}]) == 2
    assert fleet.runs(end_reason="crashed") == fleet.runs(task_name="minutely", end_reason="skipped") == []
    assert len(fleet.runs(task_name="minutely")) <= 1
    assert len(fleet.runs(task_name="tick")) <= time.monotonic() - wiped_s + 2


def _is_running(fleet: Fleet, run_id: str) -> bool:
    answer = fleet.http.get(f"/api/runs/{run_id}")
    return answer.status_code == 200 and answer.json()["status"] == "running"
