"""Ends are said again for as long as a process lives, however many connections it loses, with a Sentinel too."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import redis

from shared.cli.valkey_server import find_server
from shared.settings import Settings
from shared.store import fleet, open_store
from shared.store.redis.sync_store import Store
from tests.system.faults.test_failover import free_port
from tests.system.fleet import Server
from tests.waiting import wait_until
from tests.worker.test_replay import kept_back, left
from worker.replay import EndReplay

LOSSES = 300
"""More than redis-py's pool for Sentinels makes connections in its life."""


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[int]:
    """The port of a primary."""
    (tmp_path / "valkey").mkdir()
    port = free_port()
    with closing(Server(tmp_path / "valkey", "", ("--port", str(port), "--bind", "127.0.0.1"))):
        yield port


@pytest.fixture
def by_sentinel(primary: int, tmp_path: Path) -> Iterator[Store]:
    """A store that finds the primary by a Sentinel."""
    port = free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor mine 127.0.0.1 {primary} 1\n")
    sentinel = subprocess.Popen(
        [str(find_server()), str(config), "--sentinel", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL
    )

    def answers() -> bool:
        with suppress(redis.RedisError), redis.Redis(port=port) as client:
            return bool(client.sentinel_master("mine")["is_master"])
        return False

    try:
        wait_until(answers, "the Sentinel knows the primary", 20)
        settings = Settings(redis_url=f"redis+sentinel://127.0.0.1:{port}/mine", redis_timeout_s=2)
        with closing(open_store(settings)) as store:
            yield store
    finally:
        sentinel.kill()
        sentinel.wait()


def lose_connections(client: redis.Redis) -> None:
    """Cut off everybody but the test itself, and the Sentinel's own links."""
    for one in client.client_list():
        if "sentinel" not in one["name"] and int(one["id"]) != client.client_id():
            with suppress(redis.RedisError):
                client.client_kill_filter(_id=one["id"])


def test_more_lost_connections_than_the_pool_ever_makes_end_no_repeating_and_leak_nothing(
    by_sentinel: Store, primary: int
) -> None:
    messages = EndReplay(by_sentinel)
    with redis.Redis(port=primary) as client:
        first, last = kept_back(by_sentinel, 2)
        messages.add(first)
        files, threads = 0, 0
        for number in range(LOSSES):
            messages.replay(time.monotonic())
            if number % 2:
                lose_connections(client)  # while it is said, or before
            wait_until(lambda: messages._thread is None or not messages._thread.is_alive(), "it was said", 10)
            by_sentinel.run(fleet.ping())
            if number == 20:
                files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        assert left(by_sentinel) == 1, "the other was never told"
        messages.add(last)
        messages.replay(time.monotonic())
        wait_until(lambda: left(by_sentinel) == 0, "it is said after all those losses", 10)
        messages.stop()
        assert len(os.listdir("/proc/self/fd")) <= files + 2
        assert threading.active_count() <= threads + 1
        ours = [one for one in client.client_list() if "sentinel" not in one["name"]]
        assert len(ours) <= 4, ours
