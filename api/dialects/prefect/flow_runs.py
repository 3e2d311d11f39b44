"""
Flow runs, as far as task runs need them: create, read, find, set their state.

A flow run is an execution of the external task that is its flow. Workers never execute a flow: clients report its
state.
"""

import random
import time
from typing import Any, Final
from uuid import UUID

import msgspec

from api.dialects.prefect import flows, run_view, search, states, task_runs
from api.dialects.prefect.bodies import (
    Details,
    FlowRunPolicy,
    Label,
    SetState,
    State,
    StateCreate,
    in_us,
    proposed,
)
from api.dialects.prefect.errors import DIALECT, PlainNotFound
from api.dialects.prefect.orchestration import Decision, decide
from api.dialects.prefect.parameters import now_us, run_in_query, uuid_in
from api.dialects.prefect.run_view import FLOW_RUNS, Facts, View
from api.dialects.prefect.set_state import Answer
from api.dialects.prefect.task_run_routes import proposal_response, require_run, run_states
from api.dialects.prefect.task_runs import CreatedRun
from api.dialects.prefect.transitions import first_state_tag, plan_transition
from api.http.auth import Grant
from api.http.request import Request
from api.http.response import Response, json_response
from api.http.router import Routes
from shared import ids, ops
from shared.errors import Conflict, NotFound
from shared.runs import Status
from shared.store.origin import Origin

routes = Routes(dialect=DIALECT)

REST: Final = ("deployment_id", "flow_version", "parameters", "context", "empirical_policy", "parent_task_run_id")
"""Fields of a flow run that are only read back."""


class FlowRunCreate(msgspec.Struct):
    """``POST /flow_runs/``. Fields that are not stored (work pools, deployments) are ignored."""

    flow_id: UUID
    id: UUID | None = None
    name: str | None = None
    state: StateCreate | None = None
    tags: list[str] | None = None
    labels: dict[str, Label] | None = None
    idempotency_key: str | None = None
    deployment_id: UUID | None = None
    flow_version: str | None = None
    parameters: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    empirical_policy: FlowRunPolicy | None = None
    parent_task_run_id: UUID | None = None


class FlowRunChange(msgspec.Struct):
    """``PATCH /flow_runs/{id}``: only the name may be changed."""

    name: str | None = None


@routes.post("/api/flow_runs")
async def create_flow_run(request: Request) -> Response:
    """Create a flow run: 201, or 200 for a known idempotency key."""
    made = await request.store.run(_create(request.catalog, request.grant, request.read(FlowRunCreate)))
    return json_response(_shown(made.id, made.facts, made.current), 201 if made.is_new else 200)


@routes.get("/api/flow_runs/{id}")
async def read_flow_run(request: Request) -> Response:
    """A flow run."""
    view = await require_run(request, "Flow run not found", FLOW_RUNS)
    return json_response(_shown(view.id, view.facts, view.current))


@routes.patch("/api/flow_runs/{id}", scope="run")
async def rename_flow_run(request: Request) -> Response:
    """Rename a flow run."""
    await task_runs.rename(request.store, request.grant, uuid_in(request), request.read(FlowRunChange).name, FLOW_RUNS)
    return Response(status=204)


@routes.delete("/api/flow_runs/{id}")
async def delete_flow_run(request: Request) -> Response:
    """Delete a flow run; its task runs stay."""
    view = await require_run(request, "Flow run not found", FLOW_RUNS)
    await request.store.run(task_runs.delete(request.catalog, view))
    return Response(status=204)


@routes.post("/api/flow_runs/{id}/set_state")
async def set_flow_run_state(request: Request) -> Response:
    """Propose a state for a flow run."""
    run_id, wanted = uuid_in(request), request.read(SetState)
    try:
        return proposal_response(await request.store.run(_set_state(request.catalog, run_id, wanted, request.grant)))
    except NotFound as error:
        raise PlainNotFound(str(error)) from None


@routes.post("/api/flow_runs/filter", scope="read")
async def filter_flow_runs(request: Request) -> Response:
    """Flow runs that match a filter."""
    wanted = search.read_page(request)
    found = await request.store.run(search.find(wanted, request.grant, wanted.offset, wanted.limit, via=FLOW_RUNS))
    return json_response([_shown(view.id, view.facts, view.current) for view in found.views])


@routes.post("/api/flow_runs/count", scope="read")
async def count_flow_runs(request: Request) -> Response:
    """How many flow runs match a filter."""
    wanted = search.read_page(request)
    found = await request.store.run(search.find(wanted, request.grant, 0, 0, counts=True, via=FLOW_RUNS))
    return json_response(found.total)


