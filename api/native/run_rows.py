"""Runs in their short form, for tables: about a third of the bytes, and with the state that people see."""

from collections.abc import Sequence

from msgspec import UNSET

from api.http.request import Request
from api.native.run_responses import RunRow, UsualModel
from shared.runs import Run, Status
from shared.store import run_rows
from shared.words import PENDING, State


def row(run: Run, state: State) -> RunRow:
    """*run* in short."""
    return RunRow(
        id=run.id,
        task_name=run.task_name,
        number=run.number,
        state=state,
        exit_code=run.exit_code if run.status == Status.ENDED else UNSET,
        triggered_by=run.triggered_by,
        created_at=run.created_at,
        due_at=run.due_at if state in PENDING else UNSET,
        start_at=run.start_at,
        duration_ms=run.duration_ms,
        queue=run.queue,
        worker=run.worker,
        retry_attempt=run.retry_attempt,
        replica_index=run.replica_index,
        replica_count=run.replica_count,
        words=run.message,
    )


async def rows(request: Request, found: Sequence[Run]) -> list[RunRow]:
    """Runs in short."""
    states = (await request.store.run(run_rows.states(found))).by_run
    return [row(run, states[run.id]) for run in found]


async def usual_of(request: Request, found: Sequence[Run]) -> dict[str, UsualModel]:
    """The usual durations of the tasks of *found*."""
    usual = await request.store.run(run_rows.usual(sorted({run.task_name for run in found})))
    return {task: UsualModel(p50_ms=each.p50_ms, p95_ms=each.p95_ms) for task, each in usual.items()}
