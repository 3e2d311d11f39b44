"""How a state that Prefect's rules or clients decide on is reached by moves of ours. Pure."""

from __future__ import annotations

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

KEPT_US: Final = 30 * 24 * 3600 * 1_000_000
"""How long a cached result is kept that has no expiration: as long as the run that made it."""


class Course(msgspec.Struct):
    """What is to be done, and which run is the newest afterwards and how it stands."""

    plan: Plan
    head: UUID
    mark: str


def course(view: View, state: State, now_us: int, *, crashed: bool = False) -> Course:
    """
    How *view* comes to *state*. Where Prefect leaves an end, or goes back from running, a new attempt begins; *crashed*
    says that the one before it was lost.
    """
    record, latest = view.latest.record, view.latest
    status = Status(record.status)
    going = Course(Plan(at_us=state.at_us), latest.head, latest.mark)
    due_us = _due_us(state, now_us)

    def following() -> Retry:
        going.head, going.mark = ids.retry_id(latest.head, now_us), Status.PENDING.value
        delay_us = max(0, due_us - now_us)
        crashes = record.crashes + 1 if crashed else 0
        return Retry(going.head, delay_us, record.attempt + 1, crashes, 0, str(latest.id), str(latest.head))

    if state.type == "RUNNING":
        if status is Status.ENDED:
            going.plan.open(following())
        if status is not Status.RUNNING:
            going.plan.start()
            going.mark = Status.RUNNING.value
    elif state.type in states.TERMINAL:
        reason, exit_code = states.ending(state.type, state.name)
        if status is Status.ENDED and record.reason != reason:
            going.plan.open(following())
        if status is not Status.ENDED or record.reason != reason:
            ran = status is Status.RUNNING or reason is not Reason.STOPPED
            going.plan.close(reason, exit_code if ran else NOTHING_RAN, state.message or "")
            going.mark = reason.value
    elif status is Status.ENDED:
        going.plan.open(following())
    elif status is Status.RUNNING and state.type != "CANCELLING":
        reason = Reason.CRASHED if crashed else Reason.FAILED if state.name == "AwaitingRetry" else Reason.STOPPED
        message = state.message or f"its orchestrator moved it to {state.name}"
        going.plan.close(reason, states.ending(_KIND[reason], "")[1], message, following())
    elif status is Status.PENDING and state.type != "CANCELLING" and due_us != record.due_us:
        going.plan.wait_until(due_us)
    going.plan.inbox = waits_for_consumer(state)
    if status is not Status.ENDED and state.type not in states.TERMINAL and not going.plan.inbox:
        going.plan.consumer = record.worker  # who has it keeps it, also over attempts
    return going


def first_mark(state: State) -> str:
    """How our run stands when one that is made in *state* has come there."""
    if state.type == "RUNNING":
        return Status.RUNNING.value
    if state.type in states.TERMINAL:
        return states.ending(state.type, state.name)[0].value
    return Status.PENDING.value


def waits_for_consumer(state: State) -> bool:
    """Whether whoever serves the task is to fetch a run in *state*."""
    return state.type == "SCHEDULED" and state.details.deferred is True


_KIND: Final[dict[Reason, str]] = {Reason.CRASHED: "CRASHED", Reason.FAILED: "FAILED", Reason.STOPPED: "CANCELLED"}


def cache_key(key: str, tasks: str) -> str:
    """
    What the store calls the cached result for *key*. Tokens for the tasks of a pattern have a cache of their own: who
    knows the keys of other tasks neither gets their results nor gives them any.
    """
    return hashlib.sha256(f"prefect\0{tasks}\0".encode() + key.encode()).hexdigest()


def to_cache(state: State, now_us: int, tasks: str) -> tuple[str, bytes, int] | None:
    """The completed *state* for the cache (key, value, how long to keep it), or None when it has expired already."""
    expires = state.details.cache_expiration
    kept_us = KEPT_US if expires is None else from_datetime(expires) - now_us
    if kept_us <= 0:
        return None
    key = cache_key(state.details.cache_key or "", tasks)
    return key, msgspec.json.encode(state), min(kept_us, 10 * 365 * KEPT_US // 30)


def _due_us(state: State, now_us: int) -> int:
    """When a waiting run is due, as our record says it: 0 for at once."""
    scheduled = state.details.scheduled_time
    if state.type not in ("SCHEDULED", "PENDING") or scheduled is None:
        return 0
    due_us = in_us(scheduled)
    return due_us if due_us > now_us else 0
