"""
Prefect's orchestration rules: decide about a state that a client proposes for a task run. Pure.

The rules are those of its ``CoreTaskPolicy``, and of its ``BackgroundTaskPolicy`` for a state whose details say
``deferred``, in the same order. Free slots of tag limits are not known here: a ``Decision`` says that slots are needed,
and the caller takes them in the step that writes the state.
"""

import math
from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

import msgspec

from api.dialects.prefect.bodies import Policy, State, in_us
from api.dialects.prefect.states import TERMINAL
from shared.clock import to_datetime
from shared.retry import Dice

MAX_CACHE_KEY: Final = 2000
"""Characters of the longest cache key."""

Answer = Literal["ACCEPT", "REJECT", "WAIT", "ABORT"]

_GUARDED = frozenset({"PENDING", "RUNNING", "CANCELLING", "CANCELLED"})


class Flow(msgspec.Struct, frozen=True):
    """The flow run of a task run, as far as the rules need it."""

    id: UUID
    state: State
    run_count: int


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """
    ``state`` is the state to write, None for none. ``delay_s`` belongs to WAIT. ``restarts``: the run count is reset.
    ``needs_slots``: one of each limited tag. ``stores``: the state's data goes into the cache.
    """

    answer: Answer
    reason: str = ""
    delay_s: int = 0
    state: State | None = None
    restarts: bool = False
    needs_slots: bool = False
    stores: bool = False


def decide(
    initial: State,
    wanted: State,
    *,
    run_count: int,
    policy: Policy,
    flow: Flow | None,
    flow_run_run_count: int,
    cached: State | None,
    force: bool,
    now_us: int,
    dice: Dice,
) -> Decision:
    """
    The decision about a run in state *initial* when *wanted* is proposed.

    *cached* is a completed state in the cache under the key of *wanted*, with the id and time that it would get.
    """
    if force:
        return Decision(answer="ACCEPT", state=wanted, stores=_is_stored(wanted))
    background = wanted.details.deferred is True
    if background and wanted.type == "PENDING" and initial.type in _GUARDED:
        if not _is_further(initial, wanted):
            return _abort(f"This run is in a {initial.type} state and cannot transition to a PENDING state.")
        wanted = _with_details(wanted, scheduled_time=initial.details.scheduled_time)
    reason = ""
    if wanted.type == "RUNNING" and cached is not None:
        wanted, reason = cached, "Retrieved state from cache"
    restarts = False
    if initial.type in TERMINAL:
        if wanted.type in ("CANCELLING", "PAUSED", "CRASHED"):
            return _abort(f"Run is already {initial.type}.")
        if initial.type == "COMPLETED" and has_result(initial.data):
            return Decision(answer="REJECT", reason="This run is already completed.")
        restarts = wanted.type not in TERMINAL
    count = 0 if restarts else run_count
    if wanted.type == "RUNNING":
        return _run(initial, wanted, count, restarts, background, flow, flow_run_run_count, now_us)
    if initial.type == "SCHEDULED" and wanted.type == "PENDING" and wanted.details.scheduled_time is None:
        wanted = _with_details(wanted, scheduled_time=initial.details.scheduled_time)
    if background and wanted.type == "PENDING":
        wanted = _with_parameters(initial, wanted)
    if initial.type == "RUNNING" and wanted.type == "FAILED":
        retry = _retry(wanted, count, policy, now_us, dice)
        if retry is not None:
            return Decision(answer="REJECT", reason="Retrying", state=retry)
    if wanted.type == "COMPLETED" and len(wanted.details.cache_key or "") > MAX_CACHE_KEY:
        reason = f"Cache key exceeded maximum allowed length of {MAX_CACHE_KEY} characters."
    answer: Answer = "REJECT" if reason else "ACCEPT"
    return Decision(answer=answer, reason=reason, state=wanted, restarts=restarts, stores=_is_stored(wanted))


def has_result(data: object) -> bool:
    """Whether a COMPLETED state's data is a stored result."""
    return isinstance(data, dict) and data.get("type") != "unpersisted" and bool(data)


