"""A Redis without memory: what frees some runs first, and whatever else needs none."""

from uuid import uuid4

from shared.errors import StoreFull
from shared.settings import Settings
from shared.store import limits, runs
from shared.store.health import stored_health
from shared.store.redis.call import Call, Key
from tests.scheduler.failing_store import OddError, PairedWork, name_of
from tests.store.harness import SECOND, out_of_memory


def test_a_full_redis_is_freed_of_all_that_can_go(settings: Settings, work: PairedWork) -> None:
    """F59: with due ticks, due runs and lapsed leases of slots there."""
    harness = work.harness
    harness.run(limits.put("db", 2, b"{}"))
    harness.run(limits.take(uuid4(), ["db"], 1, SECOND, b"{}"))
    harness.pass_s(2)
    with out_of_memory(settings.redis_url):
        for _ in range(3):
            work.loop.tick()
            harness.pass_s(1)
        assert work.undone() == {"fire bad", "fire good"}
        assert harness.run(Call("ZCARD", (Key("slot-leases"),), int)) == 0
        said = harness.run(stored_health())
        assert said is not None
        assert "fire" in said.failing
    assert work.tick_until_done() == set()


def test_in_a_full_redis_what_frees_memory_comes_before_what_needs_some(work: PairedWork) -> None:
    """F59."""
    errors: dict[str, Exception] = {"create": StoreFull("full"), "SPOP": OddError("not this time")}
    work.harness.fault = lambda call: errors.get(name_of(call))
    work.loop.tick()
    assert work.harness.asked.index("SPOP") > work.harness.asked.index("create")
    del errors["SPOP"]
    work.harness.pass_s(2)
    work.harness.asked.clear()
    work.loop.tick()
    assert work.harness.asked.index("SPOP") < work.harness.asked.index("create")
    work.harness.fault = lambda call: None
    assert work.tick_until_done() == set()


def test_ticks_that_were_due_in_a_full_redis_are_on_record_and_say_why(settings: Settings, work: PairedWork) -> None:
    """F59: the newest runs, one record has the others."""
    with out_of_memory(settings.redis_url):
        for _ in range(6 * 60):
            work.loop.tick()
            work.harness.pass_s(1)
            work.harness.heartbeat(worker="alive")
    assert work.tick_until_done() == set()
    first, second = (work.harness.run(runs.find(f"tick-good#{number}")) for number in (1, 2))
    assert str(first.message).startswith("skipped: missed ")
    assert str(first.message).endswith("Redis was full")
    assert second.status == "pending"
