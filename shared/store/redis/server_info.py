"""The Redis server: its version, memory, persistence and limits, as far as it lets us read them."""

from typing import Any, Final, TypeVar

import msgspec

from shared.errors import RunfleetError
from shared.store.redis.call import Call, nothing

T = TypeVar("T")

OLDEST_MAJOR: Final = 7
"""The first Redis that has what our scripts use. A Valkey says which Redis it is compatible with: 7.2 or later."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """
    The fields of INFO and CONFIG. None stands for what the server does not show: managed ones forbid CONFIG or parts of
    INFO.

    ``redis_version`` is the version of Redis that a Valkey is compatible with. ``max_memory_bytes`` 0 is no limit;
    ``save`` "" is no snapshots; ``append_fsync`` is ``always``, ``everysec`` or ``no``. ``append_is_well`` and
    ``snapshot_is_well`` say how the last write of that kind went; ``denies_after_snapshot`` whether a failed snapshot
    makes the server refuse writes.
    """

    name: str = "Redis"
    version: str | None = None
    redis_version: str | None = None
    role: str | None = None
    eviction_policy: str | None = None
    evicted_keys: int | None = None
    memory_bytes: int | None = None
    max_memory_bytes: int | None = None
    appends: bool | None = None
    append_fsync: str | None = None
    append_is_well: bool | None = None
    save: str | None = None
    snapshot_is_well: bool | None = None
    denies_after_snapshot: bool | None = None
    connections: int | None = None
    max_connections: int | None = None


async def server() -> Server:
    """All of it, in two round trips. Raises StoreUnavailable when Redis does not answer at all."""
    info = (await _readable(Call("INFO", (), info_fields))) or {}
    names = ("appendfsync", "save", "stop-writes-on-bgsave-error", "maxclients")
    config = (await _readable(Call("CONFIG", ("GET", *names), _pairs))) or {}
    policy: str | None = info.get("maxmemory_policy")
    return Server(
        name="Valkey" if "valkey_version" in info else "Redis",
        version=info.get("valkey_version") or info.get("redis_version"),
        redis_version=info.get("redis_version"),
        role=info.get("role"),
        eviction_policy=policy,
        evicted_keys=_number(info.get("evicted_keys")),
        memory_bytes=_number(info.get("used_memory")),
        max_memory_bytes=_number(info.get("maxmemory")),
        appends=_is(info.get("aof_enabled"), "1"),
        append_fsync=config.get("appendfsync"),
        append_is_well=_is(info.get("aof_last_write_status"), "ok"),
        save=config.get("save"),
        snapshot_is_well=_is(info.get("rdb_last_bgsave_status"), "ok"),
        denies_after_snapshot=_is(config.get("stop-writes-on-bgsave-error"), "yes"),
        connections=_number(info.get("connected_clients")),
        max_connections=_number(info.get("maxclients") or config.get("maxclients")),
    )


async def eviction_policy() -> str:
    """The policy of the server when memory is short (``noeviction``, ``allkeys-lru``, …); "" when it does not say."""
    info = await _readable(Call("INFO", ("memory",), info_fields))
    return (info or {}).get("maxmemory_policy", "")


async def release() -> tuple[str, str]:
    """The server's name, and the version of Redis that it is compatible with; "" when it does not say."""
    info = (await _readable(Call("INFO", ("server",), info_fields))) or {}
    return "Valkey" if "valkey_version" in info else "Redis", info.get("redis_version", "")


async def _readable(call: Call[T]) -> T | None:
    """The answer to *call*; None when the server answers, but not this."""
    try:
        answer = await call
    except RunfleetError:
        await Call("PING", (), nothing)
        return None
    return answer


def info_fields(reply: bytes) -> dict[str, str]:
    """The reply to INFO as names and values."""
    parts = (line.partition(":") for line in reply.decode().splitlines())
    return {name: value for name, colon, value in parts if colon}


def _pairs(reply: Any) -> dict[str, str]:
    words = [word.decode() for word in reply]
    return dict(zip(words[::2], words[1::2], strict=True))


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _is(text: str | None, wanted: str) -> bool | None:
    return None if text is None else text == wanted
