"""``python -m api`` as a process: what it refuses to start as, and how it goes."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from websockets.sync.client import connect

from api.__main__ import GRACE_S
from api.http.problems import AWAY
from shared import ops
from shared.settings import Settings
from shared.store import open_store, tasks
from shared.tasks import Task, define
from tests.commands import run_command
from tests.http.conftest import claim
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
PLAIN = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV")


def environment(settings: Settings, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in PLAIN if name in os.environ}
    return {
        **kept,
        "RUNFLEET_REDIS_URL": settings.redis_url,
        "RUNFLEET_KEY_PREFIX": settings.key_prefix,
        "RUNFLEET_PORT": "0",
        "RUNFLEET_OPEN": "on",
        **more,
    }


def limited_to(files: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


@contextmanager
def started(
    settings: Settings, cwd: Path = ROOT, *, files: int = 0, **more: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its URL. *files* is how many it may have open, if not 0."""
    process = subprocess.Popen(
        [sys.executable, "-m", "api"],
        env=environment(settings, **more) | {"PYTHONPATH": str(ROOT)},
        cwd=cwd,
        preexec_fn=limited_to(files) if files else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"event=api\.started.* port=(\d+)", line):
                break
        else:
            pytest.fail("".join(lines))
        yield process, f"http://127.0.0.1:{found[1]}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def refusal(env: dict[str, str], **options: Any) -> str:
    """Why the process does not start."""
    ended = run_command([sys.executable, "-m", "api"], env=env, **options)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"RUNFLEET_HOST": "0.0.0.0", "RUNFLEET_OPEN": "off"}, "set RUNFLEET_TOKEN"),
        ({"RUNFLEET_HOST": "0.0.0.0", "RUNFLEET_OPEN": "off", "RUNFLEET_TOKEN": "short"}, "16 characters"),
        ({"RUNFLEET_HOST": "0.0.0.0", "RUNFLEET_TOKEN": "a" * 32}, "RUNFLEET_OPEN=on is for this machine only"),
        ({"RUNFLEET_OPEN": "perhaps"}, "write on or off"),
        ({"RUNFLEET_REDIS_URL": "mysql://x"}, "no Redis URL"),
    ],
)
def test_it_refuses_to_start_and_says_what_to_set(settings: Settings, more: dict[str, str], says: str) -> None:
    assert says in refusal(environment(settings, **more))


def test_without_a_token_it_makes_one_that_only_its_owner_can_read(settings: Settings, tmp_path: Path) -> None:
    kept = tmp_path / ".runfleet" / "token"
    for _ in range(2):  # the second time it is the same
        with started(settings, cwd=tmp_path, RUNFLEET_OPEN="") as (process, url):
            assert httpx.get(f"{url}/api/runs").status_code == 401
            token = kept.read_text().strip()
            assert httpx.get(f"{url}/api/tokens", headers={"Authorization": f"Bearer {token}"}).status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.stdout is not None
            assert token not in process.stdout.read()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700


def test_where_no_token_can_be_kept_it_says_what_to_set(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / ".runfleet").write_text("in the way")
    env = environment(settings, RUNFLEET_OPEN="") | {"PYTHONPATH": str(ROOT)}
    assert "set RUNFLEET_TOKEN" in refusal(env, cwd=tmp_path)


def test_sigterm_ends_streams_at_once_and_the_process_with_0(settings: Settings) -> None:
    with started(settings) as (process, url), httpx.Client(base_url=url, timeout=10) as client:
        with client.stream("GET", "/api/events/stream") as response:
            chunks = response.iter_raw()
            next(chunks)
            process.send_signal(signal.SIGTERM)
            for _ in chunks:
                pass
        assert process.wait(10) == 0
        assert process.stdout is not None
        assert "event=api.stopped" in process.stdout.read()


