"""The fleet restricted to some tasks, for tokens that cover only those."""

from collections.abc import Callable
from typing import Final

import msgspec

from shared.store import fleet, tasks
from shared.store.fleet import Fleet, Queue, Worker
from shared.store.records import decode_record
from shared.store.redis.call import Call, Key, RawKey, each, optional_string, optional_strings, strings

Covers = Callable[[str], bool]
"""Says whether a task is covered."""

LOOKED_AT: Final = 1000
"""Pending runs of one task that are looked for in their queue; further ones count as waiting."""


class _Waiting(msgspec.Struct):
    """The part of one queue that is the tasks' runs; ``since_us``: since when the oldest has waited, 0 for none."""

    depth: int = 0
    running: int = 0
    since_us: int = 0


class _Share(msgspec.Struct):
    """The tasks' part of the whole: by queue, and how many runs wait (also for their time) and run in all."""

    queues: dict[str, _Waiting]
    defined: int
    pending: int = 0
    running: int = 0


async def queues(covers: Covers) -> list[Queue]:
    """The queues of these tasks, with what their runs make up of each; slots and workers are all those of the queue."""
    share = await _share(covers)
    now_us = await fleet.clock()
    found = []
    for queue in await fleet.queues():
        own = share.queues.get(queue.name)
        if own is not None:
            waited_ms = max(0, now_us - own.since_us) // 1000 if own.since_us else 0
            found.append(msgspec.structs.replace(queue, depth=own.depth, running=own.running, latency_ms=waited_ms))
    return found


async def workers(covers: Covers) -> list[Worker]:
    """The workers that serve a queue of these tasks, each with those queues, and with these tasks' runs."""
    own = set((await _share(covers)).queues)
    mine = {run for run, record in (await fleet.leased()) if covers(record.task)}
    return [
        msgspec.structs.replace(
            worker,
            queues=tuple(queue for queue in worker.queues if queue in own),
            running=[run for run in worker.running if run in mine],
        )
        for worker in (await fleet.workers())
        if own.intersection(worker.queues)
    ]


async def facts(covers: Covers) -> Fleet:
    """The fleet with the counts of these tasks alone, and without the facts about Redis."""
    whole = await fleet.facts()
    share = await _share(covers)
    waiting = sum(own.depth for own in share.queues.values())
    counts = {
        "pending": share.pending,
        "running": share.running,
        "delayed": max(0, share.pending - waiting),
        "tasks": share.defined,
    }
    times = [own.since_us for own in share.queues.values() if own.since_us]
    now_us = await fleet.clock()
    return msgspec.structs.replace(
        whole,
        redis=None,
        wrong_keys=[],
        counts=counts,
        oldest_waiting_ms=max(0, now_us - min(times)) // 1000 if times else 0,
        health=whole.health and whole.health.of(covers),
    )


async def _share(covers: Covers) -> _Share:
    names: list[str] = [*(await tasks.names()), *(await tasks.known_tasks())]
    entries = await tasks.some(name for name in dict.fromkeys(names) if covers(name))
    own = sorted({name for name in names if covers(name)})
    share = _Share({entry.task.queue: _Waiting() for entry in entries.values()}, len(entries))
    counted = (await tasks.counts(own)) if own else {}
    for name, record in ((record.task, record) for _, record in (await fleet.leased())):
        if covers(name):
            share.queues.setdefault(record.queue, _Waiting()).running += 1
    share.running = sum(counts.running for counts in counted.values())
    for name in own:
        if counted[name].pending:
            share.pending += counted[name].pending
            await _waiting(share, name, counted[name].pending)
    return share


async def _waiting(share: _Share, task: str, pending: int) -> None:
    """Add one task's waiting runs to its queues."""
    ids = await Call("ZRANGE", (Key(f"ix:t:{task}:pending:created"), 0, LOOKED_AT - 1), strings)
    if not ids:
        return
    values = await Call("MGET", tuple(RawKey(b"run:" + one) for one in ids), optional_strings)
    records = [(one, decode_record(value)) for one, value in zip(ids, values, strict=True) if value]
    by_queue: dict[str, list[int]] = {}
    places = await each(Call("ZSCORE", (Key("queue:" + record.queue), one), optional_string) for one, record in records)
    for (_, record), place in zip(records, places, strict=True):
        if place is not None:
            by_queue.setdefault(record.queue, []).append(max(record.created_us, record.due_us))
    for queue, since in by_queue.items():
        own = share.queues.setdefault(queue, _Waiting())
        own.depth += len(since) + max(0, pending - LOOKED_AT)
        own.since_us = min([*since, *([own.since_us] if own.since_us else [])])
