"""
Response objects, one struct each; that of a run is ``shared.runs.Run``.

A struct's name is the name of its JSON Schema. ``schema`` is the ``$schema`` member that every object response carries.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.http.auth import Scope
from api.http.response import ResponseModel
from shared.runs import Run

ReasonName = Literal["success", "failed", "stopped", "timeout", "crashed", "skipped", "log_overflow"]
PhaseName = Literal["pending", "running", "succeeded", "failed", "stopped", "skipped"]


class RunsResponseBody(ResponseModel, kw_only=True):
    """One page of runs."""

    runs: Annotated[list[Run], Meta(description="List of runs")]
    total: Annotated[int, Meta(description="Total matching runs")]
    next_cursor: Annotated[
        str, Meta(description="Where the next page starts; absent on the last one. Only with `cursor` in the request")
    ] = ""
    scanned: Annotated[int, Meta(description="Runs looked at to answer a filter that no index covers")] = 0
    incomplete: Annotated[bool, Meta(description="True when only the newest `scanned` runs were looked at")] = False


class LogLine(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """One line of output."""

    n: Annotated[int, Meta(description="Number of the line, from 0, never renumbered")]
    at: datetime
    stream: Literal["stdout", "stderr", "system"]
    text: str
    continued: Annotated[bool, Meta(description="The line goes on in the next one; it was longer than 64 KiB")] = False


class UnfinishedLine(msgspec.Struct, kw_only=True, frozen=True):
    """The beginning of a line that has no end yet; it has no number."""

    stream: Literal["stdout", "stderr"]
    text: Annotated[str, Meta(description="Its last 4096 characters")]


class LogResponseBody(ResponseModel, kw_only=True):
    """A window of a run's log."""

    lines: list[LogLine]
    unfinished: Annotated[
        list[UnfinishedLine],
        Meta(
            description="What the run has written since, in a window that reaches to the end: a prompt, a progress bar"
        ),
    ] = msgspec.field(default_factory=list)
    first_available: Annotated[int, Meta(description="Number of the oldest line that is kept")]
    total_lines: Annotated[int, Meta(description="Lines written so far, kept or not")]
    truncated: Annotated[bool, Meta(description="Lines were dropped because the log was full")]
    finalized: Annotated[bool, Meta(description="Nothing will be added any more")]


class FindResponseBody(ResponseModel, kw_only=True):
    """Where a text is in a log."""

    hits: Annotated[
        list[tuple[int, int, int]],
        Meta(
            description="The first 1000: number of the line, first column, column after the last. Columns count the "
            "characters of the line without its colour codes, from 0"
        ),
    ]
    total: Annotated[int, Meta(description="Hits in the lines looked at")]
    complete: Annotated[bool, Meta(description="False: the second was over before all lines were looked at")]
    scanned: Annotated[int, Meta(description="Lines looked at")]


class OutlineResponseBody(ResponseModel, kw_only=True):
    """A log at a glance."""

    buckets: Annotated[
        list[tuple[int, int, int]],
        Meta(
            description="Parts of equally many lines: number of the first line, lines on stderr, longest time "
            "without a line in milliseconds"
        ),
    ]
    complete: Annotated[bool, Meta(description="False: the second was over before all lines were looked at")]


class TaskCounts(msgspec.Struct, kw_only=True, frozen=True):
    """How many runs of a task are in each state."""

    pending: int
    running: int
    total: int
    by_reason: dict[str, int]


class TaskModel(ResponseModel, kw_only=True):
    """A task: its definition and its current state."""

    name: str
    description: str = ""
    group: str = ""
    queue: str
    tags: list[str] = msgspec.field(default_factory=list)
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    cron: list[str] = msgspec.field(default_factory=list)
    timezone: str = ""
    schedule: Annotated[str, Meta(description="The schedule in words; absent without one")] = ""
    next_ticks: Annotated[list[datetime], Meta(description="When the schedule fires next")] = msgspec.field(
        default_factory=list
    )
    paused: Annotated[bool, Meta(description="The schedule is paused; the task can still be started by hand")]
    manual_trigger: bool
    replicas: int
    source: Annotated[Literal["file", "api"], Meta(description="Who defined it")]
    applied_at: datetime
    definition_hash: str
    definition: Annotated[
        dict[str, Any], Meta(description="As in the task file, durations in ms, sizes in bytes, secrets redacted")
    ]
    counts: TaskCounts
    last_run: Run | UnsetType = UNSET


class TaskDefinition(msgspec.Struct, frozen=True):
    """A task with the keys of the task file; ``shared.config`` reads and describes it."""


class TasksResponseBody(ResponseModel, kw_only=True):
    """Tasks by name."""

    tasks: list[TaskModel]
    total: int


class Affected(ResponseModel, kw_only=True):
    """How many things a request changed."""

    affected: int


class Percentiles(msgspec.Struct, kw_only=True, frozen=True):
    """Milliseconds, by share of the runs; absent when there were none."""

    p50: int | UnsetType = UNSET
    p95: int | UnsetType = UNSET
    p99: int | UnsetType = UNSET


