"""What somebody else wrote into a key of ours is named, with what to do; and what can go on without it does."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from scheduler.loop import Loop
from shared.settings import Settings
from shared.store import fleet
from shared.store.redis.call import Call, Key, as_is
from shared.store.wrong_kinds import KINDS, wrong_kinds
from tests.scheduler.scenes import Faulty, Scene
from tests.store.checking import README, check_store
from tests.store.desk import SECOND, Desk

PASSING = (
    "leader",
    "schedulers",
    "queues",
    "prune-candidates",
    "events",
    "store-id",
    "contact",
    "rescue-hold",
    "catalog",
)
"""What holds the last seconds only, or is found out again."""

KIND_OF = {"hash": "hash", "set": "set", "sorted set": "zset", "list": "list", "stream": "stream", "string": "string"}

pytestmark = pytest.mark.damaged


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    opened = Desk(settings)
    yield opened
    opened.close()


@pytest.fixture
def scene(settings: Settings) -> Iterator[Scene]:
    desk = Faulty(settings)
    yield Scene(desk)
    desk.close()


def spoil(desk: Desk, key: str) -> None:
    """As anybody can who may write to Redis."""
    if KINDS[key] == "string":
        desk.run(Call("DEL", (Key(key),), as_is))
        desk.run(Call("LPUSH", (Key(key), "x"), as_is))
    else:
        desk.run(Call("SET", (Key(key), "x"), as_is))


def test_all_keys_of_which_there_is_one_are_known() -> None:
    found = re.findall(
        r"^\| `([^`<]+)` \| (hash|set|sorted set|list|stream|string) \|", README.read_text(), re.MULTILINE
    )
    kinds = {name: "string" if kind == "number" else kind for name, kind in KINDS.items()}
    assert {name: KIND_OF[kind] for name, kind in found} == kinds


@pytest.mark.parametrize("key", KINDS)
def test_the_key_is_named_with_its_kind_and_the_cure(desk: Desk, key: str) -> None:
    desk.task("a", cron=("* * * * *",))
    desk.run(fleet.pulse("s"))
    assert desk.run(fleet.facts()).wrong_keys == []
    spoil(desk, key)
    [wrong] = desk.run(fleet.facts()).wrong_keys
    assert wrong.key == key
    assert wrong.kind == {"number": "a string that is no number", "string": "a list"}.get(KINDS[key], "a string")
    assert "delete that key" in wrong.cure
    desk.run(Call("DEL", (Key(key),), as_is))
    assert desk.run(wrong_kinds()) == []


@pytest.mark.parametrize("key", PASSING)
def test_what_holds_the_last_seconds_is_begun_anew_and_everything_goes_on(
    scene: Scene, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for what was only in there: which histories to tidy next, and which ends to tell."""
    spoil(scene.desk, key)
    scene.loop.tick()
    lost = {"prune-candidates": {"forget"}, "events": {"tell"}}.get(key, set())
    assert {what.split()[0] for what in scene.undone()} == lost
    assert scene.loop.troubles.told() == {}
    assert scene.desk.run(fleet.facts()).wrong_keys == []
    assert f"event=store.begun_anew keys={key}" in capsys.readouterr().out
    check_store(scene.desk)


@pytest.mark.parametrize(
    ("key", "needed_for"),
    [
        ("tasks", {"fire", "forget"}),
        ("ticks", {"fire"}),
        ("due", {"release"}),
        ("leases", {"rescue"}),
        ("slot-leases", set()),
        ("compact", {"compact", "forget", "rescue"}),
        ("making", set()),
        ("stopping", set()),
        ("queues:paused", set()),
        ("paused", {"fire", "forget"}),
        ("limits", set()),
        ("workers", {"workers"}),
    ],
)
def test_what_does_not_need_the_key_goes_on(
    scene: Scene, key: str, needed_for: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    spoil(scene.desk, key)
    for _ in range(3):
        scene.loop.tick()
        scene.desk.pass_s(1)
    said = capsys.readouterr().out
    scene.desk.run(Call("DEL", (Key(key),), as_is))
    assert {what.split()[0] for what in scene.undone()} <= needed_for
    assert "Traceback" not in said
    assert ("a key of ours holds what somebody else wrote" in said) or not needed_for


def test_a_worker_keeps_its_runs_whatever_is_in_the_key_of_contact(desk: Desk) -> None:
    """Its beats would fail until a scheduler has begun the key anew, and its leases would lapse."""
    desk.task("a")
    held = desk.started("a")
    loop = Loop(desk, "s", clock=lambda: desk.now / SECOND)
    loop.tick()
    spoil(desk, "contact")
    loop.tick()
    assert desk.beat(held) == [""]
    check_store(desk)
