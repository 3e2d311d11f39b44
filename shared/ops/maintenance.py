"""Maintenance by the scheduler: enqueues delayed runs that are due, rescues lost ones, prunes old history."""

import random
import time
from typing import Final
from uuid import UUID

from shared import ids, retry
from shared.config.durations import format_duration
from shared.runs import Reason, Record
from shared.store import retention, runs
from shared.store.runs import Ended, Enqueued, Retry
from shared.store.wakeups import wake_queues
from shared.tasks import OnInterrupt, Task

PRUNE_BATCH: Final = 50
"""Runs that one step deletes: few enough that Redis is not busy with it for 5 ms."""


async def enqueue_due(batch: int = 500) -> Enqueued:
    """Enqueue delayed runs whose time has come."""
    enqueued = await runs.enqueue_due(batch)
    await wake_queues(enqueued.ready)
    return enqueued


async def rescue(run_id: UUID, record: Record | None, task: Task | None, why: str = "") -> Ended:
    """
    End a run whose worker was lost, with the retry it owes by its own definition (none when that is gone).

    Without a *record* it is one that this release cannot read, or that is gone; *why* is added to its message.
    """
    if record is None:
        lost = await runs.rescue(run_id, f"crashed: its worker was lost{why}", None)
        await wake_queues(lost.ready)
        return lost
    message = f"crashed: worker {record.worker} was lost"
    if record.external:
        within = format_duration(task.heartbeat_timeout_ms) if task and task.heartbeat_timeout_ms else "its time"
        message = f"crashed: no report came within {within} (heartbeat_timeout)"
    attempt = next_attempt(run_id, record, task, Reason.CRASHED, -2)
    if attempt is None and record.crashes + 1 >= retry.POISON_CRASHES:
        message += f"; not tried again after {record.crashes + 1} crashes in a row"
    ended = await runs.rescue(run_id, message + why, attempt)
    await wake_queues(ended.ready)
    return ended


async def prune(name: str, task: Task, after_number: int = 0) -> int | None:
    """
    Delete a batch of a task's ended runs that are beyond its bounds, of those with numbers above *after_number*; where
    to go on, None when that was all.
    """
    step = await retention.prune(name, task.keep_runs, task.keep_for_ms * 1000, PRUNE_BATCH, after_number)
    return step.after_number


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
