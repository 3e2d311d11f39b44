"""History is kept by number and age; what is forgotten is gone with everything that was its own."""

import pytest

from shared import ops
from shared.errors import Conflict, NotFound
from shared.runs import Reason
from shared.store import logs, retention, runs, tasks
from shared.store.tasks import Entry
from tests.store.consistency import check_store, dump, records
from tests.store.harness import SECOND, StoreHarness

DAY = 86_400 * SECOND


def test_the_newest_are_kept(harness: StoreHarness) -> None:
    entry = harness.task("a", keep_runs=3)
    _end(harness, 8)
    assert _forget(harness, entry) == 5
    assert _numbers(harness) == [6, 7, 8]
    assert _forget(harness, entry) == 0


def test_what_is_old_goes_even_when_there_is_little(harness: StoreHarness) -> None:
    entry = harness.task("a", keep_for_ms=DAY // 1000)
    _end(harness, 2)
    harness.now += DAY - SECOND
    _end(harness, 1)
    assert _forget(harness, entry) == 0
    harness.now += SECOND
    assert _forget(harness, entry) == 2
    assert _numbers(harness) == [3]


def test_the_age_of_a_run_is_counted_from_its_end(harness: StoreHarness) -> None:
    entry = harness.task("a", keep_for_ms=DAY // 1000)
    held = harness.started()
    harness.now += 2 * DAY
    harness.end(held)
    harness.now += DAY - SECOND
    assert _forget(harness, entry) == 0
    harness.now += SECOND
    assert _forget(harness, entry) == 1


def test_live_runs_are_never_forgotten(harness: StoreHarness) -> None:
    entry = harness.task("a", keep_runs=1, keep_for_ms=1000)
    held = harness.started()
    waiting = harness.trigger()
    harness.now += DAY
    assert _forget(harness, entry) == 0
    with pytest.raises(Conflict, match="is running; stop it"):
        harness.run(ops.delete(str(held.id)))
    with pytest.raises(Conflict, match="is pending; stop it"):
        harness.run(ops.delete(str(waiting.id)))


def test_a_long_history_goes_in_small_steps(harness: StoreHarness) -> None:
    entry = harness.task("a", keep_runs=10)
    _end(harness, 130)
    assert harness.run(retention.prune("a", 10, DAY, batch=50)).runs == 50
    check_store(harness)
    assert _forget(harness, entry) == 70
    assert _numbers(harness) == list(range(121, 131))


def test_the_oldest_runs_of_each_reason_are_pruned_first(harness: StoreHarness) -> None:
    harness.task("a")
    for number in range(12):
        harness.end(harness.started(), list(Reason)[number % 5])
    assert harness.run(retention.prune("a", 1, DAY, batch=3)).runs == 3
    assert _numbers(harness) == list(range(4, 13))
    assert harness.run(retention.prune("a", 1, DAY)).runs == 4
    assert _numbers(harness) == [8, 9, 10, 11, 12]


def test_many_ends_of_one_reason_push_out_none_of_another(harness: StoreHarness) -> None:
    entry = harness.task("a", keep_runs=3)
    harness.end(harness.started(), Reason.FAILED, 1)
    _end(harness, 5)
    harness.end(harness.started(), Reason.CRASHED, -2)
    for _ in range(5):
        harness.end(harness.started(), Reason.STOPPED, 143)
    assert _forget(harness, entry) == 4
    assert _numbers(harness) == [1, 4, 5, 6, 7, 10, 11, 12]


def test_reasons_that_are_within_their_number_hold_up_no_other(harness: StoreHarness) -> None:
    """In steps of two, with the oldest run of all one that stays."""
    harness.task("a")
    harness.end(harness.started(), Reason.FAILED, 1)
    _end(harness, 9)
    after_number: int | None = 0
    forgotten = 0
    while after_number is not None:
        step = harness.run(retention.prune("a", 4, DAY, batch=2, after_number=after_number))
        forgotten, after_number = forgotten + step.runs, step.after_number
    assert forgotten == 5
    assert _numbers(harness) == [1, 7, 8, 9, 10]


def test_a_task_that_is_removed_keeps_the_bounds_of_its_history(harness: StoreHarness) -> None:
    """It may be gone by mistake, or for a moment."""
    harness.task("a", keep_runs=5000, keep_for_ms=400 * DAY // 1000)
    harness.task("b")
    _end(harness, 3)
    harness.remove("a")
    kept = harness.run(tasks.bounds("a"))
    assert (kept.keep_runs, kept.keep_for_ms) == (5000, 400 * DAY // 1000)
    harness.now += 300 * DAY
    assert harness.run(ops.prune("a", kept)) is None
    assert _numbers(harness) == [1, 2, 3]
    harness.task("a", keep_runs=2)
    assert harness.run(tasks.bounds("a")).keep_runs == 2
    harness.remove("a")
    assert harness.run(tasks.bounds("a")).keep_runs == 2
    harness.now += 101 * DAY
    harness.run(ops.prune("a", harness.run(tasks.bounds("a"))))
    assert harness.run(tasks.bounds("a")).keep_runs == 1000  # nothing is left that could need others


def test_a_removed_task_without_runs_leaves_nothing(harness: StoreHarness) -> None:
    harness.task("a", keep_runs=5)
    harness.task("b")
    harness.remove("a")
    assert b"retired" not in dump(harness)


def test_everything_of_a_run_goes_with_it(harness: StoreHarness) -> None:
    harness.task("a", replicas=2, limits={"db": 1})
    before = set(dump(harness))
    harness.trigger(external_execution_id="e", tags=("t",))
    one, two = harness.claimed(), harness.claimed()
    for held in (one, two):
        harness.append(held, 0, "line")
        harness.end(held)
    harness.run(logs.compact(one.id))
    for held in (one, two):
        harness.run(ops.delete(str(held.id)))
        check_store(harness)
    left = {key for key in dump(harness) if not key.startswith((b"dramatiq", b"wake:queue:"))} - before
    assert left == {b"counter", b"claims:w", b"prune-candidates", b"history", b"numbers", b"queues"}, left
    with pytest.raises(NotFound):
        harness.run(ops.delete(str(one.id)))


def test_a_definition_lives_as_long_as_anything_uses_it(harness: StoreHarness) -> None:
    old = harness.task("a", priority=1).definition.hash
    held = harness.started()
    harness.task("a", priority=2)
    assert harness.run(tasks.definition(old)) is not None
    harness.end(held)
    harness.run(ops.delete(str(held.id)))
    assert harness.run(tasks.definition(old)) is None


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_removed_task_is_forgotten_with_its_last_run(harness: StoreHarness, by_hand: bool) -> None:
    harness.task("a")
    harness.task("b")
    held = harness.started("a")
    harness.remove("a")
    assert harness.run(tasks.known_tasks()) == ["a"]
    harness.end(held)
    if by_hand:
        harness.run(ops.delete(str(held.id)))
    else:
        assert harness.run(retention.prune("a", 0, 0)).runs == 1
    assert harness.run(tasks.known_tasks()) == []
    assert b"numbers" not in dump(harness)


def test_a_removed_task_is_to_be_tidied(harness: StoreHarness) -> None:
    harness.task("a")
    harness.task("b")
    harness.remove("a")
    assert harness.run(tasks.prune_candidates(10)) == ["a"]
    assert harness.run(tasks.prune_candidates(10)) == []


def test_a_run_of_a_live_execution_can_be_forgotten(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=2, retry_delay_ms=(0,), max_concurrent=1)
    held = harness.started()
    harness.fail(held, entry)
    harness.run(ops.delete(str(held.id)))
    check_store(harness)
    retry = harness.claimed()
    harness.fail(retry, entry)
    check_store(harness)
    harness.end(harness.claimed())
    assert harness.run(runs.is_over(held.id))


def _forget(harness: StoreHarness, entry: Entry) -> int:
    """As often as there is more; how many runs are gone."""
    before = len(_numbers(harness))
    after_number: int | None = 0
    while after_number is not None:
        after_number = harness.run(ops.prune(entry.name, entry.task, after_number))
    return before - len(_numbers(harness))


def _end(harness: StoreHarness, count: int) -> None:
    for _ in range(count):
        harness.end(harness.started())


def _numbers(harness: StoreHarness) -> list[int]:
    return sorted(record.number for record in records(dump(harness)).values())
