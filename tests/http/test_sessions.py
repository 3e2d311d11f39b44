"""Sessions: how a browser signs in, what its cookie is good for, and what ends it."""

from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from shared.settings import Settings
from shared.signing import Keys
from shared.store import sessions
from shared.store.redis.call import Call, Key, as_is
from shared.store.redis.sync_store import Store
from tests.http.conftest import BASE, TOKEN
from tests.http.test_auth import bearer, make

Client = TestClient[Litestar]


@pytest.fixture
def browser(guarded: Client) -> Client:
    """A client that has signed in with the bootstrap token and sends what its own pages would send."""
    sign_in(guarded, token=TOKEN)
    return guarded


def sign_in(client: Client, **body: str) -> dict[str, Any]:
    response = client.post("/api/session", json=body)
    assert response.status_code == 200, response.text
    session: dict[str, Any] = response.json()
    client.headers["X-Runfleet-CSRF"] = session["csrf"]
    return session


def test_who_signs_in_gets_a_cookie_that_scripts_cannot_read(guarded: Client) -> None:
    response = guarded.post("/api/session", json={"token": TOKEN})
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("runfleet=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/", f"Max-Age={sessions.LIFE_S}"} <= set(cookie.split("; "))
    assert TOKEN not in response.text + cookie
    session = response.json()
    assert (session["who"], session["scope"]) == ("RUNFLEET_TOKEN", "admin")
    assert guarded.get("/api/runs").status_code == 200


@pytest.mark.parametrize(
    ("base", "root_path", "name", "path"),
    [
        ("https://fleet.example", "", "__Host-runfleet", "/"),
        ("https://fleet.example", "/jobs", "__Secure-runfleet", "/jobs"),
        (BASE, "/jobs", "runfleet", "/jobs"),
    ],
)
def test_the_cookie_is_as_strict_as_the_address_allows(
    settings: Settings, catalog: Store, base: str, root_path: str, name: str, path: str
) -> None:
    app = create_app(msgspec.structs.replace(settings, open=False, token=TOKEN))
    with TestClient(app, base_url=base, root_path=root_path) as client:
        cookie = client.post("/api/session", json={"token": TOKEN}).headers["set-cookie"].split("; ")
    assert cookie[0].startswith(name + "=")
    assert f"Path={path}" in cookie
    assert ("Secure" in cookie) == base.startswith("https")


def test_a_session_may_do_what_its_token_may_and_no_more(guarded: Client) -> None:
    token = make(guarded, "run", tasks="rep*")["Authorization"].removeprefix("Bearer ")
    session = sign_in(guarded, token=token)
    assert (session["who"], session["scope"], session["tasks"]) == ("a run", "run", "rep*")
    assert guarded.post("/api/tasks/report/run").status_code == 201
    assert guarded.post("/api/tasks/example/run").status_code == 404
    assert guarded.get("/api/tokens").status_code == 403


def test_the_page_learns_who_is_signed_in_and_a_bearer_gets_no_csrf(browser: Client) -> None:
    mine = browser.get("/api/session").json()
    assert mine["csrf"] == browser.headers["X-Runfleet-CSRF"]
    assert mine["expires_at"]
    theirs = browser.get("/api/session", headers=bearer(TOKEN)).json()
    assert "csrf" not in theirs
    assert theirs["scope"] == "admin"


