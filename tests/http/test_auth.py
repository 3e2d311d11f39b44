"""Tokens: who gets in, how far, and what happens to those who guess."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from api.http.auth import (
    FAILURE_WINDOW_S,
    MAX_FAILURES,
    REMEMBER_S,
    Authenticator,
    Grant,
    TooManyFailures,
    is_private_name,
)
from shared.errors import Unauthorized
from shared.settings import Settings
from shared.store import open_async_store, tokens
from shared.store.redis.sync_store import Store
from tests.http.conftest import BASE, TOKEN

Client = TestClient[Litestar]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def make(client: Client, scope: str, **more: Any) -> dict[str, str]:
    """The header of a new token."""
    response = client.post("/api/tokens", json={"name": f"a {scope}", "scope": scope, **more}, headers=bearer(TOKEN))
    assert response.status_code == 201, response.text
    return bearer(response.json()["token"])


def test_an_api_that_is_open_asks_for_no_token(client: Client) -> None:
    assert client.get("/api/runs").status_code == 200


def test_without_any_token_set_up_the_api_is_closed(settings: Settings, catalog: Store) -> None:
    bare = msgspec.structs.replace(settings, open=False)
    with TestClient(create_app(bare), base_url=BASE) as closed:
        assert closed.get("/api/runs").status_code == 401
        assert closed.post("/api/tokens", json={"name": "n", "scope": "admin"}).status_code == 401


def test_without_its_token_the_api_is_closed(guarded: Client) -> None:
    response = guarded.get("/api/runs")
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_the_bootstrap_token_may_do_everything(guarded: Client) -> None:
    assert guarded.get("/api/tokens", headers=bearer(TOKEN)).status_code == 200


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer wrong", f"Bearer {TOKEN}x"])
def test_anything_else_is_401(guarded: Client, header: str) -> None:
    assert guarded.get("/api/runs", headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize("path", ["/health", "/ready", "/docs", "/openapi.json", "/schemas/Run.json"])
def test_health_and_documentation_need_no_token(guarded: Client, path: str) -> None:
    assert guarded.get(path).status_code == 200


def test_a_token_is_shown_once_and_then_never(guarded: Client) -> None:
    token = make(guarded, "read")["Authorization"].removeprefix("Bearer ")
    listing = guarded.get("/api/tokens", headers=bearer(TOKEN))
    assert [each["name"] for each in listing.json()["tokens"]] == ["a read"]
    assert token.startswith("rf_")
    assert token not in listing.text


def test_a_revoked_token_is_out_at_once(guarded: Client) -> None:
    header = make(guarded, "read")
    assert guarded.get("/api/runs", headers=header).status_code == 200
    (token,) = guarded.get("/api/tokens", headers=bearer(TOKEN)).json()["tokens"]
    assert guarded.delete(f"/api/tokens/{token['id']}", headers=bearer(TOKEN)).status_code == 204
    assert guarded.get("/api/runs", headers=header).status_code == 401
    assert guarded.delete(f"/api/tokens/{token['id']}", headers=bearer(TOKEN)).status_code == 404


def test_a_token_for_some_tasks_sees_and_starts_only_those(guarded: Client) -> None:
    guarded.post("/api/tasks/example/run", headers=bearer(TOKEN))
    header = make(guarded, "run", tasks="rep*")
    run = guarded.post("/api/tasks/report/run", headers=header)
    assert run.status_code == 201
    refused = [
        guarded.post("/api/tasks/example/run", headers=header),
        guarded.get("/api/tasks/example", headers=header),
        guarded.get("/api/tasks/example/runs", headers=header),
        guarded.get("/api/runs/example%231", headers=header),
        guarded.get("/api/runs/example%231/log", headers=header),
        guarded.post("/api/runs/example%231/stop", headers=header),
    ]
    assert [response.status_code for response in refused] == [404] * len(refused)
    assert [task["name"] for task in guarded.get("/api/tasks", headers=header).json()["tasks"]] == ["report"]
    assert {each["task_name"] for each in guarded.get("/api/runs", headers=header).json()["runs"]} == {"report"}
    assert guarded.get("/api/runs?task_name=example", headers=header).json()["runs"] == []
    assert 'task="example"' not in guarded.get("/metrics", headers=header).text


def test_an_admin_token_is_for_all_tasks(guarded: Client) -> None:
    body = {"name": "x", "scope": "admin", "tasks": "rep*"}
    response = guarded.post("/api/tokens", json=body, headers=bearer(TOKEN))
    assert response.status_code == 422
    assert response.json()["errors"][0]["location"] == "body.tasks"


def test_guessing_is_slowed_down_and_says_for_how_long(guarded: Client) -> None:
    codes = [guarded.get("/api/runs", headers=bearer(f"guess{n}")).status_code for n in range(MAX_FAILURES + 1)]
    assert codes == [401] * MAX_FAILURES + [429]
    response = guarded.get("/api/runs", headers=bearer("another guess"))
    assert response.status_code == 429
    assert 0 < int(response.headers["retry-after"]) <= 61


@pytest.mark.parametrize("kind", ["bootstrap", "made"])
def test_a_good_token_is_taken_whatever_others_have_sent_from_its_address(guarded: Client, kind: str) -> None:
    good = bearer(TOKEN) if kind == "bootstrap" else make(guarded, "read")
    for number in range(MAX_FAILURES + 1):
        last = guarded.get("/api/runs", headers=bearer(f"guess{number}"))
    assert last.status_code == 429
    assert guarded.get("/api/runs", headers=good).status_code == 200


@contextmanager
def at_a_time_of_ones_own(settings: Settings) -> Iterator[tuple[Callable[[str], Grant], Callable[[float], None]]]:
    """``request(token)`` a gate, and ``wait(seconds)``: its clock is the test's."""
    now = [1000.0]

    async def grant(token: str) -> Grant:
        scope: Any = {"client": ("10.0.0.1", 1), "headers": [(b"authorization", b"Bearer " + token.encode())]}
        return await authenticator.grant(scope)

    def wait(seconds: float) -> None:
        now[0] += seconds

    with asyncio.Runner() as runner:
        store = open_async_store(settings)
        authenticator = Authenticator(settings, store, lambda: now[0])
        try:
            yield lambda token: runner.run(grant(token)), wait
        finally:
            runner.run(store.close())


