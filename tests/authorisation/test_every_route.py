"""What the table says of each route is so: with every scope, and with a token that is for some tasks only."""

import collections
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from shared.runs import Reason
from shared.store import runs
from shared.store.redis.sync_store import Store
from shared.store.runs import Wanted
from tests.authorisation.table import TABLE, Asked, Row, state_event
from tests.authorisation.world import Owner, World, made_world
from tests.store.consistency import Value, check_store, dump

RANK = {"none": -1, "read": 0, "run": 1, "admin": 2}
NEEDED = {"": -1, **RANK}
REQUESTS = [row for row in TABLE if row.method != "WS"]
PASSING = (
    b"contact",
    b"store-id",
    b"wake:queue:",
    b"dramatiq:",
    b"counter",
    b"workers",
    b"worker:",
    b"consumers",
    b"idempotency:",
    b"session-link:",
)
"""Keys that only say that somebody was there."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world of this module; each test makes what it touches."""
    with made_world(tmp_path_factory.mktemp("world")) as world:
        yield world
        check_store(world.store)


def written(store: Store) -> dict[bytes, Value]:
    """What the store holds."""
    return {key: value for key, value in dump(store).items() if not key.startswith(PASSING)}


def perform(world: World, token: str, row: Row, asked: Asked) -> tuple[int, str]:
    """Status and text of the answer; of one that goes on, nothing but that it began."""
    options: dict[str, Any] = {"params": asked.params}
    if asked.json is not None or row.method in ("POST", "PUT", "PATCH"):
        options["json"] = asked.json if asked.json is not None else {}
    if row.streams:
        with world.stream(token, row.method, asked.path, **options) as answer:
            return answer.status_code, "" if answer.is_success else answer.read().decode()
    answer = world.ask(token, row.method, asked.path, **options)
    return answer.status_code, answer.text


def rows(*beyond: str) -> list[Row]:
    return [row for row in REQUESTS if row.beyond in beyond]


@pytest.mark.parametrize("row", REQUESTS, ids=str)
def test_a_scope_is_enough_or_nothing_happens(world: World, row: Row) -> None:
    for token, rank in RANK.items():
        asked = row.asked(world.mine)
        before = written(world.store)
        status, text = perform(world, token, row, asked)
        if rank >= NEEDED[row.scope]:
            assert status < 400 or status == row.status, f"{token}: {text}"
        else:
            assert status == (401 if token == "none" else 403), f"{token}: {text}"
            assert token == "none" or f"scope {row.scope}" in text
            assert written(world.store) == before


@pytest.mark.parametrize("row", rows("hidden", "barred", "left out", "no tasks"), ids=str)
def test_a_token_for_some_tasks_may_do_with_them_what_its_scope_allows(world: World, row: Row) -> None:
    status, text = perform(world, "mine", row, row.asked(world.mine))
    assert status < 400, text


def without_names(text: str, owner: Owner, asked: Asked) -> str:
    """*text* without what the request itself named, and without what differs from one answer to the next."""
    for word in sorted({*owner.ids, *asked.path.split("/"), *_words(asked)}, key=len, reverse=True):
        if len(word) > 8 or owner.name in word:
            text = text.replace(word, "…")
    return text.replace(owner.name, "…")


def _words(asked: Asked) -> Iterator[str]:
    yield from (json.dumps(asked.json) + json.dumps(dict(asked.params or {}))).replace("\\", "").split('"')


@pytest.mark.parametrize("row", rows("hidden"), ids=str)
def test_things_beyond_the_pattern_look_missing(world: World, row: Row) -> None:
    asked, absent = row.asked(world.theirs), row.asked(world.nobody)
    before = written(world.store)
    status, text = perform(world, "mine", row, asked)
    expected_status, expected = perform(world, "mine", row, absent)
    assert written(world.store) == before
    assert status == expected_status, text
    assert without_names(text, world.theirs, asked) == without_names(expected, world.nobody, absent)
    assert status in (200, 201, 202, 204, 404, 409, 410)
    status, text = perform(world, "run", row, row.asked(world.theirs))
    assert status < 400, f"to a token for all tasks it is there: {text}"


@pytest.mark.parametrize("row", rows("barred"), ids=str)
def test_a_request_that_names_what_is_beyond_the_pattern_is_refused_and_writes_nothing(world: World, row: Row) -> None:
    asked = row.asked(world.theirs)
    before = written(world.store)
    status, text = perform(world, "mine", row, asked)
    assert status in (403, 404), text
    assert written(world.store) == before
    status, text = perform(world, "run", row, row.asked(world.theirs))
    assert status < 400, f"with a token for all tasks it is done: {text}"


