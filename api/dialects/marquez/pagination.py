"""Bounded reads of the metadata on a page of a list, since facets may be megabytes each."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from shared.store import metadata
from shared.store.dialects import namespaces
from shared.store.dialects.namespaces import Job
from shared.store.redis.call import each

ROOM: Final = 8 * 1024 * 1024
"""Maximum bytes of facets in one list; further rows have none."""

STEP: Final = 20


async def metadata_of(ids: Sequence[UUID]) -> list[dict[str, bytes]]:
    """The metadata of runs, in their order, within the size limit; {} for the rest."""
    found: list[dict[str, bytes]] = []
    size = 0
    while len(found) < len(ids) and size < ROOM:
        some = await metadata.read_many(ids[len(found) : len(found) + STEP])
        found += some
        size += sum(len(value) for fields in some for value in fields.values())
    return found + [{}] * (len(ids) - len(found))


async def jobs(tasks: Sequence[str]) -> list[Job]:
    """The existing jobs, in their order; without facets beyond the size limit."""
    found: list[Job | None] = []
    size = 0
    while len(found) < len(tasks):
        some = await each(namespaces.job(task, brief=size > ROOM) for task in tasks[len(found) : len(found) + STEP])
        found += some
        size += sum(len(value) for job in some if job for value in job.fields.values())
    return [job for job in found if job is not None]
