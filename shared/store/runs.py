"""Runs: their transitions and reads. Each function is one call, described in the script that it names."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from shared.errors import NotFound, Unreadable
from shared.runs import TRANSITIONS, Reason, Record, Run, Status
from shared.settings import LEASE_MS
from shared.store.metadata import MetadataChange
from shared.store.records import decode_record, decode_run, packed_records, read_records
from shared.store.redis.call import NOW, Call, Key, RawKey, strings
from shared.store.redis.scripts import script
from shared.store.wakeups import read_ready
from shared.tasks import is_task_name

_encode = msgspec.msgpack.Encoder().encode
_REASONS = tuple(Reason)


class Retry(msgspec.Struct, frozen=True):
    """The attempt that follows an ended one: its id, its delay, and the counters it starts with."""

    id: UUID
    delay_us: int
    attempt: int
    crashes: int
    reruns: int
    execution: str
    retry_of: str


class Wanted(msgspec.Struct, array_like=True, frozen=True):
    """
    The claim of a worker's slot. ``turn`` is new for each claim of the slot and the same when a claim is repeated.
    """

    worker: str
    slot: str
    turn: str
    lease_us: int
    queues: Sequence[str]


class Facts(msgspec.Struct, array_like=True, frozen=True):
    """Figures of a run, known at its end. ``outputs`` is JSON or ""; sizes in bytes, ``cpu_ms`` of the process tree."""

    outputs: str = ""
    log_bytes: int = 0
    log_lines: int = 0
    log_truncated: int = 0
    log_first: int = 0
    peak_memory: int = 0
    cpu_ms: int = 0


class Claimed(msgspec.Struct, frozen=True):
    """A run that is now this worker's, and how many still wait in its queue."""

    id: UUID
    record: Record
    waiting: int


class Ended(msgspec.Struct, frozen=True):
    """
    The outcome of an end. ``verdict`` "refused": the run is no longer this worker's, and ``state`` says what it is
    (``gone``: deleted).

    ``ready``: queues to wake, and for how many runs. ``unreadable``: why the run that was claimed with it
    cannot be read by this release ("" when it can, or none was); ``claimed`` is None then.
    """

    verdict: Literal["ended", "already_ended", "refused"]
    state: str
    claimed: Claimed | None
    ready: Mapping[str, int]
    unreadable: str = ""


class GivenBack(msgspec.Struct, frozen=True):
    """
    The outcome of giving a run back. ``verdict`` "refused": it is no longer this worker's, ``state`` says what it is.

    "stopped": it had been asked to stop, and has ended. ``ready``: queues to wake, and for how many runs.
    """

    verdict: Literal["given_back", "stopped", "refused"]
    state: str
    ready: Mapping[str, int]


class Enqueued(NamedTuple):
    """
    The outcome of enqueueing due runs: how many were looked at (``looked_at``), and when the next is due (None: none
    is).

    ``ready``: queues to wake. ``failed`` are runs that could not be enqueued: they are postponed by a minute.
    """

    looked_at: int
    next_due_us: int | None
    ready: Mapping[str, int]
    failed: list[UUID]


class Reported(msgspec.Struct, frozen=True):
    """
    The outcome of a report, and the run as it is now (None when it is gone).

    ``changed``: its status did. ``same``: it was so already. ``refused``: the table does not allow it; ``state`` is
    then its status or end reason, or ``owned`` (our workers execute it), or ``waiting`` (an overlap rule or its due
    time holds it back). ``conflict``: its metadata is not as expected. ``stop_request`` is "stop" once that was
    requested.
    """

    verdict: Literal["changed", "same", "refused", "conflict", "gone"]
    state: str
    run: Run | None
    stop_request: str
    ready: Mapping[str, int]


def claim(wanted: Wanted, now: int | str = NOW) -> Call[Claimed | None]:
    """
    Take the next run of the wanted queues, in their order; None when none waits.

    Raises Unreadable, which names the run, when this release cannot read its record. It is claimed all the same: its
    lease ends, and a scheduler then ends it. The same turn would get it again.
    """
    return Call(script("claim"), (now, _encode(wanted)), _claimed)


