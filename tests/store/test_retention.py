"""History is kept by number and age; what is forgotten is gone with everything that was its own."""

from __future__ import annotations

import pytest

from shared import ops
from shared.errors import Conflict, NotFound
from shared.runs import Reason
from shared.store import logs, retention, runs, tasks
from shared.store.tasks import Entry
from tests.store.checking import check_store, dump, records
from tests.store.desk import SECOND, Desk

DAY = 86_400 * SECOND


def test_the_newest_are_kept(desk: Desk) -> None:
    entry = desk.task("a", keep_runs=3)
    _end(desk, 8)
    assert _forget(desk, entry) == 5
    assert _numbers(desk) == [6, 7, 8]
    assert _forget(desk, entry) == 0


def test_what_is_old_goes_even_when_there_is_little(desk: Desk) -> None:
    entry = desk.task("a", keep_for_ms=DAY // 1000)
    _end(desk, 2)
    desk.now += DAY - SECOND
    _end(desk, 1)
    assert _forget(desk, entry) == 0
    desk.now += SECOND
    assert _forget(desk, entry) == 2
    assert _numbers(desk) == [3]


def test_the_age_of_a_run_is_counted_from_its_end(desk: Desk) -> None:
    entry = desk.task("a", keep_for_ms=DAY // 1000)
    held = desk.started()
    desk.now += 2 * DAY
    desk.end(held)
    desk.now += DAY - SECOND
    assert _forget(desk, entry) == 0
    desk.now += SECOND
    assert _forget(desk, entry) == 1


def test_live_runs_are_never_forgotten(desk: Desk) -> None:
    entry = desk.task("a", keep_runs=1, keep_for_ms=1000)
    held = desk.started()
    waiting = desk.trigger()
    desk.now += DAY
    assert _forget(desk, entry) == 0
    with pytest.raises(Conflict, match="is running; stop it"):
        desk.run(ops.delete(str(held.id)))
    with pytest.raises(Conflict, match="is pending; stop it"):
        desk.run(ops.delete(str(waiting.id)))


def test_a_long_history_goes_in_small_steps(desk: Desk) -> None:
    entry = desk.task("a", keep_runs=10)
    _end(desk, 130)
    assert desk.run(retention.forget("a", 10, DAY, batch=50)).runs == 50
    check_store(desk)
    assert _forget(desk, entry) == 70
    assert _numbers(desk) == list(range(121, 131))


def test_of_every_reason_the_oldest_are_forgotten_first(desk: Desk) -> None:
    desk.task("a")
    for number in range(12):
        desk.end(desk.started(), list(Reason)[number % 5])
    assert desk.run(retention.forget("a", 1, DAY, batch=3)).runs == 3
    assert _numbers(desk) == list(range(4, 13))
    assert desk.run(retention.forget("a", 1, DAY)).runs == 4
    assert _numbers(desk) == [8, 9, 10, 11, 12]


def test_many_ends_of_one_reason_push_out_none_of_another(desk: Desk) -> None:
    entry = desk.task("a", keep_runs=3)
    desk.end(desk.started(), Reason.FAILED, 1)
    _end(desk, 5)
    desk.end(desk.started(), Reason.CRASHED, -2)
    for _ in range(5):
        desk.end(desk.started(), Reason.STOPPED, 143)
    assert _forget(desk, entry) == 4
    assert _numbers(desk) == [1, 4, 5, 6, 7, 10, 11, 12]


def test_reasons_that_are_within_their_number_hold_up_no_other(desk: Desk) -> None:
    """In steps of two, with the oldest run of all one that stays."""
    desk.task("a")
    desk.end(desk.started(), Reason.FAILED, 1)
    _end(desk, 9)
    behind: int | None = 0
    forgotten = 0
    while behind is not None:
        step = desk.run(retention.forget("a", 4, DAY, batch=2, behind=behind))
        forgotten, behind = forgotten + step.runs, step.behind
    assert forgotten == 5
    assert _numbers(desk) == [1, 7, 8, 9, 10]


def test_a_task_that_is_removed_keeps_the_bounds_of_its_history(desk: Desk) -> None:
    """It may be gone by mistake, or for a moment."""
    desk.task("a", keep_runs=5000, keep_for_ms=400 * DAY // 1000)
    desk.task("b")
    _end(desk, 3)
    desk.remove("a")
    kept = desk.run(tasks.bounds("a"))
    assert (kept.keep_runs, kept.keep_for_ms) == (5000, 400 * DAY // 1000)
    desk.now += 300 * DAY
    assert desk.run(ops.forget("a", kept)) is None
    assert _numbers(desk) == [1, 2, 3]
    desk.task("a", keep_runs=2)
    assert desk.run(tasks.bounds("a")).keep_runs == 2
    desk.remove("a")
    assert desk.run(tasks.bounds("a")).keep_runs == 2
    desk.now += 101 * DAY
    desk.run(ops.forget("a", desk.run(tasks.bounds("a"))))
    assert desk.run(tasks.bounds("a")).keep_runs == 1000  # nothing is left that could need others


def test_a_removed_task_without_runs_leaves_nothing(desk: Desk) -> None:
    desk.task("a", keep_runs=5)
    desk.task("b")
    desk.remove("a")
    assert b"retired" not in dump(desk)


def test_everything_of_a_run_goes_with_it(desk: Desk) -> None:
    desk.task("a", replicas=2, limits={"db": 1})
    before = set(dump(desk))
    desk.trigger(external_execution_id="e", tags=("t",))
    one, two = desk.claimed(), desk.claimed()
    for held in (one, two):
        desk.append(held, 0, "line")
        desk.end(held)
    desk.run(logs.compact(one.id))
    for held in (one, two):
        desk.run(ops.delete(str(held.id)))
        check_store(desk)
    left = {key for key in dump(desk) if not key.startswith((b"dramatiq", b"wake:queue:"))} - before
    assert left == {b"counter", b"claims:w", b"prune-candidates", b"history", b"numbers", b"queues"}, left
    with pytest.raises(NotFound):
        desk.run(ops.delete(str(one.id)))


def test_a_definition_lives_as_long_as_anything_uses_it(desk: Desk) -> None:
    old = desk.task("a", priority=1).definition.hash
    held = desk.started()
    desk.task("a", priority=2)
    assert desk.run(tasks.definition(old)) is not None
    desk.end(held)
    desk.run(ops.delete(str(held.id)))
    assert desk.run(tasks.definition(old)) is None


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_removed_task_is_forgotten_with_its_last_run(desk: Desk, by_hand: bool) -> None:
    desk.task("a")
    desk.task("b")
    held = desk.started("a")
    desk.remove("a")
    assert desk.run(tasks.known_tasks()) == ["a"]
    desk.end(held)
    if by_hand:
        desk.run(ops.delete(str(held.id)))
    else:
        assert desk.run(retention.forget("a", 0, 0)).runs == 1
    assert desk.run(tasks.known_tasks()) == []
    assert b"numbers" not in dump(desk)


def test_a_removed_task_is_to_be_tidied(desk: Desk) -> None:
    desk.task("a")
    desk.task("b")
    desk.remove("a")
    assert desk.run(tasks.dirty(10)) == ["a"]
    assert desk.run(tasks.dirty(10)) == []


def test_a_run_of_a_live_execution_can_be_forgotten(desk: Desk) -> None:
    entry = desk.task("a", retry_attempts=2, retry_delay_ms=(0,), max_concurrent=1)
    held = desk.started()
    desk.fail(held, entry)
    desk.run(ops.delete(str(held.id)))
    check_store(desk)
    retry = desk.claimed()
    desk.fail(retry, entry)
    check_store(desk)
    desk.end(desk.claimed())
    assert desk.run(runs.is_over(held.id))


def _forget(desk: Desk, entry: Entry) -> int:
    """As often as there is more; how many runs are gone."""
    before = len(_numbers(desk))
    behind: int | None = 0
    while behind is not None:
        behind = desk.run(ops.forget(entry.name, entry.task, behind))
    return before - len(_numbers(desk))


def _end(desk: Desk, count: int) -> None:
    for _ in range(count):
        desk.end(desk.started())


def _numbers(desk: Desk) -> list[int]:
    return sorted(record.number for record in records(dump(desk)).values())
