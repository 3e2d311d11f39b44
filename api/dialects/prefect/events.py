"""
Events about task runs: ingests those that Prefect's engine sends, and renders those that clients subscribe to.

Since Prefect 3 the process that executes a task decides its states and only reports them. Each report is stored once,
with its own id and time, in whatever order reports arrive. A run that was stopped here, or that a worker ended, keeps
that end, whatever is reported afterwards.
"""

import time
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from api.dialects.prefect import holders, run_view, states, task_runs
from api.dialects.prefect.bodies import (
    Details,
    Inputs,
    Label,
    Policy,
    State,
    TaskRunCreate,
    in_us,
    in_utc,
    shown_state,
)
from api.dialects.prefect.run_view import Current, View
from api.dialects.prefect.states import StateType, default_name
from api.dialects.prefect.transitions import PlannedTransition, plan_transition
from api.http.auth import Grant
from shared import ids, ops, retry
from shared.clock import to_datetime
from shared.errors import Conflict, NotFound
from shared.runs import Status
from shared.store import metadata
from shared.store.dialects import orchestrated
from shared.store.dialects.orchestrated import Plan
from shared.store.metadata import MetadataChange

TASK_RUN: Final = "prefect.task-run."
FLOW_RUN: Final = "prefect.flow-run."


class ReportedState(msgspec.Struct):
    """``validated_state``: the state that a run entered."""

    type: StateType
    name: str | None = None
    message: str | None = None
    data: Any = None
    state_details: Details | None = None


class ReportedTaskRun(msgspec.Struct):
    """``task_run``: the run as its engine describes it."""

    task_key: str
    dynamic_key: str
    name: str | None = None
    tags: list[str] | None = None
    labels: dict[str, Label] | None = None
    empirical_policy: Policy | None = None
    cache_key: str | None = None
    cache_expiration: datetime | None = None
    task_version: str | None = None
    task_inputs: Inputs | None = None


class Payload(msgspec.Struct):
    """The payload of a state-change event."""

    validated_state: ReportedState
    task_run: ReportedTaskRun


class Event(msgspec.Struct):
    """One event. Only the flow run among its ``related`` is used."""

    id: UUID
    occurred: datetime
    event: str
    resource: dict[str, Any]
    related: list[dict[str, Any]] = []
    payload: msgspec.Raw = msgspec.Raw(b"{}")


_event = msgspec.json.Decoder(Event).decode
_payload = msgspec.json.Decoder(Payload).decode


