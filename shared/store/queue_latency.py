"""How long runs have been waiting in queues for a worker."""

from collections.abc import Sequence

from shared.store.records import readable
from shared.store.redis.call import Call, Key, RawKey, each, optional_strings, strings
from shared.store.redis.decoding import texts_of

BANDS = 10
"""Priorities of runs; within one, runs are in the order of their arrival."""


async def waiting_since(queues: Sequence[str]) -> dict[str, int]:
    """
    When the longest waiting run of each queue became due, as stored time; queues in which none waits are left out.

    Two round trips: the first run of each priority band is read.
    """
    if not queues:
        return {}
    bands = [(queue, band) for queue in queues for band in range(BANDS)]
    heads = await each(
        Call("ZRANGEBYSCORE", (Key("queue:" + queue), band << 48, f"({(band + 1) << 48}", "LIMIT", 0, 1), strings)
        for queue, band in bands
    )
    firsts = [(queue, ids[0]) for (queue, _), ids in zip(bands, heads, strict=True) if ids]
    if not firsts:
        return {}
    values = await Call("MGET", tuple(RawKey(b"run:" + one) for _, one in firsts), optional_strings)
    found: dict[str, int] = {}
    for (queue, _), value in zip(firsts, values, strict=True):
        for record in readable(value):
            due_us = max(record.created_us, record.due_us)
            found[queue] = min(found.get(queue, due_us), due_us)
    return found


async def oldest_waiting_ms(now_us: int) -> int:
    """For how long, at stored time *now_us*, the longest waiting run of all has waited; 0 when none waits."""
    names = await Call("SMEMBERS", (Key("queues"),), lambda reply: sorted(texts_of(reply)))
    times = (await waiting_since(names)).values()
    return max(0, now_us - min(times)) // 1000 if times else 0
