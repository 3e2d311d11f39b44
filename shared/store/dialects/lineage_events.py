"""
Lineage events as they were sent: each stored once, ordered by its own time, until newer ones need the room.

Its facts about its job and its run are stored in the same step, in whatever order events arrive.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import msgspec

from shared.errors import Unreadable
from shared.runs import Record
from shared.store.dialects.namespaces import JobChange
from shared.store.records import decode_record
from shared.store.redis.call import NOW, Call, Key, together
from shared.store.redis.scripts import script

MOST_EVENTS: Final = 100_000
MOST_BYTES: Final = 64 * 1024 * 1024
LIFE_US: Final = 30 * 86_400 * 1_000_000
"""Beyond any of these bounds, the events that arrived first are deleted."""

MOST_FIELDS: Final = 200
"""Fields that the metadata of a run may have; facets beyond them are in the event only."""

TRIM_BATCH: Final = 100

_encode = msgspec.msgpack.Encoder().encode


class LineageEvent(msgspec.Struct, frozen=True):
    """
    One event: its *body* as it arrived, and its content.

    ``at_us`` is the time that it states, not when it arrived. ``run`` is None for an event of no run; ``facets`` go
    into the metadata of the run under their names there, the newest of a name stays.
    """

    body: bytes
    at_us: int
    kind: str
    run: UUID | None = None
    job: JobChange | None = None
    facets: Mapping[str, str] = {}

    def digest(self) -> bytes:
        """Its identity: run, kind, time and body."""
        identity = f"{self.run}\0{self.kind}\0{self.at_us}\0".encode()
        return hashlib.sha256(identity + self.body).digest()[:16]


class Kept(msgspec.Struct, frozen=True):
    """``is_new``: it was not sent before. ``has_run``: there is such a run, and it has the facets now."""

    is_new: bool
    has_run: bool


class EventPage(msgspec.Struct, frozen=True):
    """Some events of runs, and how many events (of no run as well) are kept of that time."""

    bodies: list[bytes]
    total: int


class UnreportedEnds(msgspec.Struct, frozen=True):
    """
    Runs as they are now. ``missed``: some had been trimmed before it was looked at, or cannot be read. ``place`` is
    behind them in the stream.
    """

    runs: list[tuple[UUID, Record]]
    has_more: bool
    missed: bool
    place: str


def keep(event: LineageEvent, now: int | str = NOW) -> Call[Kept]:
    """Store an event, with what it says about its job and its run; a repeat changes nothing."""
    args = (
        now,
        event.digest(),
        event.at_us,
        "run" if event.run else "static",
        event.body,
        MOST_EVENTS,
        MOST_BYTES,
        LIFE_US,
        event.job.packed() if event.job else b"",
        event.run.bytes if event.run else b"",
        _encode(event.facets),
        MOST_FIELDS,
    )
    return Call(script("store_lineage_event"), args, lambda reply: Kept(bool(reply[0]), bool(reply[1])))


async def page(after_us: int, before_us: int, *, descending: bool, offset: int, limit: int) -> EventPage:
    """Events of runs with ``after_us <= time < before_us``, by their own time."""
    low, high = str(after_us), f"({before_us}"
    bounds = (high, low) if descending else (low, high)
    command = "ZREVRANGEBYSCORE" if descending else "ZRANGEBYSCORE"
    total, other, digests = await together(
        Call("ZCOUNT", (Key("lineage"), low, high), int),
        Call("ZCOUNT", (Key("lineage:static"), low, high), int),
        Call(command, (Key("lineage"), *bounds, "LIMIT", offset, limit), list),
    )
    bodies: list[bytes | None] = []
    if digests:
        bodies = await Call("HMGET", (Key("lineage:bodies"), *digests), list)
    return EventPage([body for body in bodies if body is not None], total + other)


def trim(now: int | str = NOW) -> Call[int]:
    """Delete a batch of events beyond the bounds; how many (fewer than ``TRIM_BATCH``: that was all)."""
    return Call(script("trim_lineage_events"), (now, MOST_EVENTS, MOST_BYTES, LIFE_US, TRIM_BATCH), _number)


def unreported_ends(entries: int, place: str = "", now: int | str = NOW) -> Call[UnreportedEnds]:
    """
    Runs that ended without a worker (skipped, or stopped while they waited) and were not reported yet.

    *place* is that of the previous answer, all of which was reported; without it that is answered again, so nothing is
    lost with an answer, or with the process that asked. At most *entries* events are read. The first call only stores
    the end of the stream.
    """

    def read(reply: Any) -> UnreportedEnds:
        runs, missed = [], bool(reply[1])
        for run, value in zip(reply[3::2], reply[4::2], strict=True):
            try:
                runs.append((UUID(bytes=run), decode_record(value)))
            except Unreadable:
                missed = True
        return UnreportedEnds(runs, has_more=bool(reply[0]), missed=missed, place=reply[2].decode())

    return Call(script("unreported_ends"), (now, entries, place), read)


def _number(reply: Any) -> int:
    return int(reply)
