"""Response objects about queues, workers and the fleet, one struct each."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.http.response import ResponseModel


class QueueModel(ResponseModel, kw_only=True):
    """A queue: its waiting runs, and its workers."""

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
    alive: Annotated[bool, Meta(description="Its last heartbeat is younger than a lease")]
    draining: bool
    unfit: Annotated[str | UnsetType, Meta(description="Why it takes no runs although it is alive")] = UNSET


class WorkersResponseBody(ResponseModel, kw_only=True):
    """All worker processes with a recent heartbeat."""

    workers: list[WorkerModel]


class RedisFacts(msgspec.Struct, kw_only=True, frozen=True):
    """The Redis server."""

    version: str
    memory_bytes: int
    max_memory_bytes: Annotated[int, Meta(description="0 means no limit")]
    eviction_policy: str
    persistence: str
    connections: int


class SchedulesModel(msgspec.Struct, kw_only=True, frozen=True):
    """The health of the schedules: as the leader last reported it, or from the store while no scheduler leads."""

    overdue: Annotated[int, Meta(description="Schedules that owe a tick for half a minute or longer")]
    overdue_tasks: Annotated[list[str], Meta(description="Their tasks, the first 20")]
    unreadable: Annotated[int, Meta(description="Schedules that the scheduler's release or machine cannot read")]
    unreadable_tasks: Annotated[list[str], Meta(description="Their tasks, the first 20")]
    failing: Annotated[dict[str, str], Meta(description="What fails in the scheduler now, and why, the newest 20")]


class WrongKeyModel(msgspec.Struct, kw_only=True, frozen=True):
    """One of our keys in Redis that another program has overwritten."""

    key: Annotated[str, Meta(description="Without the prefix")]
    kind: str
    wanted: str
    cure: str


class FleetModel(ResponseModel, kw_only=True):
    """The whole fleet at a glance."""

    leader: Annotated[str, Meta(description="The scheduler that acts; absent when none does")] | UnsetType = UNSET
    standbys: list[str]
    scheduler_lag_ms: int | UnsetType = UNSET
    schedules: Annotated[SchedulesModel, Meta(description="Absent until the leader reported it")] | UnsetType = UNSET
    oldest_waiting_ms: Annotated[
        int, Meta(description="How long the run waits that waits longest for a worker; 0 when none does")
    ]
    redis: Annotated[RedisFacts, Meta(description="Absent for a token that is for some tasks only")] | UnsetType = UNSET
    wrong_keys: (
        Annotated[list[WrongKeyModel], Meta(description="Keys overwritten by another program; absent without any")]
        | UnsetType
    ) = UNSET
    counts: dict[str, int]
