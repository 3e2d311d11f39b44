"""A tick makes one execution, whoever else tries; and it is made, or there is a record that says why not."""

import pytest

from shared import ids, ops
from shared.clock import to_datetime
from shared.errors import DefinitionChanged
from shared.runs import Reason
from shared.settings import Settings
from shared.store import leadership, open_store, tasks
from shared.store.redis.call import Call, as_is
from tests.store.consistency import snapshot
from tests.store.harness import SECOND, START, StoreHarness
from tests.waiting import in_threads

MINUTE = 60 * SECOND
TICK = START + MINUTE


def test_a_tick_fires_once(harness: StoreHarness) -> None:
    entry = harness.task("a", cron=("* * * * *",), replicas=2)
    assert harness.run(ops.fire(ops.Catalog(), entry, TICK))
    before = snapshot(harness)
    assert not harness.run(ops.fire(ops.Catalog(), entry, TICK))
    assert snapshot(harness) == before
    one = harness.get(ids.tick_id("a", TICK, 0))
    assert (one.triggered_by, one.scheduled_for, one.replica_count) == ("cron", to_datetime(TICK), 2)


def test_two_schedulers_fire_a_tick_once(settings: Settings, harness: StoreHarness) -> None:
    """F29: at the same moment."""
    entry = harness.task("a", cron=("* * * * *",))
    fired: list[bool] = []

    def schedule() -> None:
        store = open_store(settings)
        fired.extend(store.run(ops.fire(ops.Catalog(), entry, TICK + n * MINUTE)) for n in range(20))
        store.close()

    in_threads(*[schedule] * 3)
    assert sum(fired) == harness.run(tasks.counts(["a"]))["a"].total <= 20
    assert harness.run(tasks.cursors())["a"] == TICK + 19 * MINUTE


def test_a_tick_that_was_forgotten_does_not_fire_again(harness: StoreHarness) -> None:
    entry = harness.task("a", cron=("* * * * *",))
    harness.now = TICK
    harness.run(ops.fire(ops.Catalog(), entry, TICK))
    harness.end(harness.claimed())
    harness.run(ops.delete("a#1"))
    assert not harness.run(ops.fire(ops.Catalog(), entry, TICK))
    assert harness.claim() is None


def test_a_tick_before_the_cursor_is_stale(harness: StoreHarness) -> None:
    entry = harness.task("a", cron=("* * * * *",))
    assert harness.run(tasks.cursors()) == {"a": START}
    assert not harness.run(ops.fire(ops.Catalog(), entry, START)), "what was due before it was defined is not owed"
    harness.now = TICK + MINUTE
    assert harness.run(ops.fire(ops.Catalog(), entry, TICK + MINUTE))
    assert not harness.run(ops.fire(ops.Catalog(), entry, TICK))
    assert harness.run(tasks.cursors()) == {"a": TICK + MINUTE}


def test_a_cursor_of_a_time_before_the_clock_went_back_stops_no_tick(harness: StoreHarness) -> None:
    entry = harness.task("a", cron=("* * * * *",))
    harness.now = TICK + 300 * MINUTE
    assert harness.run(ops.fire(ops.Catalog(), entry, harness.now))
    harness.now = TICK
    assert harness.run(ops.fire(ops.Catalog(), entry, TICK))
    assert harness.run(tasks.cursors()) == {"a": TICK}
    assert not harness.run(ops.fire(ops.Catalog(), entry, TICK))
    harness.now = TICK + 300 * MINUTE
    assert not harness.run(ops.fire(ops.Catalog(), entry, harness.now)), "this tick ran before"


def test_a_paused_schedule_lets_its_ticks_pass(harness: StoreHarness) -> None:
    entry = harness.task("a", cron=("* * * * *",))
    assert harness.run(ops.pause("a")).paused
    assert not harness.run(ops.fire(ops.Catalog(), entry, TICK))
    assert harness.run(tasks.cursors()) == {"a": TICK}
    harness.now = TICK + 10 * MINUTE
    assert not harness.run(ops.resume("a")).paused
    assert harness.run(tasks.cursors()) == {"a": harness.now}, "paused ticks are not missed ticks"
    assert not harness.run(ops.fire(ops.Catalog(), entry, TICK + MINUTE))
    assert harness.run(ops.fire(ops.Catalog(), entry, TICK + 11 * MINUTE))


def test_a_paused_task_can_be_started_by_hand(harness: StoreHarness) -> None:
    harness.task("a", cron=("* * * * *",))
    harness.run(ops.pause("a"))
    assert harness.trigger().status == "pending"


