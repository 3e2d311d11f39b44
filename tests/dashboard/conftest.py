"""A fleet with tasks of every kind, open to this machine, and a browser that may complain of nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.system.fleet import Fleet

try:
    from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
except ImportError:  # on Alpine (musl), which Playwright is not made for
    collect_ignore = ["test_looks.py", "test_sign_in.py", "test_stories.py"]

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS: Final = 15_000

TASKS: Final = r"""
[tasks.works]
description = "Succeeds"
run = "echo one; echo two; echo three"

[tasks.fails]
run = '''
printf '\033[32mINFO\033[0m reading\n'
echo "KeyError: customer_id" >&2
exit 3
'''

[tasks.marks]
run = "echo '<img src=x onerror=alert(1)><script>alert(2)</script>'"

[tasks.talks]
description = "A line each tenth of a second"
run = '''
line=0
while [ "$line" -lt 3000 ]; do line=$((line + 1)); echo "line $line"; sleep 0.1; done
'''
graceful_stop = "1s"

[tasks.floods]
description = "100 000 lines"
run = '''
awk 'BEGIN { for (i = 1; i <= 100000; i++) {
  if (i % 1000 == 0) printf "\033[31mERROR\033[0m row %d\n", i > "/dev/stderr"; else printf "row %d of 100000\n", i
} }'
'''
log_max_size = "100mb"

[tasks.copies]
run = "echo replica $RUNFLEET_REPLICA_INDEX"
replicas = 200

[tasks.waits]
queue = "gpu"
run = "true"

[tasks.hourly]
group = "reports"
cron = "0 * * * *"
run = "echo $RUNFLEET_PARAM_DAY as $RUNFLEET_PARAM_FORMAT"

[tasks.hourly.params.day]
pattern = '\d{4}-\d{2}-\d{2}'
description = "The day, as 2025-01-31"
default = "2025-01-31"

[tasks.hourly.params.format]
choices = ["csv", "json"]
default = "csv"
"""

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium or another that is on the PATH."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        if os.environ.get("RUNFLEET_BROWSER") == "required":
            pytest.fail(f"RUNFLEET_BROWSER=required, and none of {', '.join(NAMES)} is on the PATH")
        pytest.skip("no Chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def fleet(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """API, scheduler and a worker, without a token; the tests share it."""
    with Fleet(
        tmp_path_factory.mktemp("dashboard"), TASKS, grace_s=1.0, RUNFLEET_OPEN="on", RUNFLEET_TOKEN=""
    ) as started:
        yield started.start_all()


@pytest.fixture
def open_page(browser: Browser, fleet: Fleet) -> Iterator[OpenPage]:
    """Opens a path of the dashboard; at the end the browser must have had nothing to complain of."""
    complaints: list[str] = []
    pages: list[Page] = []

    def open_path(
        path: str,
        *,
        script: str = "",
        refused: int = 0,
        cut_off: bool = False,
        of: Fleet = fleet,
        prepare: Callable[[Page], None] = lambda _: None,
        **options: Any,
    ) -> Page:
        """
        Opens *path* of the fleet *of*, after *script* and *prepare*. Answers of status *refused*, and connections that
        break (*cut_off*), are part of the story.
        """

        def hear(said: ConsoleMessage) -> None:
            expected = (refused and f"status of {refused}" in said.text) or (cut_off and "net::ERR_" in said.text)
            if said.type in ("error", "warning") and not expected:
                complaints.append(said.text)

        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        context.set_default_timeout(PATIENCE_MS)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        pages.append(page)
        prepare(page)
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(str(of.http.base_url).rstrip("/") + path)
        return page

    yield open_path
    for page in pages:
        page.context.close()
    assert complaints == []
