"""Overdue schedules: they should have fired and did not, according to the store alone."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from shared.clock import SECOND_US
from shared.schedules.schedule import jitter_us, parse
from shared.tasks import Task

OVERDUE_US: Final = 30 * SECOND_US
"""A schedule is overdue if a tick is this late, and neither ran nor was recorded as missed."""


class Standing(NamedTuple):
    """``overdue``: by task, since when (stored time). ``unreadable``: by task, why. Both in the order of the tasks."""

    overdue: dict[str, int]
    unreadable: dict[str, str]


def standing(tasks: Iterable[Task], cursors: Mapping[str, int], now_us: int) -> Standing:
    """
    How the schedules of *tasks* stand at stored time *now_us*.

    *cursors*: the last tick that was seen to, by task; a task without one has no tick before now. Tasks without a
    schedule are passed over; those whose schedule rests should not be among them.
    """
    overdue: dict[str, int] = {}
    unreadable: dict[str, str] = {}
    for task in tasks:
        if not task.cron:
            continue
        try:
            tick = parse(list(task.cron), task.timezone).next_after(min(cursors.get(task.name, now_us), now_us))
        except Exception as error:  # a zone that is missing on this machine, an expression of a newer release
            unreadable[task.name] = str(error)
            continue
        if tick is None:
            continue
        due_us = tick + jitter_us(task.name, tick, task.jitter_ms)
        if due_us <= now_us - OVERDUE_US:
            overdue[task.name] = due_us
    return Standing(overdue, unreadable)
