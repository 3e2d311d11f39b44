"""
Runs: statuses, end reasons, the table of their transitions, and their two forms, as stored and as the API shows them.

Nothing here touches Redis. ``TRANSITIONS`` is the only place that says which transition may leave which status and
enter which: Lua scripts get what they check as arguments, and declare the transitions that they perform.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from shared.clock import to_datetime
from shared.errors import Unreadable


class Status(StrEnum):
    """The three phases of a run's life."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"


class Reason(StrEnum):
    """Why a run ended."""

    SUCCESS = "success"
    FAILED = "failed"
    STOPPED = "stopped"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    SKIPPED = "skipped"
    LOG_OVERFLOW = "log_overflow"


Trigger = Literal["cron", "api", "cloud"]

NOTHING_RAN: Final = -1
"""``exit_code`` of a run that ended without a process."""

FATE_UNKNOWN: Final = -2
"""``exit_code`` of a crashed run: no process saw it exit."""


class Transition(NamedTuple):
    """
    One row of the table. A ``source`` of None: the run does not exist yet; a ``target`` of None: it is deleted.
    ``reasons`` are those it may end with.
    """

    source: Status | None
    target: Status | None
    reasons: frozenset[Reason] = frozenset()


_ANY = frozenset(Reason)
_AFTER_START = _ANY - {Reason.SKIPPED}

TRANSITIONS: Final[dict[str, tuple[Transition, ...]]] = {
    "create": (Transition(None, Status.PENDING),),
    "retry": (Transition(None, Status.PENDING),),
    "restore": (Transition(None, Status.RUNNING),),
    "skip": (
        Transition(None, Status.ENDED, frozenset({Reason.SKIPPED})),
        Transition(Status.PENDING, Status.ENDED, frozenset({Reason.SKIPPED})),
    ),
    "claim": (Transition(Status.PENDING, Status.RUNNING),),
    "heartbeat": (Transition(Status.RUNNING, Status.RUNNING),),
    "end": (Transition(Status.RUNNING, Status.ENDED, _AFTER_START),),
    "interrupt": (Transition(Status.RUNNING, Status.ENDED, frozenset({Reason.CRASHED})),),
    "rescue": (Transition(Status.RUNNING, Status.ENDED, frozenset({Reason.CRASHED, Reason.STOPPED})),),
    "give_back": (
        Transition(Status.RUNNING, Status.PENDING),
        Transition(Status.RUNNING, Status.ENDED, frozenset({Reason.STOPPED})),
    ),
    "request_stop": (Transition(Status.RUNNING, Status.RUNNING),),
    "stop": (
        Transition(Status.PENDING, Status.ENDED, frozenset({Reason.STOPPED})),
        Transition(Status.RUNNING, Status.ENDED, frozenset({Reason.STOPPED})),
        Transition(None, Status.ENDED, frozenset({Reason.STOPPED})),
    ),
    "report": (
        Transition(Status.PENDING, Status.RUNNING),
        Transition(Status.PENDING, Status.ENDED, _ANY),
        Transition(Status.RUNNING, Status.ENDED, _AFTER_START),
    ),
    "orchestrate": (
        Transition(Status.PENDING, Status.RUNNING),
        Transition(Status.PENDING, Status.ENDED, _AFTER_START),
        Transition(Status.RUNNING, Status.ENDED, _AFTER_START),
    ),
    "prune": (Transition(Status.ENDED, None),),
}
"""
Every way a run changes status; a script's header says which of them it performs (``-- transitions:``).

* ``skip`` of a pending run: a delayed trigger met its overlap rule when it came due. Of one that does not exist: it is
  recorded for a trigger that was refused, or for a step of a plan after one that failed.
* ``restore`` writes a running run back that its worker still executes, after the store was wiped.
* ``give_back``: the worker leaves, or cannot execute the run, and has started no process. It waits for another worker,
  or ends when a stop had been requested.
* ``rescue``: the lease is over. The run ends as ``stopped`` when a stop had been requested before its worker was lost.
* ``stop`` of a running run: an external one that nothing has to report on in time. Of one that does not exist: one
  record for all runs of a step that were still to be made.
* ``report`` and ``orchestrate`` are for external runs: what executes them says how they go, or an orchestrator decides.
"""


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename=None):
    """
    The record of one attempt of one replica, as the API shows it: a field that is not known is absent, never null.

    Times are aware UTC datetimes; ``duration_ms`` is whole milliseconds from start to end and absent until both exist.
    """

    schema: str | UnsetType = msgspec.field(default=UNSET, name="$schema")
    id: UUID
    task_name: str
    status: Status
    end_reason: Reason | UnsetType = UNSET
    exit_code: int
    triggered_by: Trigger
    created_at: datetime
    start_at: datetime | UnsetType = UNSET
    end_at: datetime | UnsetType = UNSET
    replica_index: int
    retry_attempt: int
    retry_of_run_id: UUID | UnsetType = UNSET
    external_execution_id: str | UnsetType = UNSET
    execution_id: UUID
    replica_count: int
    number: int
    due_at: datetime | UnsetType = UNSET
    scheduled_for: datetime | UnsetType = UNSET
    queue: str
    priority: int
    worker: str | UnsetType = UNSET
    params: dict[str, Any] | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    labels: dict[str, str] | UnsetType = UNSET
    duration_ms: int | UnsetType = UNSET
    message: str | UnsetType = UNSET
    stop_requested: bool | UnsetType = UNSET
    log_bytes: int = -1
    log_lines: int = -1
    log_truncated: bool | UnsetType = UNSET
    outputs: dict[str, Any] | UnsetType = UNSET
    peak_memory_bytes: int | UnsetType = UNSET
    cpu_time_ms: int | UnsetType = UNSET
    definition: str