def jittered(delay_s: float, factor: float, dice: Dice) -> float:
    """
    A delay of about *delay_s*: exponentially distributed around it, at most ``1 + factor`` times it, and cut below so
    that the mean stays the same.
    """
    k = 1 + factor
    lowest = 0.0 if k >= 50 else math.log2(2**k / (2**k - 1))
    low, high = (1 - math.exp(-multiple) for multiple in (lowest, k))
    return -math.log(max(1 - (low + dice() * (high - low)), 1e-10)) * delay_s


def _run(
    initial: State,
    wanted: State,
    count: int,
    restarts: bool,
    background: bool,
    flow: Flow | None,
    flow_run_run_count: int,
    now_us: int,
) -> Decision:
    """To RUNNING: not before its flow run is running, nor before its scheduled time."""
    if flow is not None and not background:
        if flow.state.type == "PAUSED":
            return Decision(
                answer="REJECT",
                reason=f"The flow is paused, new tasks can execute after resuming flow run: {flow.id}.",
                state=_not_ready(wanted, flow.state),
                restarts=restarts,
            )
        if flow.state.type != "RUNNING":
            return _abort("The enclosing flow must be running to begin task execution.")
    scheduled = initial.details.scheduled_time
    if initial.type in ("SCHEDULED", "PENDING") and scheduled is not None:
        seconds, microseconds = divmod(in_us(scheduled) - now_us, 1_000_000)
        delay_s = seconds + round(microseconds / 1e6)
        if delay_s > 0:
            return Decision(answer="WAIT", delay_s=delay_s, reason="Scheduled time is in the future")
    if background and initial.type in ("SCHEDULED", "PENDING"):
        wanted = _with_parameters(initial, wanted)
    if count > 0:
        wanted = _named(wanted, "Retrying" if initial.name == "AwaitingRetry" else "Rerunning")
    elif restarts and flow is not None and flow_run_run_count < flow.run_count:
        wanted = _named(wanted, "Retrying")
    return Decision(answer="ACCEPT", state=wanted, restarts=restarts, needs_slots=not background)


def _retry(wanted: State, count: int, policy: Policy, now_us: int, dice: Dice) -> State | None:
    if policy.retries is None or count > policy.retries or wanted.details.retriable is False:
        return None
    delays = policy.retry_delay if isinstance(policy.retry_delay, list) else [policy.retry_delay or 0]
    delay_s = float(delays[max(0, min(count - 1, len(delays) - 1))]) if delays else 0.0
    if policy.retry_jitter_factor and delay_s > 0:
        delay_s = jittered(delay_s, policy.retry_jitter_factor, dice)
    later = msgspec.structs.replace(wanted, type="SCHEDULED", name="AwaitingRetry")
    later.details = type(later.details)(scheduled_time=to_datetime(now_us) + timedelta(seconds=delay_s))
    return later


def _not_ready(wanted: State, flow: State) -> State:
    paused = msgspec.structs.replace(wanted, type="PAUSED", name="NotReady", message=None, data=None)
    paused.details = type(paused.details)(
        pause_timeout=flow.details.pause_timeout, pause_reschedule=flow.details.pause_reschedule
    )
    return paused


def _is_further(initial: State, wanted: State) -> bool:
    """Whether a PENDING run only changes to another name of PENDING."""
    return initial.type == "PENDING" and wanted.name not in (initial.name, "Pending")


def _is_stored(state: State) -> bool:
    return state.type == "COMPLETED" and 0 < len(state.details.cache_key or "") <= MAX_CACHE_KEY


def _abort(reason: str) -> Decision:
    return Decision(answer="ABORT", reason=reason)


def _named(state: State, name: str) -> State:
    return msgspec.structs.replace(state, name=name)


def _with_parameters(initial: State, wanted: State) -> State:
    if wanted.details.task_parameters_id is not None:
        return wanted
    return _with_details(wanted, task_parameters_id=initial.details.task_parameters_id)


def _with_details(state: State, **changes: object) -> State:
    return msgspec.structs.replace(state, details=msgspec.structs.replace(state.details, **changes))
