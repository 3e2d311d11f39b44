"""A run that was claimed and not started goes back to where it waited, and loses nothing by it."""

import pytest

from shared.store import runs, stops
from tests.store.consistency import check_store, snapshot
from tests.store.harness import SECOND, StoreHarness


def test_what_was_given_back_is_claimed_next_and_by_another_token(harness: StoreHarness) -> None:
    harness.task("a")
    first, second = harness.trigger(), harness.trigger()
    held = harness.claimed()
    assert held.id == first.id
    given = harness.run(runs.give_back(held.id, held.record.token, "its worker was shut down"))
    assert (given.verdict, given.state, given.ready) == ("given_back", "pending", {"default": 1})
    waiting = harness.get(first.id)
    assert (waiting.status, waiting.message) == ("pending", "its worker was shut down")
    check_store(harness)
    again = harness.claimed("other")
    assert again.id == first.id
    assert again.record.token != held.record.token
    assert (again.record.message, again.record.attempt, again.record.crashes) == ("", 0, 0)
    assert harness.claimed("other").id == second.id


def test_runs_given_back_keep_their_order_and_priority(
    harness: StoreHarness,
) -> None:
    harness.task("a")
    harness.task("urgent", priority=9)
    old, new = harness.trigger(), harness.trigger()
    held = [harness.claimed(), harness.claimed()]
    urgent = harness.trigger("urgent")
    for one in reversed(held):
        harness.run(runs.give_back(one.id, one.record.token, "again"))
    assert [harness.claimed().id for _ in range(3)] == [urgent.id, old.id, new.id]


def test_a_delay_keeps_it_from_every_worker_until_it_is_due(harness: StoreHarness) -> None:
    harness.task("a")
    held = harness.started()
    harness.run(runs.give_back(held.id, held.record.token, "no worker can verify it", delay_us=2 * SECOND))
    check_store(harness)
    assert harness.claim() is None
    harness.pass_s(2.1)
    assert harness.run(runs.enqueue_due())[2] == {"default": 1}
    assert harness.claimed().id == held.id


def test_one_that_had_been_asked_to_stop_has_ended_and_lets_its_execution_end(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1)
    held = harness.started()
    waiting = harness.trigger()
    harness.run(stops.stop(held.id, "stop", "stopped by a test"))
    given = harness.run(runs.give_back(held.id, held.record.token, "its worker was shut down"))
    assert (given.verdict, given.state, given.ready) == ("stopped", "stopped", {"default": 1})
    ended = harness.get(held.id)
    assert (ended.exit_code, ended.message) == (-1, "stopped by a test")
    assert harness.claimed().id == waiting.id
    check_store(harness)


def test_a_repeated_one_changes_nothing(harness: StoreHarness) -> None:
    harness.task("a")
    held = harness.started()
    call = runs.give_back(held.id, held.record.token, "again", crashes=1)
    harness.run(call)
    before = snapshot(harness)
    assert harness.run(call).verdict == "refused"
    assert snapshot(harness) == before
    assert harness.claimed().record.crashes == 1
    assert harness.run(call).verdict == "refused"
    assert harness.state(held.id) == "running"


@pytest.mark.parametrize("late", ["heartbeat", "end"])
def test_its_worker_has_no_right_to_it_any_more(harness: StoreHarness, late: str) -> None:
    harness.task("a")
    held = harness.started()
    harness.run(runs.give_back(held.id, held.record.token, "again"))
    if late == "heartbeat":
        assert harness.heartbeat(held) == ["lost"]
    else:
        assert harness.end(held).verdict == "refused"
    assert harness.state(held.id) == "pending"
