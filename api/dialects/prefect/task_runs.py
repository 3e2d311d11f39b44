"""Task runs: create, read, rename, change their state in one step, delete."""

import hashlib
import time
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from api.dialects.prefect import run_view, states
from api.dialects.prefect.bodies import Constant, Details, Inputs, Policy, State, TaskRunCreate, in_us, proposed
from api.dialects.prefect.run_view import FLOW_RUNS, TASK_RUNS, Facts, View
from api.dialects.prefect.transitions import PlannedTransition, first_state_tag, plan_transition, waits_for_consumer
from api.http.auth import Grant
from shared import external_names, ids, ops
from shared.errors import Conflict, NotFound
from shared.runs import Run, Status
from shared.store import metadata, runs, wakeups
from shared.store.dialects import orchestrated
from shared.store.dialects.orchestrated import Orchestrated
from shared.store.metadata import MetadataChange
from shared.store.origin import Origin
from shared.store.redis.async_store import AsyncStore
from shared.store.tasks import Entry
from shared.tasks import ParamType, Task, is_task_name

KEEP_RUNS: Final = 10_000
"""History kept of a task that only Prefect's clients know, unless the task file sets another number."""

MAX_TRIES: Final = 100
"""How often a change is tried again when the run changed in the meantime."""


class CreatedRun(msgspec.Struct):
    """A task run that was created now, or existed already (``is_new`` False)."""

    id: UUID
    facts: Facts
    current: run_view.Current
    is_new: bool


async def read(run_id: UUID, via: str = TASK_RUNS, *, history: bool = False) -> View | None:
    """
    The run, with all of its metadata if *history* is true; None when there is none. A run that another API created is
    read as a task run.
    """
    found = await read_many([run_id], via, history=history)
    if found[0] is None and via == TASK_RUNS:
        record = await runs.record(run_id)
        if record is not None and record.via not in (TASK_RUNS, FLOW_RUNS):
            return run_view.foreign_run(run_id, record)
    return found[0]


async def read_many(run_ids: Sequence[UUID], via: str = TASK_RUNS, *, history: bool = False) -> list[View | None]:
    """Runs in the order of their ids; None for ids that are no Prefect run."""
    if not run_ids:
        return []
    views: list[View | None] = []
    for latest in await orchestrated.newest(run_ids, () if history else run_view.FIELDS):
        if latest is None or latest.record.via != via or not latest.metadata.get(run_view.NOW):
            views.append(None)
        elif run_view.needs_all_attempts(latest):
            views.append(run_view.view(latest, (await orchestrated.attempts(latest.id))))
        else:
            views.append(run_view.view(latest))
    return views


async def known(run_id: UUID, via: str = TASK_RUNS, *, history: bool = False) -> View:
    """As ``read``. Raises NotFound."""
    view = await read(run_id, via, history=history)
    if view is None:
        raise NotFound(f"{'Task' if via == TASK_RUNS else 'Flow'} run with id {run_id} not found")
    return view


async def create(catalog: ops.Catalog, grant: Grant, wanted: TaskRunCreate, first: State | None = None) -> CreatedRun:
    """
    Create a task run, or return the existing one with the same flow run, task key and dynamic key. *first* is its first
    state if that was reported; otherwise it is the proposed one.

    Raises Conflict for an unknown flow run or an id that another run has, Invalid for parameters that a task of ours
    does not take, and Forbidden.
    """
    now_us = time.time_ns() // 1000
    flow_run: View | None = None
    if wanted.flow_run_id is not None:
        flow_run = await read(wanted.flow_run_id, FLOW_RUNS)
        if flow_run is None or not grant.covers(flow_run.latest.record.task):
            raise Conflict(f"there is no flow run {wanted.flow_run_id}")
    run_id = wanted.id or ids.new_id(now_us)
    state = first or _first_state(wanted, run_id, now_us)
    entry = await task_of(catalog, wanted.task_key, state.type == "SCHEDULED" and first is None, grant)
    facts = _facts_of(wanted, flow_run, now_us)
    facts.task_inputs = _without_secrets(entry.task, facts.task_inputs)
    current = run_view.first(state, run_id)
    is_ours = not entry.task.external
    if not is_ours:
        current.state_tag = first_state_tag(state)
    due_us = in_us(state.details.scheduled_time) if state.details.scheduled_time else 0
    request = ops.Request(
        params=parameters(entry.task, wanted) if is_ours else None,
        external_execution_id=str(wanted.flow_run_id or ""),
        due_us=due_us if state.type in ("SCHEDULED", "PENDING") and due_us > now_us else None,
        tags=tuple(facts.tags),
        labels={name: value for name, value in facts.labels.items() if isinstance(value, str)},
        replicas=1,
        triggered_by="cloud",
        origin=Origin(
            api=TASK_RUNS,
            run_id=run_id,
            dedupe_key=identity(TASK_RUNS, str(wanted.flow_run_id or ""), wanted.task_key, wanted.dynamic_key),
            for_consumer=not is_ours and first is None and waits_for_consumer(state),
            limits=tuple(f"tag:{tag}" for tag in facts.tags) if is_ours else (),
            metadata=run_view.created_metadata(facts, current),
        ),
    )
    triggered = await ops.trigger(catalog, entry.name, request, permit=grant.authorise, charge=grant.charge)
    if not triggered.repeated and (is_ours or current.state_tag == Status.PENDING):
        return CreatedRun(run_id, facts, current, True)
    require_free(triggered.run, grant)
    try:
        view = await settled(catalog, triggered.run.id)
    except NotFound:
        raise Conflict(f"{run_id} is the id of a run that is not a task run of Prefect's") from None
    if (view.facts.task_key, view.facts.dynamic_key) != (wanted.task_key, wanted.dynamic_key):
        raise Conflict(f"task run {run_id} is one of {view.facts.task_key}, {view.facts.dynamic_key}")
    return CreatedRun(view.id, view.facts, view.current, not triggered.repeated)


