"""The fleet: worker processes, queues, and an overview with the scheduler and Redis."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from shared.clock import to_datetime
from shared.errors import NotFound, Unreadable
from shared.settings import LEASE_MS
from shared.store import queue_latency
from shared.store.health import Health, computed_health, stored_health
from shared.store.key_types import MistypedKey, mistyped_keys, or_default
from shared.store.leadership import GAP_US, Leadership, schedulers
from shared.store.records import readable
from shared.store.redis.call import NOW, Call, Key, RawKey, each, nothing, optional_strings, strings
from shared.store.redis.decoding import json_reading, text_of, texts_of
from shared.store.redis.scripts import script
from shared.store.redis.server_info import server

LEASE_US: Final = LEASE_MS * 1000
SILENCE_US: Final = 60_000_000
"""A worker process without a heartbeat for this long is removed."""


T = TypeVar("T")

Verdict = Literal["", "stop", "kill", "lost"]
"""The answer to a heartbeat for one run: nothing new, a request to stop it, or that it is no longer this worker's."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """
    A worker process, as it describes itself. ``broker`` is its Dramatiq broker's id, whose wake-ups go with it;
    ``unfit`` is why it executes nothing, "" when it does.
    """

    host: str
    pid: int
    version: str
    queues: tuple[str, ...]
    slots: int
    started_us: int
    broker: str = ""
    unfit: str = ""


_about = json_reading(About, "what a worker says of itself")


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """
    A worker process. ``alive`` is False when its last heartbeat is older than a lease; ``unfit`` is why it takes no
    runs although it is alive, "" when it does.
    """

    id: str
    host: str
    pid: int
    version: str
    queues: tuple[str, ...]
    slots: int
    running: list[UUID]
    started_at: datetime
    heartbeat_age_ms: int
    alive: bool
    draining: bool
    unfit: str = ""

    @property
    def serves(self) -> bool:
        """Whether it takes runs."""
        return self.alive and not self.draining and not self.unfit


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """
    A queue. ``latency_ms`` is the age of its oldest waiting run, 0 when none waits; slots are those of live workers.
    """

    name: str
    paused: bool
    depth: int
    latency_ms: int
    running: int
    slots: int
    workers: int


class RedisFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Redis at a glance; ``max_memory_bytes`` 0 is no limit."""

    version: str
    memory_bytes: int
    max_memory_bytes: int
    eviction_policy: str
    persistence: str
    connections: int


class Fleet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    The fleet as a whole. ``leader`` is absent when no scheduler leads; ``scheduler_lag_ms`` is since its last poll.
    ``redis`` is None for those who are shown their part of the whole only (``store.share``). ``oldest_waiting_ms`` is
    for how long the longest waiting run has waited for a worker, 0 when none does. ``health`` is what the leader stored
    last about schedules and its jobs, None until it has; without a leader it is read from the store, of schedules only.
    ``wrong_keys`` are keys that hold something that we did not write; they are shown as if they were empty.
    """

    leader: str | UnsetType = UNSET
    standbys: list[str]
    scheduler_lag_ms: int | UnsetType = UNSET
    redis: RedisFacts | None
    oldest_waiting_ms: int = 0
    health: Health | None = None
    wrong_keys: list[MistypedKey] = []
    counts: dict[str, int]


class HeartbeatReply(NamedTuple):
    """
    The answer to a heartbeat: whether Redis knows this worker, whether it is to drain, and a verdict for each lease.

    ``store_id`` names the life of the store; another one than before means that it was wiped.
    """

    known: bool
    drain: bool
    verdicts: list[Verdict]
    store_id: str


def ping() -> Call[None]:
    """Whether Redis answers; raises StoreUnavailable when it does not."""
    return Call("PING", (), lambda reply: None)


def clock() -> Call[int]:
    """Redis's clock: stored time."""
    return Call("TIME", (), lambda reply: int(reply[0]) * 1_000_000 + int(reply[1]))


def heartbeat(
    worker: str,
    leases: Sequence[tuple[UUID, int]],
    about: About | None,
    *,
    lease_us: int = LEASE_US,
    now: int | str = NOW,
) -> Call[HeartbeatReply]:
    """
    A worker process lives and renews the leases it holds, given as (run, token). With ``about`` it introduces itself.
    """
    args: list[Any] = [now, worker, lease_us, GAP_US, msgspec.json.encode(about) if about else b"", "running"]
    args.append(about.broker if about else "")
    for run_id, token in leases:
        args += [run_id.bytes, token]

    def read(reply: Any) -> HeartbeatReply:
        return HeartbeatReply(
            bool(reply[0]), bool(reply[1]), [verdict.decode() for verdict in reply[3:]], text_of(reply[2])
        )

    return Call(script("heartbeat"), tuple(args), read)


def worker_gone(worker: str = "", now: int | str = NOW) -> Call[list[str]]:
    """Remove a worker process that has left, or ("") all without a heartbeat for a minute; their names."""
    return Call(script("worker_gone"), (now, worker, SILENCE_US), texts_of)


