"""Whole schedulers on a store with a clock in hand: two that both believe to lead, and one that is lost half-way."""

from collections import Counter
from collections.abc import Iterator

import pytest

from scheduler.loop import Loop
from shared import ops
from shared.clock import from_datetime
from shared.settings import Settings
from shared.store import runs
from shared.store.listing import Filter, page
from shared.store.redis.call import Call, Drive, Key
from tests.store.consistency import check_store
from tests.store.harness import SECOND, START, StoreHarness


@pytest.fixture
def harness(settings: Settings) -> Iterator[StoreHarness]:
    """A store with a clock in hand; everything in it has an owner at the end."""
    opened = StoreHarness(settings)
    yield opened
    check_store(opened)
    opened.close()


def loop(harness: StoreHarness, name: str) -> Loop:
    """A scheduler for whom time is that of its store."""
    return Loop(harness, name, clock=lambda: harness.now / SECOND)


def ticks(harness: StoreHarness, name: str) -> list[int]:
    """The seconds after the start at which ticks were due that became runs, in order of creation."""
    found = []
    cursor = ""
    while True:
        listed = harness.run(page(Filter(task_name=(name,)), descending=False, limit=500, cursor=cursor))
        found += [(from_datetime(run.scheduled_for) - START) // SECOND for run in listed.runs if run.scheduled_for]
        cursor = listed.next_cursor
        if not cursor:
            return found


def test_two_that_believe_to_lead_fire_each_tick_once(harness: StoreHarness) -> None:
    """F29: for ten minutes; what is delayed is released once, what is lost is rescued once."""
    harness.task("often", cron=("@every 10s",))
    harness.task("sometimes", cron=("* * * * *",), jitter_ms=20_000, catch_up=1)
    harness.task("lost", retry_attempts=1, retry_delay_ms=(0,))
    delayed = harness.trigger("lost", delay_ms=300_000)
    loops = [loop(harness, "one"), loop(harness, "two")]
    for second in range(600):
        for one in loops[:: 1 if second % 2 else -1]:
            harness.run(Call("DEL", (Key("leader"),), bool))
            one.tick()
            assert one.leads
        if second == 310:
            held = harness.claimed("w", "default")
            while held.id != delayed.id:
                harness.end(held)
                held = harness.claimed("w", "default")
        harness.pass_s(1)
    often = ticks(harness, "often")
    assert often == list(range(often[0], 600, 10))
    assert often[0] <= 10
    assert Counter(ticks(harness, "sometimes")).most_common(1)[0][1] == 1
    assert len(ticks(harness, "sometimes")) >= 9
    assert [one.retry_attempt for one in harness.run(runs.execution_runs(delayed.id))] == [0, 1]


def test_only_the_newer_of_two_releases_fires(harness: StoreHarness) -> None:
    """F32: for a minute in which both believe to lead; the older has read its schedule before the newer was applied."""
    harness.task("t", cron=("@every 7s",))
    older, newer = loop(harness, "older"), loop(harness, "newer")
    older.tick()
    harness.pass_s(20)
    harness.task("t", cron=("@every 5s",))
    applied = 20
    for _ in range(60):
        for one in (older, newer):
            harness.run(Call("DEL", (Key("leader"),), bool))
            one.tick()
        harness.pass_s(1)
    fired = [second for second in ticks(harness, "t") if second > applied]
    assert fired == list(range(fired[0], 80, 5))
    assert len(fired) >= 11
    assert len(set(ticks(harness, "t"))) == len(ticks(harness, "t"))


def test_a_tick_whose_scheduler_was_lost_half_way_runs_once(harness: StoreHarness) -> None:
    """F31: its runs are made and nobody was told; the next scheduler rings for them, and does not fire again."""
    entry = harness.task("t", cron=("* * * * *",))
    tick = START - START % (60 * SECOND) + 120 * SECOND
    harness.now = tick
    half_way = Drive(ops.fire(ops.Catalog(), entry, tick))
    harness.run(half_way.calls[0])  # here it died
    for key in ("dramatiq:default", "wake:queue:default"):
        harness.run(Call("DEL", (Key(key),), bool))
    heir = loop(harness, "heir")
    heir.tick()
    assert harness.run(Call("LLEN", (Key("dramatiq:default"),), int)) == 1
    held = harness.claimed()
    assert held.record.tick_us == tick
    harness.end(held)
    heir.tick()
    assert harness.claim() is None
    assert len(ticks(harness, "t")) == 1