def test_an_open_api_says_so_and_asks_nobody_to_sign_in(client: Client) -> None:
    session = client.get("/api/session").json()
    assert (session["open"], session["scope"], session["who"]) == (True, "admin", "anybody on this machine")
    assert client.post("/api/session/links").status_code == 409


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Runfleet-CSRF": ""},
        {"X-Runfleet-CSRF": "wrong"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_no_other_page_can_change_anything(browser: Client, headers: dict[str, str]) -> None:
    assert browser.post("/api/tasks/report/run", headers=headers).status_code == 403
    assert browser.get("/api/runs").json()["total"] == 0
    own = {"Origin": BASE, "Sec-Fetch-Site": "same-origin"}
    assert browser.post("/api/tasks/report/run", headers=own).status_code == 201


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_no_other_page_can_read_a_stream_or_sign_somebody_in(browser: Client, headers: dict[str, str]) -> None:
    assert browser.get("/api/events/stream", headers=headers).status_code == 403
    assert browser.post("/api/session", json={"token": TOKEN}, headers=headers).status_code == 403


def test_a_link_in_a_chat_opens_signed_in(browser: Client) -> None:
    assert browser.get("/api/runs", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_a_sign_in_link_works_once(guarded: Client) -> None:
    header = make(guarded, "read")
    url = guarded.post("/api/session/links", headers=header).json()["url"]
    address, _, secret = url.partition("#link=")
    assert address == f"{BASE}/sign-in"
    assert sign_in(guarded, link=secret)["who"] == "a read"
    again = guarded.post("/api/session", json={"link": secret})
    assert again.status_code == 401
    assert "make another one" in again.json()["detail"]


def test_signing_out_ends_the_session(browser: Client) -> None:
    cookie = dict(browser.cookies)
    assert "Max-Age=0" in browser.delete("/api/session").headers["set-cookie"]
    assert browser.get("/api/runs").status_code == 401
    browser.cookies.update(cookie)
    assert "sign in again" in browser.get("/api/runs").json()["detail"]


def test_signing_in_again_makes_a_new_session_and_ends_the_old_one(browser: Client) -> None:
    old = dict(browser.cookies)
    sign_in(browser, token=TOKEN)
    assert dict(browser.cookies) != old
    browser.cookies.clear()
    browser.cookies.update(old)
    assert browser.get("/api/runs").status_code == 401


def test_a_session_ends_with_its_token(guarded: Client) -> None:
    sign_in(guarded, token=make(guarded, "read")["Authorization"].removeprefix("Bearer "))
    (token,) = guarded.get("/api/tokens", headers=bearer(TOKEN)).json()["tokens"]
    assert guarded.get("/api/runs").status_code == 200
    guarded.delete(f"/api/tokens/{token['id']}", headers=bearer(TOKEN))
    assert guarded.get("/api/runs").status_code == 401


def test_a_session_of_another_runfleet_token_is_over(settings: Settings, catalog: Store) -> None:
    with (
        TestClient(create_app(msgspec.structs.replace(settings, open=False, token=TOKEN)), base_url=BASE) as before,
        TestClient(
            create_app(msgspec.structs.replace(settings, open=False, token=TOKEN + "2")), base_url=BASE
        ) as after,
    ):
        sign_in(before, token=TOKEN)
        after.cookies.update(dict(before.cookies))
        assert before.get("/api/runs").status_code == 200
        assert after.get("/api/runs").status_code == 401


@pytest.mark.parametrize("body", [{}, {"token": TOKEN, "link": "x"}, {"token": ""}, {"tokn": "x"}])
def test_a_sign_in_needs_one_of_the_two(guarded: Client, body: dict[str, str]) -> None:
    assert guarded.post("/api/session", json=body).status_code == 422


def test_a_wrong_token_is_refused_and_no_cookie_is_set(guarded: Client) -> None:
    response = guarded.post("/api/session", json={"token": "rf_wrong"})
    assert response.status_code == 401
    assert "set-cookie" not in response.headers


def test_who_can_write_to_redis_makes_no_session_and_no_link(settings: Settings, catalog: Store) -> None:
    """A session and a link that somebody without the secret wrote, and a real one under another id."""
    keyed = msgspec.structs.replace(settings, open=False, token=TOKEN, secret="a secret of the fleet, long enough")
    forger = Keys("another secret, just as long as it")
    with TestClient(create_app(keyed), base_url=BASE) as client:
        sign_in(client, token=TOKEN)
        (real,) = catalog.run(Call("KEYS", (Key("session:*"),), as_is))
        row = catalog.run(Call("GET", (Key(real.decode().partition(":")[2]),), as_is))
        link = sessions.Link(credential=sessions.fingerprint(TOKEN, keyed.keys), who="me")
        _, own, stored = sessions.create(link, 0, forger)
        catalog.run(stored)
        forged, link_stored = sessions.create_link(link, forger)
        catalog.run(link_stored)
        digest = keyed.keys.sign("session-id", own)  # as if its place could be found out
        catalog.run(Call("SET", (Key(f"session:{digest}"), row), as_is))
        client.cookies.clear()
        for secret in (own, "unknown"):
            client.cookies.set("runfleet", secret)
            assert client.get("/api/runs").status_code == 401
        assert client.post("/api/session", json={"link": forged}).status_code == 401


def test_a_session_ends_after_a_week_however_much_it_is_used(catalog: Store) -> None:
    keys = Keys("a secret of the fleet, long enough")
    session, secret, stored = sessions.create(sessions.Link(credential="c", who="me"), 1_000_000, keys)
    catalog.run(stored)
    assert catalog.run(sessions.find(secret, session.ends_us - 1, keys)) == session
    assert catalog.run(sessions.find(secret, session.ends_us, keys)) is None
