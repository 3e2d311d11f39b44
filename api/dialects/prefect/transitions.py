"""Plans the transitions of a run that lead to a Prefect state. Pure."""

import hashlib
from typing import Final
from uuid import UUID

import msgspec

from api.dialects.prefect import states
from api.dialects.prefect.bodies import State, in_us
from api.dialects.prefect.run_view import View
from shared import ids
from shared.clock import from_datetime
from shared.runs import NOTHING_RAN, Reason, Status
from shared.store.dialects.orchestrated import Plan
from shared.store.runs import Retry

CACHE_US: Final = 30 * 24 * 3600 * 1_000_000
"""How long a cached result without expiration is kept: as long as the run that made it."""


class PlannedTransition(msgspec.Struct):
    """The steps to take, and the latest attempt and its status afterwards."""

    plan: Plan
    latest_attempt: UUID
    state_tag: str


def plan_transition(view: View, state: State, now_us: int, *, crashed: bool = False) -> PlannedTransition:
    """
    The transitions that bring *view* to *state*. Where Prefect leaves a terminal state, or returns from running, a new
    attempt begins; *crashed*: the previous attempt crashed.
    """
    record, latest = view.latest.record, view.latest
    status = Status(record.status)
    planned = PlannedTransition(Plan(at_us=state.at_us), latest.latest_attempt, latest.state_tag)
    due_us = _due_us(state, now_us)

    def following() -> Retry:
        planned.latest_attempt, planned.state_tag = ids.retry_id(latest.latest_attempt, now_us), Status.PENDING.value
        delay_us = max(0, due_us - now_us)
        crashes, previous = record.crashes + 1 if crashed else 0, str(latest.latest_attempt)
        return Retry(planned.latest_attempt, delay_us, record.attempt + 1, crashes, 0, str(latest.id), previous)

    if state.type == "RUNNING":
        if status is Status.ENDED:
            planned.plan.open(following())
        if status is not Status.RUNNING:
            planned.plan.start()
            planned.state_tag = Status.RUNNING.value
    elif state.type in states.TERMINAL:
        reason, exit_code = states.ending(state.type, state.name)
        if status is Status.ENDED and record.reason != reason:
            planned.plan.open(following())
        if status is not Status.ENDED or record.reason != reason:
            ran = status is Status.RUNNING or reason is not Reason.STOPPED
            planned.plan.close(reason, exit_code if ran else NOTHING_RAN, state.message or "")
            planned.state_tag = reason.value
    elif status is Status.ENDED:
        planned.plan.open(following())
    elif status is Status.RUNNING and state.type != "CANCELLING":
        reason = Reason.CRASHED if crashed else Reason.FAILED if state.name == "AwaitingRetry" else Reason.STOPPED
        message = state.message or f"its orchestrator moved it to {state.name}"
        planned.plan.close(reason, states.ending(_KIND[reason], "")[1], message, following())
    elif status is Status.PENDING and state.type != "CANCELLING" and due_us != record.due_us:
        planned.plan.wait_until(due_us)
    planned.plan.for_consumer = waits_for_consumer(state)
    if status is not Status.ENDED and state.type not in states.TERMINAL and not planned.plan.for_consumer:
        planned.plan.consumer = record.worker  # its consumer keeps it, also over attempts
    return planned


def first_state_tag(state: State) -> str:
    """The tag of our run after it was created in *state*."""
    if state.type == "RUNNING":
        return Status.RUNNING.value
    if state.type in states.TERMINAL:
        return states.ending(state.type, state.name)[0].value
    return Status.PENDING.value


def waits_for_consumer(state: State) -> bool:
    """Whether a run in *state* waits for a consumer of its task."""
    return state.type == "SCHEDULED" and state.details.deferred is True


_KIND: Final[dict[Reason, str]] = {Reason.CRASHED: "CRASHED", Reason.FAILED: "FAILED", Reason.STOPPED: "CANCELLED"}


def cache_key(key: str, tasks: str) -> str:
    """
    The store's key of the cached result for *key*. Tokens for the tasks of a pattern have a separate cache: otherwise a
    client could guess keys to read other tasks' results, or plant its own.
    """
    return hashlib.sha256(f"prefect\0{tasks}\0".encode() + key.encode()).hexdigest()


def to_cache(state: State, now_us: int, tasks: str) -> tuple[str, bytes, int] | None:
    """The cache entry (key, value, lifetime) for the completed *state*, or None when it has expired already."""
    expires = state.details.cache_expiration
    kept_us = CACHE_US if expires is None else from_datetime(expires) - now_us
    if kept_us <= 0:
        return None
    key = cache_key(state.details.cache_key or "", tasks)
    return key, msgspec.json.encode(state), min(kept_us, 10 * 365 * CACHE_US // 30)


def _due_us(state: State, now_us: int) -> int:
    """When a waiting run is due, as in our record: 0 for at once."""
    scheduled = state.details.scheduled_time
    if state.type not in ("SCHEDULED", "PENDING") or scheduled is None:
        return 0
    due_us = in_us(scheduled)
    return due_us if due_us > now_us else 0
