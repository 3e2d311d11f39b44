"""Every script may be called twice, because its first answer may be lost: the list is the folder of scripts."""

import os
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.store import fleet, idempotency, listing, logs, preflight, run_rows, waiting
from shared.store.dialects import live_executions
from shared.store.key_types import mistyped_keys
from shared.store.redis import permissions
from shared.store.redis.call import Call
from shared.store.redis.scripts import script_names
from tests.commands import run_command
from tests.store.consistency import snapshot
from tests.store.harness import StoreHarness

ROOT = Path(__file__).parents[2]
SCENES = (
    "applying define_tasks claim create orchestrated end executions fleet give_back retention_of_plans lineage listing "
    "logs overlap plans report rescue restore retention retries schedules stop tokens version wakeups"
)
THEIR_OWN_COUNT = (
    "threads or one_of_many_claims or small_steps or oldest_first or long_queue or paused or two_schedulers "
    "or in_order or more_often"
)
"""Tests that count what is done by a number of calls, or make them from several threads at once."""


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The scripts of which a reply was lost in other tests of the store, without a trace in it."""
    file = tmp_path_factory.mktemp("tried") / "scripts"
    scenes = [str(ROOT / f"tests/store/test_{name}.py") for name in SCENES.split()]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "tests.store.lost_replies", *scenes]
    done = run_command(
        [*command, "-k", f"not ({THEIR_OWN_COUNT})", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, "TRIED_SCRIPTS": str(file)},
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return set(file.read_text().splitlines())


def unfinished(harness: StoreHarness) -> Call[Any]:
    held = harness.claimed()
    return logs.show_unfinished(held.id, held.record.token, [], 0, harness.now)


ASKED_HERE: dict[str, Callable[[StoreHarness], Call[Any]]] = {
    "drop_queues": lambda _: fleet.drop_queues(["old", "default"]),
    "last_states": lambda _: listing.latest(["a"]),
    "idempotency_finish": lambda _: idempotency.finish("/path?a:key", "digest", b"answer"),
    "pause_queue": lambda _: fleet.pause_queue("default", True),
    "probe": lambda _: preflight.may_write(),
    "idempotency_begin": lambda _: idempotency.begin("/path?a:key", "digest", "mark"),
    "pending_states": lambda _: run_rows._pending([], 1),
    "streak": lambda _: run_rows.streak("a", "failed", 7),
    "why_waiting": lambda _: waiting.waiting(uuid.UUID(int=0)),
    "usual": lambda _: run_rows._durations(["a"]),
    "unfinished_line": unfinished,
}
"""Calls of scripts that only the API makes, or whose tests count."""


@pytest.mark.parametrize("name", ASKED_HERE)
def test_a_second_call_changes_nothing(harness: StoreHarness, name: str) -> None:
    """F65: after the first, whose answer was lost."""
    harness.task("a")
    harness.trigger("a")
    call = ASKED_HERE[name](harness)
    first = harness.run(call)
    before = snapshot(harness)
    again = harness.run(call)
    assert snapshot(harness) == before
    if name != "idempotency_begin":
        assert again == first


def test_some_only_read(harness: StoreHarness) -> None:
    harness.task("a")
    harness.trigger("a")
    before = snapshot(harness)
    harness.run(live_executions.places())
    harness.run(permissions.refused())
    harness.run(mistyped_keys())
    assert snapshot(harness) == before


def test_every_script_leaves_the_same_when_its_reply_was_lost(tried: set[str]) -> None:
    """F65: each of them, in whatever the other tests of the store do with it."""
    assert (
        sorted(set(script_names()) - tried - ASKED_HERE.keys() - {"key_types", "live_runs", "check_permissions"}) == []
    )
