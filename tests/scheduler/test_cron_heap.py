"""When the timetable fires what, on the real store with a handed-in now."""

import time

import pytest

from scheduler.cron_heap import ON_TIME_US, CronHeap
from shared.clock import SECOND_US
from shared.runs import Reason, Run
from shared.schedules import jitter_us
from shared.store import tasks
from shared.store.listing import Filter, page
from shared.store.redis.sync_store import Store
from shared.tasks import Task, define

MINUTE_US = 60 * SECOND_US
START_US = 1_800_000_000 * SECOND_US
"""A whole minute, in the future of no test."""


def put(store: Store, *made: Task, now_us: int = START_US) -> CronHeap:
    store.run(tasks.apply([(task, define(task)) for task in made], now=now_us))
    cron_heap = CronHeap()
    cron_heap.refresh(store, store.run(tasks.catalog_version()))
    return cron_heap


def fire(store: Store, cron_heap: CronHeap, now_us: int) -> int:
    return cron_heap.fire(store, now_us, time.monotonic() + 5)


def history(store: Store, name: str) -> list[Run]:
    return store.run(page(Filter(task_name=(name,)), descending=False)).runs


def ticks(runs: list[Run]) -> list[int]:
    return [round((run.scheduled_for.timestamp() - START_US / SECOND_US) / 60) for run in runs if run.scheduled_for]


def test_a_tick_is_fired_once_however_often_one_looks(store: Store) -> None:
    cron_heap = put(store, Task(name="t", run="true", cron=("* * * * *",)))
    assert fire(store, cron_heap, START_US + MINUTE_US - 1) == 0
    assert fire(store, cron_heap, START_US + MINUTE_US) == 1
    assert fire(store, cron_heap, START_US + MINUTE_US + 1) == 0
    assert ticks(history(store, "t")) == [1]


def test_a_second_scheduler_finds_the_tick_taken(store: Store) -> None:
    first = put(store, Task(name="t", run="true", cron=("* * * * *",)))
    second = CronHeap()
    second.refresh(store, first.version)
    assert fire(store, first, START_US + MINUTE_US) == 1
    assert fire(store, second, START_US + MINUTE_US) == 0
    assert len(history(store, "t")) == 1


@pytest.mark.parametrize(("catch_up", "run_at", "missed"), [(0, [], 10), (1, [10], 9), (3, [8, 9, 10], 7)])
def test_after_downtime_the_newest_missed_ticks_run_and_one_record_counts_the_rest(
    store: Store, catch_up: int, run_at: list[int], missed: int
) -> None:
    cron_heap = put(store, Task(name="t", run="true", cron=("* * * * *",), catch_up=catch_up))
    fire(store, cron_heap, START_US + 10 * MINUTE_US + ON_TIME_US + 1)
    runs = history(store, "t")
    skipped = [run for run in runs if run.end_reason is Reason.SKIPPED]
    assert [f"missed {missed} ticks" in (run.message or "") for run in skipped] == [True]
    assert ticks([run for run in runs if run not in skipped]) == run_at