def end(
    run_id: UUID,
    token: int,
    reason: Reason,
    exit_code: int,
    message: str,
    *,
    facts: Facts | None = None,
    retry: Retry | None = None,
    wanted: Wanted | None = None,
    transition: Literal["end", "interrupt"] = "end",
    now: int | str = NOW,
) -> Call[Ended]:
    """End a run that this worker holds the token of, with its retry, and claim the next one for *wanted*."""
    allowed = TRANSITIONS[transition][0]
    if reason not in allowed.reasons:
        raise ValueError(f"{transition} cannot end a run as {reason}")
    args = (
        now,
        run_id.bytes,
        token,
        allowed.source or "",
        reason,
        exit_code,
        message,
        _encode(facts) if facts else b"",
        packed_retry(retry),
        _encode(wanted) if wanted else b"",
    )
    return Call(script("end"), args, _ended)


def give_back(
    run_id: UUID, token: int, message: str, *, delay_us: int = 0, crashes: int = 0, now: int | str = NOW
) -> Call[GivenBack]:
    """
    Give back a run that this worker holds the token of and of which it started nothing; *message* says why it waits.

    It is the next to be claimed from its queue, or waits for *delay_us* first. *crashes* (0 or 1) counts towards those
    in a row after which a run is ended.
    """
    args = (now, run_id.bytes, token, TRANSITIONS["give_back"][0].source or "", delay_us, message, crashes)

    def read(reply: Any) -> GivenBack:
        return GivenBack(reply[0].decode(), reply[1].decode(), read_ready(reply[2:]))

    return Call(script("give_back"), args, read)


def rescue(run_id: UUID, message: str, retry: Retry | None, now: int | str = NOW) -> Call[Ended]:
    """End a run whose lease is over; refused when it is not, or while the outage hold lasts."""
    args = (now, run_id.bytes, TRANSITIONS["rescue"][0].source or "", message, packed_retry(retry))
    return Call(
        script("rescue"), args, lambda reply: Ended(reply[0].decode(), reply[1].decode(), None, read_ready(reply[2:]))
    )


def report(
    run_id: UUID,
    target: Literal["running", "ended"],
    *,
    reason: Reason | None = None,
    exit_code: int = 0,
    message: str = "",
    at_us: int = 0,
    outputs: str = "",
    lease_us: int = 0,
    retry: Retry | None = None,
    late_start: bool = False,
    backdated: bool = False,
    force: bool = False,
    change: MetadataChange | None = None,
    now: int | str = NOW,
) -> Call[Reported]:
    """
    Report an external run: it runs, it still runs, or it ended with *reason*.

    *at_us* is when that was, as stored time (0: now); a time before its creation or in the future is corrected.
    The earlier of two starts counts; with *late_start* one that comes after the end is filled in. *backdated*: the
    report comes late, so that times before its creation are accepted, and the earliest of late starts. *lease_us* is
    within what time the next report has to come, or the run counts as crashed (0: however long it takes). *force*
    starts a run that its due time or an overlap rule holds back.
    """
    rows = [row for row in TRANSITIONS["report"] if row.target == target]
    if target == "ended" and not any(reason in row.reasons for row in rows):
        raise ValueError(f"report cannot end a run as {reason}")
    options = {
        "target": target,
        "sources": [row.source for row in rows if target == "running" or reason in row.reasons],
        "reason": reason or "",
        "exit_code": exit_code,
        "message": message,
        "at_us": at_us,
        "outputs": outputs,
        "lease_us": lease_us,
        "late_start": late_start,
        "backdated": backdated,
        "force": force,
    }
    written = change.arguments() if change else ()

    def read(reply: Any) -> Reported:
        run = decode_run(run_id.bytes, reply[2]) if reply[2] else None
        return Reported(reply[0].decode(), reply[1].decode(), run, reply[3].decode(), read_ready(reply[4:]))

    return Call(script("report"), (now, run_id.bytes, _encode(options), packed_retry(retry), *written), read)


def restore(
    run_id: UUID, record: Record, gates: list[tuple[str, int]], now: int | str = NOW
) -> Call[Literal["restored", "there", "refused"]]:
    """Write a running run back that its worker still executes and the store has lost."""
    args = (now, run_id.bytes, _encode(record), LEASE_MS * 1000, _encode(gates))
    return Call(script("restore"), args, lambda reply: reply.decode())


