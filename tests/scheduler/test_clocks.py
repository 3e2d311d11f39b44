"""Ticks while the clock goes back, jumps ahead, or while no scheduler was there for a month."""

import time

import pytest

from scheduler.cron_heap import ON_TIME_US, CronHeap
from shared.clock import SECOND_US
from shared.runs import Reason, Run
from shared.store import tasks
from shared.store.listing import Filter, page
from shared.store.redis.sync_store import Store
from shared.tasks import Task, define
from tests.conftest import Measured

MINUTE_US = 60 * SECOND_US
START_US = 1_800_000_000 * SECOND_US


def put(store: Store, *made: Task) -> CronHeap:
    store.run(tasks.apply([(task, define(task)) for task in made], now=START_US))
    cron_heap = CronHeap()
    cron_heap.refresh(store, store.run(tasks.catalog_version()))
    return cron_heap


def fire(store: Store, cron_heap: CronHeap, minute: float) -> int:
    return cron_heap.fire(store, START_US + round(minute * MINUTE_US), time.monotonic() + 5)


def history(store: Store, name: str) -> list[Run]:
    return store.run(page(Filter(task_name=(name,)), descending=False, limit=1000)).runs


def minutes(runs: list[Run]) -> list[int]:
    return [round((run.scheduled_for.timestamp() - START_US / SECOND_US) / 60) for run in runs if run.scheduled_for]


def test_a_clock_that_went_back_fires_nothing_twice(store: Store) -> None:
    """F27: ten minutes back, then right again, for one that was there and for one that is new."""
    cron_heap = put(store, Task(name="t", run="true", cron=("* * * * *",)))
    for minute in range(1, 21):
        fire(store, cron_heap, minute)
    for minute in range(10, 21):
        assert fire(store, cron_heap, minute) == 0
        later = CronHeap()
        later.refresh(store, cron_heap.version)
        assert fire(store, later, minute) == 0
    assert fire(store, cron_heap, 21) == 1
    assert minutes(history(store, "t")) == list(range(1, 22))


def test_a_clock_that_jumped_ahead_leaves_one_record_of_what_was_missed(store: Store) -> None:
    """F28: three hours."""
    cron_heap = put(store, Task(name="t", run="true", cron=("* * * * *",), catch_up=0))
    fire(store, cron_heap, 1)
    fire(store, cron_heap, 181)
    fire(store, cron_heap, 182)
    first, missed, *rest = history(store, "t")
    assert (minutes([first]), minutes(rest)) == ([1], [181, 182])
    assert missed.end_reason is Reason.SKIPPED
    assert isinstance(missed.message, str)
    assert "missed 179 ticks" in missed.message


@pytest.mark.parametrize("catch_up", [1, 3])
def test_a_month_of_downtime_is_caught_up_at_once(store: Store, measured: Measured, catch_up: int) -> None:
    """F34: exactly so many runs of each of fifty schedules, and one record of the rest."""
    names = [f"t{n}" for n in range(50)]
    put(store, *(Task(name=name, run="true", cron=("* * * * *",), catch_up=catch_up) for name in names))
    now_us = START_US + 30 * 24 * 60 * MINUTE_US + ON_TIME_US + 1
    began_s = time.monotonic()
    cron_heap = CronHeap()
    cron_heap.refresh(store, store.run(tasks.catalog_version()))
    assert cron_heap.fire(store, now_us, time.monotonic() + 5) == 50 * catch_up
    measured("F34", "caught up", time.monotonic() - began_s, 2)
    for name in names:
        runs = history(store, name)
        assert [run.end_reason for run in runs].count(Reason.SKIPPED) == 1
        assert len(runs) == catch_up + 1
        assert f"missed {30 * 24 * 60 - catch_up} ticks" in str(runs[0].message)