async def rename(store: AsyncStore, grant: Grant, run_id: UUID, name: str | None, via: str = TASK_RUNS) -> None:
    """Rename a run. Raises NotFound, also when *grant* does not cover its task."""
    for _ in range(MAX_TRIES):
        view = await store.run(read(run_id, via))
        absent = f"{'Task' if via == TASK_RUNS else 'Flow'} run not found"
        if view is None:
            raise NotFound(absent)
        grant.authorise((view.latest.record.task,), absent=absent)
        if view.is_foreign:
            raise Conflict(f"run {run_id} was not made by a client of Prefect's; its name is that of its task")
        before = view.latest.metadata[run_view.FACTS]
        change = MetadataChange(
            view.id, run_view.renamed_metadata(view.facts, name or view.facts.name), (run_view.FACTS, before)
        )
        if await store.run(metadata.write(change)):
            return
    raise Conflict(f"run {run_id} changes faster than it can be renamed; try again")


async def make(
    catalog: ops.Catalog, view: View, states: Sequence[run_view.Current], planned: PlannedTransition
) -> Orchestrated:
    """
    Write *states*, the last of which *planned* leads to, in one step.

    While it runs, the next state must be reported within its task's ``heartbeat_timeout``, if it has one.
    """
    await _watch(catalog, view, planned)
    states[-1].latest_attempt, states[-1].state_tag = planned.latest_attempt, planned.state_tag
    change = MetadataChange(view.id, run_view.state_metadata(view, *states), (run_view.NOW, view.raw))
    done = await orchestrated.orchestrate(view.latest, planned.plan, change)
    if done.ready:
        await wakeups.wake_queues(done.ready)
    return done


async def _watch(catalog: ops.Catalog, view: View, planned: PlannedTransition) -> None:
    if planned.state_tag == Status.RUNNING:
        task = await catalog.task(view.latest.record.definition)
        planned.plan.lease_us = (task.heartbeat_timeout_ms or 0) * 1000 if task else 0


def unwritten(view: View) -> list[run_view.Current]:
    """The positions of the run after each state that our own transitions caused, to be written."""
    current, states = view.stored, list[run_view.Current]()
    for state in view.unwritten:
        current = run_view.entered(current, state)
        states.append(current)
    return states


def identity(kind: str, *parts: str) -> str:
    """The unique key of a run of that *kind*; *parts* identify it to clients."""
    text = "\0".join((kind, *parts))
    return "prefect:" + hashlib.sha256(text.encode()).hexdigest()[:40]


def task_name(task_key: str) -> str:
    """The name of the task for a key that is not the name of one of ours."""
    return external_names.task_name(TASK_RUNS, task_key)


def parameters(task: Task, wanted: TaskRunCreate) -> dict[str, Any]:
    """
    The parameters of a task of ours among the inputs: constants, whose text is JSON where the task declares a number, a
    bool or JSON.
    """
    values: dict[str, Any] = {}
    for name, inputs in (wanted.task_inputs or {}).items():
        constants = [one.type for one in inputs if isinstance(one, Constant)]
        if constants and not name.startswith("__"):
            values[name] = _as_declared(constants[-1], task.params[name].type if name in task.params else "string")
    return values


def _without_secrets(task: Task, inputs: Inputs) -> Inputs:
    """The inputs that are stored for reading back: without values of secret parameters."""
    return {
        name: [msgspec.structs.replace(one, type=ops.REDACTED) if isinstance(one, Constant) else one for one in given]
        if name in task.params and task.params[name].secret
        else given
        for name, given in inputs.items()
    }


def _as_declared(text: str, kind: ParamType) -> Any:
    if kind != "string":
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            pass
    return text


