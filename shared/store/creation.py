"""New executions: all that the script needs to create their runs, as one value, and the call."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from shared.errors import Conflict, DefinitionChanged, Invalid, OverQuota, Problem
from shared.runs import Record, Run, to_run
from shared.store import wakeups
from shared.store.metadata import MetadataChange
from shared.store.origin import Origin
from shared.store.records import decode_record
from shared.store.redis.call import NOW, Call, Key
from shared.store.redis.scripts import script
from shared.store.texts import packed_size
from shared.store.wakeups import read_ready

_encode = msgspec.msgpack.Encoder().encode


class Planned(msgspec.Struct, array_like=True, frozen=True):
    """
    One step of a plan: ``count`` runs of ``template`` in group ``group``, once the steps numbered ``needs`` succeeded.

    ``only`` are the replicas to make, if not all. ``has`` are replicas that have succeeded elsewhere, and by which run:
    their outputs are handed on. A step of which nothing is left to run is in group -1.
    """

    template: Record
    count: int
    needs: Sequence[int]
    group: int
    only: Sequence[int] = ()
    has: Sequence[tuple[int, UUID]] = ()


class Create(msgspec.Struct, frozen=True, kw_only=True):
    """
    All that an execution's first group is created from; ``ids`` has one id a run, and the first names the execution.

    ``template`` is a run of the task that is started. With a ``plan`` the ``ids`` are those of the steps of its first
    group, in their order; without one those of the replicas of the task.

    ``gates`` are the limits it must pass, as (``task:<name>``, max) or (``limit:<name>``, 0). ``tick_us`` is the
    tick it belongs to, and moves the schedule's cursor, if that is at ``after_us`` (0: wherever before); ``refuse`` is
    the sentence of a skipped record; ``known`` False makes a run of a definition that is not in the catalog.
    ``most_pending`` runs of the task may wait then, 0 for any number. ``origin`` is the other system that starts it.
    """

    ids: Sequence[UUID]
    template: Record
    gates: list[tuple[str, int]] = []
    overlap: str = "queue"
    max_queued: int = 100
    delay_us: int = 0
    tick_us: int = 0
    after_us: int = 0
    idempotency_key: str = ""
    digest: str = ""
    refuse: str = ""
    known: bool = True
    most_pending: int = 0
    plan: Sequence[Planned] = ()
    origin: Origin | None = None


class Created(msgspec.Struct, frozen=True):
    """``verdict`` "stale" or "paused": the tick was not to run (any more), and ``run`` is None."""

    verdict: Literal["created", "exists", "repeated", "stale", "paused"]
    run: Run | None
    ready: Mapping[str, int]


AT_ONCE: Final = 200
"""Most runs that one script creates, as ``lua/lib/remaining_runs.lua`` has it."""

BYTES_AT_ONCE: Final = 1_000_000
"""Most bytes of records that one script creates."""


def is_made_at_once(what: Create) -> bool:
    """Whether the script that creates the execution creates all runs of its first group."""
    steps = [(step.template, step.count) for step in what.plan if step.group == 0] or [(what.template, len(what.ids))]
    least = BYTES_AT_ONCE // AT_ONCE
    return sum(count * max(least, packed_size(template) + 100) for template, count in steps) <= BYTES_AT_ONCE


def create_rest(execution_id: UUID, now: int | str = NOW) -> Call[tuple[int, Mapping[str, int]]]:
    """
    Create more runs of a started execution that has runs left to create: how many are left, and what became ready. It
    may be repeated until none is left.
    """

    def read(reply: Any) -> tuple[int, Mapping[str, int]]:
        return int(reply[0]), read_ready(reply[1:])

    return Call(script("create_rest"), (now, execution_id.bytes), read)


def incomplete(limit: int, now_us: int) -> Call[list[UUID]]:
    """Started executions with runs left to create, the longest waiting first."""
    return Call(
        "ZRANGEBYSCORE",
        (Key("incomplete"), "-inf", now_us, "LIMIT", 0, limit),
        lambda reply: [UUID(bytes=one) for one in reply],
    )


def create(what: Create, now: int | str = NOW) -> Call[Created]:
    """
    Create the runs of an execution, or one skipped record that says why not, and wake workers for those that are ready.

    Raises DefinitionChanged when the catalog has another definition of the task (or none), and Invalid when the
    idempotency key was used for another request, and OverQuota when more runs than ``most_pending`` would wait.
    """
    options = {
        "gates": what.gates,
        "overlap": what.overlap,
        "max_queued": what.max_queued,
        "delay_us": what.delay_us,
        "tick_us": what.tick_us,
        "after": what.after_us,
        "idempotency_key": what.idempotency_key,
        "digest": what.digest,
        "refuse": what.refuse,
        "known": what.known,
        "dedupe_key": what.origin.dedupe_key if what.origin else "",
        "for_consumer": what.origin is not None and what.origin.for_consumer,
        "most_pending": what.most_pending,
        "plan": what.plan or False,
        "wakeups": [] if what.plan or what.template.external else wakeups.messages(what.template.queue, len(what.ids)),
        "most_wakeups": wakeups.MOST,
    }
    packed = b"".join(one.bytes for one in what.ids)
    first, task = str(what.ids[0]), what.template.task

    def read(reply: Any) -> Created:
        verdict = reply[0].decode()
        if verdict == "definition_changed":
            raise DefinitionChanged(f"task {task} was changed or removed meanwhile")
        if verdict == "mismatch":
            raise Invalid(
                [Problem("header.Idempotency-Key", "was used for a request with another body; use a new key")],
                "this idempotency key belongs to another request",
            )
        if verdict == "quota":
            waiting = int(reply[1])
            raise OverQuota(
                f"{waiting} runs of task {task} are pending, and with this there may be {what.most_pending}", 10
            )
        if verdict in ("stale", "paused"):
            return Created(verdict, None, {})
        if verdict == "repeated" and reply[2] is None:
            raise Conflict("the run that this idempotency key made has been deleted; use a new key")
        return Created(verdict, to_run(UUID(bytes=reply[1]), decode_record(reply[2])), read_ready(reply[3:]))

    metadata = what.origin.metadata if what.origin else {}
    written = MetadataChange(what.ids[0], metadata).arguments() if metadata else ()
    return Call(script("create"), (now, _encode(what.template), packed, first, _encode(options), *written), read)
