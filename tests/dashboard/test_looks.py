"""Every page, on a desk and on a phone, dark and light, is laid out and readable as promised."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.conftest import OpenPage
from tests.system.fleet import Fleet

HERE: Final = Path(__file__).parent
UI: Final = HERE.parents[1] / "api" / "dashboard" / "ui"
CHECKS: Final = (HERE / "checks.js").read_text("utf-8").partition("\n")[2].strip().removesuffix(";")
AXE: Final = UI / "node_modules" / "axe-core" / "axe.min.js"
SHIFTS: Final = """
window.shifts = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
SCREENS: Final[dict[str, dict[str, Any]]] = {
    "desk dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "desk light": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
    "tablet dark": {"viewport": {"width": 820, "height": 1100}, "color_scheme": "dark"},
    "phone light": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True},
    "small phone dark": {"viewport": {"width": 320, "height": 568}, "color_scheme": "dark", "has_touch": True},
}
PAGES: Final = {
    "overview": "/",
    "tasks": "/tasks",
    "task": "/tasks/hourly",
    "form": "/tasks/hourly/run",
    "runs": "/runs",
    "filtered": "/runs?status=failed&task_name=fails&since=6h",
    "run": "/tasks/fails/1",
    "fleet": "/fleet",
}


@pytest.fixture(scope="session")
def history(fleet: Fleet) -> Fleet:
    """The fleet with runs of most kinds in it."""
    for task in ("works", "fails", "works", "fails", "hourly", "copies"):
        fleet.post(f"/api/tasks/{task}/run?wait=true")
    fleet.trigger("waits")
    return fleet


def settled(page: Page) -> Page:
    expect(page.locator("h1")).not_to_have_text("\u00a0")
    expect(page.locator(".skeleton")).to_have_count(0)
    expect(page.locator(".mark").first).to_have_class(re.compile(r"\blive\b"))
    return page


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_laid_out_and_readable(history: Fleet, open_page: OpenPage, name: str, screen: str) -> None:
    page = settled(open_page(PAGES[name], script=SHIFTS, **SCREENS[screen]))
    assert page.evaluate(CHECKS) == []
    assert page.evaluate("window.shifts") < 0.1
    if AXE.exists():
        page.evaluate(AXE.read_text("utf-8"))
        found = page.evaluate("axe.run(document, {rules: {region: {enabled: false}}})")
        told = [
            f"{one['id']}: {node['html'][:160]} {node['failureSummary']}"
            for one in found["violations"]
            for node in one["nodes"]
        ]
        assert told == []


BREAKS: Final = {
    "scrolls sideways": "main::after { content: ''; display: block; width: 200vw; height: 1px }",
    "cut off": "main h1 { width: 30px; overflow: hidden; white-space: nowrap }",
    "small": "main .button { min-height: 0; height: 12px; padding: 0 }",
    "overlap": "main .button { margin: -20px }",
}


@pytest.mark.parametrize("fault", BREAKS)
def test_the_checks_see_what_is_wrong(history: Fleet, open_page: OpenPage, fault: str) -> None:
    page = settled(open_page("/tasks/hourly/run"))
    page.evaluate(
        "css => { const sheet = new CSSStyleSheet(); sheet.replaceSync(css); document.adoptedStyleSheets = [sheet] }",
        BREAKS[fault],
    )
    assert any(told.startswith(fault) for told in page.evaluate(CHECKS))
