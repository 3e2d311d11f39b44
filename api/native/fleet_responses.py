"""Answers about queues, workers and the fleet as a whole: a struct for each response object, as in ``responses``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.http.response import ResponseModel


class QueueModel(ResponseModel, kw_only=True):
    """A queue: what waits, and who serves it."""

    name: str
    paused: bool
    depth: Annotated[int, Meta(description="Runs that are due and wait")]
    latency_ms: Annotated[int, Meta(description="Age of the oldest waiting run; 0 when none waits")]
    running: int
    slots: Annotated[int, Meta(description="Runs that its workers can run at once")]
    workers: int


class QueuesResponseBody(ResponseModel, kw_only=True):
    """All queues."""

    queues: list[QueueModel]


class WorkerModel(ResponseModel, kw_only=True):
    """A worker process."""

    id: str
    host: str
    pid: int
    version: str
    queues: list[str]
    slots: int
    running: list[UUID]
    started_at: datetime
    heartbeat_age_ms: int
    alive: Annotated[bool, Meta(description="It was heard of within a lease")]
    draining: bool
    unfit: Annotated[str | UnsetType, Meta(description="Why it takes no runs although it is alive")] = UNSET


class WorkersResponseBody(ResponseModel, kw_only=True):
    """All worker processes that were heard of lately."""

    workers: list[WorkerModel]


class RedisFacts(msgspec.Struct, kw_only=True, frozen=True):
    """The server that keeps everything."""

    version: str
    memory_bytes: int
    max_memory_bytes: Annotated[int, Meta(description="0 means no limit")]
    eviction_policy: str
    persistence: str
    connections: int


class SchedulesModel(msgspec.Struct, kw_only=True, frozen=True):
    """How the schedules are: as the leader said last, or as the store shows while no scheduler leads."""

    overdue: Annotated[int, Meta(description="Schedules that owe a tick for half a minute or longer")]
    overdue_tasks: Annotated[list[str], Meta(description="Their tasks, the first 20")]
    unreadable: Annotated[int, Meta(description="Schedules that the scheduler's release or machine cannot read")]
    unreadable_tasks: Annotated[list[str], Meta(description="Their tasks, the first 20")]
    failing: Annotated[dict[str, str], Meta(description="What fails in the scheduler now, and why, the newest 20")]


class WrongKeyModel(msgspec.Struct, kw_only=True, frozen=True):
    """A key of ours in Redis that somebody else wrote to."""

    key: Annotated[str, Meta(description="Without the prefix")]
    kind: str
    wanted: str
    cure: str


class FleetModel(ResponseModel, kw_only=True):
    """The whole fleet at a glance."""

    leader: Annotated[str, Meta(description="The scheduler that acts; absent when none does")] | UnsetType = UNSET
    standbys: list[str]
    scheduler_lag_ms: int | UnsetType = UNSET
    schedules: Annotated[SchedulesModel, Meta(description="Absent until the leader has said it")] | UnsetType = UNSET
    oldest_waiting_ms: Annotated[
        int, Meta(description="How long the run waits that waits longest for a worker; 0 when none does")
    ]
    redis: Annotated[RedisFacts, Meta(description="Absent for a token that is for some tasks only")] | UnsetType = UNSET
    wrong_keys: (
        Annotated[list[WrongKeyModel], Meta(description="Keys that somebody else wrote to; absent without any")]
        | UnsetType
    ) = UNSET
    counts: dict[str, int]
