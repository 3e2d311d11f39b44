"""
Changes of this dialect's tasks: checks their preconditions, and writes them into the catalog, all or nothing.

The script that writes a change checks its preconditions again; when one no longer holds, the change is computed anew.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from api.dialects.ona.catalog import DEFAULT, Known, by_names
from api.dialects.ona.errors import AlreadyExists
from api.http.auth import Grant
from api.http.decoding import invalid
from shared.errors import Conflict
from shared.ops.define_tasks import TRIES, contended, expected_hashes
from shared.plans import find_cycle, show_cycle
from shared.signing import Keys
from shared.store.dialects import ona_tasks
from shared.store.dialects.ona_tasks import OnaTask, TaskWrite
from shared.store.redis.call import Operation
from shared.store.tasks import Entry
from shared.tasks import Task, define, is_task_name, is_trusted


class Author(NamedTuple):
    """The author of a definition, and the secret that signs it."""

    grant: Grant
    keys: Keys


class Row(NamedTuple):
    """One task after the change, and before it (None: it is new)."""

    id: UUID
    listed: OnaTask
    task: Task
    before: Known | None


class Change(NamedTuple):
    """The tasks to write, and the hashes of the definitions that they were checked against."""

    items: list[TaskWrite]
    expected: dict[str, str]


def task_name(environment: UUID, reference: str, id_: UUID) -> str:
    """The catalog name of a new task: in the default environment its reference, if that is a valid name."""
    if environment == DEFAULT and is_task_name(reference):
        return reference
    return f"ona.{id_.hex[:8]}.{reference[:80]}"


def require_listed(known: Known) -> OnaTask:
    """The dialect's own fields of the task. Raises Conflict for a task that this dialect did not create."""
    if known.listed is None:
        is_of_file = known.entry.source == "file"
        where = "is defined in the task file" if is_of_file else "was created through another API"
        raise Conflict(f"task {known.reference} ({known.id}) {where}; edit it there")
    return known.listed


async def require_free(new: Sequence[OnaTask]) -> None:
    """Raises AlreadyExists for a new task whose reference or catalog name is taken."""
    if not new:
        return
    ids = await ona_tasks.ids_of_references([(UUID(one.environment), one.reference) for one in new])
    taken = await by_names(one.task for one in new)
    for one, id_ in zip(new, ids, strict=True):
        if id_ is not None or one.task in taken:
            raise AlreadyExists(f"environment {one.environment} has a task {one.reference} already")


def check(known: Mapping[str, Entry], new: Mapping[str, Task], author: Author, where: str) -> None:
    """Raises Invalid for a cycle through *new* tasks, and Forbidden for tasks outside the grant."""
    for task in new.values():
        author.grant.authorise((task.name, *task.depends_on))
    cycle = find_cycle({**new, **{name: entry.task for name, entry in known.items() if name not in new}})
    if cycle:
        raise invalid(where, f"tasks depend on each other in a circle: {show_cycle(cycle)}; remove one")


def change_of(rows: Sequence[Row], known: Mapping[str, Entry], author: Author) -> Change:
    """
    The change that writes *rows*; *known* are the tasks that they were checked against.

    Raises Conflict for a stored task whose definition is not signed with our secret: a change based on it would sign
    it.
    """
    for row in rows:
        if row.before is not None and not is_trusted(row.before.entry.definition, author.keys, row.before.entry.name):
            raise Conflict(
                f"the definition of task {row.before.reference} ({row.id}) in the store is not signed with this "
                "server's RUNFLEET_SECRET; nothing was changed. Delete the task and create it again"
            )
    items = [
        TaskWrite(
            id=row.id,
            listed=row.listed,
            before=row.before.listed if row.before else None,
            task=row.task,
            definition=define(row.task, author.keys),
        )
        for row in rows
    ]
    own = {row.task.name: row.before.entry.definition.hash if row.before else "" for row in rows}
    return Change(items, expected_hashes(known, ()) | own)


async def write(name: str, compute: Callable[[], Operation[Change]]) -> None:
    """
    Write the change that *compute* returns; recompute it while concurrent changes interfere.

    Raises what *compute* raises, and Conflict after too many tries; *name* is what they change.
    """
    for _ in range(TRIES):
        change = await compute()
        if not change.items:
            return
        verdict = await ona_tasks.put_ona_tasks(change.items, change.expected)
        if verdict == "done":
            return
    raise contended(name)
