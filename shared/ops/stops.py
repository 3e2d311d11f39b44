"""Requests to stop a run, a task or an execution, and to delete what has ended."""

from collections.abc import Callable, Collection
from typing import Literal
from uuid import UUID

from shared.runs import Run, Status
from shared.store import executions, retention, runs, stops
from shared.store.listing import Filter, page
from shared.store.wakeups import wake_queues


async def stop(ref: str, *, force: bool = False, by: str = "a person") -> Run:
    """
    Stop a run: a pending one has ended when this returns, a running one is asked through its worker.

    ``force`` skips the stop signal and goes straight to SIGKILL. Raises NotFound, and Refused when it has ended.
    """
    run = await runs.find(ref)
    answer = await stops.stop(run.id, "kill" if force else "stop", f"stopped by {by}")
    stopped: Run = answer[1]
    await wake_queues(answer[2])
    return stopped


async def stop_task(
    name: str, *, force: bool = False, by: str = "a person", only: Callable[[Collection[str]], bool] | None = None
) -> int:
    """
    Stop every live run of a task, and executions that have yet to come to it; how many were stopped or asked.

    With *only*, which says whether all these tasks may be touched, executions of other tasks as well are left alone.
    """
    total = 0
    if only is not None:
        live = {*(await stops.planned(name)), *(await _live_executions(name))}
        for execution, touched in (await executions.tasks_of(sorted(live))).items():
            if only(touched):
                total += await _stop_all("", execution, force, by)
        return total
    for execution in await stops.planned(name):
        total += await _stop_all("", execution, force, by)
    return total + (await _stop_all(name, None, force, by))


async def stop_execution(execution_id: UUID, *, force: bool = False, by: str = "a person") -> int:
    """Stop every live run of an execution; how many were stopped or asked."""
    return await _stop_all("", execution_id, force, by)


async def stop_rest(execution_id: UUID, may_go_on: Callable[[], bool] = lambda: True) -> int:
    """Continue the requested stop of an execution; how many steps."""
    left, steps = 1, 0
    while left and may_go_on():
        _, left, ready = await stops.stop_all("", execution_id, "stop", "", left)
        await wake_queues(ready)
        steps += 1
    return steps


async def delete(ref: str) -> None:
    """Delete an ended run and its log. Raises NotFound, and Conflict when it or what needs it is live."""
    run = await runs.find(ref)
    await retention.delete(run)


async def _live_executions(name: str) -> set[UUID]:
    """The executions of all live runs of the task."""
    found: set[UUID] = set()
    cursor = ""
    where = Filter(task_name=(name,), status=(Status.PENDING, Status.RUNNING))
    while True:
        some = await page(where, limit=1000, cursor=cursor)
        found.update(run.execution_id for run in some.runs)
        cursor = some.next_cursor
        if not cursor:
            return found


async def _stop_all(name: str, execution: UUID | None, force: bool, by: str) -> int:
    """Stop them step by step, and again those that were made meanwhile, as retries are."""
    total = 0
    while stopped := (await _stop_each(name, execution, "kill" if force else "stop", f"stopped by {by}")):
        total += stopped
    return total


async def _stop_each(name: str, execution: UUID | None, stop_request: Literal["stop", "kill"], message: str) -> int:
    total: int = 0
    left: int | str = ""
    while left != 0:
        stopped, left, ready = await stops.stop_all(name, execution, stop_request, message, left)
        total += stopped
        await wake_queues(ready)
    return total