def test_sigterm_ends_fifty_live_readers_within_two_seconds_and_without_a_traceback(settings: Settings) -> None:
    """F71: SIGTERM of the API while readers follow, wait and talk over WebSockets."""
    sockets = ("/api/events/in", "/api/events/out", "/api/task_runs/subscriptions/scheduled")
    with started(settings) as (process, url), ExitStack() as stack:
        port = int(url.rpartition(":")[2])
        run_id = made_and_running(settings)
        paths = ("GET /api/events/stream", f"GET /api/runs/{run_id}/log/stream", "POST /api/tasks/t/run?wait=true")
        readers = []
        for number in range(45):
            reader = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            reader.sendall(f"{paths[number % 3]} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
            readers.append(reader)
        for number in range(5):
            stack.enter_context(connect(url.replace("http", "ws", 1) + sockets[number % 3]))

        def taken() -> bool:
            return "runfleet_api_streams 50\n" in httpx.get(f"{url}/metrics").text

        wait_until(taken, "all are open")
        told_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - told_s < 2.0
        for reader in readers[2::3]:
            assert b"HTTP/1.1 201" in reader.recv(65_536), "who waited is answered"
        assert process.stdout is not None
        said = process.stdout.read()
        assert "event=api.stopped" in said
        assert "Traceback" not in said
        assert "error" not in said


def made_and_running(settings: Settings) -> UUID:
    """A run that a worker has; the task ``t``, of which there is another one, is executed by nobody."""
    with closing(open_store(settings)) as store:
        external = Task(name="t", external=True)
        busy = Task(name="busy", run="true")
        store.run(tasks.apply([(task, define(task)) for task in (external, busy)]))
        store.run(ops.trigger(ops.Catalog(), "busy", ops.Request()))
        return claim(store).id


def test_the_address_of_redis_is_not_disclosed(settings: Settings) -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    away = msgspec.structs.replace(settings, redis_url=f"redis://:hunter2@127.0.0.1:{port}/0")
    with started(away, RUNFLEET_TOKEN="t" * 32, RUNFLEET_SECRET="s" * 32) as (_, url):
        answers = [
            httpx.get(f"{url}/ready"),
            httpx.get(f"{url}/api/runs", headers={"Authorization": "Bearer wrong"}),
            httpx.get(
                f"{url}/api/flow_runs/0190f6a1-7c3e-7a3b-9d2e-3f4a5b6c7d8e", headers={"Authorization": "Bearer x"}
            ),
        ]
    assert {answer.status_code for answer in answers} == {503}
    for answer in answers:
        assert str(port) not in answer.text.replace(url, "")
        assert "hunter2" not in answer.text
    assert [answer.json()["detail"] for answer in answers[:2]] == [AWAY] * 2


@pytest.mark.parametrize("signals", [1, 5])
def test_a_request_under_way_is_finished_after_a_burst_of_signals(settings: Settings, signals: int) -> None:
    body = b'{"name": "n", "scope": "admin"}'
    head = (
        b"POST /api/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    with started(settings) as (process, url):
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as connection:
            connection.sendall(head + body[:5])
            wait_until(lambda: httpx.get(f"{url}/health").status_code == 200, "the first bytes were read")
            for _ in range(signals):
                process.send_signal(signal.SIGTERM)
            wait_until(lambda: not accepts(url), "the process takes no new connections")
            connection.sendall(body[5:])
            assert connection.recv(100).startswith(b"HTTP/1.1 201")
        assert process.wait(10) == 0


def test_a_later_signal_means_now(settings: Settings) -> None:
    with started(settings) as (process, url):
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as connection:
            connection.sendall(b"POST /api/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            wait_until(lambda: httpx.get(f"{url}/health").status_code == 200, "the first bytes were read")
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: not accepts(url), "the process takes no new connections")
            told_s = time.monotonic()

            def is_gone_when_told_again() -> bool:
                process.send_signal(signal.SIGTERM)
                return process.poll() is not None

            wait_until(is_gone_when_told_again, "a later signal ends it", 10)
            assert process.returncode == 128 + signal.SIGTERM
            assert time.monotonic() - told_s < GRACE_S, "it did not wait for the request"


def accepts(url: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1):
            return True
    except OSError:
        return False


def test_it_does_not_say_what_serves_it(settings: Settings) -> None:
    with started(settings) as (_, url):
        assert "server" not in httpx.get(f"{url}/health").headers


def test_with_few_files_it_serves_few_connections_and_refuses_the_rest(settings: Settings) -> None:
    with started(settings, files=100) as (process, url), ExitStack() as held:
        port = int(url.rpartition(":")[2])
        for _ in range(36):
            held.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        assert httpx.get(f"{url}/ready", timeout=5).status_code == 503
        held.close()
        wait_until(lambda: httpx.get(f"{url}/ready", timeout=5).status_code == 200, "there is room again")
        process.terminate()
        assert process.wait(20) == 0


def test_with_too_few_files_it_refuses_to_start(settings: Settings) -> None:
    said = "only 40 files may be open here, and the API needs 96, of which each connection is one (ulimit -n)"
    assert refusal(environment(settings), preexec_fn=limited_to(40)).splitlines() == [f"runfleet api: {said}"]
