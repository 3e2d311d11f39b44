"""An application on a real store: called in the process, or served by a real server where time and sockets matter."""

import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import msgspec
import pytest
import uvicorn
from litestar import Litestar
from litestar.testing import TestClient

from api.__main__ import Server
from api.app import create_app
from api.http.protocol import LimitedHttpProtocol
from api.http.state import AppState
from api.http.websockets import MESSAGE_BYTES, LimitedWebSocketProtocol
from shared.runs import Reason
from shared.settings import Settings
from shared.store import logs, runs, tasks
from shared.store.log_record import StoredLine
from shared.store.redis.sync_store import Store
from shared.store.runs import Claimed, Wanted
from shared.tasks import Param, Task, define
from tests.waiting import wait_until

TOKEN = "rf_bootstrap_for_tests"
BASE = "http://runfleet.local:9477"

TASKS = (
    Task(name="example", call="examples:one"),
    Task(name="report", call="reports:make", cron=("@hourly",), tags=("nightly",), group="books"),
    Task(name="typed", run="true", params={"day": Param(required=True), "n": Param(type="number")}),
    Task(name="locked", run="true", manual_trigger=False),
    Task(name="shipped", run="true", depends_on=("example",)),
    Task(name="elsewhere", external=True),
    Task(name="flaky", run="false", retry_attempts=2, retry_delay_ms=(0,)),
    Task(name="narrow", run="true", max_replicas=3),
    Task(name="secretive", run="true", secrets={"KEY": "hunter2hunter2"}),
)


@pytest.fixture
def catalog(store: Store) -> Store:
    """The store with ``TASKS`` in it."""
    store.run(tasks.apply([(task, define(task)) for task in TASKS]))
    return store


@pytest.fixture
def client(settings: Settings, catalog: Store) -> Iterator[TestClient[Litestar]]:
    """A client of an API without tokens."""
    with TestClient(create_app(settings), base_url=BASE) as client:
        yield client


@pytest.fixture
def guarded(settings: Settings, catalog: Store) -> Iterator[TestClient[Litestar]]:
    """A client of an API with a bootstrap token, which the client does not send by itself."""
    with TestClient(create_app(msgspec.structs.replace(settings, open=False, token=TOKEN)), base_url=BASE) as client:
        yield client


@dataclass(frozen=True)
class Served:
    """A server that answers at ``url``; ``state`` is what its process holds."""

    url: str
    state: AppState
    server: Server

    def stop(self) -> None:
        """As a first SIGTERM would."""
        loop = self.server.servers[0].get_loop()
        loop.call_soon_threadsafe(self.server.handle_exit, signal.SIGTERM, None)


@pytest.fixture
def served(settings: Settings, catalog: Store) -> Iterator[Served]:
    """The API behind a real server, with ``TOKEN``."""
    with serving(msgspec.structs.replace(settings, open=False, token=TOKEN, max_streams=12)) as served:
        yield served


@contextmanager
def serving(settings: Settings) -> Iterator[Served]:
    """The API behind a real server in a thread of this process, for as long as this is entered."""
    app = create_app(settings)
    state: AppState = app.state.runfleet
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=LimitedHttpProtocol,
        ws=LimitedWebSocketProtocol,
        ws_max_size=MESSAGE_BYTES,
        lifespan="on",
        log_config=None,
        access_log=False,
    )
    server = Server(config, state)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started, "the API answers")
        served = Served(f"http://127.0.0.1:{listener.getsockname()[1]}", state, server)
        yield served
    finally:
        if server.started and not server.should_exit:
            Served("", state, server).stop()
        thread.join(20)
        listener.close()


def claim(store: Store, queue: str = "default") -> Claimed:
    """Take the next waiting run as a worker would."""
    wanted = Wanted(worker="w1", slot=uuid.uuid4().hex, turn=uuid.uuid4().hex, lease_us=60_000_000, queues=[queue])
    claimed = store.run(runs.claim(wanted))
    assert claimed is not None
    return claimed


def finish(store: Store, reason: Reason = Reason.SUCCESS, exit_code: int = 0) -> UUID:
    """Claim the next waiting run and end it; its id."""
    claimed = claim(store)
    ended = store.run(runs.end(claimed.id, claimed.record.token, reason, exit_code, "as the test wants it"))
    assert ended.verdict == "ended"
    return claimed.id


def write(store: Store, claimed: Claimed, first: int, texts: list[str], *, first_kept: int = 0) -> None:
    """Add lines to a running run's log, numbered from *first*."""
    lines = [
        StoredLine(n=first + number, at_us=time.time_ns() // 1000, stream=0, text=text, continued=False)
        for number, text in enumerate(texts)
    ]
    stored = store.run(
        logs.append(claimed.id, claimed.record.token, lines, first_kept=first_kept, kept_bytes=sum(map(len, texts)))
    )
    assert stored == "stored"
