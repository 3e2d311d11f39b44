"""Keys of ours that hold what somebody else wrote: which, what is in them, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from shared.errors import RunfleetError, StoreUnavailable
from shared.store.redis.call import Call, Operation
from shared.store.redis.scripts import script

T = TypeVar("T")

KINDS: Final[Mapping[str, str]] = {
    "applied": "hash",
    "applied:files": "zset",
    "api-tasks-version": "number",
    "catalog": "number",
    "compact": "zset",
    "consumers": "zset",
    "consumers:about": "hash",
    "contact": "number",
    "counter": "number",
    "prune-candidates": "set",
    "dramatiq:__heartbeats__": "zset",
    "due": "zset",
    "events": "stream",
    "executions:all": "zset",
    "health": "string",
    "history": "zset",
    "rescue-hold": "number",
    "store-id": "string",
    "jobs": "zset",
    "leader": "hash",
    "leases": "zset",
    "limits": "hash",
    "limits:api": "hash",
    "limits:api:max": "hash",
    "limits:file": "hash",
    "lineage": "zset",
    "lineage:arrived": "zset",
    "lineage:bodies": "hash",
    "lineage:bytes": "number",
    "lineage:static": "zset",
    "lineage:cursor": "string",
    "making": "zset",
    "maxima": "hash",
    "namespaces": "zset",
    "numbers": "hash",
    "offered": "zset",
    "offers": "hash",
    "ona:all": "zset",
    "ona:names": "hash",
    "ona:refs": "hash",
    "ona:tasks": "hash",
    "paused": "set",
    "queues": "set",
    "queues:paused": "set",
    "retired": "hash",
    "schedulers": "zset",
    "secret-variables": "hash",
    "secret-variables:version": "number",
    "slot-leases": "zset",
    "stopping": "zset",
    "tasks": "hash",
    "ticks": "hash",
    "tokens": "hash",
    "version": "number",
    "wake:scheduler": "list",
    "wake:standby": "list",
    "workers": "zset",
}
"""The keys of which there is one, without the prefix, and of what kind each is; README.md says what they hold."""

AND_THEN: Final[Mapping[str, str]] = {
    "tasks": ", then `runfleet apply`; tasks of the API are defined again by who defined them",
    "ticks": "; schedules go on from then",
    "tokens": "; tokens made through the API are made again",
    "limits": ", then `runfleet apply`",
    "limits:file": ", then `runfleet apply`",
}
"""What there is to do, or to know, after the key was deleted."""


class WrongKind(msgspec.Struct, frozen=True):
    """A ``key`` of ours, without the prefix, that is of another ``kind`` than is ``wanted``, and the ``cure``."""

    key: str
    kind: str
    wanted: str
    cure: str


async def wrong_kinds() -> list[WrongKind]:
    """Those that there are, by name; none if this user may not look. Raises StoreUnavailable when Redis is away."""
    pairs = [part for pair in KINDS.items() for part in pair]
    try:
        reply = await Call(script("key_types"), tuple(pairs), list)
    except RunfleetError as error:
        if isinstance(error, StoreUnavailable):
            raise
        return []
    found = zip(reply[::2], reply[1::2], strict=True)
    return sorted((_wrong(name.decode(), kind.decode()) for name, kind in found), key=lambda one: one.key)


async def otherwise(operation: Call[T] | Operation[T], default: T) -> T:
    """What *operation* answers, or *default* when Redis refuses it: because a key is of the wrong kind."""
    try:
        return await operation
    except StoreUnavailable:
        raise
    except RunfleetError:
        return default


def _wrong(name: str, kind: str) -> WrongKind:
    wanted = KINDS[name]
    told = "a string that is no number" if wanted == "number" and kind == "string" else f"a {kind}"
    cure = f"find out who writes into this Redis, then delete that key{AND_THEN.get(name, '')}"
    return WrongKind(name, told, f"a {wanted}", cure)
