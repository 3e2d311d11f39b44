"""
Signing in, before an API that has sessions.

The calls are answered here as the design of the API says, until they are built.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from playwright.sync_api import Page, Route, expect

from tests.dashboard.conftest import OpenPage
from tests.system.fleet import Fleet

SESSION: Final = {"who": "ops", "scope": "read", "csrf": "c5f"}
TOKEN: Final = "rf_of_ops"
LINK: Final = "a-secret-that-works-once"


class Sessions:
    """Answers ``/api/session`` and puts the call into the index; what else is asked goes to the fleet."""

    def __init__(self) -> None:
        self.signed_in = False
        self.changes: list[dict[str, str]] = []

    def answer(self, route: Route) -> None:
        if route.request.method == "DELETE":
            self.signed_in = False
            return route.fulfill(status=204)
        if route.request.method == "POST":
            sent = json.loads(route.request.post_data or "{}")
            self.signed_in = sent in ({"token": TOKEN}, {"link": LINK})
        problem = {"title": "Unauthorized", "status": 401, "detail": "no session"}
        return route.fulfill(
            status=200 if self.signed_in else 401,
            content_type="application/json",
            body=json.dumps(SESSION if self.signed_in else problem),
        )

    def index(self, route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('calls" content="', 'calls" content="/api/session '))

    def change(self, route: Route) -> None:
        if route.request.method == "POST":
            self.changes.append(route.request.headers)
        route.continue_()


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


@pytest.fixture
def open_guarded(open_page: OpenPage, sessions: Sessions) -> Any:
    """Opens a path of a dashboard that asks who is there."""

    def prepare(page: Page) -> None:
        page.route("**/api/session", sessions.answer)
        page.route("**/api/tasks/*/*", sessions.change)
        page.route(lambda url: "/api/" not in url and "." not in url.rsplit("/", 1)[-1], sessions.index)

    return lambda path: open_page(path, prepare=prepare, refused=401)


def test_a_token_opens_the_page_that_was_asked_for(fleet: Fleet, open_guarded: Any) -> None:
    page = open_guarded("/tasks/works")
    page.get_by_label("Token").fill("rf_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known")
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("works")
    expect(page.get_by_text("ops (read)")).to_be_visible()
    assert page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})").count("rf_") == 0


def test_a_link_signs_in_once_and_leaves_the_address(fleet: Fleet, open_guarded: Any) -> None:
    page = open_guarded(f"/sign-in#link={LINK}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("you.")
    assert LINK not in page.url


def test_who_may_only_read_sees_what_they_lack(fleet: Fleet, open_guarded: Any, sessions: Sessions) -> None:
    sessions.signed_in = True
    page = open_guarded("/tasks/works")
    run = page.get_by_role("button", name="Run", exact=True)
    expect(run).to_be_disabled()
    expect(run).to_have_attribute("title", "needs scope run")


def test_a_change_carries_the_session_s_word_and_a_key(
    fleet: Fleet, open_guarded: Any, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SESSION, "scope", "run")
    sessions.signed_in = True
    page = open_guarded("/tasks/works")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("header.head")).to_be_visible()
    [sent] = sessions.changes
    assert sent["x-runfleet-csrf"] == SESSION["csrf"]
    assert len(sent["idempotency-key"]) == 32


def test_signing_out_ends_at_the_door(fleet: Fleet, open_guarded: Any, sessions: Sessions) -> None:
    sessions.signed_in = True
    page = open_guarded("/tasks/works")
    page.get_by_text("ops (read)").click()
    expect(page.get_by_label("Token")).to_be_visible()
