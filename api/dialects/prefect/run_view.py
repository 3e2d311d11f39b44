"""
A run as Prefect sees it: our record and the dialect's metadata, read as one. Pure.

The metadata of an execution's first run holds ``prefect.facts`` (what was given when it was created), ``prefect.now``
(the current state, and counts) and ``prefect.s0``, ``prefect.s1``, … (the states before it). Our own transitions do not
write there: ``Current.state_tag`` is the status of our record when the state was written. Where the record has another
one now (a person stopped the run, a worker ended it), the states that follow are derived from the record.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from api.dialects.prefect import states
from api.dialects.prefect.bodies import Details, Inputs, Label, Policy, State, in_us, shown_state
from shared import ids
from shared.clock import to_datetime
from shared.runs import Reason, Record, Status
from shared.store.dialects.orchestrated import Latest

FACTS: Final = "prefect.facts"
NOW: Final = "prefect.now"
FIELDS: Final = (FACTS, NOW)
TASK_RUNS: Final = "prefect"
FLOW_RUNS: Final = "prefect.flow"


class Facts(msgspec.Struct, omit_defaults=True):
    """The fields a run was created with. Flow runs have a ``flow_id``, and a ``rest`` that is only read back."""

    name: str
    created_us: int
    task_key: str = ""
    dynamic_key: str = ""
    flow_run_id: UUID | None = None
    tags: list[str] = []
    labels: dict[str, Label] = {}
    policy: Policy = msgspec.field(default_factory=Policy)
    cache_key: str | None = None
    cache_expiration: datetime | None = None
    task_version: str | None = None
    task_inputs: Inputs = {}
    flow_id: UUID | None = None
    flow_name: str = ""
    rest: dict[str, Any] = {}


class Current(msgspec.Struct, omit_defaults=True):
    """
    The state a run is in, and what Prefect counts. ``before`` is the number of states before this one;
    ``latest_attempt`` and ``state_tag`` are our run and its status when the state was written. Times are stored time, 0
    when there is none; ``reported_us`` is that of the newest state which its executor reported, by its own clock.
    """

    state: State
    latest_attempt: UUID
    state_tag: str = Status.PENDING.value
    before: int = 0
    run_count: int = 0
    flow_run_run_count: int = 0
    expected_us: int = 0
    start_us: int = 0
    end_us: int = 0
    total_us: int = 0
    reported_us: int = 0


class View(msgspec.Struct):
    """
    A run as Prefect sees it: its ``current`` state, the part of it that is ``stored`` (a change expects the bytes
    ``raw``), and the ``unwritten`` states since then. ``is_foreign``: another API created it, so the dialect has no
    metadata of it.
    """

    latest: Latest
    facts: Facts
    current: Current
    stored: Current
    raw: bytes
    unwritten: list[State]
    is_foreign: bool = False

    @property
    def id(self) -> UUID:
        """The run's id: that of its first attempt."""
        return self.latest.id

    @property
    def is_ours(self) -> bool:
        """Whether Prefect's clients cannot set its states: our workers execute it, or another API created it."""
        return self.is_foreign or not self.latest.record.external


_encode = msgspec.json.Encoder().encode
_facts = msgspec.json.Decoder(Facts).decode
_current = msgspec.json.Decoder(Current).decode
_state = msgspec.json.Decoder(State).decode


def first(state: State, run_id: UUID) -> Current:
    """The position of a run that is created in *state*."""
    current = Current(state, run_id)
    _count(current, None, state)
    return current


def entered(before: Current, state: State, *, restarts: bool = False, flow_run_run_count: int | None = None) -> Current:
    """The position of a run that enters *state*; *restarts* resets its run count."""
    after = msgspec.structs.replace(before, state=state, before=before.before + 1)
    if restarts:
        after.run_count = 0
    if flow_run_run_count is not None:
        after.flow_run_run_count = flow_run_run_count
    _count(after, before.state, state)
    return after