def _first_state(wanted: TaskRunCreate, run_id: UUID, now_us: int) -> State:
    state_id = ids.named_id(run_id, "first state", now_us)
    if wanted.state is None:
        state = State(state_id, "PENDING", "Pending", now_us, None, None, Details())
    else:
        state = proposed(wanted.state, state_id, now_us)
    state.details.task_run_id, state.details.flow_run_id = run_id, wanted.flow_run_id
    return state


def _facts_of(wanted: TaskRunCreate, flow_run: View | None, now_us: int) -> Facts:
    facts = Facts(
        name=wanted.name or states.random_name(),
        created_us=now_us,
        task_key=wanted.task_key,
        dynamic_key=wanted.dynamic_key,
        flow_run_id=wanted.flow_run_id,
        tags=list(dict.fromkeys(wanted.tags or [])),
        labels=wanted.labels or {},
        policy=wanted.empirical_policy or Policy(),
        cache_key=wanted.cache_key,
        cache_expiration=wanted.cache_expiration,
        task_version=wanted.task_version,
        task_inputs=wanted.task_inputs or {},
    )
    if flow_run is not None and flow_run.facts.flow_id is not None:
        facts.labels = run_view.in_flow(facts, flow_run.facts.flow_id)
    return facts


def require_free(run: Run, grant: Grant) -> None:
    """Raises Conflict when the id belongs to a run outside *grant*."""
    if not grant.covers(run.task_name):
        raise Conflict(f"{run.id} is the id of another run")


async def task_of(catalog: ops.Catalog, task_key: str, is_for_us: bool, grant: Grant) -> Entry:
    """
    The task for a key: one of ours, if it is external, or if our workers execute the run (*is_for_us*) and it may be
    triggered; otherwise one that only Prefect's clients know, created if it is missing.

    Raises Forbidden, before anything is written, when *grant* does not cover that task.
    """
    if is_task_name(task_key):
        try:
            entry = await catalog.get(task_key)
        except NotFound:
            pass
        else:
            ours = is_for_us and entry.task.manual_trigger
            if entry.task.external or ours:
                grant.authorise((entry.name,))
            if ours and entry.task.depends_on:
                needed = ", ".join(entry.task.depends_on)
                raise Conflict(f"task {task_key} depends on {needed}: a task run cannot show its plan")
            if entry.task.external or ours:
                return entry
    grant.authorise((task_name(task_key),))
    return await declared(catalog, task_key)


async def declared(catalog: ops.Catalog, task_key: str) -> Entry:
    """The external task of a key that is not one of ours."""
    description = f"Prefect task {task_key}"[:500]
    task = Task(name=task_name(task_key), external=True, description=description, group="prefect", keep_runs=KEEP_RUNS)
    return await ops.declare(catalog, task)


async def settled(catalog: ops.Catalog, run_id: UUID, via: str = TASK_RUNS) -> View:
    """
    The run that a create returns. If its first state needs transitions of ours, they are made first, also when the
    request that created it died before them.
    """
    for _ in range(MAX_TRIES):
        view = await known(run_id, via)
        is_there = view.stored.state_tag == Status.PENDING or view.latest.record.status != Status.PENDING
        if view.is_ours or view.stored.before or is_there:
            return view
        planned = plan_transition(view, view.stored.state, time.time_ns() // 1000)
        planned.plan.force = True
        await _watch(catalog, view, planned)
        done = await _begin(view, planned)
        if done.verdict == "done":
            return await known(run_id, via)
    raise Conflict(f"task run {run_id} changes faster than it can be made; try again")


async def _begin(view: View, planned: PlannedTransition) -> Orchestrated:
    current = msgspec.structs.replace(view.stored, latest_attempt=planned.latest_attempt, state_tag=planned.state_tag)
    change = MetadataChange(view.id, {run_view.NOW: msgspec.json.encode(current)}, (run_view.NOW, view.raw))
    return await orchestrated.orchestrate(view.latest, planned.plan, change)


async def delete(catalog: ops.Catalog, view: View) -> None:
    """
    Delete a task run with all its attempts, after ending it if it is live. Raises Conflict while a worker of ours
    executes it.
    """
    if view.is_foreign:
        await ops.delete(str(view.id))
        return
    for _ in range(MAX_TRIES):
        record = view.latest.record
        if record.status == Status.ENDED:
            break
        if view.is_ours and record.status == Status.RUNNING:
            raise Conflict(f"task run {view.id} is running on worker {record.worker}; cancel it before deleting it")
        if view.is_ours:
            await ops.stop(str(view.latest.latest_attempt), by="deleting its task run")
        else:
            now_us = time.time_ns() // 1000
            details = Details(task_run_id=view.id)
            state = State(ids.new_id(now_us), "CANCELLED", "Cancelled", now_us, "deleted", None, details)
            planned = plan_transition(view, state, now_us)
            await make(catalog, view, [*unwritten(view), run_view.entered(view.current, state)], planned)
        view = await known(view.id, view.latest.record.via)
    for run_id, _ in reversed(await orchestrated.attempts(view.id)):
        await ops.delete(str(run_id))
