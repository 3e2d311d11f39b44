"""Stops at random moments, by two clients at once: one verdict, in time, and nothing is left."""

import random
import threading
import time
from datetime import datetime

import httpx

from tests.conftest import Measured
from tests.system.fleet import Fleet, Json

RUNS = 24
GRACEFUL_S = 0.5
TASKS = """
[defaults]
graceful_stop = "500ms"
retry_attempts = 1
retry_delay = "100ms"

[tasks.brief]
run = "sleep 0.3; exit $(($RANDOM % 2))"

[tasks.long]
run = "sleep 30"

[tasks.deaf]
run = 'trap "" TERM; while :; do sleep 30 || :; done'

[tasks.late]
run = "sleep 30"
max_concurrent = 1
"""


def test_stops_of_two_clients_at_any_moment_come_true_once(fleet: Fleet, measured: Measured) -> None:
    """F37: while runs wait, start, run, are tried again and end."""
    chance = random.Random(37)
    answers: dict[str, list[int]] = {}
    slowest_s = 0.0
    lock = threading.Lock()

    def stop(run: Json, after_s: float) -> None:
        time.sleep(after_s)  # the moment is what is tested
        with httpx.Client(base_url=fleet.http.base_url, headers=dict(fleet.http.headers), timeout=15) as client:
            status = client.post(f"/api/executions/{run['execution_id']}/stop").status_code
        asked_s = time.monotonic()
        with lock:
            answers.setdefault(run["id"], []).append(status)
        nonlocal slowest_s
        over = fleet.chain_of(run, 1)
        slowest_s = max(slowest_s, time.monotonic() - asked_s)
        assert over

    runs, threads = [], []
    for _ in range(RUNS):
        run = fleet.trigger(chance.choice(["brief", "long", "deaf", "late"]), delay_ms=chance.choice([0, 0, 300]))
        runs.append(run)
        moment_s = chance.uniform(0, 1)
        threads += [threading.Thread(target=stop, args=(run, moment_s + chance.uniform(0, 0.02))) for _ in range(2)]
        threads[-1].start()
        threads[-2].start()
    for thread in threads:
        thread.join()
    measured("F37", "ended", slowest_s, GRACEFUL_S + 2)
    assert all(status == 202 for found in answers.values() for status in found), answers
    for run in runs:
        chain = fleet.chain(run)
        assert {one["status"] for one in chain} == {"ended"}
        last = chain[-1]
        assert last["end_reason"] in ("stopped", "success", "failed", "skipped")
        if run["task_name"] in ("long", "deaf", "late"):
            assert [one["end_reason"] for one in chain] == ["stopped"]
        assert len(chain) <= 2
        if len(chain) == 2:
            assert datetime.fromisoformat(chain[1]["created_at"]) >= datetime.fromisoformat(chain[0]["end_at"])
        assert not any(fleet.run_processes(one["id"]) for one in chain)
