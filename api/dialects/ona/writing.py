"""
How tasks of this dialect come into the catalog: one by one, or those of an automations file, all or none.

What a change was checked against is checked once more by the script that writes it; when something has moved, the
change is worked out again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import msgspec
from msgspec import UNSET

from api.auth import Grant
from api.dialects.ona import bodies
from api.dialects.ona.catalog import DEFAULT, Known, by_ids, by_names, find
from api.dialects.ona.translation import definition, spec_of, trigger_names
from api.dialects.ona.words import AlreadyExists
from shared.authoring import TRIES, pins, survey, too_lively
from shared.errors import Conflict, Invalid, Problem
from shared.plans import find_cycle, show_cycle
from shared.store import environments
from shared.store.call import Operation
from shared.store.environments import Furnishing, Listed
from shared.store.tasks import Entry
from shared.tasks import Task, define, is_task_name

FILE_TRIGGERS: Final = ("manual", "postEnvironmentStart", "postDevcontainerStart", "prebuild", "beforeSnapshot")


class Author(NamedTuple):
    """Who defines, and the secret that definitions are signed with."""

    grant: Grant
    secret: bytes


class Row(NamedTuple):
    """One task as it is to be, and as it was (None: it is new)."""

    id: UUID
    listed: Listed
    task: Task
    before: Known | None


class Change(NamedTuple):
    """What is to be written: the tasks, and the hashes of what they were checked against."""

    items: list[Furnishing]
    pins: dict[str, str]


def create(wanted: bodies.CreateTaskRequest, author: Author) -> Operation[UUID]:
    """Make a task; its id. Raises Invalid, and AlreadyExists when its reference is taken in its environment."""
    environment, id_ = UUID(wanted.environment_id), uuid4()
    metadata = wanted.metadata
    if not re.match(bodies.REFERENCE_PATTERN, metadata.reference):
        raise Invalid([Problem("body.metadata.reference", f"must be {_REFERENCE}", metadata.reference)])
    listed = Listed(
        task=_task_name(environment, metadata.reference, id_),
        environment=str(environment),
        reference=metadata.reference,
        title=metadata.name,
        creator=author.grant.who,
        triggers=trigger_names(metadata.triggered_by, "body.metadata.triggeredBy"),
        variables=[item.name for item in wanted.spec.env],
        prebuild_requires_success=wanted.spec.prebuild_requires_success,
    )

    def work_out() -> Operation[Change]:
        yield from _require_free([listed])
        needed = yield from _needed(wanted.depends_on, environment)
        task = definition(listed.task, wanted.spec, metadata.description, needed, None)
        known = yield from survey(task.name, needed)
        _check(known, {task.name: task}, author, "body.dependsOn")
        return _change([Row(id_, listed, task, None)], known, author)

    yield from _write(listed.task, work_out)
    return id_


def update(wanted: bodies.UpdateTaskRequest, author: Author) -> Operation[None]:
    """Change what is given of a task. Raises NotFound, Invalid, and Conflict for a task that is not this dialect's."""

    def work_out() -> Operation[Change]:
        known = yield from find(UUID(wanted.id), author.grant)
        before = _require_listed(known)
        metadata, spec = wanted.metadata, wanted.spec
        listed = msgspec.structs.replace(
            before,
            title=metadata.name if metadata.name is not UNSET else before.title,
            triggers=(
                trigger_names(metadata.triggered_by.trigger, "body.metadata.triggeredBy.trigger")
                if isinstance(metadata.triggered_by, bodies.AutomationTriggerUpdate)
                else before.triggers
            ),
            variables=[item.name for item in spec.env] or before.variables,
            prebuild_requires_success=(
                before.prebuild_requires_success
                if spec.prebuild_requires_success is UNSET
                else spec.prebuild_requires_success
            ),
        )
        old = spec_of(known.entry.task, before)
        merged = bodies.TaskSpec(
            command=old.command if spec.command is UNSET else spec.command,
            runs_on=old.runs_on if spec.runs_on is UNSET else spec.runs_on,
            env=spec.env or old.env,
        )
        description = known.entry.task.description if metadata.description is UNSET else metadata.description
        needed: Sequence[str] = known.entry.task.depends_on
        if wanted.depends_on:
            needed = yield from _needed(wanted.depends_on, known.environment)
        task = definition(before.task, merged, description, needed, known.entry.task)
        if spec.command is UNSET and spec.runs_on is UNSET:
            # What the native API made of it may be more than a command.
            task = msgspec.structs.replace(task, run=known.entry.task.run, call=known.entry.task.call)
        around = yield from survey(task.name, needed)
        if wanted.depends_on:
            _check(around, {task.name: task}, author, "body.dependsOn")
        return _change([Row(known.id, listed, task, known)], around, author)

    yield from _write(wanted.id, work_out)


