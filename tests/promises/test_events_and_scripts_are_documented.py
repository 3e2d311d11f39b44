"""Every event and every script has its line, and none is invented."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from api.native.parameters import EventType
from shared.cli.events_page import events_page
from shared.cli.scripts_table import with_scripts
from shared.store.events import TYPES
from shared.store.redis.scripts import FOLDER

ROOT = Path(__file__).parents[2]


def test_the_page_of_events_is_up_to_date() -> None:
    assert (ROOT / "docs" / "events.md").read_text("utf-8") == events_page(), "run `make docs`"


def test_the_scripts_of_the_data_model_are_up_to_date() -> None:
    page = (ROOT / "shared" / "store" / "README.md").read_text("utf-8")
    assert page == with_scripts(page), "run `make docs`"


def test_the_scripts_say_just_what_the_table_lists() -> None:
    said: set[str] = set()
    for file in FOLDER.rglob("*.lua"):
        for line in file.read_text().splitlines():
            if "event(" in line and not line.startswith(("--", "local function")):
                said.update(re.findall(r"'((?:run|task|queue|worker|execution)\.[a-z_]+)'", line))
    assert said == set(TYPES)


def test_readers_can_ask_for_each_type() -> None:
    assert set(get_args(EventType)) == set(TYPES)
