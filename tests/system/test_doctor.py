"""What is said of a Redis that does not fit: by the processes when they start, and by ``runfleet doctor``."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
import redis

from shared import ops
from shared.cli.data_dir import DataFolder
from shared.cli.valkey_server import find_server
from shared.errors import Misconfigured
from shared.isolation import isolated
from shared.settings import REDIS_URL_NAMES, Settings
from shared.signing import Keys
from shared.store import open_store, preflight, tasks, version
from shared.store.fleet import workers
from shared.store.leadership import poll
from shared.store.redis.call import Call, Key
from shared.store.tasks import entries
from shared.tasks import Task, define
from tests.commands import run_command
from tests.system.fleet import Fleet
from tests.waiting import wait_until

SECRET = "a secret of the doctor's tests, long enough"
StartValkey = Callable[..., str]


@contextmanager
def running(folder: Path, *options: str, socket: str = "s") -> Iterator[str]:
    """A Valkey of the test's own; its URL."""
    path = folder / socket
    command = [find_server(), "--port", "0", "--unixsocket", path, "--dir", folder, "--save", "", *options]
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
    ours = {*REDIS_URL_NAMES, "PORT"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNFLEET_") and name not in ours}
    own = {"RUNFLEET_REDIS_URL": url, "RUNFLEET_SECRET": SECRET, "RUNFLEET_PORT": "0", "RUNFLEET_LOG_FORMAT": "logfmt"}
    return isolated(kept) | own | more


@pytest.mark.parametrize("words", [["api"], ["scheduler"], ["worker", "--process"]], ids=["api", "scheduler", "worker"])
def test_no_process_starts_on_a_redis_that_may_drop_any_key(
    words: list[str], start_valkey: StartValkey, tmp_path: Path
) -> None:
    """F22: and the cure is named."""
    ended = run_command(
        [sys.executable, "-P", "-m", *words],
        env=surroundings(start_valkey("--maxmemory-policy", "allkeys-lru"), TMPDIR=str(tmp_path)),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
    )
    assert ended.returncode == 2
    assert "allkeys-lru" in ended.stderr
    assert "CONFIG SET maxmemory-policy noeviction" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_policy_that_drops_only_what_expires_is_warned_of(start_valkey: StartValkey) -> None:
    store = open_store(Settings(redis_url=start_valkey("--maxmemory-policy", "volatile-ttl")))
    assert store.run(preflight.check()) == "volatile-ttl"
    store.close()


def test_a_policy_that_cannot_be_read_is_let_be(start_valkey: StartValkey) -> None:
    url = start_valkey("--maxmemory-policy", "allkeys-lru", "--rename-command", "INFO", "")
    store = open_store(Settings(redis_url=url))
    assert store.run(preflight.check()) == ""
    store.close()


def test_a_process_can_start_while_redis_is_full(start_valkey: StartValkey) -> None:
    url = start_valkey()
    store = open_store(Settings(redis_url=url))
    store.run(version.check())
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory", 1)
        assert store.run(preflight.check()) == ""
    store.close()


def test_a_newer_releases_data_is_refused_before_anything_else(start_valkey: StartValkey) -> None:
    url = start_valkey()
    store = open_store(Settings(redis_url=url))
    with redis.Redis.from_url(url) as client:
        client.set("{runfleet}:version", version.SCHEMA + 1)
    with pytest.raises(Misconfigured, match="newer release"):
        store.run(preflight.check())
    store.close()


def examined(folder: Path, env: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return run_command(
        [sys.executable, "-P", "-m", "shared", "doctor", *options], env=env, cwd=folder, stdin=subprocess.DEVNULL
    )


def levels(report: str) -> dict[str, str]:
    """Code → level."""
    return {one["code"]: one["level"] for one in json.loads(report)["findings"]}


def test_the_doctor_names_each_trouble_of_a_real_store(start_valkey: StartValkey, tmp_path: Path) -> None:
    url = start_valkey("--maxmemory-policy", "allkeys-lru", "--maxmemory", "64mb", "--maxclients", "8")
    (tmp_path / "runfleet.toml").write_text('[tasks.a]\nrun = "true"\nqueue = "reports"\n[tasks.b]\nrun = "true"\n')
    store = open_store(Settings(redis_url=url))
    store.run(version.check())
    store.run(tasks.apply([(task, define(task)) for task in (Task(name="a", run="true", queue="reports"),)]))
    store.run(ops.trigger(ops.Catalog(), "a", ops.Request()))
    store.close()
    answered = examined(tmp_path, surroundings(url), "--json")
    assert answered.returncode == 1, answered.stderr
    assert json.loads(answered.stdout)["healthy"] is False
    assert levels(answered.stdout) == {
        "settings": "ok",
        "rights": "ok",
        "tls": "ok",
        "redis": "ok",
        "version": "ok",
        "role": "ok",
        "eviction-policy": "error",
        "persistence": "warning",
        "disk": "ok",
        "memory": "ok",
        "clock": "ok",
        "connections": "warning",
        "layout": "ok",
        "scheduler": "error",
        "workers": "warning",
        "queue-unserved": "error",
        "definitions-untrusted": "error",
        "task-file": "info",
        "token": "ok",
    }
    assert "differs from the store; applying it would add b" in answered.stdout


@pytest.mark.parametrize("key", ["tasks", "leader", "ticks", "queues", "contact", "catalog", "schedulers", "due"])
def test_an_overwritten_key_is_named_with_the_cure(start_valkey: StartValkey, tmp_path: Path, key: str) -> None:
    url = start_valkey()
    settings = Settings(redis_url=url)
    store = open_store(settings)
    store.run(version.check())
    store.run(tasks.apply([(task, define(task)) for task in (Task(name="a", run="true", cron=("@hourly",)),)]))
    store.run(Call("SET", (Key(key), "x"), bool))
    store.close()
    answered = examined(tmp_path, surroundings(url), "--json")
    assert answered.returncode == 1, answered.stderr
    assert "Traceback" not in answered.stderr
    [found] = [one for one in json.loads(answered.stdout)["findings"] if one["code"] == "key-kind"]
    assert (found["level"], found["subject"]) == ("error", f"key {settings.key_prefix}:{key}")
    assert "should be a" in found["message"]
    assert f"redis-cli DEL '{settings.key_prefix}:{key}'" in found["cure"]


def test_the_json_of_the_doctor_controls_no_terminal_and_loses_nothing(
    start_valkey: StartValkey, tmp_path: Path
) -> None:
    url = start_valkey()
    name = "odd\u202e\x9b2J\x7f\u200b"
    store = open_store(Settings(redis_url=url))
    store.run(version.check())
    store.run(Call("SADD", (Key("queues"), name), int))
    store.run(Call("ZADD", (Key(f"queue:{name}"), 1, "a run"), int))
    store.close()
    said = examined(tmp_path, surroundings(url), "--json").stdout
    assert [char for char in said if not char.isprintable() and char != "\n"] == []
    assert f"queue {name}" in {one["subject"] for one in json.loads(said)["findings"]}


def test_the_doctor_finds_a_fleet_that_is_well_well(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet('[tasks.a]\nrun = "true"\n', "scheduler", "worker")
    wait_until(lambda: any(one.alive for one in fleet.store.run(workers())), "the worker is heard of")
    wait_until(lambda: fleet.store.run(entries()), "the scheduler has applied the file")
    answered = examined(fleet.folder, fleet.env, "--json", "--strict")
    assert answered.returncode == 0, answered.stdout
    assert set(levels(answered.stdout).values()) <= {"ok", "info"}


def test_warnings_fail_only_when_asked_to(start_valkey: StartValkey, tmp_path: Path) -> None:
    url = start_valkey()
    store = open_store(Settings(redis_url=url))
    store.run(poll("a scheduler of the test's"))
    store.close()
    assert examined(tmp_path, surroundings(url)).returncode == 0
    assert examined(tmp_path, surroundings(url), "--strict").returncode == 1


def test_a_server_that_discloses_nothing_is_examined_all_the_same(start_valkey: StartValkey, tmp_path: Path) -> None:
    url = start_valkey("--rename-command", "INFO", "", "--rename-command", "CONFIG", "")
    found = levels(examined(tmp_path, surroundings(url), "--json").stdout)
    assert {found[code] for code in ("version", "role", "eviction-policy", "persistence", "disk", "memory")} == {"info"}


def test_a_replica_is_an_error(start_valkey: StartValkey, tmp_path: Path) -> None:
    url = start_valkey("--replicaof", "127.0.0.1", "1")
    answered = examined(tmp_path, surroundings(url), "--json")
    assert (answered.returncode, levels(answered.stdout)["role"]) == (1, "error")


def test_a_redis_that_cannot_save_is_reported_as_a_full_disk(start_valkey: StartValkey, tmp_path: Path) -> None:
    """It refuses every write, and even PING."""
    gone = tmp_path / "gone"
    gone.mkdir()
    url = start_valkey("--dir", str(gone), "--save", "3600 1")
    gone.rmdir()
    with redis.Redis.from_url(url) as client:
        client.bgsave()

        def refuses() -> bool:
            try:
                client.ping()
            except redis.ResponseError as error:
                return "MISCONF" in str(error)
            return False

        wait_until(refuses, "it refuses to write")
        answered = examined(tmp_path, surroundings(url), "--json")
        client.config_set("save", "")
    assert answered.returncode == 6
    assert {"redis": "error", "disk": "error"}.items() <= levels(answered.stdout).items()
    assert "usually its disk is full" in answered.stdout


def test_a_redis_that_does_not_answer_exits_with_6(tmp_path: Path) -> None:
    answered = examined(tmp_path, surroundings(f"unix://{tmp_path}/nobody"), "--json")
    assert answered.returncode == 6
    assert levels(answered.stdout) == {"settings": "ok", "tls": "ok", "redis": "error"}


def test_settings_that_are_wrong_exit_with_2_and_are_all_named(tmp_path: Path) -> None:
    answered = examined(tmp_path, surroundings("redis://nowhere", RUNFLEET_WORKER_THREADS="many", RUNFLEET_PORT="-1"))
    assert answered.returncode == 2
    assert "RUNFLEET_WORKER_THREADS" in answered.stdout
    assert "RUNFLEET_PORT" in answered.stdout
    assert "Traceback" not in answered.stderr


def test_a_definition_of_another_release_is_reported(start_valkey: StartValkey, tmp_path: Path) -> None:
    url = start_valkey()
    store = open_store(Settings(redis_url=url))
    foreign = define(Task(name="a", run="true"))
    foreign = msgspec.structs.replace(foreign, body=b'{"name": 7}')
    store.run(tasks.apply([(Task(name="a", run="true"), foreign)]))
    store.close()
    answered = examined(tmp_path, surroundings(url), "--json")
    assert (answered.returncode, levels(answered.stdout)["definitions-unreadable"]) == (1, "error")


def test_beside_a_runfleet_up_its_store_secret_and_token_are_used(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / ".runfleet")
    folder.lock(patience_s=0)
    secret = folder.secret()
    try:
        with running(folder.socket().parent, socket=folder.socket().name) as url:
            store = open_store(Settings(redis_url=url))
            store.run(tasks.apply([(Task(name="a", run="true"), define(Task(name="a", run="true"), Keys(secret)))]))
            store.close()
            env = surroundings(url)
            for name in ("RUNFLEET_REDIS_URL", "RUNFLEET_SECRET"):
                del env[name]
            found = levels(examined(tmp_path, env, "--json").stdout)
    finally:
        os.close(folder.lock_fd)
    assert (found["definitions-untrusted"], found["token"]) == ("ok", "ok")
