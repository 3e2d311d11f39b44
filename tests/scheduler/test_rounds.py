"""A scheduler's rounds: it checks itself, follows the clock of Redis, and leaves wake-ups to the leader."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler.loop import CHECK_S, Loop
from shared.clock import from_datetime
from shared.runs import Run
from shared.settings import Settings
from shared.store import tasks
from shared.store.health import health
from shared.store.listing import Filter, page
from shared.store.redis.call import Call, Key
from tests.scheduler.scenes import Faulty, OddError, name_of
from tests.store.checking import check_store
from tests.store.desk import SECOND
from tests.waiting import wait_until


@pytest.fixture
def desk(settings: Settings) -> Iterator[Faulty]:
    """A store with a clock in hand; everything in it has an owner at the end."""
    opened = Faulty(settings)
    yield opened
    opened.fault = lambda call: None
    check_store(opened)
    opened.close()


def scheduler(desk: Faulty, name: str = "one") -> Loop:
    return Loop(desk, name, clock=lambda: desk.now / SECOND)


def go(desk: Faulty, loop: Loop, seconds: float, step_s: float = 1) -> None:
    for _ in range(round(seconds / step_s)):
        desk.pass_s(step_s)
        loop.tick()


def ticks(desk: Faulty, name: str = "t") -> list[int]:
    """Stored times of the ticks of a task that became runs, in order of creation."""
    runs: list[Run] = desk.run(page(Filter(task_name=(name,)), descending=False, limit=1000)).runs
    return [from_datetime(run.scheduled_for) for run in runs if run.scheduled_for and run.status == "pending"]


# The self-check


def test_a_schedule_that_fell_out_of_the_timetable_is_back_within_a_minute(desk: Faulty) -> None:
    """F56."""
    desk.task("t", cron=("@every 10s",))
    desk.task("u", cron=("@every 10s",))
    loop = scheduler(desk)
    go(desk, loop, 20)
    loop._cron_heap._heap = [entry for entry in loop._cron_heap._heap if entry[1] != "t"]
    lost = len(ticks(desk))
    go(desk, loop, CHECK_S + 2)
    assert len(ticks(desk)) > lost
    said = desk.run(health())
    assert said is not None
    assert said.repaired == 1
    go(desk, loop, 2 * CHECK_S)
    said = desk.run(health())
    assert said is not None
    assert said.repaired == 1, "what was mended is no difference any more"


@pytest.mark.parametrize("field", ["cursor", "definition", "extra"])
def test_a_timetable_that_differs_from_the_catalog_is_read_anew(desk: Faulty, field: str) -> None:
    desk.task("t", cron=("@every 10s",))
    loop = scheduler(desk)
    go(desk, loop, 20)
    cron_heap = loop._cron_heap
    if field == "cursor":
        cron_heap._cursors["t"] += 10 * SECOND
    elif field == "definition":
        cron_heap._entries["t"] = desk.task("other", cron=("@every 10s",))
        cron_heap.version = desk.run(tasks.catalog_version())
    else:
        cron_heap._schedules["gone"] = cron_heap._schedules["t"]
    standing = desk.run(tasks.standing())
    assert cron_heap.differences(standing, desk.now) != []
    cron_heap.version = -1
    cron_heap.refresh(desk, standing.after, desk.now)
    assert cron_heap.differences(standing, desk.now) == []


def test_a_catalog_that_cannot_be_read_again_stops_no_schedule_that_is_known(desk: Faulty) -> None:
    """F56."""
    desk.task("t", cron=("@every 10s",))
    loop = scheduler(desk)
    go(desk, loop, 20)
    desk.fault = lambda call: OddError("odd") if name_of(call) == "HGETALL" else None
    desk.task("u", cron=("@every 10s",))
    before = len(ticks(desk))
    go(desk, loop, 60)
    assert len(ticks(desk)) == before + 6
    assert ticks(desk, "u") == []
    assert "refresh" in loop.troubles.told()
    desk.fault = lambda call: None
    go(desk, loop, 20)
    assert len(ticks(desk, "u")) > 0
    assert "refresh" not in loop.troubles.told()


def test_a_new_leader_reads_the_timetable_again(desk: Faulty) -> None:
    """Another one led meanwhile, and fired."""
    desk.task("t", cron=("@every 10s",))
    one, two = scheduler(desk), scheduler(desk, "two")
    go(desk, one, 20)
    desk.pass_s(4)
    go(desk, two, 30)
    assert (one.leads, two.leads) == (True, True)
    created = desk.asked.count("create")
    desk.pass_s(4)
    one.tick()
    assert one.leads
    assert desk.asked.count("create") - created <= 1, "it does not try what was fired"
    assert len(set(ticks(desk))) == len(ticks(desk))


# The clock of Redis


def test_a_clock_that_jumped_ahead_for_one_look_stops_no_schedule(desk: Faulty) -> None:
    """F58: five hours ahead and back; a schedule of each minute goes on in its minute."""
    desk.task("t", cron=("* * * * *",))
    loop = scheduler(desk)
    go(desk, loop, 120)
    offset_s = [0]
    loop = Loop(desk, "one", clock=lambda: desk.now / SECOND - offset_s[0])
    loop.tick()
    for step in (5 * 3600, -5 * 3600):
        desk.pass_s(step)
        offset_s[0] += step
        loop.tick()
    before = len(ticks(desk))
    now = desk.now
    go(desk, loop, 300)
    new = [tick for tick in ticks(desk)[before:] if tick > now]
    assert len(new) == 5
    assert len(set(ticks(desk))) == len(ticks(desk))


def test_a_clock_that_went_back_fires_nothing_twice(desk: Faulty) -> None:
    """F58: ten minutes."""
    desk.task("t", cron=("* * * * *",))
    offset_s = [0]
    loop = Loop(desk, "one", clock=lambda: desk.now / SECOND - offset_s[0])
    loop.tick()
    go(desk, loop, 1200)
    desk.pass_s(-600)
    offset_s[0] -= 600
    go(desk, loop, 900)
    found = ticks(desk)
    assert found == sorted(set(found))
    assert len(found) == 25


# What ends a round


def test_an_error_that_nobody_foresaw_ends_a_round_and_not_the_scheduler(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """F56."""
    desk = Faulty(settings)
    errors = [OddError("odd"), OddError("odd again")]
    desk.fault = lambda call: errors.pop() if name_of(call) == "scheduler_poll" and errors else None
    loop = Loop(desk, "one")
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        wait_until(lambda: loop.leads, "it leads")
        assert loop.troubles.failures == {"round": 2}
        wait_until(lambda: loop.troubles.told() == {}, "a round that went well is told of no more as failing")
        wait_until(lambda: "event=scheduler.recovered" in capsys.readouterr().out, "and that is logged")
        loop.stop()
        thread.join()
        assert "scheduler.recovered" not in capsys.readouterr().out, "once"
    finally:
        loop.stop()
        thread.join()
        desk.close()


# Wake-ups


def test_one_that_stands_by_leaves_the_leader_its_wake_ups(desk: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = scheduler(desk), scheduler(desk, "two")
    one.tick()
    two.tick()
    waits: list[Any] = []
    monkeypatch.setattr(desk, "block", lambda call, _seconds: waits.append(call.args[0]))
    one._wait()
    two._wait()
    assert waits == [Key("wake:scheduler"), Key("wake:standby")]


def test_one_that_stands_by_is_woken_when_the_leader_leaves(desk: Faulty) -> None:
    one, two = scheduler(desk), scheduler(desk, "two")
    one.tick()
    two.tick()
    one._resign()
    assert desk.run(Call("LLEN", (Key("wake:standby"),), int)) == 1
    two.tick()
    assert two.leads


def test_a_round_with_nothing_to_do_costs_one_round_trip(desk: Faulty) -> None:
    desk.task("t", cron=("0 0 1 1 *",))
    loop = scheduler(desk)
    go(desk, loop, 2)
    before = desk.round_trips
    go(desk, loop, 10)
    assert desk.round_trips - before == 10
