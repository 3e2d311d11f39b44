"""Gives back a run that was claimed but not started: it becomes pending again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from uuid import UUID

from shared.errors import RunfleetError, StoreUnavailable
from shared.runs import Record
from shared.store import runs, wakeups
from shared.store.runs import GivenBack
from shared.telemetry import get_logger

if TYPE_CHECKING:
    from worker.execution.context import WorkerContext

log = get_logger("worker")

AGAIN_S: Final = 0.2
SOONEST_S: Final = 1.0
LATEST_S: Final = 60.0


def give_back(
    context: WorkerContext, run_id: UUID, record: Record, why: str, *, delay_s: float = 0.0, crashes: int = 0
) -> None:
    """
    Give a run back, retrying while Redis is unavailable, until the drain is over. Raises nothing.

    *why* is shown in its record while it is pending; *delay_s* and *crashes* are as of ``runs.give_back``.
    """
    why = why.encode("utf-8", "replace").decode()
    call = runs.give_back(run_id, record.token, why, delay_us=round(delay_s * 1_000_000), crashes=crashes)
    while True:
        try:
            given: GivenBack = context.store.run(call)
            break
        except StoreUnavailable:
            if context.draining.is_over:
                log.error("run.not_given_back", run_id=str(run_id), task=record.task, why="Redis is away")
                return
            time.sleep(AGAIN_S)
        except Exception as error:
            log.exception("run.not_given_back", run_id=str(run_id), task=record.task, why=str(error))
            return
    log.warning(
        "run.given_back", run_id=str(run_id), task=record.task, number=record.number, why=why, state=given.state
    )
    if given.ready:
        try:
            context.store.run(wakeups.wake_queues(given.ready))
        except RunfleetError:
            log.debug("wakeup.failed", queues=list(given.ready))  # the scheduler wakes them again


def delay_s(record: Record) -> float:
    """
    The delay of a run that this worker could not start, in seconds: half of its age, from 1 s to a minute.

    So another worker may get it soon, and a run that no worker can start is claimed less and less often.
    """
    return min(max((record.start_us - record.created_us) / 2_000_000, SOONEST_S), LATEST_S)