def _count(current: Current, initial: State | None, state: State) -> None:
    at_us = state.at_us
    if initial is not None and initial.type == "RUNNING":
        current.total_us += max(0, at_us - initial.at_us)
    if initial is not None and initial.type in states.TERMINAL and state.type not in states.TERMINAL:
        current.end_us = 0
    if not current.expected_us:
        scheduled = state.details.scheduled_time
        current.expected_us = in_us(scheduled) if state.type == "SCHEDULED" and scheduled else at_us
    if state.type == "RUNNING":
        current.run_count += 1
    if state.type == "RUNNING" or state.type in states.TERMINAL:
        current.start_us = current.start_us or at_us
    if state.type in states.TERMINAL:
        current.end_us = current.end_us or at_us


def needs_all_attempts(latest: Latest) -> bool:
    """Whether its other attempts are needed to derive its state."""
    return _current(latest.metadata[NOW]).latest_attempt != latest.latest_attempt


def view(latest: Latest, attempts: Sequence[tuple[UUID, Record]] = ()) -> View:
    """A run with its current state; *attempts* are all of its runs, if ``needs_all_attempts``."""
    raw = latest.metadata[NOW]
    stored = _current(raw)
    current, unwritten = stored, list[State]()
    runs = list(attempts) or [(latest.latest_attempt, latest.record)]
    known = [run_id for run_id, _ in runs]
    since = known.index(stored.latest_attempt) if stored.latest_attempt in known else 0
    for number, (run_id, record) in enumerate(runs[since:], since):
        before = stored.state_tag if run_id == stored.latest_attempt else ""
        for state in _derived_states(run_id, record, before, number == len(runs) - 1):
            current = entered(current, state)
            unwritten.append(state)
    return View(latest, _facts(latest.metadata[FACTS]), current, stored, raw, unwritten)


def foreign_run(run_id: UUID, record: Record) -> View:
    """A run that another API created, as Prefect would see it: by itself, whatever it is an attempt of."""
    scheduled = Details(scheduled_time=to_datetime(record.due_us)) if record.due_us > record.created_us else Details()
    kind: states.StateType = "SCHEDULED" if scheduled.scheduled_time else "PENDING"
    state_id = ids.named_id(run_id, f"prefect {kind}", record.created_us)
    state = State(state_id, kind, states.default_name(kind), record.created_us, None, None, scheduled)
    facts = Facts(
        name=f"{record.task}#{record.number}",
        created_us=record.created_us,
        task_key=record.task,
        dynamic_key=str(run_id),
        tags=msgspec.json.decode(record.tags) if record.tags else [],
        labels=msgspec.json.decode(record.labels) if record.labels else {},
    )
    current = stored = first(state, run_id)
    unwritten = _derived_states(run_id, record, stored.state_tag, True)
    for following in unwritten:
        current = entered(current, following)
    return View(Latest(run_id, run_id, record, {}), facts, current, stored, b"", unwritten, is_foreign=True)


def _derived_states(run_id: UUID, record: Record, before: str, is_last: bool) -> list[State]:
    """The states that our run entered since it had the tag *before* ("": since it was created)."""
    made: list[State] = []

    def add(kind: states.StateType, name: str, at_us: int, details: Details | None = None, message: str = "") -> None:
        state_id = ids.named_id(run_id, f"prefect {kind} {name}", at_us)
        made.append(State(state_id, kind, name, at_us, message or None, None, details or Details()))

    if not before:
        later = Details(scheduled_time=to_datetime(record.due_us or record.created_us))
        add("SCHEDULED", "AwaitingRetry", record.created_us, later)
    if before in ("", Status.PENDING) and record.start_us:
        add("RUNNING", "Retrying" if record.attempt else "Running", record.start_us)
    if record.status == Status.RUNNING and record.stop_request and not before.endswith("!"):
        add("CANCELLING", "Cancelling", max(record.start_us, record.created_us), message=record.message)
    if record.status == Status.ENDED and is_last and before in ("", "pending", "running", "running!"):
        kind, name = states.of_reason(Reason(record.reason))
        add(kind, name, record.end_us, message=record.message)
    return made


