"""What people do with the dashboard, from the first click to what they wanted."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.dashboard.conftest import PATIENCE_MS, OpenPage
from tests.system.fleet import Fleet
from tests.waiting import wait_until

expect.set_options(timeout=PATIENCE_MS)

ALONE: Final = "delete window.SharedWorker"


def started(fleet: Fleet, task: str, **body: Any) -> str:
    """The page of a new run of *task*."""
    run = fleet.trigger(task, **body)
    return f"/tasks/{task}/{run['number']}"


def ended(fleet: Fleet, task: str, **body: Any) -> str:
    """The page of a new run of *task*, once that has ended."""
    run = fleet.post(f"/api/tasks/{task}/run?wait=true", body)
    assert run["status"] == "ended", run
    return f"/tasks/{task}/{run['number']}"


def state_of(page: Page) -> Locator:
    return page.locator("header.head .why")


def last_line(page: Page) -> int:
    """The number of the last line that is drawn."""
    return int(page.locator(".log .n").last.inner_text())


def test_a_failed_run_shows_why_and_its_last_line(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page(ended(fleet, "fails"))
    expect(state_of(page)).to_contain_text("failed exited with 3")
    expect(page.locator(".row.stderr")).to_contain_text("KeyError: customer_id")
    expect(page.locator(".fg-2")).to_have_text("INFO")
    assert page.title().startswith("✕ fails#")


@pytest.mark.parametrize("script", ["", ALONE], ids=["shared stream", "own stream"])
def test_what_a_run_prints_comes_by_itself_and_so_does_its_end(fleet: Fleet, open_page: OpenPage, script: str) -> None:
    page = open_page(started(fleet, "talks"), script=script)
    expect(state_of(page)).to_contain_text("running")
    expect(page.get_by_text("line 20", exact=True)).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("was asked to stop")).to_be_visible()
    expect(state_of(page)).to_contain_text("stopped")
    expect(page.get_by_role("button", name="Run again")).to_be_visible()


def test_who_scrolls_away_is_left_alone_and_can_come_back(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page(started(fleet, "talks"), viewport={"width": 1000, "height": 500})
    expect(page.get_by_text("line 40", exact=True)).to_be_visible()
    page.locator(".log .pane").hover()
    page.mouse.wheel(0, -600)
    pill = page.get_by_role("button", name=re.compile("new line"))
    expect(pill).to_be_visible()
    seen = page.locator(".log .pane").evaluate("pane => pane.scrollTop")
    expect(pill).to_have_text(re.compile(r"↓ [2-9]\d new lines"))
    assert page.locator(".log .pane").evaluate("pane => pane.scrollTop") == seen
    pill.click()
    expect(pill).to_be_hidden()
    number = last_line(page)
    expect(page.get_by_text(f"line {number + 8}", exact=True)).to_be_in_viewport()
    page.get_by_role("button", name="Stop", exact=True).click()


def test_a_link_to_a_line_opens_there(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page(ended(fleet, "floods") + "#L50001-50003")
    expect(page.locator(".row.chosen")).to_have_count(3)
    expect(page.get_by_text("row 50001 of 100000")).to_be_in_viewport()
    page.locator(".n", has_text="50005").click(modifiers=["Shift"])
    expect(page).to_have_url(re.compile("#L50001-50005$"))
    page.locator(".log .pane").press("End")
    expect(page.get_by_text("row 99999 of 100000")).to_be_in_viewport()
    page.locator(".log .pane").press("Home")
    expect(page.get_by_text("row 1 of 100000")).to_be_in_viewport()


def test_text_is_found_in_all_of_a_long_log(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page(ended(fleet, "floods"))
    expect(page.get_by_text("row 99999 of 100000")).to_be_in_viewport()
    page.keyboard.press("Control+f")
    page.keyboard.type("row 7777")
    expect(page.locator("output")).to_have_text(re.compile(r"of 11$"))
    page.keyboard.press("Enter")
    expect(page.locator(".now")).to_be_in_viewport()
    page.get_by_label("Lines shown").select_option("only matches")
    expect(page.locator(".log .row")).to_have_count(11)
    expect(page).to_have_url(re.compile(r"find=row\+7777"))
    page.get_by_label("Find in the log").press("Escape")
    expect(page.locator(".hit")).to_have_count(0)


def test_a_run_is_run_again(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page(ended(fleet, "works"))
    before = page.url
    page.get_by_role("button", name="Run again").click()
    expect(page).not_to_have_url(before)
    expect(state_of(page)).to_contain_text("done")
    expect(page.get_by_text("three", exact=True)).to_be_visible()


def test_a_task_is_started_with_parameters(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("/tasks/hourly", refused=422)
    page.get_by_role("button", name="Run…").click()
    page.get_by_label("day").fill("yesterday")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("p.bad")).to_contain_text("match")
    page.get_by_label("day").fill("2026-11-25")
    page.get_by_label("json").check()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("2026-11-25 as json")).to_be_visible()
    page.keyboard.press("i")
    expect(page.get_by_role("dialog")).to_contain_text("2026-11-25")


def test_a_failure_reaches_the_overview_by_itself(fleet: Fleet, open_page: OpenPage) -> None:
    ended(fleet, "works")
    page = open_page("/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("you.")
    ended(fleet, "fails")
    expect(page.get_by_text(re.compile("fails failed"))).to_be_visible()
    fleet.trigger("waits")
    expect(page.get_by_text("No worker serves queue gpu:")).to_be_visible()


def test_filters_are_in_the_address_and_live_rows_keep_to_them(fleet: Fleet, open_page: OpenPage) -> None:
    ended(fleet, "works")
    ended(fleet, "fails")
    page = open_page("/runs")
    page.get_by_label("Filter").fill("failed task:fails")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"status=failed&task_name=fails$"))
    rows = page.locator("tbody tr")
    expect(rows.first).to_contain_text("fails#")
    shown = rows.count()
    page.locator("tbody").hover()
    ended(fleet, "works")
    ended(fleet, "fails")
    expect(page.get_by_role("button", name="1 new run")).to_be_visible()
    assert rows.count() == shown
    page.get_by_role("button", name="1 new run").click()
    expect(rows).to_have_count(shown + 1)
    page.reload()
    expect(rows).to_have_count(shown + 1)


def test_a_task_is_paused_and_the_pause_undone(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("/tasks/hourly")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_everything_is_a_few_letters_away(fleet: Fleet, open_page: OpenPage) -> None:
    run = ended(fleet, "works")
    page = open_page("/fleet")
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 worker")
    page.keyboard.press("Control+k")
    page.keyboard.type("works#" + run.rpartition("/")[2])
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(run + "$"))
    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page).to_have_url(re.compile("/tasks$"))


def test_an_id_leads_to_the_run_and_keeps_the_line(fleet: Fleet, open_page: OpenPage) -> None:
    run = fleet.post("/api/tasks/works/run?wait=true")
    page = open_page(f"/runs/{run['id']}#L2")
    expect(page).to_have_url(re.compile(f"/tasks/works/{run['number']}#L2$"))
    expect(page.locator(".row.chosen")).to_contain_text("two")


def test_what_does_not_exist_is_said_with_a_way_on(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("/tasks/works/999999", refused=404)
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no run works#999999.")
    page.get_by_role("link", name="All of works").click()
    expect(page).to_have_url(re.compile("/tasks/works$"))


def test_markup_in_a_log_or_a_message_stays_text(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page(ended(fleet, "marks") + "?find=<img")
    text = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    expect(page.locator(".log .text").first).to_have_text(text)
    assert page.locator(".log img, .log script").count() == 0


def test_a_server_that_goes_and_comes_back_costs_no_line(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page(started(fleet, "talks"), cut_off=True)
    expect(page.get_by_text("line 10", exact=True)).to_be_visible()
    fleet.of("web").kill()
    mark = page.locator(".rail .mark")
    expect(mark).to_have_text("connecting")
    expect(mark).to_contain_text("stale since")
    seen = last_line(page)
    fleet.start("web")
    expect(mark).to_have_text("live")
    wait_until(lambda: last_line(page) > seen + 80, "the lines of the meantime are there", 30)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(state_of(page)).to_contain_text("stopped")
    page.locator(".log .pane").press("Home")
    drawn = page.locator(".log .line").evaluate_all("rows => rows.map(row => row.innerText.split(/\\s+/).join(' '))")
    assert drawn[0].split() == ["1", "line", "1"]
    assert [line.split()[0] for line in drawn] == [line.split()[-1] for line in drawn]