@pytest.mark.parametrize("jitter_ms", [5 * 60_000, 3 * 3_600_000])
def test_jitter_longer_than_the_interval_loses_no_tick(store: Store, jitter_ms: int) -> None:
    cron_heap = put(store, Task(name="t", run="true", cron=("* * * * *",), jitter_ms=jitter_ms))
    for second in range(0, 20 * 60 + 2 * jitter_ms // 1000, 5):
        fire(store, cron_heap, START_US + second * SECOND_US)
    fired = ticks(history(store, "t"))
    assert fired == list(range(1, len(fired) + 1))
    assert len(fired) >= 14
    assert all(run.end_reason is not Reason.SKIPPED for run in history(store, "t"))


def test_every_one_of_many_ticks_leaves_a_run_or_a_record(store: Store) -> None:
    """Jitter of 4 hours on a schedule of each 10 seconds, which a release that allows it applied."""
    cron_heap = put(store, Task(name="t", run="true", cron=("@every 10s",), jitter_ms=4 * 3_600_000, catch_up=2))
    now_us = START_US
    for _ in range(10):
        now_us += 3_600_000_000
        while fire(store, cron_heap, now_us):
            pass
    runs = history(store, "t")
    seen = [(run.scheduled_for.timestamp() - START_US / SECOND_US) // 10 for run in runs if run.scheduled_for]
    assert sorted(set(seen)) == seen
    counted = [int(str(run.message).split()[2]) for run in runs if run.end_reason is Reason.SKIPPED]
    assert len(runs) - len(counted) + sum(counted) == seen[-1]
    assert seen[-1] >= 6 * 3600 / 10


def test_lateness_counts_from_the_tick_and_its_jitter(store: Store) -> None:
    """Five hours down, with a jitter of an hour: what was due in them was missed, the newest is caught up."""
    cron_heap = put(store, Task(name="t", run="true", cron=("0 * * * *",), jitter_ms=3_600_000))
    hours = [START_US + hour * 60 * MINUTE_US for hour in range(1, 6)]
    now_us = hours[-1]
    missed = [hour for hour in hours if hour + jitter_us("t", hour, 3_600_000) < now_us - ON_TIME_US]
    fire(store, cron_heap, now_us)
    skipped, caught_up = history(store, "t")
    assert f"missed {len(missed) - 1} ticks" in str(skipped.message)
    assert ticks([caught_up]) == [(missed[-1] - START_US) // MINUTE_US]


@pytest.mark.parametrize(
    ("catch_up", "window_s", "late_s", "runs"),
    [
        (0, 12, 2, [10]),
        (0, 12, 2.1, []),
        (0, 3600, 2.1, []),
        (0, 1, 1.1, []),
        (1, 12, 12, [9, 10]),
        (2, 12, 13, [9, 10]),
        (1, 90, 70, [9, 10, 11]),
        (1, 90, 91, [10, 11]),
        (3, 1, 2, [8, 9, 10]),
    ],
)
def test_a_tick_is_late_within_the_window_and_missed_after_it(
    store: Store, catch_up: int, window_s: float, late_s: float, runs: list[int]
) -> None:
    put(store, Task(name="t", run="true", cron=("* * * * *",), catch_up=catch_up))
    cron_heap = CronHeap(window_us=round(window_s * SECOND_US))
    cron_heap.refresh(store, store.run(tasks.catalog_version()))
    fire(store, cron_heap, START_US + 10 * MINUTE_US + round(late_s * SECOND_US))
    assert ticks([run for run in history(store, "t") if run.end_reason is not Reason.SKIPPED]) == runs


def test_a_catch_up_is_done_once_and_takes_a_round_trip_a_run(store: Store) -> None:
    cron_heap = put(store, Task(name="t", run="true", cron=("* * * * *",), catch_up=3))
    now_us = START_US + 1000 * MINUTE_US + ON_TIME_US + 1
    before = store.round_trips
    assert fire(store, cron_heap, now_us) == 3
    assert store.round_trips - before == 4  # a record of what was missed, three runs
    assert fire(store, cron_heap, now_us) == 0
    assert store.round_trips - before == 4


def test_a_resumed_schedule_owes_nothing(store: Store) -> None:
    put(store, Task(name="t", run="true", cron=("* * * * *",)))
    store.run(tasks.pause("t", True, now=START_US))
    store.run(tasks.pause("t", False, now=START_US + 10 * MINUTE_US))
    cron_heap = CronHeap()
    cron_heap.refresh(store, store.run(tasks.catalog_version()))
    fire(store, cron_heap, START_US + 11 * MINUTE_US)
    assert ticks(history(store, "t")) == [11]


def test_a_changed_schedule_owes_nothing_for_the_past(store: Store) -> None:
    put(store, Task(name="t", run="true", cron=("0 0 1 1 *",)))
    cron_heap = put(store, Task(name="t", run="true", cron=("* * * * *",)), now_us=START_US + 30 * MINUTE_US)
    fire(store, cron_heap, START_US + 31 * MINUTE_US)
    assert ticks(history(store, "t")) == [31]


def test_a_changed_command_keeps_what_the_schedule_owes(store: Store) -> None:
    put(store, Task(name="t", run="true", cron=("* * * * *",)))
    cron_heap = put(store, Task(name="t", run="false", cron=("* * * * *",)), now_us=START_US + 90 * SECOND_US)
    fire(store, cron_heap, START_US + 2 * MINUTE_US)
    assert 2 in ticks(history(store, "t"))


def test_a_tick_for_an_old_definition_is_left_to_who_knows_the_new_one(store: Store) -> None:
    """F32: one tick."""
    old = put(store, Task(name="t", run="true", cron=("* * * * *",)))
    new = put(store, Task(name="t", run="false", cron=("* * * * *",)), now_us=START_US + SECOND_US)
    assert fire(store, old, START_US + MINUTE_US) == 0
    assert fire(store, new, START_US + MINUTE_US) == 1
