"""A Redis without memory: what frees some runs first, and whatever else needs none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
import redis

from shared.errors import StoreFull
from shared.settings import Settings
from shared.store import limits, runs
from shared.store.health import health
from shared.store.redis.call import Call, Key
from tests.scheduler.scenes import Faulty, OddError, Scene, name_of
from tests.store.checking import check_store
from tests.store.desk import SECOND


@pytest.fixture
def scene(settings: Settings) -> Iterator[Scene]:
    """A scheduler with work in each of its jobs; everything in its store has an owner at the end."""
    desk = Faulty(settings)
    yield Scene(desk)
    check_store(desk)
    desk.close()


@contextmanager
def full(settings: Settings) -> Iterator[None]:
    """Redis has no memory left."""
    with redis.Redis.from_url(settings.redis_url) as client:
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


def test_a_full_redis_is_freed_of_all_that_can_go(settings: Settings, scene: Scene) -> None:
    """F59: with due ticks, due runs and lapsed leases of slots there."""
    desk = scene.desk
    desk.run(limits.put("db", 2, b"{}"))
    desk.run(limits.take(uuid4(), ["db"], 1, SECOND, b"{}"))
    desk.pass_s(2)
    with full(settings):
        for _ in range(3):
            scene.loop.tick()
            desk.pass_s(1)
        assert scene.undone() == {"fire bad", "fire good"}
        assert desk.run(Call("ZCARD", (Key("slot-leases"),), int)) == 0
        said = desk.run(health())
        assert said is not None
        assert "fire" in said.failing
    assert scene.tick_until_done() == set()


def test_in_a_full_redis_what_frees_memory_comes_before_what_needs_some(scene: Scene) -> None:
    """F59."""
    errors: dict[str, Exception] = {"create": StoreFull("full"), "SPOP": OddError("not this time")}
    scene.desk.fault = lambda call: errors.get(name_of(call))
    scene.loop.tick()
    assert scene.desk.asked.index("SPOP") > scene.desk.asked.index("create")
    del errors["SPOP"]
    scene.desk.pass_s(2)
    scene.desk.asked.clear()
    scene.loop.tick()
    assert scene.desk.asked.index("SPOP") < scene.desk.asked.index("create")
    scene.desk.fault = lambda call: None
    assert scene.tick_until_done() == set()


def test_ticks_that_were_due_in_a_full_redis_are_on_record_and_say_why(settings: Settings, scene: Scene) -> None:
    """F59: the newest runs, one record has the others."""
    with full(settings):
        for _ in range(6 * 60):
            scene.loop.tick()
            scene.desk.pass_s(1)
            scene.desk.beat(worker="alive")
    assert scene.tick_until_done() == set()
    first, second = (scene.desk.run(runs.find(f"tick-good#{number}")) for number in (1, 2))
    assert str(first.message).startswith("skipped: missed ")
    assert str(first.message).endswith("Redis was full")
    assert second.status == "pending"