@pytest.fixture
def closed(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, open=False)


def test_a_token_that_is_revoked_elsewhere_is_refused_after_two_seconds(closed: Settings, store: Store) -> None:
    token, text = store.run(tokens.create("t", "read"))
    with at_a_time_of_ones_own(closed) as (request, wait):
        assert request(text).scope == "read"
        assert store.run(tokens.revoke(token.id))
        wait(REMEMBER_S - 0.1)
        assert request(text).scope == "read", "it is asked for once in that time, not at every request"
        wait(0.2)
        with pytest.raises(Unauthorized):
            request(text)


def test_a_token_that_was_unknown_is_taken_as_soon_as_there_is_one(closed: Settings, store: Store) -> None:
    with at_a_time_of_ones_own(closed) as (request, _):
        with pytest.raises(Unauthorized):
            request("rf_unknown")
        _, text = store.run(tokens.create("t", "run", "mine-*"))
        grant = request(text)
    assert (grant.scope, grant.tasks, grant.quota) == ("run", "mine-*", tokens.Quota())


def test_a_locked_out_client_may_return_after_a_minute(closed: Settings) -> None:
    with at_a_time_of_ones_own(closed) as (request, wait):
        for _ in range(MAX_FAILURES):
            with pytest.raises(Unauthorized):
                request("guess")
        wait(FAILURE_WINDOW_S - 1)
        with pytest.raises(TooManyFailures) as told:
            request("guess")
        assert told.value.retry_after_s <= 2
        wait(2)
        with pytest.raises(Unauthorized):
            request("guess")