def read_event(message: bytes) -> Event | None:
    """The event in a message; None if the message is not a valid event."""
    try:
        return _event(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


async def apply(catalog: ops.Catalog, grant: Grant, event: Event) -> None:
    """
    Store the state of a task run that an event reports; other events are ignored.

    A run outside *grant* is treated as missing: the event tries to create it, which fails because the id is taken, and
    the event is dropped. Raises Forbidden when *grant* does not cover the task of a run to create, and Conflict when
    the run keeps changing.
    """
    run_id = _id_of(event.resource, TASK_RUN)
    if run_id is None or not event.event.startswith(TASK_RUN):
        return
    try:
        reported = _payload(event.payload)
    except (msgspec.DecodeError, RecursionError):
        return
    state = _state_of(event, reported.validated_state, run_id)
    for _ in range(task_runs.MAX_TRIES):
        view = await task_runs.read(run_id, history=True)
        if view is None or not grant.covers(view.latest.record.task):
            made = await _create(catalog, grant, run_id, _flow_run_of(event), reported.task_run, state)
            if made is None:
                return
            run_id = made
            continue
        if await _write(catalog, view, state):
            return
    raise Conflict(f"task run {run_id} changes faster than its reported states can be stored; try again")


async def return_to_queue(
    catalog: ops.Catalog, run_id: UUID, consumer: str, *, only_unacknowledged: bool = False
) -> None:
    """
    Return a run to the queue because its *consumer* disconnected. *only_unacknowledged*: only if the consumer never
    acknowledged it, and no state of it was reported.

    A run that had started is retried, unless it lost its consumer several times in a row: then it has crashed.
    """
    for _ in range(task_runs.MAX_TRIES):
        view = await task_runs.read(run_id)
        if view is None or view.is_ours or view.latest.record.status == Status.ENDED:
            await orchestrated.drop_delivery(consumer, run_id)
            return
        if view.latest.record.worker != consumer:
            await orchestrated.drop_delivery(consumer, run_id)
            return
        if view.current.state.type == "SCHEDULED" and view.current.state.name != "AwaitingRetry":
            # No state was reported since it was delivered.
            same = MetadataChange(view.id, {run_view.NOW: view.raw}, (run_view.NOW, view.raw))
            done = await orchestrated.orchestrate(view.latest, Plan(for_consumer=True), same)
        elif only_unacknowledged:
            return
        else:
            await holders.release_leases(view)  # or its next attempt would wait until they expire
            state, planned = _after_lost_consumer(view, consumer)
            after = run_view.entered(view.current, state)
            after.reported_us = 0
            done = await task_runs.make(catalog, view, [*task_runs.unwritten(view), after], planned)
        if done.verdict in ("done", "gone"):
            return


def shown(view: View) -> dict[str, Any]:
    """The event of a task run's current state."""
    current, facts = view.current, view.facts
    state = current.state
    reported = shown_state(state)
    resource = {
        "prefect.resource.id": f"{TASK_RUN}{view.id}",
        "prefect.resource.name": facts.name,
        "prefect.run-count": str(current.run_count),
        "prefect.state-message": state.message or "",
        "prefect.state-name": state.name,
        "prefect.state-timestamp": reported["timestamp"],
        "prefect.state-type": state.type,
    }
    return {
        "id": state.id,
        "occurred": reported["timestamp"],
        "received": reported["timestamp"],
        "event": TASK_RUN + state.name,
        "resource": resource,
        "related": [],
        "payload": {
            "intended": {"from": None, "to": state.type},
            "initial_state": None,
            "validated_state": {name: reported[name] for name in ("type", "name", "message", "data", "state_details")},
            "task_run": {
                "name": facts.name,
                "task_key": facts.task_key,
                "dynamic_key": facts.dynamic_key,
                "tags": facts.tags,
                "run_count": current.run_count,
            },
        },
        "follows": None,
    }


def names_of(view: View) -> set[str]:
    """The names by which clients filter the event of a run's state: the state's name, and its type's default name."""
    state = view.current.state
    return {TASK_RUN + state.name, TASK_RUN + default_name(state.type)}


async def _write(catalog: ops.Catalog, view: View, state: State) -> bool:
    """Store *state*; False if the run changed meanwhile. A state that must not change the run counts as stored."""
    known = run_view.history(view)
    if view.is_ours or any(one.id == state.id for one in known):
        return True
    if view.unwritten and view.current.state.type in states.TERMINAL:
        return True  # our record ended the run: that end is final
    current = view.current.state
    if current.type == "CANCELLED" and current.at_us != view.stored.reported_us:
        return True  # so is a cancellation by a client that does not execute the run
    if state.details.task_parameters_id is None:
        state.details.task_parameters_id = current.details.task_parameters_id
    if state.at_us < view.stored.reported_us:
        return await metadata.write(_earlier(view, state))
    now_us = time.time_ns() // 1000
    planned = plan_transition(view, state, now_us)
    plan = planned.plan
    plan.force, plan.at_us = True, state.at_us
    if plan.for_consumer and view.latest.record.worker:  # its consumer retries it by itself
        plan.for_consumer, plan.consumer = False, view.latest.record.worker
    restarts = current.type in states.TERMINAL and state.type not in states.TERMINAL
    after = run_view.entered(view.current, state, restarts=restarts)
    after.reported_us = state.at_us  # the executor's own clock, which may be slow
    done = await task_runs.make(catalog, view, [*task_runs.unwritten(view), after], planned)
    return done.verdict in ("done", "gone")


def _earlier(view: View, state: State) -> MetadataChange:
    """The change that inserts a late report among the states before the current one."""
    later: Current = msgspec.structs.replace(view.stored, before=view.stored.before + 1)
    if state.type == "RUNNING":
        later.start_us = min(later.start_us or state.at_us, state.at_us)
        later.run_count += 1
    encode, state.overtaken = msgspec.json.encode, True
    fields = {f"prefect.s{view.stored.before}": encode(state), run_view.NOW: encode(later)}
    return MetadataChange(view.id, fields, (run_view.NOW, view.raw))


def _after_lost_consumer(view: View, consumer: str) -> tuple[State, PlannedTransition]:
    now_us = time.time_ns() // 1000
    record, current = view.latest.record, view.current.state
    details = Details(
        task_run_id=view.id,
        flow_run_id=view.facts.flow_run_id,
        task_parameters_id=current.details.task_parameters_id,
    )
    state_id = ids.new_id(now_us)
    is_running = record.status == Status.RUNNING
    if is_running and record.crashes + 1 >= retry.POISON_CRASHES:
        message = (
            f"crashed: consumer {consumer} disconnected; not tried again after {record.crashes + 1} times in a row"
        )
        state = State(state_id, "CRASHED", "Crashed", now_us, message, None, details)
        return state, plan_transition(view, state, now_us)
    details.deferred, details.scheduled_time = True, to_datetime(now_us)
    state = State(state_id, "SCHEDULED", "Scheduled", now_us, f"consumer {consumer} disconnected", None, details)
    return state, plan_transition(view, state, now_us, crashed=is_running)


def _state_of(event: Event, reported: ReportedState, run_id: UUID) -> State:
    details = reported.state_details or Details()
    for field in ("scheduled_time", "cache_expiration", "pause_timeout"):
        moment = getattr(details, field)
        if moment is not None:
            setattr(details, field, in_utc(moment))
    details.task_run_id, details.flow_run_id = run_id, _flow_run_of(event)
    name = reported.name if reported.name is not None else default_name(reported.type)
    at_us = min(in_us(in_utc(event.occurred)), time.time_ns() // 1000)
    return State(event.id, reported.type, name, at_us, reported.message, reported.data, details)


async def _create(
    catalog: ops.Catalog, grant: Grant, run_id: UUID, flow_run_id: UUID | None, run: ReportedTaskRun, state: State
) -> UUID | None:
    """Create the reported run; its id, or None if its id is taken."""
    known_flow = None
    if flow_run_id is not None:
        flow_run = await task_runs.read(flow_run_id, run_view.FLOW_RUNS)
        if flow_run is not None and grant.covers(flow_run.latest.record.task):
            known_flow = flow_run_id
    fields = {name: getattr(run, name) for name in ReportedTaskRun.__struct_fields__}
    wanted = TaskRunCreate(id=run_id, flow_run_id=known_flow, **fields)
    try:
        made = await task_runs.create(catalog, grant, wanted, first=state)
    except (Conflict, NotFound):
        return None
    return made.id


def _flow_run_of(event: Event) -> UUID | None:
    for related in event.related:
        if related.get("prefect.resource.role") == "flow-run":
            return _id_of(related, FLOW_RUN)
    return None


def _id_of(resource: dict[str, Any], prefix: str) -> UUID | None:
    text = resource.get("prefect.resource.id")
    if not isinstance(text, str) or not text.startswith(prefix):
        return None
    try:
        return UUID(text.removeprefix(prefix))
    except ValueError:
        return None
