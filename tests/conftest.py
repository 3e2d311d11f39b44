"""What every test can ask for: a Valkey of its own test worker, settings with keys of its own, and a store on them."""

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
import redis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from shared.cli.valkey_server import find_server
from shared.settings import Settings
from shared.store import open_store
from shared.store.redis.sync_store import Store
from tests.store.consistency import check_store
from tests.waiting import wait_until

LIMIT_S = 300
"""How long a test may take, unless it says otherwise (``@pytest.mark.timeout(900)``); none but a hanging one does."""


# How long one example takes says how busy the machine is: a test as a whole has the limit above.
hypothesis_settings.register_profile("runfleet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("runfleet")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One for each core with ``-n logical``, two with ``-n auto``: most tests of processes wait."""
    cores = os.cpu_count() or 1
    return cores if config.option.numprocesses == "logical" else min(8, 2 * cores)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test that hangs fails, says where, and leaves nothing behind."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT_S))


class Measured(Protocol):
    """See ``measured``."""

    def __call__(self, row: str, name: str, value: float, bound: float, unit: str = "s") -> None: ...


@pytest.fixture
def measured() -> Measured:
    """
    ``measured(row, name, value, bound)``: something that a row of the fault table bounds took so long, or was so much.

    Fails above the bound; for the table it is written down in the file that RUNFLEET_FAULTS_JSON names.
    """

    def measured(row: str, name: str, value: float, bound: float, unit: str = "s") -> None:
        assert value <= bound, f"{row}: {name} is {value:.2f} {unit}, and may be {bound:g} {unit}"
        path = os.environ.get("RUNFLEET_FAULTS_JSON")
        if path:
            line = json.dumps({"row": row, "name": name, "value": value, "bound": bound, "unit": unit})
            with open(path, "a") as file:
                file.write(line + "\n")

    return measured


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private server on a unix socket, one for each process that runs tests, and gone with it."""
    path = tmp_path_factory.mktemp("valkey") / "s"
    command = [find_server(), "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(
        [str(part) for part in command], cwd=path.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: _answers(path), f"Valkey answers on {path}")
        yield f"unix://{path}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def settings(valkey_url: str, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """
    Settings whose keys no other test has, of an API without tokens.

    What the test leaves behind is flushed; but it must be whole, unless the test damages it on purpose (marker
    ``damaged``): every key has an owner or an end, and all that is written down twice says the same.
    """
    made = Settings(redis_url=valkey_url, key_prefix=f"{{t{uuid.uuid4().hex[:12]}}}", open=True)
    yield made
    opened = open_store(made)
    try:
        if request.node.get_closest_marker("damaged") is None:
            check_store(opened)
    finally:
        opened.close()
        with redis.Redis.from_url(valkey_url) as client:
            client.flushall()


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """A store for threads."""
    opened = open_store(settings)
    yield opened
    opened.close()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path is short enough for a socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="rf-"))
    yield folder
    shutil.rmtree(folder)


def _answers(path: Path) -> bool:
    try:
        with redis.Redis(unix_socket_path=str(path)) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
