"""Executions, read so that they can be told: with what was noted of their start, their definitions, and their ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from api.dialects.ona import bodies
from api.dialects.ona.bodies import Phase
from api.dialects.ona.catalog import DEFAULT, by_names, ids_of
from api.dialects.ona.pages import Wish
from api.dialects.ona.phases import MAY_BE, Around, Start, told
from api.dialects.ona.words import LOGS
from shared.errors import Invalid, Problem
from shared.executions import Execution
from shared.executions import Phase as OurPhase
from shared.store import annex, executions, tasks
from shared.store.call import Operation
from shared.tasks import Task

START: Final = "ona.start"
"""The field of the first run's annex that holds a ``Start``."""

FEW: Final = 8
"""Up to so many tasks have their executions read one task after another; for more all executions are looked through."""

SCAN_LIMIT: Final = 10_000
_STEP: Final = 100
_PLACE: Final = re.compile(r"[0-9]{1,16}\.[0-9a-f]{32}")
_decoder = msgspec.json.Decoder(Start)


def read(execution_id: UUID) -> Operation[Execution | None]:
    """The execution as it was at one instant, or None."""
    found = yield from steady([execution_id])
    return found[0] if found else None


def steady(ids: Sequence[UUID]) -> Operation[list[Execution]]:
    """
    The executions, each as it was at one instant.

    Reading one takes several round trips, between which it may change; its version says whether it did.
    """
    found = yield from executions.some(ids)
    for _ in range(_STEP):
        now = yield [executions.version(one.id) for one in found]
        moved = [one.id for one, version in zip(found, now, strict=True) if version not in (None, one.version)]
        if not moved:
            break
        again = {one.id: one for one in (yield from executions.some(moved))}
        found = [again.get(one.id, one) for one in found]
    return found


def noted(note: bytes) -> Start:
    """What was noted of a start."""
    return _decoder.decode(note)


def tell(found: Sequence[Execution], base: str) -> Operation[list[bodies.TaskExecution]]:
    """The executions as they go over the wire; *base* is the URL under which this server is known."""
    notes = yield from annex.read_many([one.id for one in found])
    names = {step.task for one in found for step in one.steps} | {one.task for one in found}
    known = yield from by_names(names)
    ids = yield from ids_of(names)
    hashes = list({step.definition for one in found for step in one.steps})
    read = yield [tasks.definition(one) for one in hashes]
    definitions: dict[str, Task] = {one.hash: one.task() for one in read if one is not None}
    result = []
    for one, note in zip(found, notes, strict=True):
        own = known.get(one.task)
        start = Start(environment=own.environment if own else DEFAULT, ids=ids)
        if START in note:
            start = noted(note[START])
            start = msgspec.structs.replace(start, ids={**ids, **start.ids})
        result.append(told(one, Around(start, definitions, known, f"{base}{LOGS}{one.id}")))
    return result


def page(
    names: Sequence[str] | None, phases: frozenset[Phase], wish: Wish, base: str
) -> Operation[tuple[list[bodies.TaskExecution], str]]:
    """
    The executions of those tasks (None: of all), the newest first, as they go over the wire; and where the next page
    starts ("" when this is the last).
    """
    wanted = sorted({ours for phase in phases for ours in MAY_BE.get(phase, ())})
    if wish.place and not _PLACE.fullmatch(wish.place):
        raise Invalid([Problem("body.pagination.token", "is no token of a page before")])
    if phases and not wanted:
        return [], ""
    found: list[bodies.TaskExecution] = []
    places: list[str] = []
    seen, cursor = 0, wish.place
    while seen < SCAN_LIMIT and len(found) <= wish.size:
        count = min(_STEP, wish.size + 1 - len(found))
        if names is not None and len(names) <= FEW:
            newest = yield from _of_few(names, wanted, count, cursor)
        else:
            newest = yield from _newest("", wanted, _STEP if names is not None else count, cursor)
        if not newest:
            break
        seen, cursor = seen + len(newest), newest[-1][0]
        among = [place for place in newest if names is None or place[1].task in names]
        whole = {one.id: one for one in (yield from steady([execution.id for _, execution in among]))}
        ordered = [(place, whole[execution.id]) for place, execution in among if execution.id in whole]
        bodies_of = yield from tell([one for _, one in ordered], base)
        for (place, _), one in zip(ordered, bodies_of, strict=True):
            if not phases or one.status.phase in phases:
                found.append(one)
                places.append(place)
    shown = found[: wish.size]
    return shown, places[wish.size - 1] if len(found) > wish.size else ""


Placed = tuple[str, Execution]
"""An execution and the cursor that goes on behind it."""


def _of_few(names: Sequence[str], wanted: Sequence[OurPhase], count: int, cursor: str) -> Operation[list[Placed]]:
    found: list[Placed] = []
    for name in names:
        found += yield from _newest(name, wanted, count, cursor)
    # Of two that were made in the same microsecond each list may begin with either.
    last = _order(cursor) if cursor else None
    fresh = [pair for pair in found if last is None or _order(pair[0]) < last]
    return sorted(fresh, key=lambda pair: _order(pair[0]), reverse=True)[:count]


def _newest(name: str, wanted: Sequence[OurPhase], count: int, cursor: str) -> Operation[list[Placed]]:
    found = yield from executions.page(task=name, phases=wanted, limit=count, cursor=cursor)
    return [(f"{one.created_us}.{one.id.hex}", one) for one in found.executions]


def _order(cursor: str) -> tuple[int, str]:
    created, _, execution = cursor.partition(".")
    return int(created), execution