def enqueue_due(batch: int = 500, now: int | str = NOW) -> Call[Enqueued]:
    """Enqueue runs that are due."""

    def read(reply: Any) -> Enqueued:
        next_due_us = int(float(reply[1])) if reply[1] else None
        return Enqueued(reply[0], next_due_us, read_ready(reply[3:]), [UUID(bytes=one) for one in reply[2]])

    return Call(script("enqueue_due"), (now, batch), read)


def get(run_id: UUID) -> Call[Run | None]:
    """The run, or None."""
    return read_records([run_id.bytes], lambda reply: decode_run(run_id.bytes, reply[0]) if reply[0] else None)


def record(run_id: UUID) -> Call[Record | None]:
    """The run as stored, with its parameters, tags and labels, or None."""
    return read_records([run_id.bytes], lambda reply: decode_record(reply[0]) if reply[0] else None)


def bare_record(run_id: UUID) -> Call[Record | None]:
    """The run as stored, or None, for callers that use none of its texts: these may be references."""
    return Call("GET", (RawKey(b"run:" + run_id.bytes),), lambda reply: decode_record(reply) if reply else None)


def many(ids: Iterable[UUID]) -> Call[list[Run]]:
    """Those of the runs that exist, in the order given. *ids* must not be empty."""
    wanted = list(ids)

    def read(reply: Any) -> list[Run]:
        return [decode_run(one.bytes, value) for one, value in zip(wanted, reply, strict=True) if value]

    return read_records([one.bytes for one in wanted], read)


async def find(ref: str) -> Run:
    """The run named by its id or as ``task#number``. Raises NotFound."""
    task, hash_sign, number = ref.rpartition("#")
    if hash_sign and number.isascii() and number.isdigit() and len(number) < 16 and is_task_name(task):
        # In the order of a run's life, so that one that moves between two looks is found by the later one.
        for state in (Status.PENDING, Status.RUNNING, *_REASONS):
            key = Key(f"ix:t:{task}:{state}:created")
            ids = await Call("ZRANGEBYSCORE", (key, int(number), int(number)), strings)
            if ids:
                run = await get(UUID(bytes=ids[0]))
                if run:
                    return run
        raise NotFound(f"there is no run {ref[:200]}")
    try:
        run_id = UUID(ref)
    except ValueError:
        raise NotFound(f"there is no run {ref[:200]}; write its id, or task#number") from None
    run = await get(run_id)
    if run is None:
        raise NotFound(f"there is no run {run_id}")
    return run


async def execution_runs(execution_id: UUID) -> list[Run]:
    """
    All runs of an execution that are still kept, in the order they were made; empty when there is no such execution.
    """
    ids = await Call("LRANGE", (RawKey(b"exec-runs:" + execution_id.bytes), 0, -1), strings)
    return [decode_run(one, value) for one, value in (await packed_records(ids or [execution_id.bytes])) if value]


def is_over(execution_id: UUID) -> Call[bool]:
    """Whether nothing of the execution is live any more (also true when it never was)."""
    return Call("EXISTS", (RawKey(b"exec:" + execution_id.bytes),), lambda reply: reply == 0)


def _claimed(reply: Any) -> Claimed | None:
    if not reply:
        return None
    run_id = UUID(bytes=reply[0])
    try:
        return Claimed(run_id, decode_record(reply[1]), reply[2])
    except Unreadable as error:
        raise Unreadable(f"run {run_id}: {error}") from None


def _ended(reply: Any) -> Ended:
    claimed, unreadable = None, ""
    try:
        claimed = _claimed(reply[2])
    except Unreadable as error:  # the end itself was accepted
        unreadable = str(error)
    return Ended(reply[0].decode(), reply[1].decode(), claimed, read_ready(reply[3:]), unreadable)


def packed_retry(retry: Retry | None) -> bytes:
    """A retry as the scripts read it (``lua/lib/retries.lua``); b"" for none."""
    if retry is None:
        return b""
    rest = (retry.delay_us, retry.attempt, retry.crashes, retry.reruns, retry.execution, retry.retry_of)
    return retry.id.bytes + _encode(rest)