def test_the_lock_out_is_for_the_address_that_guessed(guarded: Client) -> None:
    for number in range(MAX_FAILURES + 1):
        last = guarded.get("/api/runs", headers=bearer(f"guess{number}"))
    assert last.status_code == 429
    assert guarded.get("/health").status_code == 200
    assert guarded.get("/api/runs").status_code == 401, "without a token there is nothing to guess"


def test_guessing_from_many_addresses_is_slowed_down_as_well(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.auth.MAX_FAILURES_IN_ALL", 30)
    settings = msgspec.structs.replace(settings, token=TOKEN, open=False)

    async def scene() -> None:
        store = open_async_store(settings)
        authenticator = Authenticator(settings, store, lambda: 0.0)
        try:
            for number in range(31):
                scope: Any = {"client": (f"10.0.0.{number}", 1), "headers": [(b"authorization", b"Bearer guess")]}
                with pytest.raises(TooManyFailures if number == 30 else Unauthorized):
                    await authenticator.grant(scope)
        finally:
            await store.close()

    asyncio.run(scene())


def test_tokens_can_be_made_on_an_open_api_and_leave_it_open(client: Client) -> None:
    assert client.post("/api/tokens", json={"name": "n", "scope": "run"}).status_code == 201
    assert client.get("/api/runs").status_code == 200


def test_a_wrong_token_on_an_open_api_opens_nothing_to_a_foreign_page(client: Client) -> None:
    wrong = bearer("wrong")
    assert client.get("/api/runs", headers=wrong).status_code == 200
    assert client.get("/api/runs", headers=wrong | {"Origin": "https://evil.example"}).status_code == 403
    assert client.get("/api/runs", headers=wrong | {"Host": "evil.example"}).status_code == 403


def test_a_token_has_the_quota_that_it_was_given(guarded: Client) -> None:
    admin = bearer(TOKEN)
    given = {"triggers_per_s": 5, "pending_runs": 10, "pending_bytes": 1000}
    body = {"name": "n", "scope": "run", "quota": given}
    assert guarded.post("/api/tokens", json=body, headers=admin).json()["quota"] == given
    part = {"name": "m", "scope": "run", "quota": {"pending_runs": 7}}
    made = guarded.post("/api/tokens", json=part, headers=admin).json()["quota"]
    assert made == {"triggers_per_s": 200, "pending_runs": 7, "pending_bytes": 64 * 1024 * 1024}
    listed = guarded.get("/api/tokens", headers=admin).json()["tokens"]
    assert [token["quota"] for token in listed] == [given, made]


@pytest.mark.parametrize("scope", ["read", "admin"])
def test_only_a_token_that_starts_things_has_a_quota(guarded: Client, scope: str) -> None:
    body = {"name": "n", "scope": scope, "quota": {"pending_runs": 7}}
    refused = guarded.post("/api/tokens", json=body, headers=bearer(TOKEN))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["location"] == "body.quota"
    made = guarded.post("/api/tokens", json={"name": "n", "scope": scope}, headers=bearer(TOKEN)).json()
    assert "quota" not in made


@pytest.mark.parametrize("host", ["evil.example", "rebound.attacker.com:9477"])
def test_an_open_api_does_not_answer_to_a_public_name(client: Client, host: str) -> None:
    assert client.get("/api/runs", headers={"Host": host}).status_code == 403


def test_an_open_api_takes_nothing_from_a_page_of_another_origin(client: Client) -> None:
    response = client.post("/api/tasks/example/run", headers={"Origin": "https://evil.example"})
    assert response.status_code == 403


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost:9477", True),
        ("127.0.0.1:9477", True),
        ("[::1]:9477", True),
        ("::1", True),
        ("web", True),
        ("app.localhost:80", True),
        ("example.com", False),
        ("example.com.", False),
        ("127.0.0.1.nip.io", False),
        ("localhost.evil.com:9477", False),
    ],
)
def test_private_names_are_those_no_public_name_server_answers_for(host: str, expected: bool) -> None:
    assert is_private_name(host) is expected
