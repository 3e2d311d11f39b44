"""The catalog of tasks: look up, declare, pause."""

from collections.abc import Sequence
from typing import Final

from shared.errors import NotFound
from shared.store import tasks
from shared.store.tasks import Entry
from shared.tasks import Task, define

MOST_DEFINITIONS: Final = 10_000
"""Definitions of runs that one process remembers."""


class Catalog:
    """
    A process's cache of the catalog, so that a trigger needs one round trip.

    An entry may be old: the script that creates runs refuses an old definition, and the entry is read again.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._tasks: dict[str, Task] = {}

    async def get(self, name: str, *, fresh: bool = False) -> Entry:
        """The task *name*, from memory unless it must be ``fresh``. Raises NotFound."""
        found = None if fresh else self.entries.get(name)
        if found is None:
            found = await tasks.entry(name)
            if found is None:
                self.entries.pop(name, None)
                raise NotFound(f"there is no task {name}")
            self.entries[name] = found
        return found

    async def needed(self, entry: Entry, *, fresh: bool = False) -> dict[str, Entry]:
        """
        All tasks that *entry*'s depends on, directly or not, by name; two round trips for each level not in memory.

        Raises NotFound for one that does not exist, and Unreadable.
        """
        found: dict[str, Entry] = {}
        names: Sequence[str] = entry.task.depends_on
        while names:
            unknown = [name for name in names if fresh or name not in self.entries]
            if unknown:
                read = await tasks.some(unknown, strict=True)
                for name in unknown:
                    self.entries.pop(name, None)
                self.entries |= read
            for name in names:
                if name not in self.entries:
                    raise NotFound(f"there is no task {name}, on which {entry.name} depends")
                found[name] = self.entries[name]
            further = {each for name in names for each in found[name].task.depends_on}
            names = sorted(further - found.keys())
        return found

    async def task(self, definition: str) -> Task | None:
        """The task with the definition of that hash, which never changes; None when the store has it no more."""
        task = self._tasks.get(definition)
        if task is None:
            found = await tasks.definition(definition)
            if found is None:
                return None
            task = self._tasks[definition] = found.task()
            if len(self._tasks) > MOST_DEFINITIONS:
                del self._tasks[next(iter(self._tasks))]
        return task


async def declare(catalog: Catalog, task: Task) -> Entry:
    """
    The catalog's entry for an external task that another system named: created, or changed to *task* if it differs.

    A task of the file with that name is not touched, and answered as it is. Raises ValueError for a task that workers
    would execute: those are not defined by being named.
    """
    if not task.external:
        raise ValueError(f"task {task.name} is not external")
    wanted = define(task)
    known = catalog.entries.get(task.name)
    if known is None or known.definition.hash != wanted.hash:
        await tasks.apply([(task, wanted)], source="api", remove=False)
        known = await catalog.get(task.name, fresh=True)
    return known


async def pause(name: str) -> Entry:
    """Pause a task's schedule; its ticks meanwhile are not missed ticks. Raises NotFound."""
    return await _set_paused(name, True)


async def resume(name: str) -> Entry:
    """Resume a task's schedule from now on. Raises NotFound."""
    return await _set_paused(name, False)


async def _set_paused(name: str, paused: bool) -> Entry:
    await tasks.pause(name, paused)
    entry = await tasks.entry(name)
    if entry is None:
        raise NotFound(f"there is no task {name}")
    return entry
