"""Signing in to an API that requires a token: by the token, by a link, and with the rights of each scope."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.conftest import OpenPage
from tests.system.fleet import Fleet

TASKS: Final = '[tasks.works]\nrun = "true"'


@pytest.fixture(scope="module")
def guarded(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """An API with a token, and a task."""
    with Fleet(tmp_path_factory.mktemp("guarded"), TASKS, grace_s=1.0) as fleet:
        fleet.start("web", "scheduler")
        yield fleet


@pytest.fixture
def open_guarded(open_page: OpenPage, guarded: Fleet) -> Any:
    """Opens a path of the dashboard of the API that requires a token; requests without one are answered 401."""
    return lambda path, **options: open_page(path, of=guarded, refused=401, **options)


def token(fleet: Fleet, scope: str) -> str:
    answer = fleet.http.post("/api/tokens", json={"name": f"ops-{scope}", "scope": scope})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def link(fleet: Fleet, scope: str) -> str:
    """The path of a new sign-in link."""
    headers = {"Authorization": f"Bearer {token(fleet, scope)}"}
    url = str(fleet.http.post("/api/session/links", headers=headers).json()["url"])
    return url[url.index("/sign-in") :]


def signed_in(page: Page) -> None:
    """Wait for the overview."""
    expect(page.get_by_role("heading", level=1)).to_contain_text("you.")


def test_a_token_opens_the_page_that_was_asked_for(guarded: Fleet, open_guarded: Any) -> None:
    page = open_guarded("/tasks/works")
    page.get_by_label("Token").fill("rf_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known")
    page.get_by_label("Token").fill(token(guarded, "read"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("works")
    expect(page.get_by_text("ops-read (read)")).to_be_visible()
    kept = page.evaluate("JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie")
    assert "rf_" not in kept


def test_a_link_signs_in_once_and_leaves_the_address(guarded: Fleet, open_guarded: Any) -> None:
    path = link(guarded, "read")
    page = open_guarded(path)
    signed_in(page)
    assert "link=" not in page.url
    again = open_guarded(path)
    expect(again.get_by_role("alert")).to_contain_text("used before")


def test_a_token_that_may_only_read_sees_what_it_lacks(guarded: Fleet, open_guarded: Any) -> None:
    page = open_guarded(link(guarded, "read"))
    signed_in(page)
    page.goto(page.url + "tasks/works")
    run = page.get_by_role("button", name="Run", exact=True)
    expect(run).to_be_disabled()
    expect(run).to_have_attribute("title", "needs scope run")


def test_a_change_is_authorised_by_the_session(guarded: Fleet, open_guarded: Any) -> None:
    page = open_guarded(link(guarded, "run"))
    signed_in(page)
    page.goto(page.url + "tasks/works")
    sent: list[dict[str, str]] = []
    page.on("request", lambda request: sent.append(request.headers) if request.method == "POST" else None)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("header.head")).to_be_visible()
    assert [len(headers["idempotency-key"]) for headers in sent] == [32]
    assert sent[0]["x-runfleet-csrf"]
    assert json.loads(guarded.http.get("/api/runs").text)["total"] == 1


def test_signing_out_asks_for_a_token(guarded: Fleet, open_guarded: Any) -> None:
    page = open_guarded(link(guarded, "read"))
    signed_in(page)
    page.get_by_text("ops-read (read)").click()
    expect(page.get_by_label("Token")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Token")).to_be_visible()
