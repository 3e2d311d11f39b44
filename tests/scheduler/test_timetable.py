"""When the timetable fires what, on the real store with a handed-in now."""

from __future__ import annotations

import time

import pytest

from scheduler.timetable import ON_TIME_US, Timetable
from shared.clock import SECOND_US
from shared.runs import Reason, Run
from shared.store import tasks
from shared.store.listing import Filter, page
from shared.store.threads import Store
from shared.tasks import Task, define

MINUTE_US = 60 * SECOND_US
START_US = 1_800_000_000 * SECOND_US
"""A whole minute, in the future of no test."""


def put(store: Store, *made: Task, now_us: int = START_US) -> Timetable:
    store.do(tasks.apply([(task, define(task)) for task in made], now=now_us))
    timetable = Timetable()
    timetable.refresh(store, store.do(tasks.catalog_version()))
    return timetable


def fire(store: Store, timetable: Timetable, now_us: int) -> int:
    return timetable.fire(store, now_us, time.monotonic() + 60)


def history(store: Store, name: str) -> list[Run]:
    return store.run(page(Filter(task_name=(name,)), descending=False)).runs


def ticks(runs: list[Run]) -> list[int]:
    return [round((run.scheduled_for.timestamp() - START_US / SECOND_US) / 60) for run in runs if run.scheduled_for]


def test_a_tick_is_fired_once_however_often_one_looks(store: Store) -> None:
    timetable = put(store, Task(name="t", run="true", cron=("* * * * *",)))
    assert fire(store, timetable, START_US + MINUTE_US - 1) == 0
    assert fire(store, timetable, START_US + MINUTE_US) == 1
    assert fire(store, timetable, START_US + MINUTE_US + 1) == 0
    assert ticks(history(store, "t")) == [1]


def test_a_second_scheduler_finds_the_tick_taken(store: Store) -> None:
    first = put(store, Task(name="t", run="true", cron=("* * * * *",)))
    second = Timetable()
    second.refresh(store, first.version)
    assert fire(store, first, START_US + MINUTE_US) == 1
    assert fire(store, second, START_US + MINUTE_US) == 0
    assert len(history(store, "t")) == 1


@pytest.mark.parametrize(("catch_up", "run_at", "missed"), [(0, [], 10), (1, [10], 9), (3, [8, 9, 10], 7)])
def test_after_downtime_the_newest_missed_ticks_run_and_one_record_counts_the_rest(
    store: Store, catch_up: int, run_at: list[int], missed: int
) -> None:
    timetable = put(store, Task(name="t", run="true", cron=("* * * * *",), catch_up=catch_up))
    fire(store, timetable, START_US + 10 * MINUTE_US + ON_TIME_US)
    runs = history(store, "t")
    skipped = [run for run in runs if run.end_reason is Reason.SKIPPED]
    assert [f"missed {missed} ticks" in (run.message or "") for run in skipped] == [True]
    assert ticks([run for run in runs if run not in skipped]) == run_at


def test_jitter_longer_than_the_interval_loses_no_tick(store: Store) -> None:
    timetable = put(store, Task(name="t", run="true", cron=("* * * * *",), jitter_ms=5 * 60_000))
    for second in range(0, 20 * 60, 5):
        fire(store, timetable, START_US + second * SECOND_US)
    fired = ticks(history(store, "t"))
    assert fired == list(range(1, len(fired) + 1))
    assert len(fired) >= 14
    assert all(run.end_reason is not Reason.SKIPPED for run in history(store, "t"))


def test_a_paused_schedule_owes_nothing_when_it_goes_on(store: Store) -> None:
    put(store, Task(name="t", run="true", cron=("* * * * *",)))
    store.do(tasks.pause("t", True, now=START_US))
    store.do(tasks.pause("t", False, now=START_US + 10 * MINUTE_US))
    timetable = Timetable()
    timetable.refresh(store, store.do(tasks.catalog_version()))
    fire(store, timetable, START_US + 11 * MINUTE_US)
    assert ticks(history(store, "t")) == [11]


def test_a_changed_schedule_owes_nothing_for_the_past(store: Store) -> None:
    put(store, Task(name="t", run="true", cron=("0 0 1 1 *",)))
    timetable = put(store, Task(name="t", run="true", cron=("* * * * *",)), now_us=START_US + 30 * MINUTE_US)
    fire(store, timetable, START_US + 31 * MINUTE_US)
    assert ticks(history(store, "t")) == [31]


def test_a_changed_command_keeps_what_the_schedule_owes(store: Store) -> None:
    put(store, Task(name="t", run="true", cron=("* * * * *",)))
    timetable = put(store, Task(name="t", run="false", cron=("* * * * *",)), now_us=START_US + 90 * SECOND_US)
    fire(store, timetable, START_US + 2 * MINUTE_US)
    assert 2 in ticks(history(store, "t"))


def test_a_tick_for_an_old_definition_is_left_to_who_knows_the_new_one(store: Store) -> None:
    """F32: one tick."""
    old = put(store, Task(name="t", run="true", cron=("* * * * *",)))
    new = put(store, Task(name="t", run="false", cron=("* * * * *",)), now_us=START_US + SECOND_US)
    assert fire(store, old, START_US + MINUTE_US) == 0
    assert fire(store, new, START_US + MINUTE_US) == 1
