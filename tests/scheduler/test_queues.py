"""Queues that are used no more are forgotten, and none that is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from scheduler.loop import Loop
from scheduler.queues import LOOK_S, MOST
from shared.settings import Settings
from shared.store import fleet
from shared.store.redis.call import Call, Key
from tests.scheduler.scenes import Faulty, name_of
from tests.store.checking import check_store, dump
from tests.store.desk import SECOND

ABOUT = fleet.About(host="h", pid=1, version="1", queues=("served",), slots=1, started_us=1)


@pytest.fixture
def desk(settings: Settings) -> Iterator[Faulty]:
    opened = Faulty(settings)
    yield opened
    check_store(opened)
    opened.close()


def leader(desk: Faulty) -> Loop:
    found = Loop(desk, "s", clock=lambda: desk.now / SECOND)
    found.tick()
    desk.pass_s(LOOK_S + 1)
    desk.run(fleet.beat("w", [], ABOUT))
    return found


def known(desk: Faulty) -> set[str]:
    call: Call[Any] = Call("SMEMBERS", (Key("queues"),), lambda reply: {name.decode() for name in reply})
    return set(desk.run(call))


def used_once(desk: Faulty, *queues: str) -> None:
    """A run of each queue has come and gone, and so has the task."""
    for queue in queues:
        desk.task(queue, queue=queue)
        desk.trigger(queue)
        desk.end(desk.claimed("w", queue))
    for queue in queues:
        desk.remove(queue)


def test_a_queue_that_nobody_knows_of_any_more_is_forgotten_with_its_bells(desk: Faulty) -> None:
    used_once(desk, "old", "served")
    desk.task("named", queue="named")
    desk.task("waits", queue="waiting")
    desk.trigger("waits")
    desk.remove("waits")
    desk.trigger("named")
    desk.end(desk.claimed("w", "named"))
    assert known(desk) == {"old", "served", "named", "waiting"}
    loop = leader(desk)
    loop.tick()
    assert known(desk) == {"served", "named", "waiting"}
    assert [key for key in dump(desk) if b"old" in key and key.startswith((b"wake:queue:", b"dramatiq:"))] == []
    assert [queue.name for queue in desk.run(fleet.queues())] == ["named", "served", "waiting"]


def test_a_run_that_comes_between_the_search_and_its_end_is_seen(desk: Faulty) -> None:
    used_once(desk, "old")
    loop = leader(desk)

    def come(call: Call[Any]) -> None:
        if name_of(call) == "drop_queues":
            desk.fault = lambda _: None
            desk.task("again", queue="old")
            desk.trigger("again")

    desk.fault = come
    loop.tick()
    assert known(desk) == {"old"}
    assert desk.run(fleet.pulse("s")).waiting == {"old": 1}
    assert desk.claim("w", "old") is not None


def test_a_queue_that_was_forgotten_is_known_again_with_its_next_run(desk: Faulty) -> None:
    used_once(desk, "old")
    leader(desk).tick()
    assert known(desk) == set()
    desk.task("new", queue="old")
    desk.trigger("new")
    assert desk.run(fleet.pulse("s")).waiting == {"old": 1}


def test_few_are_forgotten_at_once_and_the_search_costs_nothing_in_between(desk: Faulty) -> None:
    used_once(desk, *(f"q{number:03}" for number in range(MOST + 5)))
    loop = leader(desk)
    loop.tick()
    assert len(known(desk)) == 5
    desk.asked.clear()
    for _ in range(int(LOOK_S) - 10):
        desk.pass_s(1)
        loop.tick()
    assert "drop_queues" not in desk.asked
    desk.pass_s(20)
    loop.tick()
    assert known(desk) == set()
