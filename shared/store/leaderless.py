"""How the schedules stand while no scheduler leads, and so none says it."""

from __future__ import annotations

import itertools
from typing import Final

from shared.schedules.overdue import standing
from shared.store import tasks
from shared.store.health import Health

MOST: Final = 1000
"""Schedules that are looked at; an API process computes their ticks between its requests."""

SHOWN: Final = 20


async def health(now_us: int) -> Health:
    """
    What a leader would say of schedules at stored time *now_us*, of the first ``MOST`` by name; nothing of its jobs.
    """
    catalog = await tasks.catalog()
    cursors = await tasks.cursors()
    own = sorted((one.task for one in catalog.entries if one.task.cron and not one.paused), key=lambda task: task.name)
    found = standing(itertools.islice(own, MOST), cursors, now_us)
    unreadable = found.unreadable | dict(catalog.unreadable)
    return Health(
        schedules=len(own),
        overdue=len(found.overdue),
        overdue_tasks=list(found.overdue)[:SHOWN],
        unreadable=len(unreadable),
        unreadable_tasks=list(unreadable)[:SHOWN],
    )
