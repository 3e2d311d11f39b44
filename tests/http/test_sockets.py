"""WebSockets: who may open one, what is said to those who may not, and how each ends."""

import collections
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from api.http.websockets import MESSAGE_BYTES
from shared.settings import Settings
from shared.store import open_store, runs, tokens
from shared.store.dialects import orchestrated
from shared.store.redis.sync_store import Store
from tests.http.conftest import TOKEN, Served, serving
from tests.system.fleet import Server
from tests.system.proxy import Proxy
from tests.waiting import wait_until

QUEUE = "/api/task_runs/subscriptions/scheduled"
PATHS = ("/api/events/in", "/api/events/out", QUEUE)


@contextmanager
def opened(served: Served, path: str, token: str = TOKEN, **options: Any) -> Iterator[ClientConnection]:
    url = served.url.replace("http", "ws", 1) + path
    with connect(url, subprotocols=["prefect"], **options) as socket:  # type: ignore[list-item]
        if token:
            socket.send(json.dumps({"type": "auth", "token": token}))
            assert json.loads(socket.recv(5)) == {"type": "auth_success"}
        yield socket


def ending(socket: ClientConnection) -> tuple[int, str]:
    """With what code and why the server hung up."""
    with pytest.raises(ConnectionClosed) as closed:
        collections.deque((socket.recv(10) for _ in iter(int, 1)), maxlen=0)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def deferred(served: Served, key: str, number: str = "1") -> str:
    body = {
        "task_key": key,
        "dynamic_key": number,
        "state": {"type": "SCHEDULED", "state_details": {"deferred": True}},
    }
    answer = httpx.post(f"{served.url}/api/task_runs/", json=body, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 201, answer.text
    run_id: str = answer.json()["id"]
    return run_id


def told(run_id: str, number: int, kind: str, name: str, second: int) -> str:
    """What Prefect's engine says of a run that goes on."""
    return json.dumps(
        {
            "id": f"00000000-0000-4000-8000-{number:012}",
            "occurred": f"2026-01-01T00:00:{second:02}Z",  # its clock is slow
            "event": f"prefect.task-run.{name}",
            "resource": {"prefect.resource.id": f"prefect.task-run.{run_id}"},
            "payload": {
                "validated_state": {"type": kind, "name": name, "data": {"x": 1}},
                "task_run": {"task_key": "key", "dynamic_key": "1"},
            },
        }
    )


@pytest.mark.parametrize("path", PATHS)
def test_a_token_is_needed(served: Served, path: str) -> None:
    for message in (
        json.dumps({"type": "auth", "token": "rf_wrong"}),
        json.dumps({"type": "auth", "token": None}),
        "{",
    ):
        with opened(served, path, "") as socket:
            socket.send(message)
            assert ending(socket)[0] == 1008
    with opened(served, path, f"anything:{TOKEN}") as socket:
        assert socket.ping().wait(5)


def test_there_is_nothing_elsewhere(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidStatus) as refused:
        with opened(served, "/api/runs"):
            pass
    assert refused.value.response.status_code == 404
    assert httpx.get(f"{served.url}/health").status_code == 200
    assert "level=error" not in capsys.readouterr().out


@pytest.mark.parametrize("path", PATHS)
def test_a_base_address_may_end_in_a_slash(served: Served, path: str) -> None:
    with opened(served, path.replace("/api/", "/api//")):
        pass


@pytest.mark.parametrize("path", PATHS)
def test_a_client_that_connects_during_an_outage_is_accepted_after_it(tmp_path: Path, path: str) -> None:
    (tmp_path / "valkey").mkdir()
    with closing(Server(tmp_path / "valkey", "")) as redis:
        settings = Settings(redis_url=redis.url, redis_timeout_s=0.2)
        with closing(open_store(settings)) as store:
            _, token = store.run(tokens.create("engine", "run"))
        with serving(settings) as served:
            redis.freeze()
            with opened(served, path, "") as socket:
                socket.send(json.dumps({"type": "auth", "token": token}))
                with pytest.raises(TimeoutError):
                    socket.recv(1)
                redis.thaw()
                assert json.loads(socket.recv(10)) == {"type": "auth_success"}


def test_a_client_that_authenticates_too_slowly_may_reconnect(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.dialects.prefect.sockets.HANDSHAKE_S", 0.1)
    with opened(served, QUEUE, "") as socket:
        assert ending(socket)[0] == 1013


@pytest.mark.parametrize(
    "message",
    [
        {"type": "ack"},
        {"type": "subscribe"},
        {"type": "subscribe", "keys": ["k"]},
        {"type": "subscribe", "keys": [], "client_id": "c"},
    ],
)
def test_a_wrong_subscription_gets_an_error(served: Served, message: dict[str, Any]) -> None:
    with opened(served, QUEUE) as socket:
        socket.send(json.dumps(message))
        code, reason = ending(socket)
    assert (code, reason.partition(":")[0]) == (4001, "Protocol violation")


def test_a_run_that_is_not_acknowledged_is_given_back_at_once(served: Served) -> None:
    run_id = deferred(served, "key")
    subscribe = json.dumps({"type": "subscribe", "keys": ["key"], "client_id": "first"})
    for last_word in ("nonsense", '{"type": "quit"}', None):
        with opened(served, QUEUE) as socket:
            socket.send(subscribe)
            assert json.loads(socket.recv(5))["id"] == run_id
            if last_word:
                socket.send(last_word)
                assert ending(socket)[0] == (1000 if "quit" in last_word else 4001)
    with opened(served, QUEUE) as socket:
        socket.send(subscribe)
        assert json.loads(socket.recv(5))["id"] == run_id
        socket.send('{"type": "ack"}')


def test_a_run_whose_delivery_got_no_answer_is_delivered(
    settings: Settings, catalog: Store, valkey_url: str, short_path: Path
) -> None:
    """F72: the store's answers are lost while a run is handed to a consumer, who stays connected."""
    with Proxy(short_path / "p", Path(valkey_url.removeprefix("unix://"))).serving() as proxy:
        lossy = msgspec.structs.replace(settings, redis_url=proxy.url, redis_timeout_s=0.5, token=TOKEN)
        with serving(msgspec.structs.replace(settings, token=TOKEN)) as other, serving(lossy) as served:
            deferred(other, "key")
            with opened(served, QUEUE) as socket:
                socket.send(json.dumps({"type": "subscribe", "keys": ["key"], "client_id": "c-1"}))
                json.loads(socket.recv(15))
                socket.send('{"type": "ack"}')
                (task,) = catalog.run(orchestrated.consumers())
                proxy.lose_replies()
                run_id = deferred(other, "key", "2")

                def is_handed() -> bool:
                    found = catalog.run(runs.find(run_id))
                    return found.worker == task

                wait_until(is_handed, "it is handed over, and nobody hears of it")
                proxy.lose_replies(False)
                assert json.loads(socket.recv(30))["id"] == run_id
                socket.send('{"type": "ack"}')


def test_it_is_seen_who_serves(served: Served, catalog: Store) -> None:
    with opened(served, QUEUE) as socket:
        socket.send(json.dumps({"type": "subscribe", "keys": ["key"], "client_id": "c-1"}))
        wait_until(lambda: "c-1" in catalog.run(orchestrated.consumers()), "the consumer is known")
        answer = httpx.post(
            f"{served.url}/api/task_workers/filter",
            json={"task_worker_filter": {"task_keys": ["key"]}},
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        assert [one["identifier"] for one in answer.json()] == ["c-1"]
    wait_until(lambda: not catalog.run(orchestrated.consumers()), "it is forgotten", 15)


def test_a_message_may_not_be_larger_than_that(served: Served) -> None:
    with opened(served, "/api/events/in") as socket:
        socket.send("x" * (MESSAGE_BYTES + 1))
        assert ending(socket)[0] == 1009


def test_sockets_above_the_limit_are_to_come_back(served: Served) -> None:
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(opened(served, "/api/events/in"))
        with opened(served, "/api/events/in", "") as socket:
            socket.send(json.dumps({"type": "auth", "token": TOKEN}))
            assert ending(socket)[0] == 1013
    wait_until(lambda: served.state.stream_limit.taken == 0, "all are released")
    with opened(served, "/api/events/in"):
        pass


def test_handshakes_do_not_count_as_streams(served: Served) -> None:
    with ExitStack() as stack:
        first, *_ = [
            stack.enter_context(opened(served, "/api/events/in", "")) for _ in range(served.state.handshake_limit.total)
        ]
        with opened(served, "/api/events/in"):
            assert ending(first)[0] == 1013, "whoever came first has had the most time"
            assert served.state.stream_limit.taken == 1
    wait_until(lambda: served.state.handshake_limit.taken == 0, "they are released")


def test_a_client_that_left_while_redis_is_away_is_released_and_what_it_sent_counts(tmp_path: Path) -> None:
    (tmp_path / "valkey").mkdir()
    with closing(Server(tmp_path / "valkey", "")) as redis:
        settings = Settings(redis_url=redis.url, redis_timeout_s=0.5, token=TOKEN)
        with serving(settings) as served:
            run_id = deferred(served, "key")
            redis.freeze()
            with opened(served, "/api/events/in") as socket:
                for number, (kind, name) in enumerate((("RUNNING", "Running"), ("COMPLETED", "Completed")), 1):
                    socket.send(told(run_id, number, kind, name, number))
                wait_until(lambda: served.state.stream_limit.taken == 1, "it is open")
            wait_until(lambda: served.state.stream_limit.taken == 0, "it is released", 3)
            redis.thaw()
            headers = {"Authorization": f"Bearer {TOKEN}"}

            def state() -> str:
                answer = httpx.get(f"{served.url}/api/task_runs/{run_id}", headers=headers, timeout=30).json()
                return str(answer.get("state", {}).get("name"))

            wait_until(lambda: state() == "Completed", "what it told is written down", 20)


def test_a_revoked_token_ends_its_websockets(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.auth.RECHECK_S", 0.1)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    made = httpx.post(f"{served.url}/api/tokens", json={"name": "t", "scope": "run"}, headers=headers).json()
    with ExitStack() as stack:
        sockets = [stack.enter_context(opened(served, path, made["token"])) for path in PATHS[:2]]
        sockets[1].send(json.dumps({"type": "filter", "filter": {}}))
        assert httpx.delete(f"{served.url}/api/tokens/{made['id']}", headers=headers).status_code == 204
        assert [ending(socket)[0] for socket in sockets] == [1008, 1008]


def test_when_the_process_stops_clients_are_asked_to_reconnect(served: Served) -> None:
    with opened(served, QUEUE) as socket:
        socket.send(json.dumps({"type": "subscribe", "keys": ["key"], "client_id": "c"}))
        served.stop()
        assert ending(socket)[0] == 1012


def test_a_reported_state_is_stored_once_and_sent_to_subscribers(served: Served) -> None:
    run_id = deferred(served, "key")
    running, completed = told(run_id, 1, "RUNNING", "Running", 1), told(run_id, 2, "COMPLETED", "Completed", 2)
    pending = told(run_id, 3, "PENDING", "Pending", 0)
    wanted = {"event": {"name": ["prefect.task-run.Completed"]}, "occurred": {"since": "2026-01-01T00:00:00Z"}}
    with opened(served, "/api/events/out") as ears:
        ears.send(json.dumps({"type": "filter", "filter": wanted}))
        with opened(served, "/api/events/in") as socket:
            for message in ("no event", running, completed, pending, running, completed):
                socket.send(message)
        heard = json.loads(ears.recv(10))
    assert (heard["type"], heard["event"]["event"]) == ("event", "prefect.task-run.Completed")
    assert heard["event"]["payload"]["validated_state"]["data"] == {"x": 1}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    states = httpx.get(f"{served.url}/api/task_run_states/?task_run_id={run_id}", headers=headers).json()
    assert [state["name"] for state in states] == ["Scheduled", "Pending", "Running", "Completed"]
    with opened(served, "/api/events/out") as ears:
        ears.send(json.dumps({"type": "filter", "filter": wanted}))
        assert json.loads(ears.recv(10))["event"]["id"] == heard["event"]["id"], "who comes late hears it as well"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/api/events/out", {"type": "filter", "filter": {}}),
        ("/api/events/out", {"type": "filter", "filter": {"occurred": {"since": "2026-01-01T00:00:00Z"}}}),
        (QUEUE, {"type": "subscribe", "keys": ["key"], "client_id": "c"}),
    ],
)
@pytest.mark.parametrize("is_known", [True, False], ids=["before it froze", "while it is frozen"])
def test_a_listener_that_left_while_redis_is_frozen_costs_nothing(
    tmp_path: Path, path: str, message: dict[str, Any], is_known: bool
) -> None:
    (tmp_path / "valkey").mkdir()
    with closing(Server(tmp_path / "valkey", "")) as redis:
        settings = Settings(redis_url=redis.url, redis_timeout_s=0.5, token=TOKEN)
        with serving(settings) as served:
            deferred(served, "key")
            under_way = served.server.server_state.tasks
            with opened(served, path) as socket:
                if not is_known:
                    redis.freeze()
                socket.send(json.dumps(message))
                if is_known:
                    socket.recv(10) if path == QUEUE else socket.ping().wait(5)
                    redis.freeze()
                wait_until(lambda: under_way, "it is attended to")
            wait_until(lambda: not under_way, "nobody attends to it any more", 5)
            redis.thaw()


def test_messages_of_a_disconnected_client_delay_no_stop_while_redis_is_frozen(tmp_path: Path) -> None:
    (tmp_path / "valkey").mkdir()
    with closing(Server(tmp_path / "valkey", "")) as redis:
        settings = Settings(redis_url=redis.url, redis_timeout_s=0.5, token=TOKEN)
        with serving(settings) as served:
            run_id = deferred(served, "key")
            under_way = served.server.server_state.tasks
            redis.freeze()
            with opened(served, "/api/events/in") as socket:
                socket.send(told(run_id, 1, "RUNNING", "Running", 1))
                wait_until(lambda: served.state.stream_limit.taken == 1, "it is open")
            wait_until(lambda: served.state.stream_limit.taken == 0, "it is released", 3)
            assert under_way, "what it told still is to be written down"
            served.stop()
            wait_until(lambda: not under_way, "it was given up, because the process stops", 5)
            redis.thaw()