class StatsBucket(msgspec.Struct, kw_only=True, frozen=True):
    """One interval of time."""

    start_at: Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
    counts: dict[str, int]


class StatsModel(ResponseModel, kw_only=True):
    """Statistics of a task over a period."""

    since: datetime
    until: datetime
    counts: Annotated[dict[str, int], Meta(description="By end reason, or status of those that live")]
    wait_ms: Annotated[Percentiles, Meta(description="From creation to start")]
    run_ms: Annotated[Percentiles, Meta(description="From start to end")]
    buckets: list[StatsBucket]
    complete: Annotated[bool, Meta(description="False: only the newest 10 000 runs were looked at")]


class StepModel(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """One task of an execution's plan."""

    task_name: str
    group: (
        Annotated[int, Meta(description="Its place in `plan`; absent when an earlier execution did all of it")]
        | UnsetType
    ) = UNSET
    depends_on: Annotated[list[str], Meta(description="Steps that have to succeed first")] = msgspec.field(
        default_factory=list
    )
    phase: PhaseName
    replicas: int
    message: Annotated[str, Meta(description="Why it did not succeed")] | UnsetType = UNSET
    run_ids: Annotated[list[UUID], Meta(description="Its runs, oldest first; none before its group's turn")] = (
        msgspec.field(default_factory=list)
    )
    done_before: Annotated[list[UUID], Meta(description="Runs of an earlier execution that count for this one")] = (
        msgspec.field(default_factory=list)
    )


class ExecutionModel(ResponseModel, kw_only=True):
    """All runs of one trigger. In a list `plan`, `steps` and `runs` are absent."""

    id: UUID
    task_name: Annotated[str, Meta(description="The task that was started; the others are those it depends on")]
    phase: PhaseName
    desired_phase: Annotated[PhaseName, Meta(description="`stopped` once a stop was requested")] | UnsetType = UNSET
    status_version: Annotated[
        int, Meta(description="Grows with every change of a status in it; of two views the one with more is newer")
    ]
    over: Annotated[bool, Meta(description="No run of it is pending or running, and none will be made")]
    triggered_by: Literal["cron", "api", "cloud"] | UnsetType = UNSET
    external_execution_id: str | UnsetType = UNSET
    created_at: datetime
    start_at: Annotated[datetime, Meta(description="When its first run began")] | UnsetType = UNSET
    end_at: datetime | UnsetType = UNSET
    message: Annotated[str, Meta(description="What kept it from succeeding")] | UnsetType = UNSET
    plan: (
        Annotated[
            list[list[str]],
            Meta(description="Tasks in groups: those of a group run at once, the groups one after another"),
        ]
        | UnsetType
    ) = UNSET
    steps: list[StepModel] | UnsetType = UNSET
    runs: list[Run] | UnsetType = UNSET


class ExecutionsResponseBody(ResponseModel, kw_only=True):
    """One page of executions."""

    executions: list[ExecutionModel]
    total: Annotated[int, Meta(description="Executions there are, in whatever phase")]
    next_cursor: Annotated[str, Meta(description="Where the next page starts; absent on the last one")] = ""


class StartedTask(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A triggered task: the execution that was started, or why it could not be."""

    task_name: str
    execution_id: UUID | UnsetType = UNSET
    refused: str = ""


class StartedResponseBody(ResponseModel, kw_only=True):
    """The executions that a trigger started."""

    tasks: list[StartedTask]


class QuotaModel(msgspec.Struct, kw_only=True):
    """How much a token may start: see the request that makes one."""

    triggers_per_s: int
    pending_runs: int
    pending_bytes: int


class TokenModel(ResponseModel, kw_only=True):
    """
    A token. ``token`` is the secret itself, only in the response to its creation. ``valid``: it is signed with this
    fleet's secret; an invalid one is refused. ``quota`` is that of a token with scope run.
    """

    id: str
    name: str
    scope: Scope
    tasks: str = ""
    created_at: datetime
    expires_at: datetime | UnsetType = UNSET
    valid: bool
    quota: QuotaModel | UnsetType = UNSET
    token: str | UnsetType = UNSET


class TokensResponseBody(ResponseModel, kw_only=True):
    """All tokens, without their secrets."""

    tokens: list[TokenModel]


class SessionModel(ResponseModel, kw_only=True):
    """
    Who is asking, and what they may do. ``csrf`` is there for a session only: each change by cookie sends it as
    ``X-Runfleet-CSRF``. ``open``: this API asks for no token.
    """

    who: str
    scope: Scope
    tasks: str = ""
    expires_at: datetime | UnsetType = UNSET
    csrf: str | UnsetType = UNSET
    open: bool | UnsetType = UNSET


class SessionLinkModel(ResponseModel, kw_only=True):
    """A link that signs one browser in, once."""

    url: str
    expires_at: datetime


class HealthModel(ResponseModel, kw_only=True):
    """The process is alive."""

    status: Literal["ok"]
