"""Streams, over real sockets: as things happen, resumed without gap or repeat, ended when told to stop."""

import asyncio
import collections
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from api.http import auth, streams
from shared import ops
from shared.runs import Reason, Status
from shared.store import runs
from shared.store.listing import Filter, page
from shared.store.redis.call import Call
from shared.store.redis.sync_store import Store
from shared.store.runs import Claimed, Facts
from tests.http.conftest import TOKEN, Served, claim, write
from tests.waiting import wait_until

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
WAIT = (
    f"POST /api/tasks/elsewhere/run?wait=true HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
    f"Authorization: Bearer {TOKEN}\r\n\r\n"
).encode()


@dataclass(frozen=True)
class Heard:
    """One server-sent event."""

    name: str
    id: str
    data: Any


@contextmanager
def opened(served: Served, path: str, last_id: str = "") -> Iterator[Iterator[Heard]]:
    """The events of a stream; ends when the server ends it."""
    headers = HEADERS | ({"Last-Event-ID": last_id} if last_id else {})
    with (
        httpx.Client(base_url=served.url, timeout=10, headers=headers) as client,
        client.stream("GET", path) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield parsed(response.iter_lines())


def parsed(lines: Iterator[str]) -> Iterator[Heard]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        else:
            if "data" in fields:
                yield Heard(fields.get("event", ""), fields.get("id", ""), msgspec.json.decode(fields["data"]))
            fields = {}


@pytest.fixture
def running(served: Served, catalog: Store) -> Claimed:
    catalog.run(ops.trigger(ops.Catalog(), "example", ops.Request()))
    return claim(catalog)


def end(store: Store, claimed: Claimed, reason: Reason = Reason.SUCCESS, *, lines: int = 0, first: int = 0) -> None:
    facts = Facts(log_lines=lines, log_first=first, log_truncated=int(first > 0))
    store.run(runs.end(claimed.id, claimed.record.token, reason, 0, "", facts=facts))


def test_a_log_is_followed_line_by_line_to_its_end(served: Served, catalog: Store, running: Claimed) -> None:
    write(catalog, running, 0, ["one", "two"])
    with opened(served, f"/api/runs/{running.id}/log/stream") as events:
        first = [next(events), next(events)]
        write(catalog, running, 2, ["three"])
        third = next(events)
        end(catalog, running, lines=3)
        (done,) = list(events)
    assert [(each.name, each.id, each.data["text"]) for each in (*first, third)] == [
        ("line", "0", "one"),
        ("line", "1", "two"),
        ("line", "2", "three"),
    ]
    assert (done.name, done.data["end_reason"]) == ("done", "success")


def test_a_log_resumes_after_the_last_line_received(served: Served, catalog: Store, running: Claimed) -> None:
    write(catalog, running, 0, ["one", "two", "three"])
    end(catalog, running, lines=3)
    with opened(served, f"/api/runs/{running.id}/log/stream", last_id="0") as events:
        assert [each.id for each in events] == ["1", "2", ""]


def test_lines_that_are_no_longer_kept_are_reported_as_dropped(
    served: Served, catalog: Store, running: Claimed
) -> None:
    write(catalog, running, 0, ["one", "two"])
    write(catalog, running, 2, ["three"], first_kept=2)
    end(catalog, running, lines=3, first=2)
    with opened(served, f"/api/runs/{running.id}/log/stream") as events:
        heard = list(events)
    assert [each.name for each in heard] == ["dropped", "truncated", "line", "done"]
    assert heard[0].data == {"from": 0, "to": 1}


def test_following_may_start_near_the_end(served: Served, catalog: Store, running: Claimed) -> None:
    write(catalog, running, 0, ["one", "two", "three"])
    end(catalog, running, lines=3)
    with opened(served, f"/api/runs/{running.id}/log/stream?from=-1") as events:
        assert [each.id for each in events] == ["2", ""]


def test_events_are_streamed_as_they_happen(served: Served, catalog: Store) -> None:
    with opened(served, "/api/events/stream") as events:
        wait_until(lambda: served.state.tail.is_reading, "the stream follows")
        run = catalog.run(ops.trigger(ops.Catalog(), "example", ops.Request())).run
        created = next(events)
        claimed = claim(catalog)
        started = next(events)
        end(catalog, claimed, Reason.FAILED)
        ended = next(events)
    assert [each.name for each in (created, started, ended)] == ["run.created", "run.started", "run.ended"]
    assert {each.data["run_id"] for each in (created, started, ended)} == {str(run.id)}
    assert ended.data["data"] == "failed"


def test_events_resume_after_the_last_one_received(served: Served, catalog: Store) -> None:
    with opened(served, "/api/events/stream?types=run.created") as events:
        wait_until(lambda: served.state.tail.is_reading, "the stream follows")
        first = catalog.run(ops.trigger(ops.Catalog(), "example", ops.Request())).run
        heard = next(events)
        assert heard.data["run_id"] == str(first.id)
    missed = [catalog.run(ops.trigger(ops.Catalog(), "example", ops.Request())).run for _ in range(3)]
    with opened(served, "/api/events/stream?types=run.created", last_id=heard.id) as events:
        assert [next(events).data["run_id"] for _ in missed] == [str(run.id) for run in missed]


def test_a_stream_can_be_narrowed_to_tasks(served: Served, catalog: Store) -> None:
    with opened(served, "/api/events/stream?task=report") as events:
        wait_until(lambda: served.state.tail.is_reading, "the stream follows")
        for name in ("example", "report"):
            catalog.run(ops.trigger(ops.Catalog(), name, ops.Request()))
        assert next(events).data["task"] == "report"


def test_a_quiet_stream_keeps_itself_alive(served: Served, running: Claimed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.native.logs.KEEPALIVE_S", 0.0)
    with (
        httpx.Client(base_url=served.url, timeout=10, headers=HEADERS) as client,
        client.stream("GET", f"/api/runs/{running.id}/log/stream") as response,
    ):
        lines = response.iter_lines()
        assert next(line for line in lines if line.startswith("retry:")) == f"retry: {streams.RETRY_MS}"
        assert next(line for line in lines if line.startswith(":")) == streams.COMMENT.decode().strip()


def test_streams_are_limited(served: Served, running: Claimed) -> None:
    path = f"/api/runs/{running.id}/log/stream"
    most = served.state.stream_limit.per_client
    with httpx.Client(base_url=served.url, timeout=10, headers=HEADERS) as client:
        open_streams = [client.send(client.build_request("GET", path), stream=True) for _ in range(most)]
        refused = client.get(path)
        for each in open_streams:
            each.close()
    assert refused.status_code == 503
    assert "retry-after" in refused.headers
    wait_until(lambda: served.state.stream_limit.taken == 0, "none is open any more")


def test_streams_end_at_once_when_the_process_stops(served: Served, running: Claimed) -> None:
    with (
        opened(served, f"/api/runs/{running.id}/log/stream") as log,
        opened(served, "/api/events/stream") as events,
    ):
        served.stop()
        assert list(log) == []
        assert list(events) == []


def test_a_reader_that_does_not_read_holds_nothing_up(served: Served, catalog: Store, running: Claimed) -> None:
    for first in range(0, 8000, 500):
        write(catalog, running, first, ["x" * 1000] * 500)
    end(catalog, running, lines=8000)
    port = int(served.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        request = f"GET /api/runs/{running.id}/log/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        connection.sendall(request.encode())
        wait_until(lambda: served.state.stream_limit.taken == 1, "the stream is open")
        served.stop()
        wait_until(lambda: served.state.stream_limit.taken == 0, "the stream is given up", timeout_s=5)


def test_waiting_for_a_run_answers_as_soon_as_it_is_over(served: Served, catalog: Store) -> None:
    answers: list[httpx.Response] = []

    def trigger() -> None:
        url = f"{served.url}/api/tasks/example/run?wait=true&wait_timeout=60"
        answers.append(httpx.post(url, headers=HEADERS, timeout=70))

    thread = threading.Thread(target=trigger)
    thread.start()
    wait_until(lambda: catalog.run(page(Filter(status=(Status.PENDING,)))).total == 1, "the run waits")
    claimed = claim(catalog)
    ended_at = time.monotonic()
    end(catalog, claimed, Reason.FAILED)
    thread.join(30)
    assert time.monotonic() - ended_at < 2
    assert (answers[0].status_code, answers[0].json()["end_reason"]) == (201, "failed")


def test_a_wait_ends_when_its_client_leaves(served: Served, catalog: Store) -> None:
    port = int(served.url.rpartition(":")[2])
    with ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            client.sendall(WAIT)
        wait_until(lambda: served.state.stream_limit.taken == 5, "all five wait")
    wait_until(lambda: served.state.stream_limit.taken == 0, "none waits any more", timeout_s=3)
    assert not served.state.tail.is_reading
    assert catalog.run(page(Filter())).total == 5, "what they started goes on"


def test_a_wait_above_the_limit_starts_nothing(served: Served, catalog: Store) -> None:
    port = int(served.url.rpartition(":")[2])
    with ExitStack() as stack:
        for _ in range(served.state.stream_limit.per_client):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            client.sendall(WAIT)
        before = served.state.stream_limit.per_client
        wait_until(lambda: catalog.run(page(Filter())).total == before, "the limit is reached")
        refused = httpx.post(f"{served.url}/api/tasks/elsewhere/run?wait=true", headers=HEADERS)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert catalog.run(page(Filter())).total == before


def test_a_refused_trigger_releases_its_stream(served: Served) -> None:
    for _ in range(served.state.stream_limit.total + 1):
        assert httpx.post(f"{served.url}/api/tasks/nowhere/run?wait=true", headers=HEADERS).status_code == 404
    assert served.state.stream_limit.taken == 0


def test_a_wait_is_answered_at_once_when_the_process_stops(served: Served) -> None:
    port = int(served.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(WAIT)
        wait_until(lambda: served.state.stream_limit.taken == 1, "it waits")
        asked_s = time.monotonic()
        served.stop()
        assert client.recv(65_536).startswith(b"HTTP/1.1 201")
        assert time.monotonic() - asked_s < 2


def test_only_those_who_wait_for_an_execution_look_when_it_is_over(
    served: Served, catalog: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[UUID] = []

    def is_over(execution_id: UUID) -> Call[bool]:
        looks.append(execution_id)
        return real(execution_id)

    real = runs.is_over
    monkeypatch.setattr(runs, "is_over", is_over)
    port = int(served.url.rpartition(":")[2])
    with ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            client.sendall(WAIT)
        wait_until(lambda: len(looks) == 5, "each has looked once")
        for _ in range(20):
            run = catalog.run(ops.trigger(ops.Catalog(), "example", ops.Request())).run
            end(catalog, claim(catalog))
        last = looks[0]
        catalog.run(ops.report(ops.Catalog(), last, "ended", reason=Reason.SUCCESS))
        wait_until(lambda: served.state.stream_limit.taken == 4, "one is answered")
    assert run.id not in looks
    assert sorted(looks[5:]) == [last]


def test_a_raw_log_that_a_restart_cuts_off_does_not_look_complete(
    served: Served, catalog: Store, running: Claimed
) -> None:
    for first in range(0, 8000, 500):
        write(catalog, running, first, ["x" * 1000] * 500)
    end(catalog, running, lines=8000)
    url = f"{served.url}/api/runs/{running.id}/log/raw"
    with httpx.stream("GET", url, headers=HEADERS, timeout=10) as response:
        assert response.status_code == 200
        pieces = response.iter_raw()
        next(pieces)
        served.stop()
        with pytest.raises(httpx.TransportError):
            collections.deque(pieces, maxlen=0)


def test_a_revoked_token_ends_its_streams(served: Served, catalog: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert auth.RECHECK_S + auth.REMEMBER_S < 15
    monkeypatch.setattr(auth, "RECHECK_S", 0.1)
    made = httpx.post(f"{served.url}/api/tokens", json={"name": "t", "scope": "read"}, headers=HEADERS).json()
    with httpx.stream(
        "GET", f"{served.url}/api/events/stream", headers={"Authorization": f"Bearer {made['token']}"}, timeout=10
    ) as response:
        heard = parsed(response.iter_lines())
        wait_until(lambda: served.state.stream_limit.taken == 1, "the stream is open")
        assert httpx.delete(f"{served.url}/api/tokens/{made['id']}", headers=HEADERS).status_code == 204
        (problem,) = list(heard)
    assert (problem.name, problem.data["status"]) == ("problem", 401)


def test_a_stream_whose_source_swallows_a_cancellation_ends_all_the_same() -> None:
    async def stubborn() -> None:
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    async def scene() -> None:
        async with asyncio.timeout(10):
            await streams.first_of(stubborn(), asyncio.sleep(0))

    asyncio.run(scene())


def test_an_unknown_run_is_404_before_anything_is_streamed(served: Served) -> None:
    with httpx.Client(base_url=served.url, timeout=10, headers=HEADERS) as client:
        response = client.get("/api/runs/example%2399/log/stream")
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


def test_long_lines_come_in_small_pieces_and_whole(
    served: Served, catalog: Store, running: Claimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.native.logs.PIECE_BYTES", 2000)
    texts = [f"{number} " + "x" * (900 if number % 3 else 2500) for number in range(40)]
    write(catalog, running, 0, texts)
    end(catalog, running, lines=40)
    with opened(served, f"/api/runs/{running.id}/log/stream") as events:
        heard = list(events)
    assert [each.data["text"] for each in heard if each.name == "line"] == texts
    raw = httpx.get(f"{served.url}/api/runs/{running.id}/log/raw", headers=HEADERS).text
    assert raw.splitlines() == texts
