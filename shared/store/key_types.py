"""The type of each key that exists once, and the keys that other programs have overwritten."""

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from shared.errors import RunfleetError, StoreUnavailable
from shared.store.redis.call import Call, Operation
from shared.store.redis.decoding import pairs_of
from shared.store.redis.scripts import script

T = TypeVar("T")

TYPES: Final[dict[str, str]] = {
    "applied": "hash",
    "applied:files": "zset",
    "api-tasks-version": "number",
    "catalog": "number",
    "compact": "zset",
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
    "leader": "hash",
    "leases": "zset",
    "limits": "hash",
    "limits:api": "hash",
    "limits:api:max": "hash",
    "limits:file": "hash",
    "incomplete": "zset",
    "maxima": "hash",
    "numbers": "hash",
    "offered": "zset",
    "offers": "hash",
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
"""Keys without the prefix, and the type of each; README.md says what they hold. ``dialects`` adds its own."""

AND_THEN: Final[Mapping[str, str]] = {
    "tasks": ", then `runfleet apply`; tasks of the API are defined again by who defined them",
    "ticks": "; schedules go on from then",
    "tokens": "; tokens made through the API are made again",
    "limits": ", then `runfleet apply`",
    "limits:file": ", then `runfleet apply`",
}
"""How to go on after the key was deleted."""


class MistypedKey(msgspec.Struct, frozen=True):
    """A ``key`` of ours, without the prefix, that is of another ``kind`` than is ``wanted``, and the ``cure``."""

    key: str
    kind: str
    wanted: str
    cure: str


async def mistyped_keys() -> list[MistypedKey]:
    """All of them, by name; none if this user may not look. Raises StoreUnavailable while Redis is unavailable."""
    pairs = [part for pair in TYPES.items() for part in pair]
    try:
        reply = await Call(script("key_types"), tuple(pairs), list)
    except StoreUnavailable:
        raise
    except RunfleetError:
        return []
    return sorted((_mistyped(name, kind.decode()) for name, kind in pairs_of(reply).items()), key=lambda one: one.key)


async def or_default(operation: Call[T] | Operation[T], default: T) -> T:
    """The result of *operation*, or *default* when Redis refuses it because a key is of another type."""
    try:
        return await operation
    except StoreUnavailable:
        raise
    except RunfleetError:
        return default


def _mistyped(name: str, kind: str) -> MistypedKey:
    wanted = TYPES[name]
    found = "a string that is no number" if wanted == "number" and kind == "string" else f"a {kind}"
    cure = f"find out who writes into this Redis, then delete that key{AND_THEN.get(name, '')}"
    return MistypedKey(name, found, f"a {wanted}", cure)
