"""The permissions that our Redis user needs, and the check for missing ones."""

import re
from collections.abc import Sequence
from typing import Any, Final

from shared.errors import RunfleetError
from shared.store.redis.call import Call, nothing
from shared.store.redis.scripts import script

ON_KEYS: Final = (
    "BLPOP @k 1",
    "DECRBY @k 1",
    "DEL @k",
    "EXISTS @k",
    "EXPIRE @k 1",
    "GET @k",
    "GETDEL @k",
    "GETEX @k",
    "HDEL @k f",
    "HEXISTS @k f",
    "HGET @k f",
    "HGETALL @k",
    "HINCRBY @k f 1",
    "HKEYS @k",
    "HLEN @k",
    "HMGET @k f",
    "HRANDFIELD @k",
    "HSET @k f v",
    "HSETNX @k f v",
    "HSTRLEN @k f",
    "HVALS @k",
    "INCR @k",
    "INCRBY @k 1",
    "LINSERT @k BEFORE v v",
    "LLEN @k",
    "LPUSH @k v",
    "LRANGE @k 0 1",
    "LREM @k 0 v",
    "LTRIM @k 0 1",
    "MGET @k",
    "PEXPIRE @k 1",
    "RPUSH @k v",
    "SADD @k v",
    "SCARD @k",
    "SET @k v",
    "SISMEMBER @k v",
    "SMEMBERS @k",
    "SMISMEMBER @k v",
    "SPOP @k",
    "SRANDMEMBER @k",
    "SREM @k v",
    "TYPE @k",
    "XADD @k * f v",
    "XLEN @k",
    "XRANGE @k - +",
    "XREVRANGE @k + -",
    "XTRIM @k MAXLEN 1",
    "ZADD @k 1 v",
    "ZCARD @k",
    "ZCOUNT @k 0 1",
    "ZMSCORE @k v",
    "ZPOPMIN @k",
    "ZRANGE @k 0 1",
    "ZRANGEBYSCORE @k 0 1",
    "ZREM @k v",
    "ZREMRANGEBYRANK @k 0 1",
    "ZREMRANGEBYSCORE @k 0 1",
    "ZREVRANGE @k 0 1",
    "ZRANK @k v",
    "ZREVRANGEBYSCORE @k 1 0",
    "ZREVRANK @k v",
    "ZSCORE @k v",
)
"""Commands of the scripts and of the processes themselves, each in a form that touches one key."""

ON_CHANNELS: Final = ("PUBLISH @channel:c m", "SUBSCRIBE @channel:c")
ON_NOTHING: Final = (
    "EVALSHA 0000000000000000000000000000000000000000 0",
    "EVAL return 0",
    "PING",
    "SCAN 0",
    "TIME",
    "UNSUBSCRIBE @channel:c",
)
WANTED: Final = ("INFO", "CONFIG")
"""For what ``doctor`` and the start say about the server; without them it stays unsaid."""


async def refused() -> Sequence[str]:
    """
    The names of needed commands that are refused, in the order above; ``EVAL`` alone when no script may run.

    Raises StoreUnavailable when Redis is unavailable. A server that cannot say gives an empty list.
    """
    await Call("PING", (), nothing)
    try:
        names = await Call(script("check_permissions"), (*ON_NOTHING, *ON_KEYS, *ON_CHANNELS), _names)
    except RunfleetError as error:
        said = str(error).lower()
        if "access a key" in said or "access one of the keys" in said:
            return [line.partition(" ")[0] for line in ON_KEYS]
        if "permissions" in said:
            return ["EVAL"]
        raise
    return names


def refused_by(message: str) -> str:
    """The command that Redis refuses this user with that *message*; "" when it says nothing of the kind."""
    named = re.search(r"NOPERM .*no permissions to run the '([^']+)' command", message)
    return named[1].upper() if named else ""


def all_of(lines: Sequence[str], names: Sequence[str]) -> bool:
    """Whether *names* has every command of *lines*: then it is the keys or channels that are refused."""
    return {line.partition(" ")[0] for line in lines} <= set(names)


def _names(reply: Any) -> list[str]:
    return [name.decode() for name in reply or ()]
