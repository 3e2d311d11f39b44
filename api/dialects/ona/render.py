"""Reads executions and renders them as messages, with their definitions and start metadata."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from api.dialects.ona import execution_bodies
from api.dialects.ona.catalog import DEFAULT, by_names, ids_of
from api.dialects.ona.errors import LOGS
from api.dialects.ona.status import RenderContext, Start, rendered
from api.http.auth import Grant
from shared.executions import Execution
from shared.store import executions, metadata, tasks
from shared.store.redis.call import each
from shared.tasks import Task

START: Final = "ona.start"
"""The metadata field of the first run that holds a ``Start``."""

_TRIES: Final = 100
_decoder = msgspec.json.Decoder(Start)


async def read(execution_id: UUID) -> Execution | None:
    """A consistent snapshot of the execution, or None."""
    found = await read_consistent([execution_id])
    return found[0] if found else None


async def read_consistent(ids: Sequence[UUID]) -> list[Execution]:
    """
    Consistent snapshots of the executions.

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


def decode_start(note: bytes) -> Start:
    """The stored start metadata, decoded."""
    return _decoder.decode(note)


async def render_all(found: Sequence[Execution], base: str, grant: Grant) -> list[execution_bodies.TaskExecution]:
    """The executions as messages, limited to what *grant* may see; *base* is the URL of this server."""
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
            start = decode_start(note[START])
            start = msgspec.structs.replace(start, ids={**ids, **start.ids})
        result.append(rendered(one, RenderContext(start, definitions, known, f"{base}{LOGS}{one.id}", grant)))
    return result