def is_shown(owner: Owner, text: str) -> bool:
    return any(word in text for word in (owner.name, *owner.ids))


@pytest.mark.parametrize("row", [row for row in rows("left out") if not row.streams], ids=str)
def test_lists_and_sums_leave_out_what_is_beyond_the_pattern(world: World, row: Row) -> None:
    world.mine.populate()
    world.theirs.populate()
    world.heartbeat()
    status, text = perform(world, "mine", row, row.asked(world.mine))
    assert status == 200
    assert not is_shown(world.theirs, text)
    assert not row.shows or is_shown(world.mine, text)
    _, everything = perform(world, "run", row, row.asked(world.mine))
    assert not row.shows or is_shown(world.theirs, everything), "to a token for all tasks it is there"


@pytest.mark.parametrize("row", [row for row in rows("left out") if row.streams], ids=str)
def test_streams_leave_out_what_is_beyond_the_pattern(world: World, row: Row) -> None:
    asked = row.asked(world.mine)
    options: dict[str, Any] = {"json": asked.json} if asked.json is not None else {}
    with world.stream("mine", row.method, asked.path, **options) as answer:
        heard = answer.iter_text()
        text, own = "", list[str]()
        while len(own) < 100 and not any(one in text for one in own):
            # What is theirs happens first, so that it would come first. A stream need not listen from the start.
            world.theirs.run, world.theirs.external_run  # noqa: B018 (they are made)
            world.ask("admin", "POST", "/api/queues/q-theirs/pause")
            world.ask("admin", "POST", "/api/queues/q-theirs/resume")
            own.append(world.mine.run)
            text += next(heard)
        assert any(one in text for one in own)
        assert not is_shown(world.theirs, text)


def test_the_counts_of_the_fleet_are_those_of_the_tasks(world: World) -> None:
    def counts(token: str) -> dict[str, int]:
        found = world.ask(token, "GET", "/api/fleet").json()
        assert ("redis" in found) == (token != "mine")
        return dict(found["counts"])

    def depth(token: str) -> dict[str, int]:
        return {one["name"]: one["depth"] for one in world.ask(token, "GET", "/api/queues").json()["queues"]}

    before, queues = counts("mine"), depth("mine")
    for _ in range(3):
        world.theirs.run  # noqa: B018 (it is made)
    assert (counts("mine"), depth("mine")) == (before, queues)
    world.mine.run  # noqa: B018
    assert counts("mine")["pending"] == before["pending"] + 1
    assert depth("mine")["q-mine"] == queues["q-mine"] + 1
    assert counts("run")["pending"] > counts("mine")["pending"]


def test_what_runs_is_counted_and_named_for_the_tasks_alone(world: World) -> None:
    def running(token: str) -> int:
        return int(world.ask(token, "GET", "/api/fleet").json()["counts"]["running"])

    before, claimed = {token: running(token) for token in ("mine", "run")}, []
    for owner in (world.mine, world.theirs):
        world.ask("admin", "POST", f"/api/queues/{owner.queue}/resume")
        owner.run  # noqa: B018 (it is made)
        wanted = Wanted(
            worker=world.mine.worker, slot=owner.name, turn=uuid.uuid4().hex, lease_us=60_000_000, queues=[owner.queue]
        )
        claimed.append(world.store.run(runs.claim(wanted)))
    own, others = claimed
    assert own is not None
    assert others is not None
    world.heartbeat()
    try:
        queues = world.ask("mine", "GET", "/api/queues").json()["queues"]
        by_queue = {one["name"]: one["running"] for one in queues}
        assert (by_queue["q-mine"], by_queue.get("q-theirs")) == (1, None)
        workers = world.ask("mine", "GET", "/api/workers").json()["workers"]
        assert [(one["id"], one["running"]) for one in workers] == [("w-mine", [str(own.id)])]
        assert running("mine") == before["mine"] + 1
        assert running("run") == before["run"] + 2
        assert 'runfleet_queue_running{queue="q-mine"} 1\n' in world.ask("mine", "GET", "/metrics").text
    finally:
        for one in (own, others):
            world.store.run(runs.end(one.id, one.record.token, Reason.SUCCESS, 0, ""))


# WebSockets


@contextmanager
def opened(world: World, path: str, token: str) -> Iterator[ClientConnection]:
    """A connection whose client has said who it is."""
    url = world.served.url.replace("http", "ws", 1) + path
    with connect(url, subprotocols=["prefect"]) as socket:  # type: ignore[list-item]
        socket.send(json.dumps({"type": "auth", "token": world.tokens[token] or None}))
        yield socket


def code_of(socket: ClientConnection) -> int:
    """With what code the server hangs up."""
    with pytest.raises(ConnectionClosed) as closed:
        collections.deque((socket.recv(10) for _ in range(100)), maxlen=0)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


