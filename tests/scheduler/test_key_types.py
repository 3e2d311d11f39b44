"""A key of ours that holds something else is named, with the cure; and whatever can go on without it does."""

import re
from collections.abc import Iterator

import pytest

from scheduler.loop import Loop
from shared.settings import Settings
from shared.store import fleet, leadership
from shared.store.key_types import TYPES, mistyped_keys
from shared.store.redis.call import Call, Key, as_is
from tests.scheduler.failing_store import PairedWork
from tests.store.consistency import README, check_store
from tests.store.harness import SECOND, StoreHarness

NOT_POLLED = ("events", "counter", "dramatiq:__heartbeats__")
"""What no poll reads: it is looked at every ten seconds, and workers that are gone every minute."""

PASSING = (
    "leader",
    "schedulers",
    "queues",
    "prune-candidates",
    "store-id",
    "contact",
    "rescue-hold",
    "catalog",
    *NOT_POLLED,
)
"""What holds the last seconds only, or is found out again."""

KIND_OF = {"hash": "hash", "set": "set", "sorted set": "zset", "list": "list", "stream": "stream", "string": "string"}

pytestmark = pytest.mark.damaged


@pytest.fixture
def harness(settings: Settings) -> Iterator[StoreHarness]:
    opened = StoreHarness(settings)
    yield opened
    opened.close()


def spoil(harness: StoreHarness, key: str) -> None:
    """As anybody can who may write to Redis."""
    if TYPES[key] == "string":
        harness.run(Call("DEL", (Key(key),), as_is))
        harness.run(Call("LPUSH", (Key(key), "x"), as_is))
    else:
        harness.run(Call("SET", (Key(key), "x"), as_is))


def test_all_keys_of_which_there_is_one_are_known() -> None:
    found = re.findall(
        r"^\| `([^`<]+)` \| (hash|set|sorted set|list|stream|string) \|", README.read_text(), re.MULTILINE
    )
    kinds = {name: "string" if kind == "number" else kind for name, kind in TYPES.items()}
    assert {name: KIND_OF[kind] for name, kind in found} == kinds


@pytest.mark.parametrize("key", TYPES)
def test_the_key_is_named_with_its_kind_and_the_cure(harness: StoreHarness, key: str) -> None:
    harness.task("a", cron=("* * * * *",))
    harness.run(leadership.poll("s"))
    assert harness.run(fleet.facts()).wrong_keys == []
    spoil(harness, key)
    [wrong] = harness.run(fleet.facts()).wrong_keys
    assert wrong.key == key
    assert wrong.kind == {"number": "a string that is no number", "string": "a list"}.get(TYPES[key], "a string")
    assert "delete that key" in wrong.cure
    harness.run(Call("DEL", (Key(key),), as_is))
    assert harness.run(mistyped_keys()) == []


@pytest.mark.parametrize("key", PASSING)
def test_short_lived_keys_are_reset_and_everything_continues(
    work: PairedWork, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for what was only in there: which histories to tidy next, and which ends to report."""
    spoil(work.harness, key)
    for _ in range(70 if key in NOT_POLLED else 1):
        work.loop.tick()
        work.harness.pass_s(1)
    lost = {"prune-candidates": {"prune"}, "events": {"emit"}}.get(key, set())
    assert {what.split()[0] for what in work.undone()} == lost
    assert work.loop.troubles.current() == {}
    assert work.harness.run(fleet.facts()).wrong_keys == []
    assert f"event=store.keys_reset keys={key}" in capsys.readouterr().out
    check_store(work.harness)


@pytest.mark.parametrize(
    ("key", "needed_for"),
    [
        ("tasks", {"fire", "prune"}),
        ("ticks", {"fire"}),
        ("due", {"enqueue_due"}),
        ("leases", {"rescue"}),
        ("slot-leases", set()),
        ("compact", {"compact", "prune", "rescue"}),
        ("incomplete", set()),
        ("stopping", set()),
        ("queues:paused", set()),
        ("paused", {"fire", "prune"}),
        ("limits", set()),
        ("workers", {"workers"}),
    ],
)
def test_operations_without_the_key_continue(
    work: PairedWork, key: str, needed_for: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    spoil(work.harness, key)
    for _ in range(3):
        work.loop.tick()
        work.harness.pass_s(1)
    said = capsys.readouterr().out
    work.harness.run(Call("DEL", (Key(key),), as_is))
    assert {what.split()[0] for what in work.undone()} <= needed_for
    assert "Traceback" not in said
    assert ("holds something that Runfleet did not write" in said) or not needed_for


def test_a_worker_keeps_its_runs_whatever_is_in_the_key_of_contact(harness: StoreHarness) -> None:
    """Its beats would fail until a scheduler has begun the key anew, and its leases would lapse."""
    harness.task("a")
    held = harness.started("a")
    loop = Loop(harness, "s", clock=lambda: harness.now / SECOND)
    loop.tick()
    spoil(harness, "contact")
    loop.tick()
    assert harness.heartbeat(held) == [""]
    check_store(harness)
