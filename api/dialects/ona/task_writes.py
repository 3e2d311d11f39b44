"""Creates and updates one task of this dialect."""

import re
from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid4

import msgspec
from msgspec import UNSET

from api.dialects.ona import bodies, wire
from api.dialects.ona.catalog import by_ids, find
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
from api.dialects.ona.translation import definition, spec_of, trigger_names
from api.http.decoding import invalid
from shared.errors import Invalid, Problem
from shared.ops.define_tasks import survey
from shared.store.dialects.ona_tasks import OnaTask

_REFERENCE: Final = wire.WORDS[wire.REFERENCE_PATTERN]


async def create(wanted: bodies.CreateTaskRequest, author: Author) -> UUID:
    """Create a task; its id. Raises Invalid, and AlreadyExists when its reference is taken in its environment."""
    environment, id_ = UUID(wanted.environment_id), uuid4()
    metadata = wanted.metadata
    if not re.match(wire.REFERENCE_PATTERN, metadata.reference):
        raise invalid("body.metadata.reference", f"must be {_REFERENCE}", metadata.reference)
    listed = OnaTask(
        task=task_name(environment, metadata.reference, id_),
        environment=str(environment),
        reference=metadata.reference,
        title=metadata.name,
        creator=author.grant.who,
        triggers=trigger_names(metadata.triggered_by, "body.metadata.triggeredBy"),
        variables=[item.name for item in wanted.spec.env],
        prebuild_requires_success=wanted.spec.prebuild_requires_success,
    )

    async def compute() -> Change:
        await require_free([listed])
        needed = await _needed(wanted.depends_on, environment)
        task = definition(listed.task, wanted.spec, metadata.description, needed, None)
        known = await survey(task.name, needed)
        check(known, {task.name: task}, author, "body.dependsOn")
        return change_of([Row(id_, listed, task, None)], known, author)

    await write(listed.task, compute)
    return id_


async def update(wanted: bodies.UpdateTaskRequest, author: Author) -> None:
    """
    Change the given fields of a task. Raises NotFound, Invalid, and Conflict for a task that this dialect did not
    create.
    """

    async def compute() -> Change:
        known = await find(UUID(wanted.id), author.grant)
        before = require_listed(known)
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
            needed = await _needed(wanted.depends_on, known.environment)
        task = definition(before.task, merged, description, needed, known.entry.task)
        if spec.command is UNSET and spec.runs_on is UNSET:
            # The native API may have changed it into more than a command.
            task = msgspec.structs.replace(task, run=known.entry.task.run, call=known.entry.task.call)
        around = await survey(task.name, needed)
        if wanted.depends_on:
            check(around, {task.name: task}, author, "body.dependsOn")
        return change_of([Row(known.id, listed, task, known)], around, author)

    await write(wanted.id, compute)


async def _needed(ids: Sequence[str], environment: UUID) -> list[str]:
    """The names of the tasks with those ids. Raises Invalid for one that is not in the environment."""
    wanted = [UUID(id_) for id_ in ids]
    known = await by_ids(list(dict.fromkeys(wanted)))
    problems = []
    for index, id_ in enumerate(wanted):
        if id_ not in known or known[id_].environment != environment:
            message = f"there is no task {id_} in environment {environment}"
            problems.append(Problem(f"body.dependsOn[{index}]", message, str(id_)))
    if problems:
        raise Invalid(problems)
    return [known[id_].entry.name for id_ in wanted]
