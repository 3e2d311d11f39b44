"""A run that was claimed and not started goes back to where it waited, and loses nothing by it."""

from __future__ import annotations

import pytest

from shared.store import runs
from tests.store.checking import check_store, snapshot
from tests.store.desk import SECOND, Desk


def test_what_was_given_back_is_claimed_next_and_by_another_token(desk: Desk) -> None:
    desk.task("a")
    first, second = desk.trigger(), desk.trigger()
    held = desk.claimed()
    assert held.id == first.id
    given = desk.run(runs.give_back(held.id, held.record.token, "its worker was shut down"))
    assert (given.verdict, given.state, given.ready) == ("given_back", "pending", {"default": 1})
    waiting = desk.get(first.id)
    assert (waiting.status, waiting.message) == ("pending", "its worker was shut down")
    check_store(desk)
    again = desk.claimed("other")
    assert again.id == first.id
    assert again.record.token != held.record.token
    assert (again.record.message, again.record.attempt, again.record.crashes) == ("", 0, 0)
    assert desk.claimed("other").id == second.id


def test_of_several_given_back_the_oldest_goes_first_and_none_overtakes_a_higher_priority(desk: Desk) -> None:
    desk.task("a")
    desk.task("urgent", priority=9)
    old, new = desk.trigger(), desk.trigger()
    held = [desk.claimed(), desk.claimed()]
    urgent = desk.trigger("urgent")
    for one in reversed(held):
        desk.run(runs.give_back(one.id, one.record.token, "again"))
    assert [desk.claimed().id for _ in range(3)] == [urgent.id, old.id, new.id]


def test_a_delay_keeps_it_from_every_worker_until_it_is_due(desk: Desk) -> None:
    desk.task("a")
    held = desk.started()
    desk.run(runs.give_back(held.id, held.record.token, "no worker can verify it", delay_us=2 * SECOND))
    check_store(desk)
    assert desk.claim() is None
    desk.pass_s(2.1)
    assert desk.run(runs.release())[2] == {"default": 1}
    assert desk.claimed().id == held.id


def test_one_that_had_been_asked_to_stop_has_ended_and_lets_its_execution_end(desk: Desk) -> None:
    desk.task("a", max_concurrent=1)
    held = desk.started()
    waiting = desk.trigger()
    desk.run(runs.stop(held.id, "stop", "stopped by a test"))
    given = desk.run(runs.give_back(held.id, held.record.token, "its worker was shut down"))
    assert (given.verdict, given.state, given.ready) == ("stopped", "stopped", {"default": 1})
    ended = desk.get(held.id)
    assert (ended.exit_code, ended.message) == (-1, "stopped by a test")
    assert desk.claimed().id == waiting.id
    check_store(desk)


def test_a_repeated_one_changes_nothing(desk: Desk) -> None:
    desk.task("a")
    held = desk.started()
    call = runs.give_back(held.id, held.record.token, "again", crashes=1)
    desk.run(call)
    before = snapshot(desk)
    assert desk.run(call).verdict == "refused"
    assert snapshot(desk) == before
    assert desk.claimed().record.crashes == 1
    assert desk.run(call).verdict == "refused"
    assert desk.state(held.id) == "running"


@pytest.mark.parametrize("late", ["heartbeat", "end"])
def test_its_worker_has_no_right_to_it_any_more(desk: Desk, late: str) -> None:
    desk.task("a")
    held = desk.started()
    desk.run(runs.give_back(held.id, held.record.token, "again"))
    if late == "heartbeat":
        assert desk.beat(held) == ["lost"]
    else:
        assert desk.end(held).verdict == "refused"
    assert desk.state(held.id) == "pending"
