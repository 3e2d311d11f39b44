"""Executions, read so that they can be told: with what was noted of their start, their definitions, and their ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from api.dialects.ona import execution_bodies
from api.dialects.ona.catalog import DEFAULT, by_names, ids_of
from api.dialects.ona.errors import LOGS
from api.dialects.ona.status import Around, Start, told
from api.http.auth import Grant
from shared.executions import Execution
from shared.store import executions, metadata, tasks
from shared.store.redis.call import each
from shared.tasks import Task

START: Final = "ona.start"
"""The field of the first run's annex that holds a ``Start``."""

_TRIES: Final = 100
_decoder = msgspec.json.Decoder(Start)


async def read(execution_id: UUID) -> Execution | None:
    """The execution as it was at one instant, or None."""
    found = await steady([execution_id])
    return found[0] if found else None


async def steady(ids: Sequence[UUID]) -> list[Execution]:
    """
    The executions, each as it was at one instant.

    Reading one takes several round trips, between which it may change; its version says whether it did.
    """
    found = await executions.some(ids)
    for _ in range(_TRIES):
        now = await each(executions.version(one.id) for one in found)
        moved = [one.id for one, version in zip(found, now, strict=True) if version not in (None, one.version)]
        if not moved:
            break
        again = {one.id: one for one in (await executions.some(moved))}
        found = [again.get(one.id, one) for one in found]
    return found


def noted(note: bytes) -> Start:
    """What was noted of a start."""
    return _decoder.decode(note)


async def tell(found: Sequence[Execution], base: str, grant: Grant) -> list[execution_bodies.TaskExecution]:
    """
    The executions as they go over the wire to whoever has *grant*; *base* is the URL under which this server is known.
    """
    notes = await metadata.read_many([one.id for one in found])
    names = {step.task for one in found for step in one.steps} | {one.task for one in found}
    known = await by_names(names)
    ids = await ids_of(names)
    hashes = list({step.definition for one in found for step in one.steps})
    read = await each(tasks.definition(one) for one in hashes)
    definitions: dict[str, Task] = {one.hash: one.task() for one in read if one is not None}
    result = []
    for one, note in zip(found, notes, strict=True):
        own = known.get(one.task)
        start = Start(environment=own.environment if own else DEFAULT, ids=ids)
        if START in note:
            start = noted(note[START])
            start = msgspec.structs.replace(start, ids={**ids, **start.ids})
        result.append(told(one, Around(start, definitions, known, f"{base}{LOGS}{one.id}", grant)))
    return result
