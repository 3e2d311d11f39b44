"""Response objects about runs in their short form: rows, and what surrounds a run."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.http.response import ResponseModel
from shared.runs import Trigger
from shared.words import State


class RunRow(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """A run in short."""

    id: UUID
    task_name: str
    number: int
    state: Annotated[
        State,
        Meta(
            description="The end reason of a run that has ended. Before: `due` later, `queued`, `blocked` by an "
            "overlap rule or a limit, in a queue with `no_worker`, `running`, `stopping`"
        ),
    ]
    exit_code: Annotated[int, Meta(description="Absent until the run has ended")] | UnsetType = UNSET
    triggered_by: Trigger
    created_at: datetime
    due_at: Annotated[datetime, Meta(description="Only while it is pending")] | UnsetType = UNSET
    start_at: datetime | UnsetType = UNSET
    duration_ms: int | UnsetType = UNSET
    queue: str
    worker: str | UnsetType = UNSET
    retry_attempt: int
    replica_index: int
    replica_count: int
    words: Annotated[str, Meta(description="The one line to show: its message")] | UnsetType = UNSET


class UsualModel(msgspec.Struct, kw_only=True, frozen=True):
    """How long a task usually takes: percentiles of the successes among its last 60 ended runs."""

    p50_ms: int
    p95_ms: int


class RowsResponseBody(ResponseModel, kw_only=True):
    """One page of runs in their short form."""

    runs: list[RunRow]
    usual: Annotated[
        dict[str, UsualModel], Meta(description="By task of the page; one with less than five successes is absent")
    ]
    total: Annotated[int, Meta(description="Total matching runs")]
    next_cursor: Annotated[str, Meta(description="Where the next page starts; absent on the last one")] = ""
    scanned: Annotated[int, Meta(description="Runs looked at to answer a filter that no index covers")] = 0
    incomplete: Annotated[bool, Meta(description="True when only the newest `scanned` runs were looked at")] = False


class LimitModel(msgspec.Struct, kw_only=True, frozen=True):
    """A limit that a run waits at."""

    name: str
    held: int
    max: int | UnsetType = UNSET


class CauseModel(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One reason for the state of a run."""

    code: Annotated[str, Meta(description="`docs/api.md` lists them")]
    text: str
    since: datetime | UnsetType = UNSET
    run: Annotated[RunRow, Meta(description="The run that it waits for")] | UnsetType = UNSET
    limit: LimitModel | UnsetType = UNSET
    place: Annotated[int, Meta(description="Its place in line, from 1")] = 0
    cure: str = ""


class ChangeModel(msgspec.Struct, kw_only=True, frozen=True):
    """A difference between a run that ended badly and the last success."""

    code: str
    text: str


class WhyModel(ResponseModel, kw_only=True):
    """Why a run is in its state."""

    run: RunRow
    state: State
    text: Annotated[str, Meta(description="The first reason, as a sentence without its subject")]
    because: list[CauseModel]
    earliest_at: Annotated[datetime, Meta(description="It does not start before")] | UnsetType = UNSET
    changed: Annotated[
        list[ChangeModel], Meta(description="Differences from the last success, for a bad end; the worst first")
    ] = msgspec.field(default_factory=list)


class StreakModel(msgspec.Struct, kw_only=True, frozen=True):
    """Runs that ended alike, one after another."""

    state: State
    count: int
    since: Annotated[datetime, Meta(description="When the first of them was created")]


class NeighboursModel(ResponseModel, kw_only=True):
    """The runs of the same task around a run."""

    previous: RunRow | UnsetType = UNSET
    next: RunRow | UnsetType = UNSET
    around: Annotated[
        list[tuple[int, State, int]],
        Meta(description="Up to 30 runs with this one, oldest first: number, state, milliseconds that it ran"),
    ]
    streak: (
        Annotated[StreakModel, Meta(description="Runs in a row that ended as this one, which is the last of them")]
        | UnsetType
    ) = UNSET
