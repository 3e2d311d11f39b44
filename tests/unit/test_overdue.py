"""Which schedules are overdue, by their cursors alone."""

import pytest

from shared.clock import SECOND_US
from shared.schedules.overdue import OVERDUE_US, Standing, standing
from shared.tasks import Task

START_US = 1_800_000_000 * SECOND_US
MINUTE_US = 60 * SECOND_US


def task(name: str = "t", **settings: object) -> Task:
    return Task(name=name, run="true", **({"cron": ("* * * * *",)} | settings))  # type: ignore[arg-type]  # a test's own


@pytest.mark.parametrize(
    ("late_us", "overdue"),
    [(OVERDUE_US - 1, {}), (OVERDUE_US, {"t": START_US + MINUTE_US}), (86_400_000_000, {"t": START_US + MINUTE_US})],
)
def test_a_schedule_is_overdue_half_a_minute_after_an_unhandled_tick(late_us: int, overdue: dict[str, int]) -> None:
    assert standing([task()], {"t": START_US}, START_US + MINUTE_US + late_us) == Standing(overdue, {})


def test_jitter_is_no_delay() -> None:
    calm = task(jitter_ms=50_000)
    hasty = task()
    now_us = START_US + MINUTE_US + OVERDUE_US
    assert standing([hasty], {"t": START_US}, now_us).overdue
    assert not standing([calm], {"t": START_US}, now_us).overdue
    assert standing([calm], {"t": START_US}, now_us + 50 * SECOND_US).overdue


def test_a_schedule_that_cannot_be_read_is_named_with_the_reason_and_leaves_the_others() -> None:
    found = standing([task("a", timezone="Nowhere/At-all"), task("b")], {"b": START_US}, START_US + 10 * MINUTE_US)
    assert list(found.overdue) == ["b"]
    assert "Nowhere/At-all" in found.unreadable["a"]


def test_tasks_without_a_schedule_owe_nothing() -> None:
    assert standing([task(cron=())], {}, START_US) == Standing({}, {})


def test_a_cursor_in_the_future_or_none_owes_nothing() -> None:
    assert standing([task("a"), task("b")], {"a": START_US + 10**12}, START_US) == Standing({}, {})
