"""Request and response bodies of Prefect's REST API 0.8.4: requests are structs, responses plain dicts."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec

from api.dialects.prefect.states import StateType, default_name
from shared.clock import from_datetime, to_datetime

LONGEST_US: Final = 7_258_118_400_000_000
"""1 January 2200: times beyond it are taken for it where the store keeps them as scores."""

MAX_DELAY_S: Final = 10 * 366 * 24 * 3600
"""The longest delay before a retry: ten years."""

Label = str | bool | int | float
Seconds = Annotated[float, msgspec.Meta(ge=0, le=MAX_DELAY_S)] | Annotated[int, msgspec.Meta(ge=0, le=MAX_DELAY_S)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Moment = datetime
Name = Annotated[str, msgspec.Meta(pattern=r"^[^/%&><]+$")]
"""A name that Prefect's clients read back: they refuse a whole list for one with other characters in it."""


class Details(msgspec.Struct, omit_defaults=True):
    """``state_details``: optional fields of a state. The store omits those with their default value."""

    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None
    child_flow_run_id: UUID | None = None
    scheduled_time: Moment | None = None
    cache_key: str | None = None
    cache_expiration: Moment | None = None
    deferred: bool | None = False
    untrackable_result: bool = False
    pause_timeout: Moment | None = None
    pause_reschedule: bool = False
    pause_key: str | None = None
    run_input_keyset: dict[str, str] | None = None
    refresh_cache: bool | None = None
    retriable: bool | None = None
    transition_id: UUID | None = None
    task_parameters_id: UUID | None = None
    traceparent: str | None = None
    deployment_concurrency_lease_id: UUID | None = None


class StateCreate(msgspec.Struct, forbid_unknown_fields=True):
    """A state as a client proposes it."""

    type: StateType
    name: str | None = None
    message: str | None = None
    data: Any = None
    state_details: Details | None = None


class SetState(msgspec.Struct, forbid_unknown_fields=True):
    """``POST …/set_state``. *force* skips the rules."""

    state: StateCreate
    force: bool | None = False


class Policy(msgspec.Struct, omit_defaults=True):
    """``empirical_policy`` of a task run: how often and when a failed run is retried."""

    max_retries: Count = 0
    retry_delay_seconds: Seconds = 0
    retries: Count | None = None
    retry_delay: Seconds | Annotated[list[Seconds], msgspec.Meta(max_length=50)] | None = None
    retry_jitter_factor: Annotated[float, msgspec.Meta(ge=0)] | None = None

    def __post_init__(self) -> None:
        """Use the old names where the new ones are not given."""
        if not self.retries and self.max_retries:
            self.retries = self.max_retries
        if not self.retry_delay and self.retry_delay_seconds:
            self.retry_delay = self.retry_delay_seconds


class FlowRunPolicy(msgspec.Struct):
    """``empirical_policy`` of a flow run, which is only read back."""

    max_retries: int = 0
    retry_delay_seconds: float = 0
    retries: int | None = None
    retry_delay: int | None = None
    pause_keys: list[str] | None = None
    resuming: bool | None = None
    retry_type: Literal["in_process", "reschedule"] | None = None


class TaskRunResult(msgspec.Struct, tag_field="input_type", tag="task_run"):
    """An input that is the result of another task run."""

    id: UUID


class FlowRunResult(msgspec.Struct, tag_field="input_type", tag="flow_run"):
    """An input that is the result of a flow run."""

    id: UUID


class Parameter(msgspec.Struct, tag_field="input_type", tag="parameter"):
    """An input that is a parameter of the flow."""

    name: str


class Constant(msgspec.Struct, tag_field="input_type", tag="constant"):
    """An input that is a literal value."""

    type: str


Inputs = dict[str, list[TaskRunResult | FlowRunResult | Parameter | Constant]]


class TaskRunCreate(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /task_runs/``."""

    task_key: str
    dynamic_key: str
    id: UUID | None = None
    name: str | None = None
    flow_run_id: UUID | None = None
    state: StateCreate | None = None
    tags: list[str] | None = None
    labels: dict[str, Label] | None = None
    empirical_policy: Policy | None = None
    cache_key: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    cache_expiration: Moment | None = None
    task_version: str | None = None
    task_inputs: Inputs | None = None


class Rename(msgspec.Struct, forbid_unknown_fields=True):
    """``PATCH /task_runs/{id}``."""

    name: str | None = None


class State(msgspec.Struct, omit_defaults=True, rename={"at_us": "at"}):
    """
    A state as it is stored; *at_us* is its time as stored time. *overtaken*: it was reported after its successor.
    """

    id: UUID
    type: StateType
    name: str
    at_us: int
    message: str | None = None
    data: Any = None
    details: Details = msgspec.field(default_factory=Details)
    overtaken: bool = False


def proposed(wanted: StateCreate, state_id: UUID, now_us: int) -> State:
    """A client's state with defaults filled in: its name, and for SCHEDULED its time."""
    details = wanted.state_details or Details()
    for field in ("scheduled_time", "cache_expiration", "pause_timeout"):
        moment = getattr(details, field)
        if moment is not None:
            setattr(details, field, in_utc(moment))
    if wanted.type == "SCHEDULED" and details.scheduled_time is None:
        details.scheduled_time = to_datetime(now_us)
    name = default_name(wanted.type) if wanted.name is None else wanted.name
    return State(state_id, wanted.type, name, now_us, wanted.message, wanted.data, details)


def in_utc(moment: datetime) -> datetime:
    """*moment* in UTC. Without a zone it is taken as UTC; one out of range becomes the nearest possible time."""
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return (datetime.min if moment.year < 5000 else datetime.max).replace(tzinfo=UTC)


def in_us(moment: datetime) -> int:
    """*moment* (in UTC) as stored time, from 1970 up to ``LONGEST_US``."""
    return max(0, min(from_datetime(moment), LONGEST_US))


_DETAILS: Final = Details.__struct_fields__


def shown_state(state: State) -> dict[str, Any]:
    """A state as clients read it."""
    return {
        "id": state.id,
        "type": state.type,
        "name": state.name,
        "timestamp": to_datetime(state.at_us),
        "message": state.message,
        "data": state.data,
        "state_details": {field: getattr(state.details, field) for field in _DETAILS},
    }
