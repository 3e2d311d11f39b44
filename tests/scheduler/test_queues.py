"""Queues that are used no more are forgotten, and none that is used."""

from collections.abc import Iterator
from typing import Any

import pytest

from scheduler.loop import Loop
from scheduler.queues import LOOK_S, MOST
from shared.settings import Settings
from shared.store import fleet, leadership
from shared.store.redis.call import Call, Key
from tests.scheduler.failing_store import FailingStore, name_of
from tests.store.consistency import check_store, dump
from tests.store.harness import SECOND

ABOUT = fleet.About(host="h", pid=1, version="1", queues=("served",), slots=1, started_us=1)


@pytest.fixture
def harness(settings: Settings) -> Iterator[FailingStore]:
    opened = FailingStore(settings)
    yield opened
    check_store(opened)
    opened.close()


def leader(harness: FailingStore) -> Loop:
    found = Loop(harness, "s", clock=lambda: harness.now / SECOND)
    found.tick()
    harness.pass_s(LOOK_S + 1)
    harness.run(fleet.heartbeat("w", [], ABOUT))
    return found


def known(harness: FailingStore) -> set[str]:
    call: Call[Any] = Call("SMEMBERS", (Key("queues"),), lambda reply: {name.decode() for name in reply})
    return set(harness.run(call))


def used_once(harness: FailingStore, *queues: str) -> None:
    """A run of each queue has come and gone, and so has the task."""
    for queue in queues:
        harness.task(queue, queue=queue)
        harness.trigger(queue)
        harness.end(harness.claimed("w", queue))
    for queue in queues:
        harness.remove(queue)


def test_an_unused_queue_is_removed_with_its_wakeups(harness: FailingStore) -> None:
    used_once(harness, "old", "served")
    harness.task("named", queue="named")
    harness.task("waits", queue="waiting")
    harness.trigger("waits")
    harness.remove("waits")
    harness.trigger("named")
    harness.end(harness.claimed("w", "named"))
    assert known(harness) == {"old", "served", "named", "waiting"}
    loop = leader(harness)
    loop.tick()
    assert known(harness) == {"served", "named", "waiting"}
    assert [key for key in dump(harness) if b"old" in key and key.startswith((b"wake:queue:", b"dramatiq:"))] == []
    assert [queue.name for queue in harness.run(fleet.queues())] == ["named", "served", "waiting"]


def test_a_run_that_comes_between_the_search_and_its_end_is_seen(harness: FailingStore) -> None:
    used_once(harness, "old")
    loop = leader(harness)

    def come(call: Call[Any]) -> None:
        if name_of(call) == "drop_queues":
            harness.fault = lambda _: None
            harness.task("again", queue="old")
            harness.trigger("again")

    harness.fault = come
    loop.tick()
    assert known(harness) == {"old"}
    assert harness.run(leadership.poll("s")).waiting == {"old": 1}
    assert harness.claim("w", "old") is not None


def test_a_queue_that_was_forgotten_is_known_again_with_its_next_run(harness: FailingStore) -> None:
    used_once(harness, "old")
    leader(harness).tick()
    assert known(harness) == set()
    harness.task("new", queue="old")
    harness.trigger("new")
    assert harness.run(leadership.poll("s")).waiting == {"old": 1}


def test_few_are_forgotten_at_once_and_the_search_costs_nothing_in_between(harness: FailingStore) -> None:
    used_once(harness, *(f"q{number:03}" for number in range(MOST + 5)))
    loop = leader(harness)
    loop.tick()
    assert len(known(harness)) == 5
    harness.asked.clear()
    for _ in range(int(LOOK_S) - 10):
        harness.pass_s(1)
        loop.tick()
    assert "drop_queues" not in harness.asked
    harness.pass_s(20)
    loop.tick()
    assert known(harness) == set()
