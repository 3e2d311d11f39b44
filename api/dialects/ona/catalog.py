"""
The catalog's tasks as this dialect sees them: by id, each in an environment, under a reference.

A task that this dialect created has a random id, which the store keeps. All others (the task file's, and those of the
native API) are in the default environment under their own names, with an id derived from the name.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID, uuid5

from msgspec import UNSET

from api.dialects.ona import bodies
from api.dialects.ona.translation import redacted, spec_of, trigger_of
from api.http.auth import Grant
from shared.clock import to_datetime
from shared.errors import NotFound
from shared.store import tasks
from shared.store.dialects import ona_tasks
from shared.store.dialects.ona_tasks import OnaTask
from shared.store.tasks import Entry

DEFAULT: Final = UUID(int=0)
"""The environment of all tasks that this dialect did not create."""

_NAMESPACE: Final = UUID("6f0f1d2e-2b5c-4b2e-9a57-0b7d3f4f7a10")


class Known(NamedTuple):
    """A task: its id, its entry in the catalog, and its list entry (None: this dialect did not create it)."""

    id: UUID
    entry: Entry
    listed: OnaTask | None

    @property
    def environment(self) -> UUID:
        """The id of its environment."""
        return UUID(self.listed.environment) if self.listed else DEFAULT

    @property
    def reference(self) -> str:
        """Its name in the environment."""
        return self.listed.reference if self.listed else self.entry.name


@lru_cache(maxsize=20_000)
def derived_id(name: str) -> UUID:
    """The id of a task that this dialect did not create."""
    return uuid5(_NAMESPACE, name)


async def by_names(names: Iterable[str]) -> dict[str, Known]:
    """The existing tasks among these names, by name."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    entries = await tasks.some(wanted)
    ids = await ids_of(entries)
    own = [id_ for name, id_ in ids.items() if id_ != derived_id(name)]
    rows: list[OnaTask | None] = (await ona_tasks.by_id(own)) if own else []
    listed = dict(zip(own, rows, strict=True))
    return {name: Known(id_, entries[name], listed.get(id_)) for name, id_ in ids.items()}


async def by_ids(ids: Sequence[UUID]) -> dict[UUID, Known]:
    """The existing tasks among these ids, by id."""
    if not ids:
        return {}
    rows = await ona_tasks.by_id(ids)
    names = {id_: row.task for id_, row in zip(ids, rows, strict=True) if row is not None}
    if any(id_.version == 5 and id_ not in names for id_ in ids):
        everybody = await tasks.names()
        derived = {derived_id(name): name for name in everybody}
        names |= {id_: derived[id_] for id_ in ids if id_ in derived}
    known = await by_names(names.values())
    found = {id_: known[name] for id_, name in names.items() if name in known}
    # A task whose name the task file has taken is another task now, with another id.
    return {id_: one for id_, one in found.items() if one.id == id_}


async def ids_of(names: Iterable[str]) -> dict[str, UUID]:
    """The ids of tasks by name."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    ids = await ona_tasks.ids_of_tasks(wanted)
    return {name: id_ or derived_id(name) for name, id_ in zip(wanted, ids, strict=True)}


async def find(id_: UUID, grant: Grant) -> Known:
    """The task with that id. Raises NotFound, also when the token is for other tasks."""
    known = await by_ids([id_])
    if id_ not in known:
        raise NotFound(f"there is no task {id_}")
    grant.authorise((known[id_].entry.name,), absent=f"there is no task {id_}")
    return known[id_]


async def shown(known: Sequence[Known], grant: Grant) -> list[bodies.Task]:
    """The tasks as messages, limited to what *grant* may see."""
    ids = await ids_of(name for one in known for name in one.entry.task.depends_on)
    return [_shown(one, ids, grant) for one in known]


def _shown(known: Known, ids: Mapping[str, UUID], grant: Grant) -> bodies.Task:
    task, listed = known.entry.task, known.listed
    triggers = listed.triggers if listed else (["manual"] if task.manual_trigger else [])
    return bodies.Task(
        id=str(known.id),
        environment_id=str(known.environment),
        metadata=bodies.TaskMetadata(
            reference=known.reference,
            name=(listed.title if listed else "") or known.reference,
            description=task.description,
            created_at=to_datetime(listed.created_us if listed else known.entry.applied_us),
            creator=subject(listed.creator) if listed else UNSET,
            triggered_by=[trigger_of(name) for name in triggers],
        ),
        spec=redacted(spec_of(task, listed), grant),
        depends_on=[str(ids[name]) for name in task.depends_on],
    )


def subject(who: str) -> bodies.Subject:
    """The subject for the name *who*; the same name always has the same id."""
    return bodies.Subject(id=str(derived_id("who:" + who)), principal=bodies.Principal.SERVICE_ACCOUNT)
