"""
A pytest plugin: of every script that a test calls through a thread's store, the first reply is lost on its way.

The script was carried out then, and is called again, as a store does after a dropped connection. That must leave the
store as it was after the first time. What goes on with every call (``STEPS``) is further then, and is not called twice:
its own tests call it again and again. The scripts that were tried are written to the file that ``TRIED_SCRIPTS`` names.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest

from shared.store.lines import Lines
from shared.store.scripts import script, script_names
from shared.store.threads import Store
from tests.store.checking import snapshot

STEPS: Final[dict[str, str]] = {
    "compact": "compresses the next block of a log",
    "drop_namespace": "drops the next jobs",
    "forget": "forgets the next runs",
    "make_rest": "makes the next runs of an execution",
    "pulse": "takes note of who was there, and when",
    "release": "lets the next due runs go",
    "ring": "wakes somebody, who finds nothing",
    "stop_all": "asks the next runs to stop",
    "trim_events": "forgets the next events",
    "untold": "moves on to the next events",
}
"""Scripts that take one step of something longer each time: a lost reply costs the answer to one of them, no more."""

TRIED: set[str] = set()
NAMES = {script(name).sha.encode(): name for name in script_names()}


@pytest.fixture(autouse=True)
def lose_replies(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    tried: set[str] = set()
    looking = False
    send = Lines._send

    def lose(lines: Lines, line: Any, packed: list[bytes], count: int) -> list[Any]:
        nonlocal looking
        if looking:
            return send(lines, line, packed, count)
        replies = send(lines, line, packed, count)
        data = b"".join(packed)
        called = {name for sha, name in NAMES.items() if sha in data} - tried
        if not called or any("NOSCRIPT" in str(each) for each in replies):
            return replies
        tried.update(called)
        TRIED.update(called)
        if called & STEPS.keys():
            return replies
        looking = True
        try:
            store: Store = request.getfixturevalue("store")
            before = snapshot(store)
            send(lines, line, packed, count)
            after = snapshot(store)
        finally:
            looking = False
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        changed -= {b"counter", b"catalog"}  # numbers that only grow: one that was skipped is nobody's loss
        assert not changed, f"{called} once more changed {changed}"
        return replies

    if "settings" in request.fixturenames:
        monkeypatch.setattr(Lines, "_send", lose)


def pytest_sessionfinish() -> None:
    Path(os.environ["TRIED_SCRIPTS"]).write_text("\n".join(sorted(TRIED)))
