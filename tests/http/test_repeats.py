"""A POST that is made again with the same key changes nothing again and gets the same answer, whichever POST it is."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest
import redis
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app, native_endpoints
from shared import ops
from shared.runs import Run
from shared.settings import Settings
from shared.store import fleet, idempotency, stops
from shared.store.fleet import About
from shared.store.redis.sync_store import Store
from tests.http.conftest import BASE, TOKEN, Served, finish
from tests.store.consistency import dump

Client = TestClient[Litestar]
KEY = {"Idempotency-Key": "once"}


@pytest.fixture
def things(client: Client, catalog: Store) -> dict[str, str]:
    """Something to post to for each path of the API: the paths, by how they are declared."""
    about = About(host="h", pid=1, version="1", queues=("default",), slots=1, started_us=1, broker="b")
    catalog.run(fleet.heartbeat("w1", [], about))
    over = client.post("/api/tasks/example/run").json()
    finish(catalog)
    waiting = client.post("/api/tasks/example/run").json()
    other = client.post("/api/tasks/example/run").json()
    elsewhere = client.post("/api/tasks/elsewhere/run").json()
    return {
        "/api/tasks/{taskName}/run": "/api/tasks/example/run",
        "/api/runs/{id}/stop": f"/api/runs/{waiting['id']}/stop",
        "/api/runs/{id}/rerun": f"/api/runs/{over['id']}/rerun",
        "/api/runs/{id}/report": f"/api/runs/{elsewhere['id']}/report",
        "/api/tasks/{taskName}/stop": "/api/tasks/example/stop",
        "/api/tasks/{taskName}/pause": "/api/tasks/report/pause",
        "/api/tasks/{taskName}/resume": "/api/tasks/report/resume",
        "/api/executions/{id}/stop": f"/api/executions/{other['execution_id']}/stop",
        "/api/executions/{id}/rerun": f"/api/executions/{over['execution_id']}/rerun",
        "/api/hooks/environments/{id}/{trigger}": f"/api/hooks/environments/{uuid.UUID(int=0)}/prebuild",
        "/api/queues/{queue}/pause": "/api/queues/default/pause",
        "/api/queues/{queue}/resume": "/api/queues/default/resume",
        "/api/workers/{id}/drain": "/api/workers/w1/drain",
        "/api/tokens": "/api/tokens",
    }


SECRET = ("/api/session", "/api/session/links")
"""Their answers are secrets, which no repeat may be given."""

POSTS = sorted({endpoint.path for endpoint in native_endpoints() if endpoint.method == "POST"} - set(SECRET))


@pytest.mark.parametrize("path", POSTS)
def test_a_post_that_is_repeated_gets_the_same_answer(
    client: Client, things: dict[str, str], catalog: Store, path: str
) -> None:
    bodies = {"/api/tokens": {"name": "n", "scope": "admin"}, "/api/runs/{id}/report": {"end_reason": "failed"}}
    body = bodies.get(path)
    first = client.post(things[path], json=body, headers=KEY)
    after_first = facts(catalog)
    bearer = {"Authorization": f"Bearer {first.json()['token']}"} if path == "/api/tokens" else {}
    second = client.post(things[path], json=body, headers=KEY | bearer)
    assert first.is_success, first.text
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.status_code == first.status_code
    assert second.headers.get("location") == first.headers.get("location")
    shown = {name: value for name, value in first.json().items() if name != "token"}
    assert second.json() == shown
    assert facts(catalog) == after_first, "nothing was changed again"


@pytest.mark.parametrize("path", POSTS)
def test_every_post_documents_the_key(client: Client, path: str) -> None:
    operation = client.get("/openapi.json").json()["paths"][path]["post"]
    assert "Idempotency-Key" in [parameter["name"] for parameter in operation["parameters"]]
    assert any("Idempotent-Replayed" in response.get("headers", {}) for response in operation["responses"].values())


def facts(store: Store) -> dict[bytes, Any]:
    """What the store holds, without what is only noted about requests and what passes with time."""
    passing = (b"idempotency:", b"contact", b"store-id", b"wake:", b"wake:queue:", b"dramatiq:", b"workers", b"events")
    return {key: value for key, value in dump(store).items() if not key.startswith(passing)}


def test_a_repeated_stop_is_answered_as_the_first_although_the_run_is_over(client: Client) -> None:
    run = client.post("/api/tasks/example/run").json()
    first = client.post(f"/api/runs/{run['id']}/stop", headers=KEY)
    assert client.post(f"/api/runs/{run['id']}/stop").status_code == 409, "as a new request it comes too late"
    again = client.post(f"/api/runs/{run['id']}/stop", headers=KEY)
    assert (again.status_code, again.json()) == (202, first.json())


def test_a_repeat_after_the_answer_was_lost_with_its_process_is_a_success(client: Client, catalog: Store) -> None:
    run = client.post("/api/tasks/example/run").json()
    path = f"/api/runs/{run['id']}/stop"
    catalog.run(idempotency.begin(f"{path}?:once", EMPTY))  # the process left its mark,
    catalog.run(stops.stop(uuid.UUID(run["id"]), "stop", "stopped by a person"))  # stopped the run, and died
    again = client.post(path, headers=KEY)
    assert (again.status_code, again.json()["end_reason"]) == (202, "stopped")
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("answered", [False, True])
def test_a_repeat_that_is_faster_than_the_first_harms_neither(
    client: Client, catalog: Store, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    run = client.post("/api/tasks/example/run").json()
    path, original = f"/api/runs/{run['id']}/stop", ops.stop

    async def overtaken(ref: str, *, force: bool = False) -> Run:
        monkeypatch.undo()
        await idempotency.begin(f"{path}?:once", EMPTY)  # the repeat came,
        await stops.stop(uuid.UUID(run["id"]), "stop", "stopped by a person")  # stopped the run,
        if answered:
            await idempotency.finish(
                f"{path}?:once", EMPTY, msgspec.msgpack.encode((202, [], b"{}"))
            )  # and was answered
        return await original(ref, force=force)

    monkeypatch.setattr(ops, "stop", overtaken)
    first = client.post(path, headers=KEY)
    assert first.status_code == 202
    assert first.headers["idempotent-replayed"] == "true"
    assert client.post(path, headers=KEY).json() == first.json()


def test_a_refusal_is_repeated_too(client: Client, catalog: Store) -> None:
    run = client.post("/api/tasks/example/run").json()
    finish(catalog)
    path = f"/api/runs/{run['id']}/stop"
    answers = [client.post(path, headers=KEY) for _ in "ab"]
    assert [answer.status_code for answer in answers] == [409, 409]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["content-type"] == "application/problem+json"


def test_the_same_key_with_another_query_is_422(client: Client) -> None:
    run = client.post("/api/tasks/example/run").json()
    client.post(f"/api/runs/{run['id']}/stop", headers=KEY)
    other = client.post(f"/api/runs/{run['id']}/stop?force=true", headers=KEY)
    assert other.status_code == 422
    assert [problem["location"] for problem in other.json()["errors"]] == ["header.Idempotency-Key"]


def test_the_same_key_for_a_run_and_for_a_rerun_is_422(client: Client, catalog: Store) -> None:
    run = client.post("/api/tasks/example/run", headers=KEY).json()
    finish(catalog)
    assert client.post(f"/api/runs/{run['id']}/rerun", headers=KEY).status_code == 422


def test_the_same_key_on_another_path_is_another_request(client: Client) -> None:
    ids = [client.post("/api/tasks/example/run").json()["id"] for _ in "ab"]
    assert [client.post(f"/api/runs/{one}/stop", headers=KEY).json()["id"] for one in ids] == ids


def test_a_repeat_is_the_same_through_a_restart(settings: Settings, catalog: Store) -> None:
    """Shown by what has changed meanwhile: made again, the request would be answered otherwise."""
    answers = []
    for _ in "ab":
        with TestClient(create_app(settings), base_url=BASE) as client:
            answers.append(client.post("/api/tasks/report/pause", headers=KEY))
            assert client.post("/api/tasks/report/resume").status_code == 200
    assert [answer.json()["paused"] for answer in answers] == [True, True]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert client_sees_paused(settings) is False, "the repeat changed nothing"


def client_sees_paused(settings: Settings) -> bool:
    with TestClient(create_app(settings), base_url=BASE) as client:
        return bool(client.get("/api/tasks/report").json()["paused"])


def test_a_422_is_kept_for_repeats(client: Client) -> None:
    run = client.post("/api/tasks/elsewhere/run").json()
    path, wrong = f"/api/runs/{run['id']}/report", {"exit_code": 3}
    first = client.post(path, json=wrong, headers=KEY)
    assert first.status_code == 422
    assert client.post(path, json={"end_reason": "success"}).status_code == 200
    again = client.post(path, json=wrong, headers=KEY)
    assert (again.status_code, again.json()) == (422, first.json())


def test_a_stop_with_a_key_works_while_redis_is_full(client: Client, valkey_url: str) -> None:
    run = client.post("/api/tasks/example/run").json()
    with redis.Redis.from_url(valkey_url) as server:
        server.config_set("maxmemory", "1mb")
        try:
            refused = client.post("/api/tasks/example/run")
            assert refused.status_code == 507
            assert refused.headers["retry-after"] == "30"
            stopped = client.post(f"/api/runs/{run['id']}/stop", headers=KEY)
            again = client.post(f"/api/runs/{run['id']}/stop", headers=KEY)
        finally:
            server.config_set("maxmemory", "0")
    assert (stopped.status_code, stopped.json()["end_reason"]) == (202, "stopped")
    assert again.status_code == 409, "nothing could be kept of the first"


def test_one_of_many_identical_requests_makes_the_token(guarded: Client) -> None:
    """And its text is in at most one answer, nowhere in Redis."""
    headers = KEY | {"Authorization": f"Bearer {TOKEN}"}
    with ThreadPoolExecutor(8) as many:
        answers = list(
            many.map(
                lambda _: guarded.post("/api/tokens", json={"name": "n", "scope": "run"}, headers=headers), range(16)
            )
        )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("token" in answer.json() for answer in answers) == 1
    assert len(guarded.get("/api/tokens", headers=headers).json()["tokens"]) == 1


def test_the_text_of_a_token_is_not_kept_for_repeats(guarded: Client, catalog: Store) -> None:
    headers = KEY | {"Authorization": f"Bearer {TOKEN}"}
    text = guarded.post("/api/tokens", json={"name": "n", "scope": "run"}, headers=headers).json()["token"]
    assert text.encode() not in repr(dump(catalog)).encode()


def test_a_token_made_by_a_request_whose_answer_was_lost_is_not_made_again(guarded: Client, catalog: Store) -> None:
    headers = KEY | {"Authorization": f"Bearer {TOKEN}"}
    body = {"name": "n", "scope": "run"}
    made = guarded.post("/api/tokens", json=body, headers=headers).json()
    forget_answer(catalog)
    again = guarded.post("/api/tokens", json=body, headers=headers)
    assert (again.status_code, again.json()["id"]) == (201, made["id"])
    assert "token" not in again.json()
    assert guarded.delete(f"/api/tokens/{made['id']}", headers=headers).status_code == 204
    forget_answer(catalog)
    assert guarded.post("/api/tokens", json=body, headers=headers).status_code == 409


def forget_answer(store: Store) -> None:
    """As if the process had died before it noted one."""
    from shared.store.redis.call import Call, Key, as_is

    assert store.run(Call("HDEL", (Key("idempotency:/api/tokens?:once"), "answer"), as_is)) == 1


def test_a_token_for_some_tasks_gets_no_answer_meant_for_others(guarded: Client) -> None:
    boss = {"Authorization": f"Bearer {TOKEN}"}
    text = guarded.post("/api/tokens", json={"name": "n", "scope": "run", "tasks": "ex*"}, headers=boss).json()["token"]
    assert guarded.post("/api/tasks/report/pause", headers=boss | KEY).status_code == 200
    narrow = {"Authorization": f"Bearer {text}"}
    assert guarded.post("/api/tasks/report/pause", headers=narrow | KEY).status_code == 404


def test_many_identical_stops_get_the_same_answer(served: Served) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=served.url, headers=headers) as client, ThreadPoolExecutor(8) as many:
        run = client.post("/api/tasks/example/run").json()
        path = f"/api/runs/{run['id']}/stop"
        answers = list(many.map(lambda _: client.post(path, headers=KEY), range(16)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1


EMPTY = "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b"
"""The digest of a request without query and body."""
