"""Scripts write exactly the event types that are listed, and a reader can ask for each of them."""

import re
from typing import get_args

from api.native.parameters import EventType
from shared.store.events import TYPES
from shared.store.redis.scripts import FOLDER


def test_the_scripts_say_just_what_the_table_lists() -> None:
    said: set[str] = set()
    for file in FOLDER.rglob("*.lua"):
        for line in file.read_text().splitlines():
            if "event(" in line and not line.startswith(("--", "local function")):
                said.update(re.findall(r"'((?:run|task|queue|worker|execution)\.[a-z_]+)'", line))
    assert said == set(TYPES)


def test_readers_can_ask_for_each_type() -> None:
    assert set(get_args(EventType)) == set(TYPES)