def upsert(wanted: bodies.UpsertAutomationsFileRequest, author: Author) -> Operation[list[UUID]]:
    """
    Make and change the tasks that an automations file names; the ids of those in which something changed.

    Raises Invalid with all that is wrong with the file, and Conflict for a task that is not this dialect's.
    """
    environment = UUID(wanted.environment_id)
    file = wanted.automations_file.tasks
    _check_file(file)
    new_ids = {reference: uuid4() for reference in file}
    touched: list[UUID] = []

    def work_out() -> Operation[Change]:
        touched.clear()
        named = dict.fromkeys([*file, *(one for item in file.values() for one in item.depends_on)])
        there = yield from _by_reference(environment, list(named))
        names = {one: _task_name(environment, one, id_) for one, id_ in new_ids.items()}
        names |= {one: known.entry.name for one, known in there.items()}
        rows: list[Row] = []
        problems: list[Problem] = []
        for reference, item in file.items():
            new = Listed(
                task=names[reference],
                environment=wanted.environment_id.lower(),
                reference=reference,
                creator=author.grant.who,
            )
            try:
                rows.append(_row_of_file(item, new, names, there.get(reference), new_ids[reference]))
            except Invalid as invalid:
                problems += invalid.problems
        if problems:
            raise Invalid(problems)
        yield from _require_free([row.listed for row in rows if row.before is None])
        around: dict[str, Entry] = {}
        for row in rows:
            around |= yield from survey(row.task.name, row.task.depends_on)
        _check(around, {row.task.name: row.task for row in rows}, author, "body.automationsFile.tasks")
        changed = [row for row in _dependents_first(rows) if not _is_as_before(row)]
        touched.extend(row.id for row in changed)
        return _change(changed, around, author)

    yield from _write("of the file", work_out)
    return touched


_REFERENCE: Final = bodies.WORDS[bodies.REFERENCE_PATTERN]


def _task_name(environment: UUID, reference: str, id_: UUID) -> str:
    """
    What a new task is called in the catalog: in the default environment as its reference, if a task may be called that.
    """
    if environment == DEFAULT and is_task_name(reference):
        return reference
    return f"ona.{id_.hex[:8]}.{reference[:80]}"


def _write(name: str, work_out: Callable[[], Operation[Change]]) -> Operation[None]:
    for _ in range(TRIES):
        change = yield from work_out()
        if not change.items:
            return
        verdict = yield environments.furnish(change.items, change.pins)
        if verdict == "done":
            return
    raise too_lively(name)


def _change(rows: Sequence[Row], known: Mapping[str, Entry], author: Author) -> Change:
    items = [
        Furnishing(
            id=row.id,
            listed=row.listed,
            before=row.before.listed if row.before else None,
            task=row.task,
            definition=define(row.task, author.secret),
        )
        for row in rows
    ]
    own = {row.task.name: row.before.entry.definition.hash if row.before else "" for row in rows}
    return Change(items, pins(known, ()) | own)


def _dependents_first(rows: Sequence[Row]) -> list[Row]:
    """
    In the order in which they arrive. The newest is listed first, so what others need is listed before them, as people
    write a file.
    """
    by_name = {row.task.name: row for row in rows}
    order = TopologicalSorter({name: [*row.task.depends_on] for name, row in by_name.items()}).static_order()
    return [by_name[name] for name in reversed([*order]) if name in by_name]


def _is_as_before(row: Row) -> bool:
    return row.before is not None and row.listed == row.before.listed and row.task == row.before.entry.task


def _require_listed(known: Known) -> Listed:
    if known.listed is None:
        whose = "of the task file; change it there" if known.entry.source == "file" else "not of this API"
        raise Conflict(f"task {known.reference} ({known.id}) is {whose}")
    return known.listed


