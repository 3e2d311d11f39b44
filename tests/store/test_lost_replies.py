"""Every script may be called twice, because its first answer may be lost: the list is the folder of scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.store import fleet, idempotency, listing, logs, preflight
from shared.store.dialects import live_executions
from shared.store.redis import permissions
from shared.store.redis.call import Call
from shared.store.redis.scripts import script_names
from shared.store.wrong_kinds import wrong_kinds
from tests.store.checking import snapshot
from tests.store.desk import Desk

ROOT = Path(__file__).parents[2]
SCENES = (
    "applying authored claim create driven end executions fleet give_back kept_for_plans lineage listing logs "
    "overlap plans report rescue restore retention retries schedules_in_store stop tokens version wakeups"
)
THEIR_OWN_COUNT = (
    "threads or one_wins or small_steps or oldest_first or long_queue or paused or two_schedulers or in_order "
    "or more_often"
)
"""Tests that count what is done by a number of calls, or make them from several threads at once."""


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The scripts of which a reply was lost in other tests of the store, without a trace in it."""
    file = tmp_path_factory.mktemp("tried") / "scripts"
    scenes = [str(ROOT / f"tests/store/test_{name}.py") for name in SCENES.split()]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "tests.store.losing", *scenes]
    done = subprocess.run(
        [*command, "-k", f"not ({THEIR_OWN_COUNT})", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, "TRIED_SCRIPTS": str(file)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return set(file.read_text().splitlines())


def unfinished(desk: Desk) -> Call[Any]:
    held = desk.claimed()
    return logs.show_unfinished(held.id, held.record.token, [], 0, desk.now)


ASKED_HERE: dict[str, Callable[[Desk], Call[Any]]] = {
    "drop_queues": lambda _: fleet.drop_queues(["old", "default"]),
    "last_states": lambda _: listing.latest(["a"]),
    "idempotency_finish": lambda _: idempotency.note("/path?a:key", "digest", b"answer"),
    "pause_queue": lambda _: fleet.pause_queue("default", True),
    "probe": lambda _: preflight.may_write(),
    "idempotency_begin": lambda _: idempotency.recall("/path?a:key", "digest", "mark"),
    "unfinished_line": unfinished,
}
"""Calls of scripts that only the API makes, or whose tests count."""


@pytest.mark.parametrize("name", ASKED_HERE)
def test_a_second_call_changes_nothing(desk: Desk, name: str) -> None:
    """F65: after the first, whose answer was lost."""
    desk.task("a")
    desk.trigger("a")
    call = ASKED_HERE[name](desk)
    first = desk.run(call)
    before = snapshot(desk)
    again = desk.run(call)
    assert snapshot(desk) == before
    if name != "idempotency_begin":
        assert again == first


def test_some_only_read(desk: Desk) -> None:
    desk.task("a")
    desk.trigger("a")
    before = snapshot(desk)
    desk.run(live_executions.places())
    desk.run(permissions.refused())
    desk.run(wrong_kinds())
    assert snapshot(desk) == before


def test_every_script_leaves_the_same_when_its_reply_was_lost(tried: set[str]) -> None:
    """F65: each of them, in whatever the other tests of the store do with it."""
    assert (
        sorted(set(script_names()) - tried - ASKED_HERE.keys() - {"key_types", "live_runs", "check_permissions"}) == []
    )