@routes.get("/api/flow_run_states")
async def read_flow_run_states(request: Request) -> Response:
    """All states of a flow run, oldest first; none for an unknown flow run."""
    return await run_states(request, run_in_query(request, "flow_run_id"), FLOW_RUNS)


async def _create(catalog: ops.Catalog, grant: Grant, wanted: FlowRunCreate) -> CreatedRun:
    flow = await flows.flow(catalog, wanted.flow_id)
    if flow is None or not grant.covers(flow.name):
        raise Conflict(f"there is no flow {wanted.flow_id}")
    at_us = time.time_ns() // 1000
    run_id = wanted.id or ids.new_id(at_us)
    state_id = ids.named_id(run_id, "first state", at_us)
    if wanted.state is None:
        state = State(state_id, "PENDING", "Pending", at_us, None, None, Details())
    else:
        state = proposed(wanted.state, state_id, at_us)
    state.details.flow_run_id = run_id
    name = flow.task.labels[flows.NAME]
    facts = Facts(
        name=wanted.name or states.random_name(),
        created_us=at_us,
        tags=list(dict.fromkeys(wanted.tags or [])),
        labels={**(wanted.labels or {}), flows.ID: str(wanted.flow_id)},
        flow_id=wanted.flow_id,
        flow_name=name,
        rest={field: value for field in REST if (value := getattr(wanted, field)) is not None}
        | ({"idempotency_key": wanted.idempotency_key} if wanted.idempotency_key else {}),
    )
    current = run_view.first(state, run_id)
    current.state_tag = first_state_tag(state)
    due_us = in_us(state.details.scheduled_time) if state.details.scheduled_time else 0
    key = wanted.idempotency_key
    request = ops.Request(
        due_us=due_us if due_us > at_us else None,
        tags=tuple(facts.tags),
        labels={key: value for key, value in facts.labels.items() if isinstance(value, str)},
        replicas=1,
        triggered_by="cloud",
        origin=Origin(
            api=FLOW_RUNS,
            run_id=run_id,
            dedupe_key=task_runs.identity(FLOW_RUNS, str(wanted.flow_id), key) if key else "",
            metadata=run_view.created_metadata(facts, current),
        ),
    )
    triggered = await ops.trigger(catalog, flow.name, request, permit=grant.authorise, charge=grant.charge)
    if not triggered.repeated and current.state_tag == Status.PENDING:
        return CreatedRun(run_id, facts, current, True)
    task_runs.require_free(triggered.run, grant)
    view = await task_runs.settled(catalog, triggered.run.id, FLOW_RUNS)
    return CreatedRun(view.id, view.facts, view.current, not triggered.repeated)


async def _set_state(catalog: ops.Catalog, run_id: UUID, wanted: SetState, grant: Grant) -> Answer:
    for _ in range(task_runs.MAX_TRIES):
        view = await task_runs.known(run_id, FLOW_RUNS)
        grant.authorise((view.latest.record.task,), absent=f"Flow run with id {run_id} not found")
        at_us = time.time_ns() // 1000
        state = proposed(wanted.state, ids.new_id(at_us), at_us)
        state.details.flow_run_id = run_id
        decision = _decide(view, state, bool(wanted.force), at_us)
        if decision.state is None:
            return Answer(view, decision, view.current.state, False)
        planned = plan_transition(view, decision.state, at_us)
        planned.plan.force, planned.plan.for_consumer = True, False
        after = run_view.entered(view.current, decision.state, restarts=decision.restarts)
        done = await task_runs.make(catalog, view, [*task_runs.unwritten(view), after], planned)
        if done.verdict == "done":
            return Answer(view, decision, decision.state, True)
    raise Conflict(f"flow run {run_id} changes faster than its state can be set; try again")


def _decide(view: View, state: State, force: bool, at_us: int) -> Decision:
    """As for a task run, but leaving a terminal state does not reset the run count."""
    decision = decide(
        view.current.state,
        state,
        run_count=view.current.run_count,
        policy=view.facts.policy,
        flow=None,
        flow_run_run_count=0,
        cached=None,
        force=force,
        now_us=at_us,
        dice=random.random,
    )
    return msgspec.structs.replace(decision, restarts=False, needs_slots=False, stores=False)


def _shown(run_id: UUID, facts: Facts, current: run_view.Current) -> dict[str, Any]:
    rest: dict[str, Any] = (
        {"parameters": {}, "context": {}, "empirical_policy": {}} | dict.fromkeys(REST[:2]) | facts.rest
    )
    return {
        **run_view.shown(run_id, facts, current, now_us()),
        "parent_task_run_id": None,
        "idempotency_key": None,
        "auto_scheduled": False,
        "flow_id": facts.flow_id,
        **rest,
    }