def _require_free(new: Sequence[Listed]) -> Operation[None]:
    """Raises AlreadyExists for a new task whose reference, or whose name in the catalog, is taken."""
    if not new:
        return
    ids = yield environments.ids_of_references([(UUID(one.environment), one.reference) for one in new])
    taken = yield from by_names(one.task for one in new)
    for one, id_ in zip(new, ids, strict=True):
        if id_ is not None or one.task in taken:
            raise AlreadyExists(f"environment {one.environment} has a task {one.reference} already")


def _needed(ids: Sequence[str], environment: UUID) -> Operation[list[str]]:
    """The names of the tasks with those ids. Raises Invalid for one that is not in the environment."""
    wanted = [UUID(id_) for id_ in ids]
    known = yield from by_ids(list(dict.fromkeys(wanted)))
    problems = []
    for index, id_ in enumerate(wanted):
        if id_ not in known or known[id_].environment != environment:
            message = f"there is no task {id_} in environment {environment}"
            problems.append(Problem(f"body.dependsOn[{index}]", message, str(id_)))
    if problems:
        raise Invalid(problems)
    return [known[id_].entry.name for id_ in wanted]


def _check(known: Mapping[str, Entry], new: Mapping[str, Task], author: Author, where: str) -> None:
    """Raises Invalid for a circle that *new* tasks would close, and Forbidden for tasks that the token is not for."""
    for task in new.values():
        for name in (task.name, *task.depends_on):
            author.grant.require_task(name)
    cycle = find_cycle({**new, **{name: entry.task for name, entry in known.items() if name not in new}})
    if cycle:
        raise Invalid([Problem(where, f"tasks depend on each other in a circle: {show_cycle(cycle)}; remove one")])


def _by_reference(environment: UUID, references: Sequence[str]) -> Operation[dict[str, Known]]:
    """Those of the references that name a task in the environment."""
    if not references:
        return {}
    ids = yield environments.ids_of_references([(environment, one) for one in references])
    known = yield from by_ids([id_ for id_ in ids if id_ is not None])
    found = {one: known[id_] for one, id_ in zip(references, ids, strict=True) if id_ in known}
    if environment == DEFAULT:
        others = yield from by_names(one for one in references if one not in found)
        found |= {name: one for name, one in others.items() if one.listed is None}
    return found


def _check_file(file: Mapping[str, bodies.FileTask]) -> None:
    problems = []
    for reference, item in file.items():
        at = f"body.automationsFile.tasks.{reference}"
        if not item.command and not item.depends_on:
            problems.append(Problem(f"{at}.command", "is required in a task that depends on no other"))
        for index, trigger in enumerate(item.triggered_by):
            if trigger not in FILE_TRIGGERS:
                message = f"must be one of {', '.join(FILE_TRIGGERS)}"
                problems.append(Problem(f"{at}.triggeredBy[{index}]", message, trigger))
    if problems:
        raise Invalid(problems)


def _row_of_file(
    item: bodies.FileTask, new: Listed, names: Mapping[str, str], known: Known | None, new_id: UUID
) -> Row:
    """
    What a file makes of one task; *new* is what is listed of it if it is not *known*, *names* are those of the tasks
    that it may depend on. Raises Invalid with places in the message, and Conflict when it is not this dialect's.
    """
    at = f"body.automationsFile.tasks.{new.reference}"
    before = _require_listed(known) if known else None
    old = known.entry.task if known else None
    listed = msgspec.structs.replace(
        before or new,
        title=item.name,
        triggers=list(dict.fromkeys(item.triggered_by)),
        prebuild_requires_success=item.prebuild_requires_success,
    )
    problems = [
        Problem(f"{at}.dependsOn[{index}]", f"there is no task {one} in the file or the environment", one)
        for index, one in enumerate(item.depends_on)
        if one not in names
    ]
    spec = bodies.TaskSpec(command=item.command, runs_on=item.runs_on, env=spec_of(old, before).env if old else [])
    needed = [names[one] for one in item.depends_on if one in names]
    try:
        task = definition(listed.task, spec, item.description, needed, old)
    except Invalid as invalid:
        raise Invalid([*problems, *(_in_file(problem, at) for problem in invalid.problems)]) from None
    if problems:
        raise Invalid(problems)
    return Row(known.id if known else new_id, listed, task, known)


def _in_file(problem: Problem, at: str) -> Problem:
    place = problem.location.removeprefix("body.").removeprefix("spec.").removeprefix("metadata.")
    return Problem(f"{at}.{place}", problem.message, problem.value)
