"""
Sets the state that a client proposes for a task run, if Prefect's rules accept it.

A decision is written in one step, which fails when the run changed since it was read; then the proposal is decided
again. So two proposals, or a proposal and a stop, never both apply to the same state.
"""

import random
import time
from typing import Final
from uuid import UUID

import msgspec

from api.dialects.prefect import run_view, states
from api.dialects.prefect.bodies import SetState, State, proposed
from api.dialects.prefect.orchestration import Decision, Flow, decide, jittered
from api.dialects.prefect.run_view import FLOW_RUNS, View
from api.dialects.prefect.task_runs import MAX_TRIES, known, make, read, unwritten
from api.dialects.prefect.transitions import cache_key, plan_transition, to_cache
from api.http.auth import Grant
from shared import ids, ops
from shared.errors import Conflict, NotFound
from shared.store import executions
from shared.store.dialects import orchestrated
from shared.store.dialects.orchestrated import Orchestrated

LONGEST_WAIT_S: Final = 10
"""The longest wait for a slot of a tag limit that is sent to a client."""

_state = msgspec.json.Decoder(State).decode


class Answer(msgspec.Struct):
    """The result of a proposal. ``wrote``: a state was written."""

    view: View
    decision: Decision
    state: State
    wrote: bool


async def set_state(catalog: ops.Catalog, run_id: UUID, wanted: SetState, grant: Grant) -> Answer:
    """Propose a state. Raises NotFound, Forbidden, and Conflict when the run keeps changing."""
    for _ in range(MAX_TRIES):
        view = await known(run_id)
        grant.authorise((view.latest.record.task,), absent=f"Task run with id {run_id} not found")
        now_us = time.time_ns() // 1000
        state = proposed(wanted.state, ids.new_id(now_us), now_us)
        state.details.task_run_id, state.details.flow_run_id = view.id, view.facts.flow_run_id
        if view.is_ours:
            return await _of_ours(view, state, grant)
        flow = await _flow_of(view)
        cached = await _cached_for(state, grant)
        decision = decide(
            view.current.state,
            state,
            run_count=view.current.run_count,
            policy=view.facts.policy,
            flow=flow,
            flow_run_run_count=view.current.flow_run_run_count,
            cached=cached,
            force=bool(wanted.force),
            now_us=now_us,
            dice=random.random,
        )
        if decision.state is None:
            return Answer(view, decision, view.current.state, False)
        answer = await _make(catalog, view, decision, flow, now_us, bool(wanted.force), grant)
        if answer is not None:
            return answer
    raise Conflict(f"task run {run_id} changes faster than its state can be set; try again")


async def _make(
    catalog: ops.Catalog,
    view: View,
    decision: Decision,
    flow: Flow | None,
    now_us: int,
    force: bool,
    grant: Grant,
) -> Answer | None:
    """The answer once the decision is written; None when the run changed first."""
    state = decision.state
    assert state is not None
    planned = plan_transition(view, state, now_us)
    plan = planned.plan
    plan.force = force
    if decision.needs_slots:
        plan.limits, plan.holder = [f"tag:{tag}" for tag in view.facts.tags], planned.latest_attempt
    if decision.stores:
        plan.cache = to_cache(state, now_us, grant.tasks)
    tracks = flow.run_count if flow is not None and state.type == "RUNNING" and not force else None
    after = run_view.entered(view.current, state, restarts=decision.restarts, flow_run_run_count=tracks)
    done = await make(catalog, view, [*unwritten(view), after], planned)
    if done.verdict == "done":
        return Answer(view, decision, state, True)
    if done.verdict == "gone":
        raise NotFound(f"Task run with id {view.id} not found")
    if done.verdict == "conflict":
        return None
    return Answer(view, _limit_decision(done, now_us), view.current.state, False)


def _limit_decision(done: Orchestrated, now_us: int) -> Decision:
    tag = done.limit.removeprefix("tag:")
    if done.verdict == "closed":
        reason = f'The concurrency limit on tag "{tag}" is 0 and will deadlock if the task tries to run again.'
        return Decision(answer="ABORT", reason=reason)
    if done.verdict == "waiting":
        return Decision(answer="WAIT", delay_s=1, reason="Other executions of the task go first")
    held_s = (now_us - done.since_us) / 1e6 if done.since_us else LONGEST_WAIT_S
    delay_s = jittered(min(max(held_s, 1.0), LONGEST_WAIT_S), 0.3, random.random)
    return Decision(answer="WAIT", delay_s=max(1, round(delay_s)), reason=f"Concurrency limit reached for tags: {tag}")


async def _of_ours(view: View, state: State, grant: Grant) -> Answer:
    """A proposal for a run that our workers execute: only cancelling is possible."""
    now = view.current.state
    if state.type not in ("CANCELLING", "CANCELLED"):
        who = "was not made by a client of Prefect's" if view.is_foreign else "is executed by Runfleet"
        reason = f"Task run {view.id} {who}; of its states only a cancellation can be set."
        return Answer(view, Decision(answer="ABORT", reason=reason), now, False)
    if now.type in states.TERMINAL:
        return Answer(view, Decision(answer="ABORT", reason=f"Run is already {now.type}."), now, False)
    if grant.tasks:  # later steps of its execution are skipped
        record = view.latest.record
        execution = UUID(record.execution) if record.execution else view.latest.latest_attempt
        grant.authorise((await executions.tasks_of([execution])).get(execution, ()))
    await ops.stop(str(view.latest.latest_attempt), by="a client of Prefect")
    after = await known(view.id)
    return Answer(after, Decision(answer="ACCEPT"), after.current.state, True)


async def _flow_of(view: View) -> Flow | None:
    if view.facts.flow_run_id is None:
        return None
    flow_run = await read(view.facts.flow_run_id, FLOW_RUNS)
    if flow_run is None:
        return None
    return Flow(flow_run.id, flow_run.current.state, flow_run.current.run_count)


async def _cached_for(state: State, grant: Grant) -> State | None:
    """The cached state that replaces running, with this proposal's id and time."""
    key = state.details.cache_key
    if state.type != "RUNNING" or not key or state.details.refresh_cache:
        return None
    packed = await orchestrated.cached(cache_key(key, grant.tasks))
    if packed is None:
        return None
    cached = msgspec.structs.replace(_state(packed), id=state.id, at_us=state.at_us, name="Cached")
    cached.details.task_run_id, cached.details.flow_run_id = state.details.task_run_id, state.details.flow_run_id
    return cached
