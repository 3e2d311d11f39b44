"""Shared limits that APIs change, and leases of their slots."""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec

from shared.store.redis.call import NOW, Call, Key, RawKey, call_name, each, optional_string, strings, together
from shared.store.redis.decoding import pairs_of
from shared.store.redis.scripts import script


class Limit(msgspec.Struct, frozen=True):
    """
    At most ``max`` slots (None: it is switched off). ``about`` is what an API keeps of it, b"" while it is the task
    file's: then the file's number holds, and the API's comes back when the file names the limit no more.
    """

    name: str
    max: int | None
    about: bytes


class Holders(msgspec.Struct, frozen=True):
    """The holders of a limit's slots: executions and runs by id, and the JSON of leases, once a slot."""

    runs: list[UUID]
    leases: list[bytes]


class Taken(msgspec.Struct, frozen=True):
    """
    ``full``: ``limit`` has no slot left, one held since ``since_us`` (0: unknown). ``exceeds_limit``: its maximum is
    lower than what was asked for.
    """

    verdict: Literal["taken", "full", "exceeds_limit", "renewed", "given", "gone"]
    limit: str
    since_us: int


async def all_limits() -> list[Limit]:
    """Every limit, by name."""
    most, about, files = await each(
        Call("HGETALL", (Key(key),), pairs_of) for key in ("limits", "limits:api", "limits:file")
    )
    return [
        Limit(name, int(most[name]) if name in most else None, b"" if name in files else about.get(name, b""))
        for name in sorted({*most, *about})
    ]


async def one_limit(name: str) -> Limit | None:
    """The limit with that name, or None."""
    most, about, files = await each(
        Call("HGET", (Key(key), name), optional_string) for key in ("limits", "limits:api", "limits:file")
    )
    if most is None and about is None:
        return None
    return Limit(name, None if most is None else int(most), b"" if files is not None else about or b"")


async def holders(name: str) -> Holders:
    """The holders of its slots at this moment."""
    live, slots = await together(
        Call("ZRANGE", (Key(f"limit:shared:{name}:holders"), 0, -1), strings),
        Call("ZRANGE", (Key(f"slots:shared:{name}"), 0, -1), strings),
    )
    runs = [UUID(bytes=one) for one in [*live, *(slot for slot in slots if len(slot) == 16)]]
    return Holders(runs, [holder for _, holder in (await _leases(slots))])


async def leases(name: str) -> dict[UUID, bytes]:
    """The leases that hold slots of it at this moment, with the JSON that each was taken with."""
    slots = await Call("ZRANGE", (Key(f"slots:shared:{name}"), 0, -1), strings)
    return dict(await _leases(slots))


def holder(lease: UUID) -> Call[bytes | None]:
    """The JSON that a lease was taken with; None when it is over."""
    return Call("HGET", (RawKey(b"slot-lease:" + lease.bytes), "holder"), optional_string)


async def _leases(slots: Sequence[bytes]) -> list[tuple[UUID, bytes]]:
    """The lease of each slot that has one."""
    found = [slot[:16] for slot in slots if len(slot) > 16]
    holders = await each(Call("HGET", (RawKey(b"slot-lease:" + lease), "holder"), optional_string) for lease in found)
    pairs = zip(found, holders, strict=True)
    return [(UUID(bytes=lease), holder) for lease, holder in pairs if holder is not None]


def put(name: str, most: int | None, about: bytes, now: int | str = NOW) -> Call[bool]:
    """
    Create or change the limit; None for *most* switches it off.

    False when it is the task file's.
    """
    return Call(script("put_limit"), (now, name, "off" if most is None else most, about, call_name()), bool)


def remove(name: str, now: int | str = NOW) -> Call[bool]:
    """Delete a limit that an API made; False when there is none, or it is the task file's."""
    return Call(script("put_limit"), (now, name, "", "", call_name()), bool)


def reset(name: str, held_by: Sequence[UUID] = (), now: int | str = NOW) -> Call[bool]:
    """Take the slots of an API's limit from their holders; then *held_by* hold one each."""
    runs = (run.bytes for run in held_by)
    return Call(script("put_limit"), (now, name, "reset", "", call_name(), *runs), bool)


def take(
    lease: UUID, names: Sequence[str], slots: int, lasts_us: int, holder: bytes, now: int | str = NOW
) -> Call[Taken]:
    """Take *slots* of each of those limits that exist, until the lease is given back or lapses."""
    return Call(script("slot_lease"), (now, "take", lease.bytes, lasts_us, slots, holder, *names), _taken)


def renew(lease: UUID, lasts_us: int, now: int | str = NOW) -> Call[Taken]:
    """Renew a lease, from now on."""
    return Call(script("slot_lease"), (now, "renew", lease.bytes, lasts_us, 0, ""), _taken)


def give(lease: UUID, now: int | str = NOW) -> Call[Taken]:
    """Return a lease's slots."""
    return Call(script("slot_lease"), (now, "give", lease.bytes, 0, 0, "", call_name()), _taken)


def _taken(reply: Any) -> Taken:
    verdict, limit, since = [part.decode() for part in reply] + [""] * (3 - len(reply))
    return Taken(verdict, limit, int(float(since)) if since else 0)