class Record(msgspec.Struct, array_like=True, kw_only=True):
    """
    A run as the store keeps it: a msgpack array in exactly this order, which the Lua scripts read by position.

    Only ever append a field, with a default: readers of both ages must cope. Nothing is ever nil, because a hole would
    turn a Lua array into a map; absent is "" for text, 0 for times (microseconds) and -1 where 0 means something.
    ``params``, ``tags``, ``labels`` and ``outputs`` are JSON texts. ``execution`` is "" when it is the run's own id.
    ``stop_request`` is "stop" or "kill" once that was requested of a running run; ``crashes`` counts the crashes in a
    row before this attempt, ``reruns`` the retries that did not count; ``external`` is 1 for a run of an external task;
    ``log_first`` is the number of the first log line that is still kept. ``via`` names the other system's API that
    created the run and lists it; "" for our own. ``step`` is its place in the execution's plan, -1 without a plan
    (``lua/lib/plan.lua``), and ``needs`` the number of steps whose outputs it gets; ``target`` is the task that the
    execution was started for, if it has a plan of steps, else "".
    """

    status: str = "pending"
    reason: str = ""
    exit_code: int = 0
    task: str
    queue: str = "default"
    priority: int = 0
    triggered_by: str
    created_us: int = 0
    start_us: int = 0
    end_us: int = 0
    due_us: int = 0
    tick_us: int = 0
    execution: str = ""
    replica_index: int = 0
    replica_count: int = 1
    attempt: int = 0
    retry_of: str = ""
    number: int = 0
    definition: str
    worker: str = ""
    token: int = 0
    stop_request: str = ""
    message: str = ""
    external_id: str = ""
    params: str = ""
    tags: str = ""
    labels: str = ""
    outputs: str = ""
    log_bytes: int = 0
    log_lines: int = 0
    log_truncated: int = 0
    peak_memory: int = 0
    cpu_ms: int = 0
    crashes: int = 0
    reruns: int = 0
    external: int = 0
    log_first: int = 0
    via: str = ""
    step: int = -1
    needs: int = 0
    target: str = ""


FIELDS: Final = tuple(field.name for field in msgspec.structs.fields(Record))
_decode_json = msgspec.json.decode


def to_run(run_id: UUID, record: Record) -> Run:
    """The public face of a stored record. Raises Unreadable when it holds a word that this release does not know."""
    try:
        return _to_run(run_id, record)
    except (ValueError, OverflowError, msgspec.DecodeError) as error:  # a time beyond the year 9999 overflows
        raise Unreadable(f"run {run_id} in Redis cannot be read by this release: {error}") from None


def _to_run(run_id: UUID, record: Record) -> Run:
    started, ended = record.start_us, record.end_us
    over = record.status == Status.ENDED
    return Run(
        id=run_id,
        task_name=record.task,
        status=Status(record.status),
        end_reason=Reason(record.reason) if record.reason else UNSET,
        exit_code=record.exit_code,
        triggered_by=record.triggered_by,  # type: ignore[arg-type]  # the store holds what Trigger allows
        created_at=to_datetime(record.created_us),
        start_at=_moment(started),
        end_at=_moment(ended),
        replica_index=record.replica_index,
        retry_attempt=record.attempt,
        retry_of_run_id=UUID(record.retry_of) if record.retry_of else UNSET,
        external_execution_id=record.external_id or UNSET,
        execution_id=UUID(record.execution) if record.execution else run_id,
        replica_count=record.replica_count,
        number=record.number,
        due_at=_moment(record.due_us),
        scheduled_for=_moment(record.tick_us),
        queue=record.queue,
        priority=record.priority,
        worker=record.worker or UNSET,
        params=_decode_json(record.params) if record.params else UNSET,
        tags=_decode_json(record.tags) if record.tags else UNSET,
        labels=_decode_json(record.labels) if record.labels else UNSET,
        duration_ms=(ended - started) // 1000 if started and ended else UNSET,
        message=record.message or UNSET,
        stop_requested=True if record.stop_request and not over else UNSET,
        log_bytes=record.log_bytes,
        log_lines=record.log_lines,
        log_truncated=True if record.log_truncated else UNSET,
        outputs=_decode_json(record.outputs) if record.outputs else UNSET,
        peak_memory_bytes=record.peak_memory or UNSET,
        cpu_time_ms=record.cpu_ms if over and started and record.peak_memory else UNSET,
        definition=record.definition,
    )


def _moment(us: int) -> datetime | UnsetType:
    return to_datetime(us) if us else UNSET
