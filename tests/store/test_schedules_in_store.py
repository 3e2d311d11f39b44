"""A tick makes one execution, whoever else tries; and it is made, or there is a record that says why not."""

from __future__ import annotations

import threading

import pytest

from shared import ids, ops
from shared.clock import to_datetime
from shared.errors import DefinitionChanged
from shared.runs import Reason
from shared.settings import Settings
from shared.store import fleet, open_store, tasks
from shared.store.redis.call import Call, as_is
from tests.store.checking import snapshot
from tests.store.desk import SECOND, START, Desk

MINUTE = 60 * SECOND
TICK = START + MINUTE


def test_a_tick_fires_once(desk: Desk) -> None:
    entry = desk.task("a", cron=("* * * * *",), replicas=2)
    assert desk.run(ops.fire(ops.Catalog(), entry, TICK))
    before = snapshot(desk)
    assert not desk.run(ops.fire(ops.Catalog(), entry, TICK))
    assert snapshot(desk) == before
    one = desk.get(ids.tick_id("a", TICK, 0))
    assert (one.triggered_by, one.scheduled_for, one.replica_count) == ("cron", to_datetime(TICK), 2)


def test_two_schedulers_fire_a_tick_once(settings: Settings, desk: Desk) -> None:
    """F29: at the same moment."""
    entry = desk.task("a", cron=("* * * * *",))
    fired: list[bool] = []

    def schedule() -> None:
        store = open_store(settings)
        fired.extend(store.run(ops.fire(ops.Catalog(), entry, TICK + n * MINUTE)) for n in range(20))
        store.close()

    threads = [threading.Thread(target=schedule) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(fired) == desk.run(tasks.counts(["a"]))["a"].total <= 20
    assert desk.run(tasks.cursors())["a"] == TICK + 19 * MINUTE


def test_a_tick_that_was_forgotten_does_not_fire_again(desk: Desk) -> None:
    entry = desk.task("a", cron=("* * * * *",))
    desk.now = TICK
    desk.run(ops.fire(ops.Catalog(), entry, TICK))
    desk.end(desk.claimed())
    desk.run(ops.delete("a#1"))
    assert not desk.run(ops.fire(ops.Catalog(), entry, TICK))
    assert desk.claim() is None


def test_a_tick_before_the_cursor_is_stale(desk: Desk) -> None:
    entry = desk.task("a", cron=("* * * * *",))
    assert desk.run(tasks.cursors()) == {"a": START}
    assert not desk.run(ops.fire(ops.Catalog(), entry, START)), "what was due before it was defined is not owed"
    desk.now = TICK + MINUTE
    assert desk.run(ops.fire(ops.Catalog(), entry, TICK + MINUTE))
    assert not desk.run(ops.fire(ops.Catalog(), entry, TICK))
    assert desk.run(tasks.cursors()) == {"a": TICK + MINUTE}


def test_a_cursor_of_a_time_before_the_clock_went_back_stops_no_tick(desk: Desk) -> None:
    entry = desk.task("a", cron=("* * * * *",))
    desk.now = TICK + 300 * MINUTE
    assert desk.run(ops.fire(ops.Catalog(), entry, desk.now))
    desk.now = TICK
    assert desk.run(ops.fire(ops.Catalog(), entry, TICK))
    assert desk.run(tasks.cursors()) == {"a": TICK}
    assert not desk.run(ops.fire(ops.Catalog(), entry, TICK))
    desk.now = TICK + 300 * MINUTE
    assert not desk.run(ops.fire(ops.Catalog(), entry, desk.now)), "this tick ran before"


def test_a_paused_schedule_lets_its_ticks_pass(desk: Desk) -> None:
    entry = desk.task("a", cron=("* * * * *",))
    assert desk.run(ops.pause("a")).paused
    assert not desk.run(ops.fire(ops.Catalog(), entry, TICK))
    assert desk.run(tasks.cursors()) == {"a": TICK}
    desk.now = TICK + 10 * MINUTE
    assert not desk.run(ops.resume("a")).paused
    assert desk.run(tasks.cursors()) == {"a": desk.now}, "paused ticks are not missed ticks"
    assert not desk.run(ops.fire(ops.Catalog(), entry, TICK + MINUTE))
    assert desk.run(ops.fire(ops.Catalog(), entry, TICK + 11 * MINUTE))


def test_a_paused_task_can_be_started_by_hand(desk: Desk) -> None:
    desk.task("a", cron=("* * * * *",))
    desk.run(ops.pause("a"))
    assert desk.trigger().status == "pending"


def test_missed_ticks_leave_one_record(desk: Desk) -> None:
    entry = desk.task("a", cron=("* * * * *",))
    last = TICK + 4 * MINUTE
    assert desk.run(ops.miss(entry, TICK, last, 5, "Redis was away")) == "created"
    assert desk.run(ops.miss(entry, TICK, last, 5, "Redis was away")) == "exists"
    run = desk.get(ids.tick_id("a", last, 0))
    assert (run.end_reason, run.exit_code) == (Reason.SKIPPED, -1)
    assert isinstance(run.message, str)
    assert run.message.startswith("skipped: missed 5 ticks (2023-11-14T22:14:20.000000Z to ")
    assert desk.run(tasks.cursors()) == {"a": last}


def test_missed_ticks_of_which_one_was_fired_meanwhile_are_not_counted(desk: Desk) -> None:
    """F56: it was fired by a call whose answer was lost, and which Redis carried out late."""
    entry = desk.task("a", cron=("* * * * *",))
    desk.now = last = TICK + 4 * MINUTE
    assert desk.run(ops.fire(ops.Catalog(), entry, TICK + MINUTE))
    assert desk.run(ops.miss(entry, TICK, last, 5, "Redis was away", after_us=START)) == "stale"
    left = ops.miss(entry, TICK + 2 * MINUTE, last, 3, "Redis was away", after_us=TICK + MINUTE)
    assert desk.run(left) == "created"


def test_a_tick_of_an_old_definition_is_refused(desk: Desk) -> None:
    old = desk.task("a", cron=("* * * * *",))
    desk.task("a", cron=("* * * * *",), priority=5)
    with pytest.raises(DefinitionChanged):
        desk.run(ops.fire(ops.Catalog(), old, TICK))
    assert desk.run(tasks.cursors()) == {"a": START}


def test_a_new_schedule_owes_nothing_and_an_unchanged_one_keeps_its_cursor(desk: Desk) -> None:
    entry = desk.task("a", cron=("* * * * *",))
    desk.run(ops.fire(ops.Catalog(), entry, TICK))
    desk.now = TICK + 10 * MINUTE
    desk.task("a", cron=("* * * * *",), priority=5)
    assert desk.run(tasks.cursors()) == {"a": TICK}
    desk.task("a", cron=("0 * * * *",))
    assert desk.run(tasks.cursors()) == {"a": desk.now}
    desk.task("a")
    assert desk.run(tasks.cursors()) == {}


def test_a_tick_meets_the_overlap_rule(desk: Desk) -> None:
    entry = desk.task("a", cron=("* * * * *",), max_concurrent=1, on_overlap="skip")
    desk.run(ops.fire(ops.Catalog(), entry, TICK))
    assert desk.run(ops.fire(ops.Catalog(), entry, TICK + MINUTE))
    assert desk.get(ids.tick_id("a", TICK + MINUTE, 0)).message == "skipped: a#1 was still running"


def test_applying_again_changes_nothing(desk: Desk) -> None:
    desk.task("a", cron=("* * * * *",))
    desk.task("b", limits={"db": 2})
    before = snapshot(desk)
    desk.apply()
    assert snapshot(desk) == before


def test_one_scheduler_leads_at_a_time(desk: Desk) -> None:
    first = desk.run(fleet.pulse("one"))
    other = desk.run(fleet.pulse("two"))
    assert first.token > 0
    assert (other.token, other.leader) == (0, "one")
    desk.pass_s(1)
    assert desk.run(fleet.pulse("one")).token == first.token
    desk.pass_s(4.5)
    heir = desk.run(fleet.pulse("two"))
    assert heir.token > first.token
    assert desk.run(fleet.pulse("one")).token == 0


def test_a_leader_that_resigns_is_followed_at_once(desk: Desk) -> None:
    first = desk.run(fleet.pulse("one")).token
    assert not desk.run(fleet.resign("two"))
    assert desk.run(fleet.resign("one"))
    assert desk.run(fleet.pulse("two")).token > first


def test_a_leader_never_gets_a_token_again_also_when_the_store_was_wiped(desk: Desk) -> None:
    """Who slept over a wipe and what another led after it knows by its token that it is not where it was."""
    before = desk.run(fleet.pulse("one")).token
    desk.run(Call("FLUSHALL", (), as_is))
    desk.pass_s(5)
    between = desk.run(fleet.pulse("two")).token
    desk.run(fleet.resign("two"))
    desk.run(Call("FLUSHALL", (), as_is))
    desk.pass_s(5)
    assert before < between < desk.run(fleet.pulse("one")).token


def test_a_token_grows_although_the_clock_goes_back(desk: Desk) -> None:
    first = desk.run(fleet.pulse("one")).token
    desk.run(fleet.resign("one"))
    desk.pass_s(-100)
    assert desk.run(fleet.pulse("two")).token > first
