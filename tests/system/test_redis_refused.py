"""A Redis that cannot be used is refused with one sentence, by the processes as the Procfile starts them."""

import asyncio
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import redis

from shared.cli.valkey_server import find_server
from shared.errors import Misconfigured, StoreUnavailable
from shared.settings import Settings
from shared.store import fleet, open_async_store, open_store, preflight
from shared.store.redis.call import Drive
from shared.store.redis.server_info import info_fields
from tests.commands import run_command
from tests.system.fleet import procfile
from tests.system.test_doctor import surroundings
from tests.waiting import wait_until

PASSWORD = "a password with @, / and %"
ENCODED = "a%20password%20with%20%40%2C%20%2F%20and%20%25"


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def server(folder: Path, *words: str) -> Iterator[int]:
    """A Valkey (or Sentinel) on a port of its own."""
    port = free_port()
    command = [find_server(), *words, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _listens(port), "it listens")
            yield port
        finally:
            process.kill()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., int]]:
    with ExitStack() as at_end:
        made = iter(range(100))

        def start_server(*words: str) -> int:
            folder = tmp_path / f"server-{next(made)}"
            folder.mkdir()
            return at_end.enter_context(server(folder, *words))

        yield start_server


@pytest.fixture
def plain(start: Callable[..., int]) -> int:
    return start("--save", "", "--databases", "4")


def refused(url: str, command: list[str], folder: Path, code: int = 2) -> str:
    """What the process says on stderr when it refuses."""
    env = surroundings(url, TMPDIR=str(folder))
    said = run_command(command, env=env, cwd=folder, stdin=subprocess.DEVNULL)
    assert said.returncode == code, said.stdout + said.stderr
    assert "Traceback" not in said.stdout + said.stderr
    return said.stderr


@pytest.mark.parametrize("name", ["web", "scheduler", "worker", "release"])
@pytest.mark.parametrize("url", ["redis://127.0.0.1/abc", "redis://127.0.0.1/0?colour=blue", "redis+sentinel://h:x/m"])
def test_a_url_with_a_mistake(name: str, url: str, tmp_path: Path) -> None:
    (tmp_path / "runfleet.toml").write_text("")
    said = refused(url, procfile()[name], tmp_path)
    assert said.count("RUNFLEET_REDIS_URL=") == 1
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["web", "scheduler", "worker", "release"])
def test_a_database_that_the_server_does_not_have(name: str, plain: int, tmp_path: Path) -> None:
    (tmp_path / "runfleet.toml").write_text("")
    said = refused(f"redis://127.0.0.1:{plain}/99", procfile()[name], tmp_path)
    assert "names a database that this server does not have" in said


@pytest.mark.parametrize("name", ["web", "scheduler", "worker", "release"])
def test_what_is_no_redis(name: str, tmp_path: Path) -> None:
    (tmp_path / "runfleet.toml").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_be_rude, args=[listener], daemon=True).start()
        said = refused(f"redis://127.0.0.1:{listener.getsockname()[1]}", procfile()[name], tmp_path)
    assert "is no Redis" in said


@pytest.mark.parametrize("name", ["web", "scheduler", "worker", "release"])
def test_a_node_of_a_cluster_that_does_not_have_our_keys(name: str, start: Callable[..., int], tmp_path: Path) -> None:
    (tmp_path / "runfleet.toml").write_text("")
    one, other = (start("--cluster-enabled", "yes", "--cluster-port", str(free_port())) for _ in range(2))
    with redis.Redis(port=one) as here, redis.Redis(port=other) as there:
        there.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        bus = there.config_get("cluster-port")["cluster-port"]
        here.execute_command("CLUSTER", "MEET", "127.0.0.1", other, bus)

        def knows() -> bool:
            return b"cluster_state:ok" in here.execute_command("CLUSTER", "INFO", NEVER_DECODE=True)

        wait_until(knows, "the node knows who has the slots", 30)
    said = refused(f"redis://127.0.0.1:{one}", procfile()[name], tmp_path)
    assert f"127.0.0.1:{other}" in said
    assert "set RUNFLEET_REDIS_URL to that node" in said


def test_a_redis_that_is_too_old() -> None:
    asking = Drive(preflight.check())
    with pytest.raises(Misconfigured, match=r"this is Redis 6\.2\.14, and Runfleet needs .* Redis 7: upgrade"):
        asking.answer([info_fields(b"# Server\r\nredis_version:6.2.14\r\n")])


@pytest.fixture
def sentinel(start: Callable[..., int], tmp_path: Path) -> int:
    """A Sentinel that asks for a password, of a primary that asks for another one."""
    primary = start("--save", "", "--requirepass", PASSWORD)
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f'requirepass "sentinels: {PASSWORD}"\nsentinel monitor mine 127.0.0.1 {primary} 1\n'
        f'sentinel auth-pass mine "{PASSWORD}"\n'
    )
    return start(str(config), "--sentinel")


def test_a_primary_is_found_by_a_sentinel_that_asks_for_a_password(sentinel: int) -> None:
    own = f"sentinel_password=sentinels:%20{ENCODED}"
    settings = Settings(redis_url=f"redis+sentinel://:{ENCODED}@127.0.0.1:{sentinel}/mine/1?{own}")
    store = open_store(settings)
    store.run(fleet.ping())
    store.close()


def test_sentinels_that_do_not_answer_are_one_sentence() -> None:
    settings = Settings(redis_url="redis+sentinel://:secret@127.0.0.1:1,127.0.0.1:2/mine", redis_timeout_s=0.5)
    sentence = r"no Sentinel names a primary for service 'mine' \(not reached: 127\.0\.0\.1:1, 127\.0\.0\.1:2\); [^<]*$"
    store = open_store(settings)
    with pytest.raises(StoreUnavailable, match=sentence):
        store.run(fleet.ping())
    store.close()

    async def ask() -> None:
        opened = open_async_store(settings)
        with pytest.raises(StoreUnavailable, match=sentence):
            await opened.run(fleet.ping())
        await opened.close()

    asyncio.run(ask())


def test_a_service_that_no_sentinel_knows_is_named(sentinel: int) -> None:
    own = f"sentinel_password=sentinels:%20{ENCODED}"
    store = open_store(Settings(redis_url=f"redis+sentinel://127.0.0.1:{sentinel}/yours?{own}"))
    with pytest.raises(StoreUnavailable, match="no Sentinel names a primary for service 'yours'"):
        store.run(fleet.ping())
    store.close()


@pytest.mark.parametrize("url", ["rediss://h/0", "rediss+sentinel://h/mine"])
@pytest.mark.parametrize("opened", [open_store, open_async_store])
def test_a_certificate_that_is_not_there_is_named(url: str, opened: Callable[[Settings], object]) -> None:
    with pytest.raises(Misconfigured, match=r"ssl_ca_certs=/nowhere/ca\.pem is not there"):
        opened(Settings(redis_url=f"{url}?ssl_ca_certs=/nowhere/ca.pem"))


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _be_rude(listener: socket.socket) -> None:
    """Answer as a web server does that was asked something odd."""
    try:
        while True:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    except OSError:
        pass
