"""
Tasks that are defined through the API, not by the task file: stored, changed, removed.

The rules and keys are the task file's. Checks against the catalog (the tasks that a task depends on and those that
depend on it) are repeated by the script that writes, which refuses when something has changed meanwhile; then all of
it is done again. A task of the task file is changed only there.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from shared.config import nearest, parse_task
from shared.errors import Conflict, Invalid, NotFound, PreconditionFailed, Problem
from shared.plans import find_cycle, show_cycle
from shared.signing import Keys
from shared.store import tasks
from shared.store.tasks import Entry
from shared.tasks import Task, define, is_intact, is_task_name, signer

TRIES: Final = 5
"""Tries of a change that conflicts with concurrent ones."""

MOST_NAMES: Final = 1000
"""Names of one list that are looked up; a list that is longer is refused for its length."""

Condition = Callable[[Entry | None], bool]
"""Whether the task as it is (None: there is none) is the one that a request means to change."""


class Put(msgspec.Struct, frozen=True):
    """A task that was put into the catalog; ``verdict`` "unchanged": it was there like this already."""

    entry: Entry
    verdict: tasks.Verdict


async def put(name: str, table: Mapping[str, Any], keys: Keys, *, only_if: Condition | None = None) -> Put:
    """
    Make *table*, which has the keys of the task file, the definition of task *name*, signed with *keys*.

    Raises Invalid with all that is wrong, at ``body.<key>``; Conflict for a task of the task file, and for one that is
    signed with a secret that is not known here; PreconditionFailed when *only_if* says no.
    """
    problems: list[Problem] = []
    task = None
    try:
        task = parse_task(name, table)
    except Invalid as invalid:
        problems += invalid.problems
    for _ in range(TRIES):
        known = await survey(name, filter(None, _words(table, "depends_on")))
        before = known.get(name)
        _require_own(name, before, only_if)
        _require_known_signature(name, before, keys)
        wrong = await _unknown_names(name, table, known)
        if problems or wrong or task is None:
            raise Invalid([*problems, *wrong])
        definition = define(task, keys)
        verdict = await tasks.define(task, definition, expected_hashes(known, {name, *task.depends_on}))
        if verdict not in ("owned_by_file", "stale"):
            entry = await tasks.entry(name)
            if entry is not None:
                return Put(entry, verdict)
    raise contended(name)


async def remove(name: str, *, only_if: Condition | None = None) -> None:
    """
    Remove task *name* from the catalog; its history stays until it is pruned.

    Raises NotFound, PreconditionFailed when *only_if* says no, and Conflict for a task of the task file, one that lives
    and one that others depend on.
    """
    for _ in range(TRIES):
        known = await tasks.api_tasks_version()
        everything = await tasks.entries()
        before = next((entry for entry in everything if entry.name == name), None)
        if before is None:
            raise NotFound(f"there is no task {name}")
        _require_own(name, before, only_if)
        needed_by = [entry.name for entry in everything if name in entry.task.depends_on]
        if needed_by:
            raise Conflict(f"cannot delete task {name}: {_some(needed_by)} depends on it")
        verdict, live, number = await tasks.undefine(name, known)
        if verdict == "live":
            which = f"{name}#{number}" if number else "what it depends on runs"
            which += f" and {live - 1} more" if number and live > 1 else ""
            raise Conflict(f"task {name} is live ({which}); stop it, or wait for its end, before deleting it")
        if verdict in ("removed", "gone"):
            return  # gone since it was read: perhaps by this very call, whose answer was lost
    raise contended(name)


async def survey(name: str, needed: Iterable[str]) -> dict[str, Entry]:
    """Those that exist of task *name*, the tasks *needed*, and all that these depend on."""
    known: dict[str, Entry] = {}
    asked = {name, *needed}
    waiting = asked
    while waiting:
        found = await tasks.some(sorted(waiting))
        known |= found
        waiting = {one for entry in found.values() for one in entry.task.depends_on} - asked
        asked |= waiting
    return known


def expected_hashes(known: Mapping[str, Entry], direct: Iterable[str]) -> dict[str, str]:
    """The hashes of all *known* tasks as they were read, and "" for those of *direct* that do not exist."""
    return dict.fromkeys(direct, "") | {name: entry.definition.hash for name, entry in known.items()}


def contended(name: str) -> Conflict:
    """The error when all tries conflicted with concurrent changes."""
    return Conflict(f"the catalog changes faster than task {name} can be; try again")


def _require_own(name: str, before: Entry | None, only_if: Condition | None) -> None:
    if only_if is not None and not only_if(before):
        now = f"is at {before.definition.hash} now" if before else "does not exist"
        raise PreconditionFailed(f"task {name} {now}; read it again, and send its ETag as If-Match")
    if before is not None and before.source != "api":
        raise Conflict(f"task {name} is defined in the task file; edit it there and apply it")


def _require_known_signature(name: str, before: Entry | None, keys: Keys) -> None:
    """A signature that workers accept is not replaced by one that they may not."""
    if before is None or not before.definition.signature or not is_intact(before.definition):
        return
    if not signer(before.definition, keys, name):
        raise Conflict(
            f"task {name} is signed with another secret than this server's RUNFLEET_SECRET; nothing was changed. Give "
            "all processes the same secret, or delete the task and define it again"
        )


async def _unknown_names(name: str, table: Mapping[str, Any], known: Mapping[str, Entry]) -> list[Problem]:
    """Problems with names of tasks and limits in *table* that do not exist, and with a cycle that it would close."""
    problems = []
    needed = _words(table, "depends_on")
    missing = [one for one in dict.fromkeys(needed) if one and one not in known and one != name]
    everybody = (await tasks.names()) if missing else []
    for one in missing:
        meant = nearest(one, everybody)
        hint = f'; did you mean "{meant}"?' if meant else ""
        problems.append(Problem(f"body.depends_on[{needed.index(one)}]", f"there is no task {one}{hint}", one))
    around = {name: Task(name=name, depends_on=tuple(filter(None, needed)))}
    cycle = find_cycle(around | {one: entry.task for one, entry in known.items() if one != name})
    if len(cycle) > 2:  # a task that depends on itself was reported when it was read
        message = f"tasks depend on each other in a circle: {show_cycle(cycle)}; remove one of these"
        problems.append(Problem(f"body.depends_on[{needed.index(cycle[1])}]", message, cycle[1]))
    slots = _words(table, "limits")
    limits = (await tasks.limits()) if slots else {}
    for index, one in enumerate(slots):
        if one and one not in limits:
            problems.append(Problem(f"body.limits[{index}]", f"the task file has no [limits.{one}]", one))
    return problems


def _words(table: Mapping[str, Any], key: str) -> list[str]:
    """The names in the list that *table* has under *key*, "" for what is none, which is found wrong when it is read."""
    value = table.get(key)
    listed = value[:MOST_NAMES] if isinstance(value, list | tuple) else ()
    return [one if isinstance(one, str) and is_task_name(one) else "" for one in listed]


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
