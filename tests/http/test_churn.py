"""Readers that come, read and go, a thousand times on every stream and WebSocket: none stays reserved."""

import asyncio
import json
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from shared import ops
from shared.runs import Reason
from shared.settings import Settings
from shared.store import runs
from shared.store.redis.sync_store import Store
from shared.store.runs import Claimed
from tests.http.conftest import TOKEN, Served, claim, serving, write
from tests.waiting import wait_until

VISITS: Final = 1000
AT_ONCE: Final = 16
MAX_STREAMS: Final = 80
HEADERS: Final = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\n"

Visit = Callable[[Served, Claimed], Awaitable[None]]


@contextmanager
def happening(store: Store, claimed: Claimed) -> Iterator[None]:
    """Runs are made and end, and a log grows, one after the other for as long as this is entered."""
    over = threading.Event()

    def happen() -> None:
        number = 0
        while not over.wait(0.01):  # often enough: what is left of it is checked at the end
            store.run(ops.trigger(ops.Catalog(), "report", ops.Request()))
            other = claim(store)
            if number < 200:
                write(store, claimed, number, [f"line {number}"])
            store.run(runs.end(other.id, other.record.token, Reason.SUCCESS, 0, ""))
            number += 1

    thread = threading.Thread(target=happen)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def _get(served: Served, request: str, *, reads: int = 3) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    try:
        writer.write(request.encode())
        for _ in range(random.randrange(reads)):
            async with asyncio.timeout(0.1):
                chunk = await reader.read(4096)
            assert not chunk.startswith(b"HTTP/1.1 503"), "nobody was above the limit"
            if not chunk:
                break
    except TimeoutError:
        pass
    finally:
        writer.transport.abort() if random.random() < 0.5 else writer.close()


def _reading(path: str) -> Visit:
    async def visit(served: Served, claimed: Claimed) -> None:
        await _get(served, f"GET {path.format(run=claimed.id)} HTTP/1.1\r\n{HEADERS}\r\n", reads=6)

    return visit


async def _waiting(served: Served, claimed: Claimed) -> None:
    await _get(
        served, f"POST /api/tasks/elsewhere/run?wait=true HTTP/1.1\r\n{HEADERS}Content-Length: 0\r\n\r\n", reads=1
    )


async def _watching(served: Served, claimed: Claimed) -> None:
    body = json.dumps({"environmentId": str(claimed.id)})
    head = f"POST /api/gitpod.v1.EventService/WatchEvents HTTP/1.1\r\n{HEADERS}Content-Type: application/json\r\n"
    await _get(served, f"{head}Content-Length: {len(body)}\r\n\r\n{body}", reads=2)


def _talking(path: str, *messages: object) -> Visit:
    async def visit(served: Served, claimed: Claimed) -> None:
        url = served.url.replace("http", "ws", 1) + path
        with suppress(OSError, TimeoutError, ConnectionClosed):
            async with connect(url, subprotocols=["prefect"], close_timeout=1) as socket:  # type: ignore[list-item]
                for message in messages[: random.randrange(len(messages) + 1)]:
                    await socket.send(json.dumps(message))
                async with asyncio.timeout(random.random() * 0.02):
                    await socket.recv()
                if random.random() < 0.5:
                    socket.transport.abort()

    return visit


AUTH: Final = {"type": "auth", "token": TOKEN}
VISITS_TO: Final[dict[str, Visit]] = {
    "events": _reading("/api/events/stream"),
    "log": _reading("/api/runs/{run}/log/stream"),
    "raw log": _reading("/api/runs/{run}/log/raw"),
    "the end of a run": _waiting,
    "an environment": _watching,
    "the log of an execution": _reading("/api/gitpod.v1.TaskExecutionLogs/{run}"),
    "events in": _talking("/api/events/in", AUTH, {"event": "something"}),
    "events out": _talking("/api/events/out", AUTH, {"type": "filter", "filter": {}}),
    "the queue": _talking(
        "/api/task_runs/subscriptions/scheduled", AUTH, {"type": "subscribe", "keys": ["k"], "client_id": "c"}
    ),
}


@pytest.mark.parametrize("what", VISITS_TO)
def test_readers_that_come_and_go_leave_no_stream_reserved(settings: Settings, catalog: Store, what: str) -> None:
    catalog.run(ops.trigger(ops.Catalog(), "example", ops.Request()))
    claimed = claim(catalog)
    visit = VISITS_TO[what]
    with serving(msgspec.structs.replace(settings, token=TOKEN, max_streams=MAX_STREAMS)) as served:

        async def visits() -> None:
            async def some() -> None:
                for _ in range(VISITS // AT_ONCE):
                    await visit(served, claimed)

            await asyncio.gather(*(some() for _ in range(AT_ONCE)))

        with happening(catalog, claimed):
            asyncio.run(visits())
        wait_until(
            lambda: served.state.stream_limit.taken == 0, f"{served.state.stream_limit.taken} are still reserved"
        )
        wait_until(lambda: served.state.handshake_limit.taken == 0, "nor handshakes")
        wait_until(lambda: not served.state.tail.is_reading, "nobody follows any more")
        # A client that left is released at once; what it had said is still dealt with then.
        wait_until(lambda: not served.state.store._subscriptions, "nobody listens any more")
