"""Since when runs wait for a worker."""

from __future__ import annotations

from collections.abc import Sequence

from shared.store.readable_runs import readable
from shared.store.redis.call import Call, Key, RawKey, as_is, each

BANDS = 10
"""Priorities; within one the run that came first is first."""


async def since(queues: Sequence[str]) -> dict[str, int]:
    """
    When the longest waiting run of each of the queues became due, as stored time; of those in which none waits nothing.

    Two round trips: the first of each priority band is looked at.
    """
    if not queues:
        return {}
    bands = [(queue, band) for queue in queues for band in range(BANDS)]
    heads = await each(
        Call("ZRANGEBYSCORE", (Key("queue:" + queue), band << 48, f"({(band + 1) << 48}", "LIMIT", 0, 1), as_is)
        for queue, band in bands
    )
    firsts = [(queue, ids[0]) for (queue, _), ids in zip(bands, heads, strict=True) if ids]
    if not firsts:
        return {}
    values = await Call("MGET", tuple(RawKey(b"run:" + one) for _, one in firsts), as_is)
    found: dict[str, int] = {}
    for (queue, _), value in zip(firsts, values, strict=True):
        for record in readable(value):
            due_us = max(record.created_us, record.due_us)
            found[queue] = min(found.get(queue, due_us), due_us)
    return found


async def oldest_ms(now_us: int) -> int:
    """For how long, at stored time *now_us*, the run has waited that waits longest of all; 0 when none waits."""
    names = await Call(
        "SMEMBERS", (Key("queues"),), lambda reply: sorted(name.decode(errors="replace") for name in reply)
    )
    times = (await since(names)).values()
    return max(0, now_us - min(times)) // 1000 if times else 0
