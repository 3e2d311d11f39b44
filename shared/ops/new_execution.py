"""Builds all that the script needs to create the runs of a requested execution. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec

from shared import ids, params, plans
from shared.errors import Conflict, Forbidden, Invalid, Problem
from shared.runs import Record, Trigger
from shared.store.creation import Create, Planned
from shared.store.origin import Origin
from shared.store.tasks import Entry
from shared.tasks import Task


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """
    One request to run a task. Everything may be left out.

    ``due_us`` (stored time) or ``delay_ms`` delays it; ``replicas`` and ``priority`` override the task's.
    ``idempotency_key`` makes repeats answer the same run for 24 hours, as long as ``body_digest`` is the same.
    ``origin`` is the other system that asks; None for our own API and for a tick.
    """

    params: Mapping[str, Any] | None = None
    external_execution_id: str = ""
    due_us: int | None = None
    delay_ms: int | None = None
    priority: int | None = None
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    replicas: int | None = None
    triggered_by: Trigger = "api"
    idempotency_key: str = ""
    body_digest: str = ""
    origin: Origin | None = None


MAX_SHOWN: Final = 64 * 1024 * 1024
"""
Most bytes of parameters, tags and labels that the runs of one trigger may have in all. Redis keeps what is large
of them once, but readers of the runs get them with each.
"""

Progress = Mapping[str, Mapping[int, UUID]]
"""The progress of an earlier execution: by task, the replicas that succeeded, and the runs in which they did."""

NOTHING_DONE: Final[Progress] = MappingProxyType({})


def creation(
    entry: Entry,
    request: Request,
    now_us: int,
    *,
    needed: Mapping[str, Entry] = {},
    tick_us: int = 0,
    progress: Progress = NOTHING_DONE,
) -> Create:
    """
    All that an execution of *entry*'s task is made from; *needed* are the tasks it depends on, however far away.

    *tick_us* is the tick that it belongs to; *progress* is what need not run again. Parameters are the started
    task's; those it depends on get the ones that they declare. Raises Forbidden (``manual_trigger = false``) and
    Invalid (parameters), except for a tick; and Conflict when the catalog leads to another task's definition.
    """
    task = entry.task
    if task.name != entry.name:  # nothing of ours writes that
        raise Conflict(f"task {entry.name} has the definition of {task.name} in the catalog; apply the task file again")
    by_hand = request.triggered_by != "cron"
    if by_hand and not task.manual_trigger:
        raise Forbidden(f"task {task.name} may not be started by hand (manual_trigger = false)")
    values, problems = params.accept(task, request.params)
    count = task.replicas if request.replicas is None else request.replicas
    origin = request.origin
    tick_us = tick_us or (origin.nominal_us if origin else 0)
    template = template_of(entry, request, values, tick_us, count)
    plan: list[Planned] = []
    if task.depends_on or progress:
        entries = {**needed, task.name: entry}
        counts = {name: count if name == task.name else one.task.replicas for name, one in entries.items()}
        done = {name for name, has in progress.items() if name in counts and len(has) >= counts[name]}
        for number, step in enumerate(plans.steps(_tasks(entries), task.name, done)):
            one = template if step.task == task.name else _of_dependency(entries[step.task], request, problems, tick_us)
            # Its inputs are produced again, so none of its progress counts.
            has = {} if step.group > 0 else progress.get(step.task, {})
            plan.append(_planned(one, task.name, number, step, has))
    if by_hand and count > task.max_replicas:
        message = f"task {task.name} has at most {task.max_replicas} (max_replicas)"
        problems.append(Problem("body.replicas", message, str(count)))
    size = _shown(template, count, plan)
    if by_hand and size > MAX_SHOWN:
        message = (
            f"parameters, tags and labels are shown with each run, {size} bytes in all; {MAX_SHOWN} are possible: "
            "pass a reference instead"
        )
        problems.append(Problem("body", message))
    if by_hand and problems:
        raise Invalid(problems)
    first = [step for step in plan if step.group == 0] or [Planned(template, count, (), 0)]
    chosen = _ids(entry, first, bool(plan), 0 if by_hand else tick_us, now_us)
    if origin is not None and origin.run_id is not None:
        chosen[0] = origin.run_id
    return Create(
        ids=chosen,
        template=template,
        gates=_all_gates(task, needed, plan, origin.limits if origin else ()),
        overlap=task.on_overlap,
        max_queued=task.max_queued,
        delay_us=(request.delay_ms or 0) * 1000,
        tick_us=0 if by_hand else tick_us,
        idempotency_key=f"{task.name}:{request.idempotency_key}" if request.idempotency_key else "",
        digest=request.body_digest,
        plan=plan,
        origin=origin,
    )


def shown_bytes(what: Create) -> int:
    """The bytes of parameters, tags and labels of an execution, those of each run counted."""
    return _shown(what.template, len(what.ids), what.plan)


def _shown(template: Record, count: int, plan: Sequence[Planned]) -> int:
    steps = [(step.template, step.count) for step in plan] or [(template, count)]
    return sum(len((one.params + one.tags + one.labels).encode()) * runs for one, runs in steps)


def _all_gates(
    task: Task, needed: Mapping[str, Entry], plan: Sequence[Planned], limits: Sequence[str]
) -> list[tuple[str, int]]:
    others = [needed[step.template.task].task for step in plan if step.template.task != task.name]
    return list(dict([*gates(task, *others), *((f"shared:{name}", 0) for name in limits)]).items())


def _tasks(entries: Mapping[str, Entry]) -> dict[str, Task]:
    return {name: entry.task for name, entry in entries.items()}


def _of_dependency(entry: Entry, request: Request, problems: list[Problem], tick_us: int) -> Record:
    task = entry.task
    given = {name: value for name, value in (request.params or {}).items() if name in task.params}
    values, wrong = params.accept(task, given)
    problems += [problem for problem in wrong if problem not in problems]
    return template_of(entry, request, values, tick_us)


def _planned(template: Record, target: str, number: int, step: plans.Step, has: Mapping[int, UUID]) -> Planned:
    template = msgspec.structs.replace(template, step=number, needs=len(step.needs), target=target)
    left = [replica for replica in range(template.replica_count) if replica not in has]
    only = left if has else ()
    return Planned(template, len(left), step.needs, step.group, only, sorted(has.items()))


def _ids(entry: Entry, first: Sequence[Planned], planned: bool, tick_us: int, now_us: int) -> list[UUID]:
    if not tick_us:
        return [ids.new_id(now_us) for step in first for _ in range(step.count)]
    task, signature = entry.name, entry.definition.signature
    return [
        ids.tick_id(f"{task}/{step.template.task}" if planned else task, tick_us, index, signature)
        for step in first
        for index in range(step.count)
    ]


def template_of(
    entry: Entry, request: Request, values: Mapping[str, Any], tick_us: int, count: int | None = None
) -> Record:
    """A run of *entry*'s task as it is created: *values* are its parameters, *count* its replicas if not the task's."""
    task = entry.task
    tags = list(dict.fromkeys([*task.tags, *request.tags]))
    labels = {**task.labels, **request.labels}
    return Record(
        task=task.name,
        queue=task.queue,
        priority=task.priority if request.priority is None else request.priority,
        triggered_by=request.triggered_by,
        due_us=request.due_us or 0,
        tick_us=tick_us,
        replica_count=task.replicas if count is None else count,
        definition=entry.definition.hash,
        external_id=request.external_execution_id,
        params=as_json(values),
        tags=as_json(tags),
        labels=as_json(labels),
        external=1 if task.external else 0,
        via=request.origin.api if request.origin else "",
    )


def gates(task: Task, *needed: Task) -> list[tuple[str, int]]:
    """
    The limits that an execution of *task* must pass, as ``store.creation.Create`` wants them: also those of the tasks
    that are *needed* for it, since its steps are executions of theirs as far as a limit is concerned.
    """
    found: dict[str, int] = {}
    for one in (task, *needed):
        if one.max_concurrent is not None:
            found[f"task:{one.name}"] = one.max_concurrent
        found |= {f"shared:{name}": 0 for name in one.limits}
    return list(found.items())


def as_json(value: Any) -> str:
    """*value* as JSON text, "" for nothing."""
    return msgspec.json.encode(value).decode() if value else ""
