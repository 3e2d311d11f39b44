"""
Request parameters in path, query and headers: one struct for each set.

Names, defaults, limits and choices are defined only here; ``api.http.decoding`` checks them, ``openapi`` documents
them.
"""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from api.native.responses import PhaseName, ReasonName
from shared.tasks import NAME_MAX, NAME_PATTERN

RUN_PATTERN: Final = (
    r"^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|[a-zA-Z0-9._-]{1,100}#[0-9]{1,15})$"
)

SortField = Literal["task_name", "status", "start_at", "exit_code", "duration", "created_at", ""]
SortDirection = Literal["asc", "desc", ""]
TriggerName = Literal["cron", "api", "cloud"]
StreamName = Literal["stdout", "stderr", "system"]
EventType = Literal[
    "run.created",
    "run.started",
    "run.given_back",
    "run.ended",
    "run.stop_requested",
    "run.restored",
    "run.deleted",
    "execution.ended",
    "task.changed",
    "task.removed",
    "task.paused",
    "task.resumed",
    "queue.paused",
    "queue.resumed",
    "worker.joined",
    "worker.left",
    "worker.drain",
]

EnvironmentTrigger = Literal[
    "postMachineStart", "postEnvironmentStart", "postDevcontainerStart", "prebuild", "beforeSnapshot"
]

Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX, pattern=NAME_PATTERN)]
Moment = Annotated[datetime, Meta(tz=True)]


class TaskPath(Struct, frozen=True, rename={"task_name": "taskName"}):
    """A task."""

    task_name: Annotated[
        str,
        Meta(min_length=1, max_length=NAME_MAX, pattern=NAME_PATTERN, description="Task name", examples=["example"]),
    ]


class RunPath(Struct, frozen=True):
    """A run."""

    id: Annotated[
        str,
        Meta(
            pattern=RUN_PATTERN, description="Run id, or task#number", examples=["0190f6a1-7c3e-7a3b-9d2e-3f4a5b6c7d8e"]
        ),
    ]


class ExecutionPath(Struct, frozen=True):
    """An execution."""

    id: Annotated[UUID, Meta(description="Execution id")]


class EnvironmentTriggerPath(Struct, frozen=True):
    """An event in an environment."""

    id: Annotated[UUID, Meta(description="Environment id")]
    trigger: Annotated[EnvironmentTrigger, Meta(description="What happened, as tasks name it in `triggeredBy`")]


class QueuePath(Struct, frozen=True):
    """A queue."""

    queue: Annotated[Name, Meta(description="Queue name", examples=["default"])]


class WorkerPath(Struct, frozen=True):
    """A worker process."""

    id: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^/]+$", description="Worker id")]


class TokenPath(Struct, frozen=True):
    """A token."""

    id: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[a-zA-Z0-9_-]+$", description="Token id")]


class SchemaPath(Struct, frozen=True):
    """The file of a schema."""

    file: Annotated[str, Meta(pattern=r"^[A-Za-z]+\.json$", description="Schema name and .json", examples=["Run.json"])]


