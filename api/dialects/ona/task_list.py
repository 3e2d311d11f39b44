"""
Lists of tasks: those that this dialect created, newest first, then the default environment's others by name.

A place in the list is ``a<arrival>`` after a task of the former, ``n<name>`` after one of the latter.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from api.dialects.ona import bodies
from api.dialects.ona.catalog import DEFAULT, Known, by_ids, by_names
from api.dialects.ona.pagination import PageRequest, bad_token
from api.http.auth import Grant
from shared.store import tasks
from shared.store.dialects import ona_tasks
from shared.store.redis.call import each

STEP: Final = 200
"""Tasks that are read at once in a search."""

STEP_OF_NAMES: Final = 2000
"""The same where no more than their names is looked at."""


class TaskFilter(NamedTuple):
    """The tasks to list; an empty field matches any."""

    environments: frozenset[UUID]
    references: frozenset[str]
    ids: frozenset[UUID]
    grant: Grant

    def fits(self, one: Known) -> bool:
        """Whether the task matches, and may be seen."""
        return (
            (not self.environments or one.environment in self.environments)
            and (not self.references or one.reference in self.references)
            and (not self.ids or one.id in self.ids)
            and self.grant.covers(one.entry.name)
        )


def where(wanted: bodies.ListTasksRequestFilter, grant: Grant) -> TaskFilter:
    """The filter of a list request."""
    return TaskFilter(
        frozenset(map(UUID, wanted.environment_ids)),
        frozenset(wanted.references),
        frozenset(map(UUID, wanted.task_ids)),
        grant,
    )


async def page(which: TaskFilter, page_request: PageRequest) -> tuple[list[Known], str]:
    """The tasks of a page, and the place where the next one starts ("" when this is the last)."""
    if which.ids or (which.references and which.environments):
        found = await _few(which)
        found = [one for one in found if _is_after(one, page_request.place)]
    else:
        found = await _listed(which, page_request)
        if len(found) <= page_request.size:
            found += await _others(which, page_request, page_request.size + 1 - len(found))
    shown = found[: page_request.size]
    return shown, _place(shown[-1]) if len(found) > page_request.size else ""


async def every(which: TaskFilter) -> list[Known]:
    """All matching tasks."""
    found: list[Known] = []
    place = ""
    while True:
        some, place = await page(which, PageRequest(STEP, place))
        found += some
        if not place:
            return found


async def names(which: TaskFilter) -> list[str]:
    """The names of all matching tasks, external ones included, which no list shows."""
    if which.ids or (which.references and which.environments):
        return [one.entry.name for one in (await _few(which))]
    found: list[str] = []
    asked: Sequence[UUID | None] = list(which.environments) or [None]
    for environment in asked:
        found += await _names_listed(which, environment)
    if not which.environments or DEFAULT in which.environments:
        found += await _names_of_others(which)
    return [name for name in found if which.grant.covers(name)]


async def _names_listed(which: TaskFilter, environment: UUID | None) -> list[str]:
    """Tasks that this dialect created."""
    found: list[str] = []
    below: int | None = None
    while True:
        newest = await ona_tasks.newest(environment, below, STEP_OF_NAMES)
        if not newest:
            return found
        rows = await ona_tasks.by_id([id_ for _, id_ in newest])
        found += [row.task for row in rows if row and (not which.references or row.reference in which.references)]
        below = newest[-1][0]


async def _names_of_others(which: TaskFilter) -> list[str]:
    """All other tasks."""
    everybody = await tasks.names()
    wanted = [name for name in everybody if not which.references or name in which.references]
    found: list[str] = []
    for step in range(0, len(wanted), STEP_OF_NAMES):
        some = wanted[step : step + STEP_OF_NAMES]
        ids = await ona_tasks.ids_of_tasks(some)
        found += [name for name, id_ in zip(some, ids, strict=True) if id_ is None]
    return found


async def _few(which: TaskFilter) -> list[Known]:
    """The tasks that the filter names, in the list's order."""
    found: list[Known] = []
    if which.ids:
        found += (await by_ids(sorted(which.ids))).values()
    else:
        pairs = [(environment, one) for environment in which.environments for one in which.references]
        ids = await ona_tasks.ids_of_references(pairs)
        found += (await by_ids([id_ for id_ in ids if id_ is not None])).values()
        if DEFAULT in which.environments:
            found += [one for one in (await by_names(which.references)).values() if one.listed is None]
    return sorted(filter(which.fits, found), key=_order)


async def _listed(which: TaskFilter, page_request: PageRequest) -> list[Known]:
    """Tasks that this dialect created, one more than the page holds if there are as many."""
    below, found = _arrival(page_request.place), list[Known]()
    if below == 0:
        return found
    while len(found) <= page_request.size:
        count = STEP if which.references or which.grant.tasks else page_request.size + 1 - len(found)
        asked: Sequence[UUID | None] = list(which.environments) or [None]
        rows = await each(ona_tasks.newest(one, below, count) for one in asked)
        newest = sorted((pair for row in rows for pair in row), reverse=True)[:count]
        if not newest:
            return found
        known = await by_ids([id_ for _, id_ in newest])
        found += [known[id_] for _, id_ in newest if id_ in known and which.fits(known[id_])]
        below = newest[-1][0]
        if len(newest) < count:
            return found
    return found


async def _others(which: TaskFilter, page_request: PageRequest, count: int) -> list[Known]:
    """At most *count* tasks of other APIs, by name. External tasks cannot be started here."""
    if which.environments and DEFAULT not in which.environments:
        return []
    found: list[Known] = []
    names: list[str] = sorted(which.references) or (await tasks.names())
    start = bisect_right(names, page_request.place[1:]) if page_request.place.startswith("n") else 0
    for step in range(start, len(names), STEP):
        known = await by_names(names[step : step + STEP])
        found += [
            one
            for one in known.values()
            if one.listed is None and not (one.entry.task.external and one.entry.source == "api") and which.fits(one)
        ]
        if len(found) >= count:
            break
    return found[:count]


def _order(one: Known) -> tuple[int, str]:
    return (-one.listed.arrival, "") if one.listed else (0, one.entry.name)


def _place(one: Known) -> str:
    return f"a{one.listed.arrival}" if one.listed else f"n{one.entry.name}"


def _is_after(one: Known, place: str) -> bool:
    if place.startswith("n"):
        return one.listed is None and one.entry.name > place[1:]
    below = _arrival(place)
    return below is None or one.listed is None or one.listed.arrival < below


def _arrival(place: str) -> int | None:
    """The arrival below which the list continues: None for all, 0 when it is past them."""
    if place.startswith("n"):
        return 0
    number = place[1:]
    if place and not (place.startswith("a") and number.isascii() and number.isdigit() and len(number) < 17):
        raise bad_token()
    return int(number) if place else None
