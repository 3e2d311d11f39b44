"""Triggers of very many runs, and what is lost of them when their maker dies."""

import threading
import time
from contextlib import suppress

import httpx
import redis

from shared.store.listing import Filter, page
from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.waiting import wait_until

TASKS = """
[tasks.many]
run = "true"
"""
MANY = 10_000


def test_what_a_killed_api_left_of_ten_thousand_runs_is_made(make_fleet: StartFleet, measured: Measured) -> None:
    """F73: SIGKILL of the API while it makes an execution of ten thousand runs."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    wait_until(lambda: fleet.get("/api/fleet").get("leader"), "a scheduler leads")
    url, headers = str(fleet.http.base_url), dict(fleet.http.headers)

    def trigger() -> None:
        with suppress(httpx.TransportError):  # it is killed
            httpx.post(f"{url}/api/tasks/many/run", json={"replicas": MANY}, headers=headers, timeout=30)

    def made() -> int:
        return fleet.store.run(page(Filter(), limit=1)).total

    thread = threading.Thread(target=trigger)
    thread.start()
    wait_until(lambda: made() >= 200, "the first are made", 10)
    fleet.of("web").kill()
    killed_s = time.monotonic()
    thread.join()
    wait_until(lambda: made() >= MANY, "all of them are made", 60)
    measured("F73", "all made after", time.monotonic() - killed_s, 60)
    assert made() == MANY
    with redis.Redis(unix_socket_path=str(fleet.redis.socket)) as client:
        slowest = max((int(entry["duration"]) for entry in client.slowlog_get(1000)), default=0)
    measured("F73", "Redis held at once", slowest / 1e6, 0.1)