class RunsQuery(Struct, frozen=True, kw_only=True):
    """A page of the runs of one task."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="Max results per page")] = 50
    offset: Annotated[int, Meta(ge=0, description="Pagination offset")] = 0
    status: Annotated[str, Meta(description="Filter by run status")] = ""
    task_name: Annotated[str, Meta(description="Filter by task name")] = ""
    sort_field: Annotated[SortField, Meta(description="Field to sort by")] = ""
    sort_direction: Annotated[SortDirection, Meta(description="Sort direction")] = ""
    search: Annotated[str, Meta(description="Search query")] = ""
    view: Annotated[
        Literal["row", ""], Meta(description="`row`: runs in their short form, with the usual durations")
    ] = ""


class AllRunsQuery(RunsQuery, frozen=True, kw_only=True):
    """A page of the runs of all tasks. Filters combine; those that take several values take them by comma."""

    end_reason: Annotated[tuple[ReasonName, ...], Meta(description="Filter by end reason")] = ()
    triggered_by: Annotated[tuple[TriggerName, ...], Meta(description="Filter by trigger")] = ()
    queue: Annotated[tuple[str, ...], Meta(description="Filter by queue")] = ()
    worker: Annotated[tuple[str, ...], Meta(description="Filter by worker")] = ()
    tag: Annotated[tuple[str, ...], Meta(description="Filter by tag")] = ()
    execution_id: Annotated[UUID, Meta(description="Only runs of this execution")] | UnsetType = UNSET
    external_execution_id: Annotated[str, Meta(description="Only runs of the execution that the caller calls this")] = (
        ""
    )
    created_after: Annotated[Moment, Meta(description="Only runs created at or after this time")] | UnsetType = UNSET
    created_before: Annotated[Moment, Meta(description="Only runs created before this time")] | UnsetType = UNSET
    ended_after: Annotated[Moment, Meta(description="Only runs that ended at or after this time")] | UnsetType = UNSET
    ended_before: Annotated[Moment, Meta(description="Only runs that ended before this time")] | UnsetType = UNSET
    min_duration_ms: Annotated[int, Meta(ge=0, description="Only runs that took at least this long")] | UnsetType = (
        UNSET
    )
    exit_code: Annotated[int, Meta(description="Only runs with this exit code")] | UnsetType = UNSET
    retries_only: Annotated[bool, Meta(description="Only retries")] = False
    cursor: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9_-]{0,500}$",
            description="`next_cursor` of the page before, with the same filters; goes on after its last run, whatever "
            "came or went meanwhile",
        ),
    ] = ""


class WaitQuery(Struct, frozen=True):
    """Whether to wait for the end."""

    wait: Annotated[bool, Meta(description="Answer when the execution is over, or when the time is up")] = False
    wait_timeout: Annotated[int, Meta(ge=1, le=240, description="Seconds to wait at most")] = 60


class RerunQuery(Struct, frozen=True):
    """The part of an execution to run again."""

    failed_only: Annotated[bool, Meta(description="Only what did not succeed, and the steps after it")] = False


class ExecutionsQuery(Struct, frozen=True, kw_only=True):
    """A page of executions."""

    task_name: Annotated[str, Meta(max_length=NAME_MAX, description="Only executions of this task")] = ""
    phase: Annotated[tuple[PhaseName, ...], Meta(description="Only those in one of these phases")] = ()
    created_after: Annotated[Moment, Meta(description="Only those created at or after this time")] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=100, description="Max results per page")] = 50
    cursor: Annotated[
        str, Meta(pattern=r"^([0-9]{1,16}\.[0-9a-f]{32})?$", description="`next_cursor` of the page before")
    ] = ""


class MatchHeaders(Struct, frozen=True, rename={"if_match": "If-Match", "if_none_match": "If-None-Match"}):
    """The version of the task that the client has read, so that no unseen change is overwritten."""

    if_match: (
        Annotated[
            str, Meta(max_length=1000, description="Only if the task's `ETag` is one of these; `*`: only if it exists")
        ]
        | UnsetType
    ) = UNSET
    if_none_match: (
        Annotated[str, Meta(max_length=1000, description="Only if its `ETag` is none of these; `*`: only if it is new")]
        | UnsetType
    ) = UNSET


class ResumeHeaders(Struct, frozen=True, rename={"last_event_id": "Last-Event-ID"}):
    """Where a stream resumes."""

    last_event_id: (
        Annotated[
            str, Meta(pattern=r"^[0-9]{1,15}$", description="The id of the last line received; the next one follows")
        ]
        | UnsetType
    ) = UNSET


class ResumeEventsHeaders(Struct, frozen=True, rename={"last_event_id": "Last-Event-ID"}):
    """Where the stream of events resumes."""

    last_event_id: (
        Annotated[
            str,
            Meta(
                pattern=r"^[0-9]{1,15}-[0-9]{1,15}$", description="The id of the last event received; later ones follow"
            ),
        ]
        | UnsetType
    ) = UNSET


class StopQuery(Struct, frozen=True):
    """How to stop."""

    force: Annotated[bool, Meta(description="Kill at once (SIGKILL) instead of asking first")] = False


class LogQuery(Struct, frozen=True, rename={"start": "from"}):
    """A window of a log."""

    start: Annotated[int, Meta(description="First line wanted; negative counts from the end")] = 0
    limit: Annotated[int, Meta(ge=1, le=10_000, description="Max lines")] = 1000


class FindQuery(Struct, frozen=True, rename={"start": "from"}):
    """What to find in a log."""

    q: Annotated[str, Meta(min_length=1, max_length=1000, description="Text to find")]
    regex: Annotated[bool, Meta(description="`q` is a regular expression (RE2 syntax); needs `runfleet[search]`")] = (
        False
    )
    case: Annotated[bool, Meta(description="Upper and lower case differ")] = False
    streams: Annotated[tuple[StreamName, ...], Meta(description="Only lines of these streams")] = ()
    start: Annotated[int, Meta(description="First line to look at; negative counts from the end")] = 0


class OutlineQuery(Struct, frozen=True):
    """How fine an outline is."""

    buckets: Annotated[int, Meta(ge=1, le=2000, description="Into how many parts the log is divided, at most")] = 200


class RawLogQuery(Struct, frozen=True):
    """How a log is downloaded."""

    ansi: Annotated[Literal["keep", "strip"], Meta(description="What happens to terminal colours")] = "keep"


class FollowQuery(Struct, frozen=True, rename={"start": "from"}):
    """Where following a log starts."""

    start: Annotated[
        int, Meta(description="First line wanted; negative counts from the end. Last-Event-ID wins over it")
    ] = 0


class TasksQuery(Struct, frozen=True, kw_only=True):
    """A page of tasks."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="Max results per page")] = 200
    offset: Annotated[int, Meta(ge=0, description="Pagination offset")] = 0
    search: Annotated[str, Meta(description="Only tasks whose name or description contains this")] = ""
    group: Annotated[str, Meta(description="Only tasks of this group")] = ""
    tag: Annotated[tuple[str, ...], Meta(description="Only tasks with one of these tags")] = ()


class StatsQuery(Struct, frozen=True):
    """A period of time."""

    since: (
        Annotated[Moment, Meta(description="Only runs created at or after this time; a day ago when absent")]
        | UnsetType
    ) = UNSET
    buckets: Annotated[int, Meta(ge=1, le=500, description="Into how many parts the time is divided")] = 48


class EventsQuery(Struct, frozen=True):
    """A filter of events."""

    task: Annotated[tuple[Name, ...], Meta(description="Only events of these tasks")] = ()
    types: Annotated[tuple[EventType, ...], Meta(description="Only these events")] = ()