async def workers() -> list[Worker]:
    """All worker processes, by name."""
    now_us = await clock()
    beats = await Call("ZRANGE", (Key("workers"), 0, -1, "WITHSCORES"), strings)
    running = await _running()
    names = texts_of(beats[::2])
    details = await each(Call("HMGET", (Key("worker:" + name), "about", "drain"), optional_strings) for name in names)
    found = []
    for name, score, (about_json, drain) in zip(names, beats[1::2], details, strict=True):
        if about_json is None:
            continue
        try:
            about = _about(about_json)
        except Unreadable:
            continue  # a worker of another release: it is not this one's to judge
        age_us = max(0, now_us - int(float(score)))
        found.append(
            Worker(
                id=name,
                host=about.host,
                pid=about.pid,
                version=about.version,
                queues=about.queues,
                slots=about.slots,
                running=running.get(name, []),
                started_at=to_datetime(about.started_us),
                heartbeat_age_ms=age_us // 1000,
                alive=age_us < LEASE_US,
                draining=drain == b"1",
                unfit=about.unfit,
            )
        )
    return sorted(found, key=lambda worker: worker.id)


async def queues() -> list[Queue]:
    """All queues that runs were ever put in or that a worker serves, by name."""
    now_us = await clock()
    names = await Call("SMEMBERS", (Key("queues"),), lambda reply: set(texts_of(reply)))
    paused = await Call("SMEMBERS", (Key("queues:paused"),), lambda reply: set(texts_of(reply)))
    present = await workers()
    records = await _running_records()
    known = sorted(names | paused | {queue for worker in present for queue in worker.queues})
    depths: list[int] = (await each(Call("ZCARD", (Key("queue:" + name),), int) for name in known)) if known else []
    since = await queue_latency.waiting_since([name for name, depth in zip(known, depths, strict=True) if depth])
    found = []
    for name, depth in zip(known, depths, strict=True):
        serving = [worker for worker in present if worker.alive and not worker.unfit and name in worker.queues]
        found.append(
            Queue(
                name=name,
                paused=name in paused,
                depth=depth,
                latency_ms=max(0, now_us - since[name]) // 1000 if name in since else 0,
                running=sum(1 for record in records if record.queue == name),
                slots=sum(worker.slots for worker in serving),
                workers=len(serving),
            )
        )
    return found


async def unserved() -> set[str]:
    """Queues that runs were put in once, that no worker serves and in which nothing waits; not those of odd names."""
    known = await Call("SMEMBERS", (Key("queues"),), strings)
    names = {raw.decode() for raw in known if text_of(raw).encode() == raw}
    present = await workers()
    names -= {queue for worker in present for queue in worker.queues}
    idle = sorted(names)
    depths: list[int] = (await each(Call("ZCARD", (Key("queue:" + name),), int) for name in idle)) if idle else []
    return {name for name, depth in zip(idle, depths, strict=True) if not depth}


def drop_queues(names: Sequence[str], now: int | str = NOW) -> Call[int]:
    """Remove those of the queues in which nothing waits; how many. A run that is put into one adds it again."""
    return Call(script("drop_queues"), (now, *names), int)


def pause_queue(name: str, paused: bool) -> Call[None]:
    """Let nothing more be claimed from a queue, or let it again."""
    return Call(script("pause_queue"), (NOW, name, "1" if paused else "0"), nothing)


def drain(worker: str) -> Call[None]:
    """Ask a worker process to take nothing new, finish, and leave. Raises NotFound."""

    def read(reply: Any) -> None:
        if reply == 0:
            raise NotFound(f"there is no worker {worker}")

    return Call(script("drain"), (NOW, worker), read)


async def facts() -> Fleet:
    """Scheduler leader and standbys, Redis, and how many runs wait and run."""
    now_us = await clock()
    wrong_keys = await mistyped_keys()
    leadership = await or_default(schedulers(now_us), Leadership(leader="", standbys=[], lag_ms=0))
    said = await server()
    pending = await Call("ZCARD", (Key("ix:all:pending:created"),), int)
    running = await Call("ZCARD", (Key("ix:all:running:created"),), int)
    delayed = await or_default(Call("ZCARD", (Key("due"),), int), 0)
    tasks = await or_default(Call("HLEN", (Key("tasks"),), int), 0)
    return Fleet(
        leader=leadership.leader or UNSET,
        standbys=leadership.standbys,
        scheduler_lag_ms=leadership.lag_ms if leadership.leader else UNSET,
        redis=RedisFacts(
            version=said.version or "",
            memory_bytes=said.memory_bytes or 0,
            max_memory_bytes=said.max_memory_bytes or 0,
            eviction_policy=said.eviction_policy or "",
            persistence="aof" if said.appends else "none" if said.save == "" else "rdb",
            connections=said.connections or 0,
        ),
        oldest_waiting_ms=(await or_default(queue_latency.oldest_waiting_ms(now_us), 0)),
        health=(await or_default(stored_health() if leadership.leader else computed_health(now_us), None)),
        wrong_keys=wrong_keys,
        counts={"pending": pending, "running": running, "delayed": delayed, "tasks": tasks},
    )


async def _running_records() -> list[Any]:
    pairs = await leased()
    return [record for _, record in pairs]


async def _running() -> dict[str, list[UUID]]:
    pairs = await leased()
    by_worker: dict[str, list[UUID]] = {}
    for run_id, record in pairs:
        by_worker.setdefault(record.worker, []).append(run_id)
    return by_worker


async def leased() -> list[tuple[UUID, Any]]:
    """The runs that run, by id with their record."""
    ids = await Call("ZRANGE", (Key("leases"), 0, -1), strings)
    if not ids:
        return []
    values = await Call("MGET", tuple(RawKey(b"run:" + one) for one in ids), optional_strings)
    return [(UUID(bytes=one), record) for one, value in zip(ids, values, strict=True) for record in readable(value)]
