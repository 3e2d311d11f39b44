"""A scheduler's rounds: it checks itself, follows the clock of Redis, and leaves wake-ups to the leader."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler.loop import CHECK_S, Loop
from shared.clock import from_datetime
from shared.runs import Run
from shared.settings import Settings
from shared.store import tasks
from shared.store.health import stored_health
from shared.store.listing import Filter, page
from shared.store.redis.call import Call, Key
from tests.scheduler.failing_store import FailingStore, OddError, name_of
from tests.store.consistency import check_store
from tests.store.harness import SECOND
from tests.waiting import wait_until


@pytest.fixture
def harness(settings: Settings) -> Iterator[FailingStore]:
    """A store with a clock in hand; everything in it has an owner at the end."""
    opened = FailingStore(settings)
    yield opened
    opened.fault = lambda call: None
    check_store(opened)
    opened.close()


def scheduler(harness: FailingStore, name: str = "one") -> Loop:
    return Loop(harness, name, clock=lambda: harness.now / SECOND)


def go(harness: FailingStore, loop: Loop, seconds: float, step_s: float = 1) -> None:
    for _ in range(round(seconds / step_s)):
        harness.pass_s(step_s)
        loop.tick()


def ticks(harness: FailingStore, name: str = "t") -> list[int]:
    """Stored times of the ticks of a task that became runs, in order of creation."""
    runs: list[Run] = harness.run(page(Filter(task_name=(name,)), descending=False, limit=1000)).runs
    return [from_datetime(run.scheduled_for) for run in runs if run.scheduled_for and run.status == "pending"]


# The self-check


def test_a_schedule_that_fell_out_of_the_timetable_is_back_within_a_minute(harness: FailingStore) -> None:
    """F56."""
    harness.task("t", cron=("@every 10s",))
    harness.task("u", cron=("@every 10s",))
    loop = scheduler(harness)
    go(harness, loop, 20)
    loop._cron_heap._heap = [entry for entry in loop._cron_heap._heap if entry[1] != "t"]
    lost = len(ticks(harness))
    go(harness, loop, CHECK_S + 2)
    assert len(ticks(harness)) > lost
    said = harness.run(stored_health())
    assert said is not None
    assert said.repaired == 1
    go(harness, loop, 2 * CHECK_S)
    said = harness.run(stored_health())
    assert said is not None
    assert said.repaired == 1, "what was mended is no difference any more"


@pytest.mark.parametrize("field", ["cursor", "definition", "extra"])
def test_a_timetable_that_differs_from_the_catalog_is_read_anew(harness: FailingStore, field: str) -> None:
    harness.task("t", cron=("@every 10s",))
    loop = scheduler(harness)
    go(harness, loop, 20)
    cron_heap = loop._cron_heap
    if field == "cursor":
        cron_heap._cursors["t"] += 10 * SECOND
    elif field == "definition":
        cron_heap._entries["t"] = harness.task("other", cron=("@every 10s",))
        cron_heap.version = harness.run(tasks.catalog_version())
    else:
        cron_heap._schedules["gone"] = cron_heap._schedules["t"]
    standing = harness.run(tasks.standing())
    assert cron_heap.differences(standing, harness.now) != []
    cron_heap.version = -1
    cron_heap.refresh(harness, standing.after, harness.now)
    assert cron_heap.differences(standing, harness.now) == []


def test_a_catalog_that_cannot_be_read_again_stops_no_schedule_that_is_known(harness: FailingStore) -> None:
    """F56."""
    harness.task("t", cron=("@every 10s",))
    loop = scheduler(harness)
    go(harness, loop, 20)
    harness.fault = lambda call: OddError("odd") if name_of(call) == "HGETALL" else None
    harness.task("u", cron=("@every 10s",))
    before = len(ticks(harness))
    go(harness, loop, 60)
    assert len(ticks(harness)) == before + 6
    assert ticks(harness, "u") == []
    assert "refresh" in loop.troubles.current()
    harness.fault = lambda call: None
    go(harness, loop, 20)
    assert len(ticks(harness, "u")) > 0
    assert "refresh" not in loop.troubles.current()


def test_a_new_leader_reads_the_timetable_again(harness: FailingStore) -> None:
    """Another one led meanwhile, and fired."""
    harness.task("t", cron=("@every 10s",))
    one, two = scheduler(harness), scheduler(harness, "two")
    go(harness, one, 20)
    harness.pass_s(4)
    go(harness, two, 30)
    assert (one.leads, two.leads) == (True, True)
    created = harness.asked.count("create")
    harness.pass_s(4)
    one.tick()
    assert one.leads
    assert harness.asked.count("create") - created <= 1, "it does not try what was fired"
    assert len(set(ticks(harness))) == len(ticks(harness))


# The clock of Redis


def test_a_clock_that_jumped_ahead_for_one_look_stops_no_schedule(harness: FailingStore) -> None:
    """F58: five hours ahead and back; a schedule of each minute goes on in its minute."""
    harness.task("t", cron=("* * * * *",))
    loop = scheduler(harness)
    go(harness, loop, 120)
    offset_s = [0]
    loop = Loop(harness, "one", clock=lambda: harness.now / SECOND - offset_s[0])
    loop.tick()
    for step in (5 * 3600, -5 * 3600):
        harness.pass_s(step)
        offset_s[0] += step
        loop.tick()
    before = len(ticks(harness))
    now = harness.now
    go(harness, loop, 300)
    new = [tick for tick in ticks(harness)[before:] if tick > now]
    assert len(new) == 5
    assert len(set(ticks(harness))) == len(ticks(harness))


def test_a_clock_that_went_back_fires_nothing_twice(harness: FailingStore) -> None:
    """F58: ten minutes."""
    harness.task("t", cron=("* * * * *",))
    offset_s = [0]
    loop = Loop(harness, "one", clock=lambda: harness.now / SECOND - offset_s[0])
    loop.tick()
    go(harness, loop, 1200)
    harness.pass_s(-600)
    offset_s[0] -= 600
    go(harness, loop, 900)
    found = ticks(harness)
    assert found == sorted(set(found))
    assert len(found) == 25


# What ends a round


def test_an_unexpected_error_ends_a_round_and_not_the_scheduler(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """F56."""
    harness = FailingStore(settings)
    errors = [OddError("odd"), OddError("odd again")]
    harness.fault = lambda call: errors.pop() if name_of(call) == "scheduler_poll" and errors else None
    loop = Loop(harness, "one")
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        wait_until(lambda: loop.leads, "it leads")
        assert loop.troubles.failures == {"round": 2}
        wait_until(lambda: loop.troubles.current() == {}, "a round that went well is told of no more as failing")
        wait_until(lambda: "event=scheduler.recovered" in capsys.readouterr().out, "and that is logged")
        loop.stop()
        thread.join()
        assert "scheduler.recovered" not in capsys.readouterr().out, "once"
    finally:
        loop.stop()
        thread.join()
        harness.close()


# Wake-ups


def test_one_that_stands_by_leaves_the_leader_its_wake_ups(
    harness: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = scheduler(harness), scheduler(harness, "two")
    one.tick()
    two.tick()
    waits: list[Any] = []
    monkeypatch.setattr(harness, "block", lambda call, _seconds: waits.append(call.args[0]))
    one._wait()
    two._wait()
    assert waits == [Key("wake:scheduler"), Key("wake:standby")]


def test_one_that_stands_by_is_woken_when_the_leader_leaves(harness: FailingStore) -> None:
    one, two = scheduler(harness), scheduler(harness, "two")
    one.tick()
    two.tick()
    one._resign()
    assert harness.run(Call("LLEN", (Key("wake:standby"),), int)) == 1
    two.tick()
    assert two.leads


def test_a_round_with_nothing_to_do_costs_one_round_trip(harness: FailingStore) -> None:
    harness.task("t", cron=("0 0 1 1 *",))
    loop = scheduler(harness)
    go(harness, loop, 2)
    before = harness.round_trips
    go(harness, loop, 10)
    assert harness.round_trips - before == 10