@pytest.mark.parametrize("row", [row for row in TABLE if row.method == "WS"], ids=str)
def test_a_websocket_is_for_those_with_its_scope(world: World, row: Row) -> None:
    for token, rank in RANK.items():
        with opened(world, row.path, token) as socket:
            if rank >= NEEDED[row.scope]:
                assert json.loads(socket.recv(10)) == {"type": "auth_success"}
            else:
                assert code_of(socket) == 1008


def state_of(world: World, task_run: str) -> str:
    return str(world.ask("admin", "GET", f"/api/task_runs/{task_run}").json()["state_type"])


def test_events_that_come_by_websocket_change_no_run_beyond_the_pattern(world: World) -> None:
    others, own = world.theirs.task_run, world.mine.task_run
    made = "01900000-0000-7000-8000-00000000aaaa"
    with opened(world, "/api/events/in", "mine") as socket:
        assert json.loads(socket.recv(10)) == {"type": "auth_success"}
        for run, key in ((others, world.theirs.key), (made, world.theirs.key), (own, world.mine.key)):
            socket.send(json.dumps(state_event(run, key)))
        for _ in range(1000):
            if state_of(world, own) == "RUNNING":
                break
    assert state_of(world, own) == "RUNNING", "its own was taken"
    assert state_of(world, others) == "PENDING"
    assert world.ask("admin", "GET", f"/api/task_runs/{made}").status_code == 404


def test_a_websocket_sends_no_run_beyond_the_pattern(world: World) -> None:
    with opened(world, "/api/events/out", "mine") as socket:
        assert json.loads(socket.recv(10)) == {"type": "auth_success"}
        socket.send(json.dumps({"type": "filter", "filter": {}, "backfill": False}))
        text = ""
        for _ in range(200):
            others, own = world.theirs.task_run, world.mine.task_run
            try:
                text += str(socket.recv(0.5))
            except TimeoutError:
                continue  # it does not listen yet
            if own in text:
                break
        assert own in text
        assert others not in text
        assert world.theirs.key not in text


def test_a_consumer_may_not_serve_tasks_beyond_the_pattern(world: World) -> None:
    before = written(world.store)
    path = "/api/task_runs/subscriptions/scheduled"
    for keys in ([world.theirs.key], [world.mine.key, world.theirs.key], ["theirs-ext"], ["not-there"]):
        with opened(world, path, "mine") as socket:
            assert json.loads(socket.recv(10)) == {"type": "auth_success"}
            socket.send(json.dumps({"type": "subscribe", "keys": keys, "client_id": "c"}))
            assert code_of(socket) == 1008
    new = {key for key in written(world.store).keys() - before.keys() if b"theirs" in key or b"not-there" in key}
    assert new == set()


def test_consumers_are_shown_for_the_tasks_of_the_pattern_only(world: World) -> None:
    path, asked = "/api/task_runs/subscriptions/scheduled", "/api/task_workers/filter"
    with opened(world, path, "run") as socket:
        assert json.loads(socket.recv(10)) == {"type": "auth_success"}
        keys = [world.mine.key, world.theirs.key]
        socket.send(json.dumps({"type": "subscribe", "keys": keys, "client_id": "both"}))
        found: list[Any] = []
        for _ in range(1000):
            found = world.ask("run", "POST", asked, json={}).json()
            if found:
                break
        assert [set(one["task_keys"]) for one in found] == [set(keys)]
        assert [one["task_keys"] for one in world.ask("mine", "POST", asked, json={}).json()] == [[world.mine.key]]


def test_a_lease_is_its_patterns_own(world: World) -> None:
    limits = "/api/v2/concurrency_limits"
    lease = world.theirs.lease
    renewed = world.ask("mine", "POST", f"{limits}/leases/{lease}/renew", json={})
    assert renewed.status_code == 410
    world.ask("mine", "POST", f"{limits}/decrement-with-lease", json={"lease_id": lease})
    assert world.ask("theirs", "POST", f"{limits}/leases/{lease}/renew", json={}).status_code == 204
    assert world.ask("run", "POST", f"{limits}/leases/{lease}/renew", json={}).status_code == 204


def test_the_answer_of_one_pattern_is_not_repeated_to_another(world: World) -> None:
    key = {"Idempotency-Key": "the-same"}
    run = world.mine.run
    first = httpx.post(f"{world.served.url}/api/runs/{run}/stop", headers=world.headers("mine") | key)
    assert first.status_code == 202
    other = httpx.post(f"{world.served.url}/api/runs/{run}/stop", headers=world.headers("theirs") | key)
    assert other.status_code == 404