def test_missed_ticks_leave_one_record(harness: StoreHarness) -> None:
    entry = harness.task("a", cron=("* * * * *",))
    last = TICK + 4 * MINUTE
    assert harness.run(ops.miss(entry, TICK, last, 5, "Redis was away")) == "created"
    assert harness.run(ops.miss(entry, TICK, last, 5, "Redis was away")) == "exists"
    run = harness.get(ids.tick_id("a", last, 0))
    assert (run.end_reason, run.exit_code) == (Reason.SKIPPED, -1)
    assert isinstance(run.message, str)
    assert run.message.startswith("skipped: missed 5 ticks (2023-11-14T22:14:20.000000Z to ")
    assert harness.run(tasks.cursors()) == {"a": last}


def test_missed_ticks_of_which_one_was_fired_meanwhile_are_not_counted(harness: StoreHarness) -> None:
    """F56: it was fired by a call whose answer was lost, and which Redis carried out late."""
    entry = harness.task("a", cron=("* * * * *",))
    harness.now = last = TICK + 4 * MINUTE
    assert harness.run(ops.fire(ops.Catalog(), entry, TICK + MINUTE))
    assert harness.run(ops.miss(entry, TICK, last, 5, "Redis was away", after_us=START)) == "stale"
    left = ops.miss(entry, TICK + 2 * MINUTE, last, 3, "Redis was away", after_us=TICK + MINUTE)
    assert harness.run(left) == "created"


def test_a_tick_of_an_old_definition_is_refused(harness: StoreHarness) -> None:
    old = harness.task("a", cron=("* * * * *",))
    harness.task("a", cron=("* * * * *",), priority=5)
    with pytest.raises(DefinitionChanged):
        harness.run(ops.fire(ops.Catalog(), old, TICK))
    assert harness.run(tasks.cursors()) == {"a": START}


def test_a_new_schedule_owes_nothing_and_an_unchanged_one_keeps_its_cursor(harness: StoreHarness) -> None:
    entry = harness.task("a", cron=("* * * * *",))
    harness.run(ops.fire(ops.Catalog(), entry, TICK))
    harness.now = TICK + 10 * MINUTE
    harness.task("a", cron=("* * * * *",), priority=5)
    assert harness.run(tasks.cursors()) == {"a": TICK}
    harness.task("a", cron=("0 * * * *",))
    assert harness.run(tasks.cursors()) == {"a": harness.now}
    harness.task("a")
    assert harness.run(tasks.cursors()) == {}


def test_a_tick_meets_the_overlap_rule(harness: StoreHarness) -> None:
    entry = harness.task("a", cron=("* * * * *",), max_concurrent=1, on_overlap="skip")
    harness.run(ops.fire(ops.Catalog(), entry, TICK))
    assert harness.run(ops.fire(ops.Catalog(), entry, TICK + MINUTE))
    assert harness.get(ids.tick_id("a", TICK + MINUTE, 0)).message == "skipped: a#1 was still running"


def test_applying_again_changes_nothing(harness: StoreHarness) -> None:
    harness.task("a", cron=("* * * * *",))
    harness.task("b", limits={"db": 2})
    before = snapshot(harness)
    harness.apply()
    assert snapshot(harness) == before


def test_one_scheduler_leads_at_a_time(harness: StoreHarness) -> None:
    first = harness.run(leadership.poll("one"))
    other = harness.run(leadership.poll("two"))
    assert first.token > 0
    assert (other.token, other.leader) == (0, "one")
    harness.pass_s(1)
    assert harness.run(leadership.poll("one")).token == first.token
    harness.pass_s(4.5)
    heir = harness.run(leadership.poll("two"))
    assert heir.token > first.token
    assert harness.run(leadership.poll("one")).token == 0


def test_a_leader_that_resigns_is_followed_at_once(harness: StoreHarness) -> None:
    first = harness.run(leadership.poll("one")).token
    assert not harness.run(leadership.resign("two"))
    assert harness.run(leadership.resign("one"))
    assert harness.run(leadership.poll("two")).token > first


def test_a_leader_never_gets_a_token_again_also_when_the_store_was_wiped(harness: StoreHarness) -> None:
    """Who slept over a wipe and what another led after it knows by its token that it is not where it was."""
    before = harness.run(leadership.poll("one")).token
    harness.run(Call("FLUSHALL", (), as_is))
    harness.pass_s(5)
    between = harness.run(leadership.poll("two")).token
    harness.run(leadership.resign("two"))
    harness.run(Call("FLUSHALL", (), as_is))
    harness.pass_s(5)
    assert before < between < harness.run(leadership.poll("one")).token


def test_a_token_grows_although_the_clock_goes_back(harness: StoreHarness) -> None:
    first = harness.run(leadership.poll("one")).token
    harness.run(leadership.resign("one"))
    harness.pass_s(-100)
    assert harness.run(leadership.poll("two")).token > first
