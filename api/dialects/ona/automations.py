"""Writes the tasks of an automations file into the catalog, all or none."""

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Final
from uuid import UUID, uuid4

import msgspec

from api.dialects.ona import bodies
from api.dialects.ona.catalog import DEFAULT, Known, by_ids, by_names
from api.dialects.ona.changes import (
    Author,
    Change,
    Row,
    change_of,
    check,
    require_free,
    require_listed,
    task_name,
    write,
)
from api.dialects.ona.translation import definition, spec_of
from api.http.decoding import invalid
from shared.errors import Invalid, Problem
from shared.ops.define_tasks import survey
from shared.store.dialects import ona_tasks
from shared.store.dialects.ona_tasks import OnaTask
from shared.store.tasks import Entry

MAX_TASKS: Final = 500
"""Tasks of one file: they are checked, and written, in one go, and others wait for half a second until that is done."""

FILE_TRIGGERS: Final = ("manual", "postEnvironmentStart", "postDevcontainerStart", "prebuild", "beforeSnapshot")


async def upsert(wanted: bodies.UpsertAutomationsFileRequest, author: Author) -> list[UUID]:
    """
    Create and update the tasks of an automations file; the ids of those that changed.

    Raises Invalid with every problem of the file, and Conflict for a task that this dialect did not create.
    """
    environment = UUID(wanted.environment_id)
    file = wanted.automations_file.tasks
    _check_file(file)
    new_ids = {reference: uuid4() for reference in file}
    touched: list[UUID] = []

    async def compute() -> Change:
        touched.clear()
        named = dict.fromkeys([*file, *(one for item in file.values() for one in item.depends_on)])
        there = await _by_reference(environment, list(named))
        names = {one: task_name(environment, one, id_) for one, id_ in new_ids.items()}
        names |= {one: known.entry.name for one, known in there.items()}
        rows: list[Row] = []
        problems: list[Problem] = []
        for reference, item in file.items():
            new = OnaTask(
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
        await require_free([row.listed for row in rows if row.before is None])
        around: dict[str, Entry] = {}
        for row in rows:
            around |= await survey(row.task.name, row.task.depends_on)
        check(around, {row.task.name: row.task for row in rows}, author, "body.automationsFile.tasks")
        changed = [row for row in _dependents_first(rows) if not _is_as_before(row)]
        touched.extend(row.id for row in changed)
        return change_of(changed, around, author)

    await write("of the file", compute)
    return touched


def _check_file(file: Mapping[str, bodies.FileTask]) -> None:
    if len(file) > MAX_TASKS:
        message = f"has {len(file)} tasks; one file may have {MAX_TASKS}: write the others with another one"
        raise invalid("body.automationsFile.tasks", message)
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
    item: bodies.FileTask, new: OnaTask, names: Mapping[str, str], known: Known | None, new_id: UUID
) -> Row:
    """
    The change for one task of a file; *new* is its list entry if the task is not *known*, *names* are the tasks that it
    may depend on. Raises Invalid with places in the message, and Conflict for a task that this dialect did not create.
    """
    at = f"body.automationsFile.tasks.{new.reference}"
    before = require_listed(known) if known else None
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


async def _by_reference(environment: UUID, references: Sequence[str]) -> dict[str, Known]:
    """The environment's tasks with these references."""
    if not references:
        return {}
    ids = await ona_tasks.ids_of_references([(environment, one) for one in references])
    known = await by_ids([id_ for id_ in ids if id_ is not None])
    found = {one: known[id_] for one, id_ in zip(references, ids, strict=True) if id_ in known}
    if environment == DEFAULT:
        others = await by_names(one for one in references if one not in found)
        found |= {name: one for name, one in others.items() if one.listed is None}
    return found


def _dependents_first(rows: Sequence[Row]) -> list[Row]:
    """
    The order of arrival. The newest is listed first, so dependencies come before their dependents in the list, as
    people write a file.
    """
    by_name = {row.task.name: row for row in rows}
    order = TopologicalSorter({name: [*row.task.depends_on] for name, row in by_name.items()}).static_order()
    return [by_name[name] for name in reversed([*order]) if name in by_name]


def _is_as_before(row: Row) -> bool:
    return row.before is not None and row.listed == row.before.listed and row.task == row.before.entry.task