def state_metadata(view: View, *states: Current) -> dict[str, bytes]:
    """The metadata to write when a run entered *states* one after another."""
    current, fields = view.stored, dict[str, bytes]()
    for following in states:
        fields[f"prefect.s{current.before}"] = _encode(current.state)
        current = following
    fields[NOW] = _encode(current)
    return fields


def created_metadata(facts: Facts, current: Current) -> dict[str, bytes]:
    """The metadata of a new run."""
    return {FACTS: _encode(facts), NOW: _encode(current)}


def renamed_metadata(facts: Facts, name: str) -> dict[str, bytes]:
    """The metadata to write when a run is renamed."""
    return {FACTS: _encode(msgspec.structs.replace(facts, name=name))}


def history(view: View) -> list[State]:
    """Every state of a run whose metadata was read in full, oldest first."""
    found = view.latest.metadata
    before = [_state(found[key]) for number in range(view.stored.before) if (key := f"prefect.s{number}") in found]
    reported = [*before, view.stored.state, *view.unwritten]
    states = [state for state in reported if not state.overtaken]
    for state in reported:
        if state.overtaken:
            place = next((n for n, one in enumerate(states) if n and one.at_us > state.at_us), len(states))
            states.insert(place, state)
    return states


def in_flow(facts: Facts, flow_id: UUID) -> dict[str, Label]:
    """The labels of a task run that belongs to a flow run."""
    return {**facts.labels, "prefect.flow.id": str(flow_id), "prefect.flow-run.id": str(facts.flow_run_id)}


def shown(run_id: UUID, facts: Facts, current: Current, now_us: int) -> dict[str, Any]:
    """The fields that task runs and flow runs have in common."""
    state = current.state
    is_over = state.type in states.TERMINAL
    running_us = max(0, now_us - state.at_us) if state.type == "RUNNING" else 0
    late_us = current.start_us - current.expected_us if current.start_us else now_us - current.expected_us
    updated_us = max(state.at_us, facts.created_us)
    return {
        "id": run_id,
        "created": to_datetime(facts.created_us),
        "updated": to_datetime(updated_us),
        "name": facts.name,
        "tags": facts.tags,
        "labels": facts.labels,
        "state_id": state.id,
        "state_type": state.type,
        "state_name": state.name,
        "state": shown_state(state),
        "run_count": current.run_count,
        "expected_start_time": _moment(current.expected_us),
        "next_scheduled_start_time": state.details.scheduled_time if state.type == "SCHEDULED" else None,
        "start_time": _moment(current.start_us),
        "end_time": _moment(current.end_us),
        "total_run_time": current.total_us / 1e6,
        "estimated_run_time": (current.total_us + running_us) / 1e6,
        "estimated_start_time_delta": max(0, late_us) / 1e6 if current.start_us or not is_over else 0.0,
    }


def shown_task_run(run_id: UUID, facts: Facts, current: Current, now_us: int) -> dict[str, Any]:
    """A task run as clients read it."""
    return {
        **shown(run_id, facts, current, now_us),
        "flow_run_id": facts.flow_run_id,
        "task_key": facts.task_key,
        "dynamic_key": facts.dynamic_key,
        "cache_key": facts.cache_key,
        "cache_expiration": facts.cache_expiration,
        "task_version": facts.task_version,
        "empirical_policy": _policy(facts.policy),
        "task_inputs": facts.task_inputs,
        "flow_run_run_count": current.flow_run_run_count,
    }


def _policy(policy: Policy) -> dict[str, Any]:
    return {field: getattr(policy, field) for field in Policy.__struct_fields__}


def _moment(us: int) -> datetime | None:
    return to_datetime(us) if us else None
