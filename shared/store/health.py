"""The health of the schedules: stored by the leading scheduler, or computed here while none leads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from shared.schedules.overdue import standing
from shared.store import tasks
from shared.store.redis.call import Call, Key
from shared.store.redis.decoding import json_reading

MOST: Final = 1000
"""Schedules whose health is computed: an API process does it between its requests."""

SHOWN: Final = 20
"""Most names of unhealthy schedules that are given."""


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    The health of the schedules and the scheduler's jobs, as the leader sees it.

    ``overdue`` schedules owe a tick for half a minute or longer; ``unreadable`` ones never fire here; of both the first
    names are given. ``failing``: what fails now, by job and what of it, and why. ``failures`` counts by job,
    ``repaired`` schedules that stood otherwise in the timetable than in the catalog; both since the leader's start.
    """

    schedules: int = 0
    overdue: int = 0
    overdue_tasks: list[str] = []
    unreadable: int = 0
    unreadable_tasks: list[str] = []
    failing: Mapping[str, str] = {}
    failures: Mapping[str, int] = {}
    repaired: int = 0

    def of(self, covers: Callable[[str], bool]) -> Health:
        """The part that concerns the tasks that *covers* names, without the jobs."""
        overdue, unreadable = list(filter(covers, self.overdue_tasks)), list(filter(covers, self.unreadable_tasks))
        return Health(
            overdue=len(overdue), overdue_tasks=overdue, unreadable=len(unreadable), unreadable_tasks=unreadable
        )

    def packed(self) -> bytes:
        """As it is stored."""
        return msgspec.json.encode(self)


_health = json_reading(Health, "how the scheduler is")


def stored_health() -> Call[Health | None]:
    """The health that the leader stored last; None when none has for three minutes."""
    return Call("GET", (Key("health"),), lambda reply: _health(reply) if reply else None)


async def computed_health(now_us: int) -> Health:
    """
    The health of the first ``MOST`` schedules by name at stored time *now_us*, without jobs.
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
