"""What a scheduler sees to: delayed runs that are due, runs whose worker was lost, history beyond its bounds."""

from __future__ import annotations

import random
import time
from typing import Final
from uuid import UUID

from shared import ids, retry
from shared.config.durations import format_duration
from shared.ops.wake import ring
from shared.runs import Reason, Record
from shared.store import retention, runs
from shared.store.runs import Ended, Released, Retry
from shared.tasks import OnInterrupt, Task

FORGET_BATCH: Final = 50
"""Runs forgotten in one step: few enough that nobody waits 5 ms for it."""


async def release(batch: int = 500) -> Released:
    """Let delayed runs whose time has come into their queues."""
    released = await runs.release(batch)
    await ring(released.ready)
    return released


async def rescue(run_id: UUID, record: Record | None, task: Task | None, why: str = "") -> Ended:
    """
    End a run whose worker was lost, with the retry it owes by its own definition (none when that is gone).

    Without a *record* it is one that this release cannot read, or that is gone; *why* is added to its message.
    """
    if record is None:
        lost = await runs.rescue(run_id, f"crashed: its worker was lost{why}", None)
        await ring(lost.ready)
        return lost
    message = f"crashed: worker {record.worker} was lost"
    if record.external:
        within = format_duration(task.heartbeat_timeout_ms) if task and task.heartbeat_timeout_ms else "its time"
        message = f"crashed: nobody reported on it within {within} (heartbeat_timeout)"
    attempt = next_attempt(run_id, record, task, Reason.CRASHED, -2)
    if attempt is None and record.crashes + 1 >= retry.POISON_CRASHES:
        message += f"; not tried again after {record.crashes + 1} crashes in a row"
    ended = await runs.rescue(run_id, message + why, attempt)
    await ring(ended.ready)
    return ended


async def forget(name: str, task: Task, behind: int = 0) -> int | None:
    """
    Forget one small step of what of a task's history is beyond its bounds, its numbers being above *behind*; the number
    to go on behind, None when that was all.
    """
    step = await retention.forget(name, task.keep_runs, task.keep_for_ms * 1000, FORGET_BATCH, behind)
    return step.behind


def next_attempt(
    run_id: UUID,
    record: Record,
    task: Task | None,
    reason: Reason,
    exit_code: int,
    *,
    interrupted: OnInterrupt | None = None,
) -> Retry | None:
    """
    The retry that this ending owes, or None.

    By ``retry_on`` and the attempts left; never after three crashes in a row. With *interrupted* (its worker left) what
    that says: ``retry`` uses up an attempt, ``rerun`` makes the same one again, at most five times; both without delay.
    """
    crashes = record.crashes + 1 if reason is Reason.CRASHED else 0
    attempt, delay_us, reruns = record.attempt + 1, 0, record.reruns
    if task is None or interrupted == "end":
        return None
    if interrupted == "rerun":
        attempt, crashes, reruns = record.attempt, record.crashes, record.reruns + 1
        if reruns > retry.MAX_RERUNS:
            return None
    elif crashes >= retry.POISON_CRASHES or record.attempt >= task.retry_attempts:
        return None
    elif interrupted is None:
        if not retry.is_retried(reason, exit_code, task):
            return None
        delay_us = retry.delay_ms(attempt, task, random.random) * 1000
    return Retry(
        id=ids.retry_id(run_id, time.time_ns() // 1000),
        delay_us=delay_us,
        attempt=attempt,
        crashes=crashes,
        reruns=reruns,
        execution=record.execution or str(run_id),
        retry_of=str(run_id),
    )
