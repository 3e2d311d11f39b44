"""
A pytest plugin: of every script that a test calls through a thread's store, the first reply is lost on its way.

The script was carried out then, and is called again, as a store does after a dropped connection. That must leave the
store as it was after the first time, and be answered in the same way, unless
``SAYS_SO`` says otherwise. A script that does several things (``DOES``) is
tried with each of them. What goes on with every call (``STEPS``) is further then, and is not called twice: its own
tests call it again and again. The scripts that were tried are written to the file that ``TRIED_SCRIPTS`` names.
"""

import os
from pathlib import Path
from typing import Any, Final

import pytest

from shared.store.redis.connect import NoScriptError
from shared.store.redis.connections import Lines
from shared.store.redis.scripts import script, script_names
from shared.store.redis.sync_store import Store
from tests.store.consistency import snapshot

STEPS: Final[dict[str, str]] = {
    "compact": "compresses the next block of a log",
    "drop_namespace": "drops the next jobs",
    "prune": "forgets the next runs",
    "create_rest": "makes the next runs of an execution",
    "scheduler_poll": "takes note of who was there, and when",
    "enqueue_due": "lets the next due runs go",
    "wake_queues": "wakes somebody, who finds nothing",
    "stop_all": "asks the next runs to stop",
    "trim_lineage_events": "forgets the next events",
    "unreported_ends": "moves on to the next events",
}
"""Scripts that take one step of something longer each time: a lost reply costs the answer to one of them, no more."""

SAYS_SO: Final[dict[str, str]] = {
    "append": "'again': the chunk is there",
    "apply": "'repeated': what it did is looked up; a call that names no file finds all unchanged",
    "apply_little": "as apply",
    "claim": "the same run; how many wait behind it is not counted again",
    "create": "'exists', with the run that it made",
    "define": "'unchanged', with the definition that it put there",
    "end": "'again': it has ended so, and nothing more is claimed for that",
    "give_back": "'refused': the token is not the run's any more, and the worker has let go of it either way",
    "store_lineage_event": "the event is not new; nobody asks whether it is",
    "report": "'same': it is as was reported",
    "rescue": "'refused': it has ended; the leader rings the queue of its retry a second later",
    "resign_leadership": "it is not the leader; it is on its way out either way",
    "restore": "'there'",
    "worker_gone": "those that were forgotten are gone; their names are for a line of the log",
}
"""Scripts that say when it was done before, and what whoever called makes of that: it fails nobody's request."""

SAYS: Final[dict[str, int]] = {"stop": 2}
"""How many parts of an answer say what was done. The queues to ring follow once; the leader rings them again."""

DOES: Final[dict[str, int]] = {"put_limit": 3, "slot_lease": 2}
"""Which argument of a script says what it is to do."""

TRIED: set[str] = set()
NAMES = {each: name for name in script_names() for each in (script(name).sha.encode(), script(name).text)}
"""Scripts by how they are called: by their hash, or by their text when the server does not know that."""


def commands(data: bytes) -> list[list[bytes]]:
    """The commands that were packed into these bytes, each with its arguments."""
    found, at = [], 0

    def number() -> int:
        nonlocal at
        end = data.index(b"\r\n", at)
        value, at = int(data[at + 1 : end]), end + 2
        return value

    while at < len(data):
        parts = []
        for _ in range(number()):
            size = number()
            parts.append(data[at : at + size])
            at += size + 2
        found.append(parts)
    return found


def what(name: str, arguments: list[bytes]) -> str:
    """A script's name, and what it is to do when it does several things."""
    return f"{name} {arguments[DOES[name] - 1].decode()}" if name in DOES else name


def _said(name: str, reply: Any) -> str:
    return repr(reply[: SAYS[name]] if name in SAYS else reply)


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
        asked = commands(b"".join(packed))
        places = {n: NAMES[one[1]] for n, one in enumerate(asked) if one[0].startswith(b"EVAL") and one[1] in NAMES}
        called = {what(name, asked[n][4:]) for n, name in places.items()} - tried
        if not called or any(isinstance(each, NoScriptError) for each in replies):
            return replies
        tried.update(called)
        TRIED.update(places.values())
        if set(places.values()) & STEPS.keys():
            return replies
        looking = True
        try:
            store: Store = request.getfixturevalue("store")
            before = snapshot(store)
            again = send(lines, line, packed, count)
            after = snapshot(store)
        finally:
            looking = False
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        changed -= {b"counter", b"catalog"}  # numbers that only grow: one that was skipped is nobody's loss
        assert not changed, f"{called} once more changed {changed}"
        for n, name in places.items():
            if name not in SAYS_SO:
                said = [_said(name, each) for each in (replies[n], again[n])]
                assert said[0] == said[1], f"{what(name, asked[n][4:])} is answered otherwise when it comes again"
        return replies

    if "settings" in request.fixturenames:
        monkeypatch.setattr(Lines, "_send", lose)


def lose_once(monkeypatch: pytest.MonkeyPatch, command: bytes) -> list[bytes]:
    """From now on the connection is lost behind the first *command*, and with it the reply; answers what was lost."""
    lost: list[bytes] = []
    send = Lines._send

    def once(lines: Lines, line: Any, packed: list[bytes], count: int) -> list[Any]:
        replies = send(lines, line, packed, count)
        if not lost and any(one[0] == command for one in commands(b"".join(packed))):
            lost.append(command)
            line.disconnect()
            raise ConnectionError("the connection was lost")
        return replies

    monkeypatch.setattr(Lines, "_send", once)
    return lost


def pytest_sessionfinish() -> None:
    Path(os.environ["TRIED_SCRIPTS"]).write_text("\n".join(sorted(TRIED)))
