"""
Lists of executions, newest first: of all tasks, or of the tasks that a filter selects.

A place in the list is ``<created>.<id>`` of the execution before it. Only the last page may be empty, because a client
of the 0.x line takes an empty page for the end.
"""

import re
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

from api.dialects.ona import execution_bodies
from api.dialects.ona.execution_bodies import Phase
from api.dialects.ona.pagination import PageRequest, bad_token
from api.dialects.ona.render import read_consistent, render_all
from api.dialects.ona.status import MAY_BE
from api.http.auth import Grant
from shared.executions import Execution
from shared.executions import Phase as OurPhase
from shared.store import executions
from shared.store.dialects import live_executions
from shared.store.redis.call import Operation, each

MANY: Final = 5000
"""Up to so many tasks have their own lists merged; for more the list of all executions is looked through."""

MANY_BY_PHASE: Final = 500
SHARE: Final = 5
"""
The same with a filter by phase, which no list knows. A step through merged lists costs as much as ``SHARE`` through the
list of all, so they are merged only if at most one of so many executions is theirs.
"""

PATIENCE: Final = 20
"""Steps after which a page that has anything is given out, although it is not full."""

STEP: Final = 100
"""Executions, or tasks, that are looked at in one step."""

_LIVE: Final = {OurPhase.PENDING, OurPhase.RUNNING}
_PLACE: Final = re.compile(r"[0-9]{1,16}\.[0-9a-f]{32}")

Place = tuple[int, UUID]
"""When an execution was made, and its id: where it is in the list."""


class Found(NamedTuple):
    """The executions that one step found, newest first, and where the next step begins ("" after the last)."""

    executions: list[Execution]
    cursor: str


async def page(
    names: Collection[str] | None, phases: frozenset[Phase], page_request: PageRequest, base: str, grant: Grant
) -> tuple[list[execution_bodies.TaskExecution], str]:
    """
    The executions of those tasks (None: all tasks) that *grant* covers, as messages; and the place where the next page
    starts ("" when this is the last).
    """
    wanted = sorted({ours for phase in phases for ours in MAY_BE.get(phase, ())})
    if page_request.place and not _PLACE.fullmatch(page_request.place):
        raise bad_token()
    if phases and not wanted:
        return [], ""
    found: list[tuple[str, execution_bodies.TaskExecution]] = []
    step = await _way(names, wanted)
    cursor, steps = page_request.place, 0
    while len(found) <= page_request.size and (steps < PATIENCE or not found):
        count = STEP if wanted else min(STEP, page_request.size + 1 - len(found))
        some = await step(count, cursor)
        seen = [one for one in some.executions if grant.covers(*one.tasks)]
        rendered = await render_all(seen, base, grant)
        found += [
            (_cursor((one.created_us, one.id)), shown)
            for one, shown in zip(seen, rendered, strict=True)
            if not phases or shown.status.phase in phases
        ]
        cursor, steps = some.cursor, steps + 1
        if not cursor:
            break
    shown = [one for _, one in found[: page_request.size]]
    return shown, found[page_request.size - 1][0] if len(found) > page_request.size else cursor


Step = Callable[[int, str], Operation[Found]]
"""Looks at so many executions behind a cursor, and finds those that are wanted."""


async def _way(names: Collection[str] | None, wanted: Sequence[OurPhase]) -> Step:
    """The cheapest way to go through the list."""
    if wanted and _LIVE.issuperset(wanted):
        places = await live_executions.places()
        if places is not None:
            return partial(_of_live, places, names, wanted)
    if names is not None and (await _is_worth_merging(list(names), by_phase=bool(wanted))):
        return partial(_of_each, list(names), wanted)
    return partial(_of_all, names, wanted)


async def _is_worth_merging(names: list[str], *, by_phase: bool) -> bool:
    if not by_phase or len(names) > MANY_BY_PHASE:
        return len(names) <= (MANY_BY_PHASE if by_phase else MANY)
    counts = await each(executions.count(name) for name in ["", *names])
    return sum(counts[1:]) * SHARE <= counts[0]


async def _of_live(
    places: list[Place], names: Collection[str] | None, wanted: Sequence[OurPhase], count: int, cursor: str
) -> Found:
    """The executions at *places*, which are all the live ones."""
    last = _place(cursor)
    behind = [place for place in places if last is None or place < last]
    return await _at(behind[:count], names, wanted, is_last=len(behind) <= count)


async def _of_each(names: list[str], wanted: Sequence[OurPhase], count: int, cursor: str) -> Found:
    """The executions, from the list of each task."""
    places = await _merged(names, count, cursor)
    return await _at(places, None, wanted, is_last=len(places) < count)


async def _of_all(names: Collection[str] | None, wanted: Sequence[OurPhase], count: int, cursor: str) -> Found:
    """The executions, from the list of all executions, filtered by task."""
    looked = await executions.page(phases=wanted, limit=STEP if names is not None else count, cursor=cursor)
    ids = [one.id for one in looked.executions if names is None or one.task in names]
    return Found((await read_consistent(ids)), looked.next_cursor)


async def _at(
    places: list[Place], names: Collection[str] | None, wanted: Sequence[OurPhase], *, is_last: bool
) -> Found:
    some = await read_consistent([id_ for _, id_ in places])
    among = [one for one in some if (names is None or one.task in names) and (not wanted or one.phase in wanted)]
    return Found(among, "" if is_last else _cursor(places[-1]))


async def _merged(names: list[str], count: int, cursor: str) -> list[Place]:
    """The places of the *count* newest executions of the tasks after *cursor*."""
    if len(names) > count:
        # The first *count* of all belong to the tasks whose own newest executions are the newest.
        heads = await _behind(names, 1, cursor)
        newest = sorted(((own[0], name) for name, own in zip(names, heads, strict=True) if own), reverse=True)
        names = [name for _, name in newest[:count]]
    lists = await _behind(names, count, cursor)
    return sorted((place for own in lists for place in own), reverse=True)[:count]


async def _behind(names: Sequence[str], count: int, cursor: str) -> list[list[Place]]:
    """The places of the *count* newest executions of each task after *cursor*."""
    last, until_us = _place(cursor), int(cursor.partition(".")[0]) if cursor else None
    found: list[list[Place]] = []
    for step in range(0, len(names), STEP):
        # One more, for the execution at the cursor itself: a task has no two executions of one microsecond.
        found += await each(executions.newest(name, count + 1, until_us) for name in names[step : step + STEP])
    return [[place for place in own if last is None or place < last][:count] for own in found]


def _place(cursor: str) -> Place | None:
    created, _, execution = cursor.partition(".")
    return (int(created), UUID(execution)) if cursor else None


def _cursor(place: Place) -> str:
    return f"{place[0]}.{place[1].hex}"
