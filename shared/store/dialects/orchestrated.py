"""
Orchestrated executions: an outside orchestrator reads and changes them, and its consumers execute them.

An execution keeps the id of its first run; a retry is a new run, the ``latest_attempt``. The orchestrator's own fields
are in the metadata of the first run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID, uuid4

import msgspec

from shared.runs import Reason, Record, Status
from shared.settings import LEASE_MS
from shared.store.metadata import MetadataChange
from shared.store.records import decode_record, readable_rows
from shared.store.redis.call import NOW, Call, Key, RawKey, each, strings
from shared.store.redis.decoding import pairs_of
from shared.store.redis.scripts import script
from shared.store.runs import Retry, packed_retry, record
from shared.store.wakeups import read_ready

CONSUMER_LEASE_US: Final = 15_000_000
"""How long a consumer that no process reports as connected keeps its deliveries."""

CONSUMER_GRACE_US: Final = 3_000_000
"""How long a consumer keeps them after its connection ended: it may reconnect."""

CONTACT_GAP_US: Final = 5_000_000
"""Time without any heartbeat after which Redis counts as having been unavailable."""

HOLD_US: Final = LEASE_MS * 1000
"""For how long no delivery is taken back after that."""

_encode = msgspec.msgpack.Encoder().encode


class Latest(msgspec.Struct, frozen=True):
    """An execution as it stands: its newest run, and the metadata that was asked for (b"" for absent)."""

    id: UUID
    latest_attempt: UUID
    record: Record
    metadata: Mapping[str, bytes]

    @property
    def state_tag(self) -> str:
        """The status of its newest run, as ``orchestrate`` compares it."""
        return state_tag(self.record)


class Plan(msgspec.Struct, kw_only=True):
    """
    A transition of an execution, in one step.

    ``steps`` lead there, and at most one new run is opened on the way. ``at_us`` is when it happened (stored time, 0:
    now). ``holder`` takes a slot of each of ``limits`` that exists, or nothing happens at all. ``for_consumer``: it
    waits for a consumer; ``consumer`` is the one that has it. ``cache`` is a key, a value, and how long to keep it in
    microseconds.
    """

    steps: list[tuple[Any, ...]] = []
    opens: Retry | None = None
    at_us: int = 0
    limits: list[str] = []
    holder: UUID | None = None
    force: bool = False
    lease_us: int = 0
    for_consumer: bool = False
    consumer: str = ""
    cache: tuple[str, bytes, int] | None = None

    def start(self) -> None:
        """The newest run begins."""
        self.steps.append(("start",))

    def close(self, reason: Reason, exit_code: int, message: str, then: Retry | None = None) -> None:
        """The newest run ends, and is followed by another one."""
        self.steps.append(("close", reason, exit_code, message, then is not None))
        self.opens = then or self.opens  # a run that this plan opened may be the one that ends

    def open(self, run: Retry) -> None:
        """The newest run, which has ended, is followed by another one."""
        self.steps.append(("open",))
        self.opens = run

    def wait_until(self, due_us: int) -> None:
        """The newest run, which is pending, is due then (0: at any time)."""
        self.steps.append(("due", due_us))


class Orchestrated(msgspec.Struct, frozen=True):
    """
    The outcome. ``conflict``: it is no longer as it was read; read it again. ``waiting``: an overlap rule holds it
    back. ``full``: all slots of ``limit`` are held, one since ``since_us`` (0: not known). ``closed``: there are none.
    """

    verdict: Literal["done", "conflict", "gone", "waiting", "full", "closed"]
    latest_attempt: UUID
    record: Record | None
    limit: str
    since_us: int
    ready: Mapping[str, int]


class Delivery(msgspec.Struct, frozen=True):
    """An execution for a consumer; ``id`` None when none is due, and then how soon one will be (None: unknown)."""

    id: UUID | None
    wait_us: int | None


def state_tag(record: Record) -> str:
    """The status of a run, or its end reason; with "!" when it was asked to stop."""
    state = record.reason if record.status == Status.ENDED else record.status
    return state + ("!" if record.status == Status.RUNNING and record.stop_request else "")


def newest(executions: Sequence[UUID], fields: Sequence[str] = ()) -> Call[list[Latest | None]]:
    """Executions as they stand, with *fields* of their metadata, or all; None for one that does not exist."""

    def read(reply: Any) -> list[Latest | None]:
        found: list[Latest | None] = []
        for execution, one in zip(executions, reply, strict=True):
            if one is None:
                found.append(None)
                continue
            values = one[2:]
            if fields:
                metadata = {name: value or b"" for name, value in zip(fields, values, strict=True)}
            else:
                metadata = pairs_of(values)
            found.append(Latest(execution, UUID(bytes=one[0]), decode_record(one[1]), metadata))
        return found

    return Call(script("latest_attempts"), (NOW, _encode(list(fields)), *(one.bytes for one in executions)), read)


async def attempts(execution: UUID) -> list[tuple[UUID, Record]]:
    """The runs of an execution that are still kept, in the order they were made."""
    ids = await Call("LRANGE", (RawKey(b"exec-runs:" + execution.bytes), 0, -1), strings)
    wanted = [UUID(bytes=one) for one in ids] or [execution]
    found = await each(record(one) for one in wanted)
    return [(one, known) for one, known in zip(wanted, found, strict=True) if known is not None]


def listed(via: str, states: Sequence[str], offset: int, limit: int) -> Call[tuple[int, list[UUID]]]:
    """
    How many executions were made through that API whose newest run is in one of *states*, and a page of them, the one
    with the newest run first.
    """
    segment = ["-inf", "+inf", *(f"ix:via:{via}:{state}:created" for state in states)]

    def read(reply: Any) -> tuple[int, list[UUID]]:
        pairs = zip(reply[2::2], reply[3::2], strict=True)
        return reply[0], [execution_of(*row) for row in readable_rows(pairs)]

    return Call(script("page"), (NOW, offset, limit, "1", _encode([segment]), ""), read)


async def of_external(external_id: str) -> list[UUID]:
    """The executions with that external execution id."""
    ids = await Call("SMEMBERS", (Key("external:" + external_id),), sorted)
    found = await each(record(UUID(bytes=one)) for one in ids)
    pairs = zip(ids, found, strict=True)
    return list(dict.fromkeys(execution_of(UUID(bytes=one), known) for one, known in pairs if known is not None))


def execution_of(run_id: UUID, record: Record) -> UUID:
    """The execution that a run belongs to."""
    return UUID(record.execution) if record.execution else run_id


def orchestrate(last: Latest, plan: Plan, change: MetadataChange, now: int | str = NOW) -> Call[Orchestrated]:
    """Do as *plan* says, and write *change*, unless the execution has changed since *last* was read."""
    key, value, kept_us = plan.cache or ("", b"", 0)
    options = {
        "state_tag": last.state_tag,
        "steps": plan.steps,
        "at_us": plan.at_us,
        "limits": plan.limits,
        "force": plan.force,
        "lease_us": plan.lease_us,
        "for_consumer": plan.for_consumer,
        "consumer": plan.consumer,
        "cache_key": key,
        "cache_us": kept_us,
    }
    holder = (plan.holder or last.latest_attempt).bytes

    def read(reply: Any) -> Orchestrated:
        verdict, latest_attempt, record, limit, since, *ready = reply
        return Orchestrated(
            verdict.decode(),
            UUID(bytes=latest_attempt),
            decode_record(record) if record else None,
            limit.decode(),
            int(float(since)) if since else 0,
            read_ready(ready),
        )

    args = (now, last.id.bytes, last.latest_attempt.bytes, holder, packed_retry(plan.opens), value, _encode(options))
    return Call(script("orchestrate"), (*args, *change.arguments()), read)


class Turn(NamedTuple):
    """
    A consumer's request for an execution, over the connection ``slot``. A repeat with the same turn gets the same
    execution, so a lost answer loses none; the next turn acknowledges it. Both are random, 16 characters.
    """

    slot: str
    turn: str

    @classmethod
    def first(cls) -> Turn:
        """The first request of a new connection."""
        return cls(uuid4().hex[:16], uuid4().hex[:16])

    def next(self) -> Turn:
        """The request after it."""
        return Turn(self.slot, uuid4().hex[:16])


def consumer_fetch(
    consumer: str, about: bytes, tasks: Sequence[str], turn: Turn, now: int | str = NOW
) -> Call[Delivery]:
    """Deliver the execution of *tasks* that is due first to *consumer*; *about* describes the consumer, as JSON."""

    def read(reply: Any) -> Delivery:
        if reply[0]:
            return Delivery(UUID(bytes=reply[0]), None)
        return Delivery(None, int(float(reply[1])) if reply[1] else None)

    return Call(script("consumer_fetch"), (now, consumer, CONSUMER_LEASE_US, about, *turn, *tasks), read)


class Lost(NamedTuple):
    """Deliveries to take back: from consumers that are ``gone``, and those that stayed ``unacknowledged``."""

    gone: list[tuple[str, list[UUID]]]
    unacknowledged: list[tuple[str, UUID]]


def consumer_heartbeat(
    present: Sequence[str], gone: Sequence[str], slots: Sequence[str] = (), now: int | str = NOW
) -> Call[Lost]:
    """Report which consumers are connected to this process (with *slots*) or have left; answers what to take back."""
    said = _encode((list(present), list(gone), list(slots)))
    args = (now, CONSUMER_LEASE_US, CONSUMER_GRACE_US, CONTACT_GAP_US, HOLD_US, said)

    def read(reply: Any) -> Lost:
        return Lost(
            [(one[0].decode(), [UUID(bytes=each) for each in one[1:]]) for one in reply[0]],
            [(consumer.decode(), UUID(bytes=execution)) for consumer, execution in reply[1]],
        )

    return Call(script("consumer_heartbeat"), args, read)


def drop_delivery(consumer: str, execution: UUID) -> Call[None]:
    """Drop a delivery to *consumer*: *execution* is over or gone, so that it is not to be taken back."""
    return Call("SREM", (Key("in-flight:" + consumer), execution.bytes), lambda _: None)


def consumers() -> Call[dict[str, bytes]]:
    """The consumers that fetch runs, and how each describes itself."""
    return Call(
        "HGETALL",
        (Key("consumers:about"),),
        pairs_of,
    )


def cached(key: str) -> Call[bytes | None]:
    """The value that ``Plan.cache`` stored under *key*, while it is kept."""
    return Call("GET", (Key("cached:" + key),), lambda reply: reply)
