"""Ends that people wish for: stop a run, a task, an execution; delete what ended."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal
from uuid import UUID

from shared.ops.bell import ring
from shared.runs import Run, Status
from shared.store import executions, retention, runs
from shared.store.call import Operation
from shared.store.listing import Filter, page


def stop(ref: str, *, force: bool = False, by: str = "a person") -> Operation[Run]:
    """
    Stop a run: a pending one has ended when this returns, a running one is asked through its worker.

    ``force`` skips the stop signal and goes straight to SIGKILL. Raises NotFound, and Refused when it has ended.
    """
    run = yield from runs.find(ref)
    answer = yield runs.stop(run.id, "kill" if force else "stop", f"stopped by {by}")
    stopped: Run = answer[1]
    yield from ring(answer[2])
    return stopped


def stop_task(
    name: str, *, force: bool = False, by: str = "a person", only: Callable[[Collection[str]], bool] | None = None
) -> Operation[int]:
    """
    Stop every live run of a task, and executions that have yet to come to it; how many were stopped or asked.

    With *only*, which says whether all these tasks may be touched, executions of other tasks as well are left alone.
    """
    total = 0
    if only is not None:
        live = {*(yield runs.planned(name)), *(yield from _live_executions(name))}
        for execution, touched in (yield from executions.tasks_of(sorted(live))).items():
            if only(touched):
                total += yield from _stop_all("", execution, force, by)
        return total
    for execution in (yield runs.planned(name)):
        total += yield from _stop_all("", execution, force, by)
    return total + (yield from _stop_all(name, None, force, by))


def stop_execution(execution_id: UUID, *, force: bool = False, by: str = "a person") -> Operation[int]:
    """Stop every live run of an execution; how many were stopped or asked."""
    return (yield from _stop_all("", execution_id, force, by))


def stop_rest(execution_id: UUID, may_go_on: Callable[[], bool] = lambda: True) -> Operation[int]:
    """Go on with the stop of an execution as it was wished; how many steps."""
    left, steps = 1, 0
    while left and may_go_on():
        _, left, ready = yield runs.stop_all("", execution_id, "stop", "", left)
        yield from ring(ready)
        steps += 1
    return steps


def delete(ref: str) -> Operation[None]:
    """Forget an ended run and its log. Raises NotFound, and Conflict when it or what needs it is live."""
    run = yield from runs.find(ref)
    yield retention.delete(run)


def _live_executions(name: str) -> Operation[set[UUID]]:
    """The executions of all live runs of the task."""
    found: set[UUID] = set()
    cursor = ""
    where = Filter(task_name=(name,), status=(Status.PENDING, Status.RUNNING))
    while True:
        some = yield from page(where, limit=1000, cursor=cursor)
        found.update(run.execution_id for run in some.runs)
        cursor = some.next_cursor
        if not cursor:
            return found


def _stop_all(name: str, execution: UUID | None, force: bool, by: str) -> Operation[int]:
    """Stop them step by step, and again those that were made meanwhile, as retries are."""
    total = 0
    while stopped := (yield from _stop_each(name, execution, "kill" if force else "stop", f"stopped by {by}")):
        total += stopped
    return total


def _stop_each(name: str, execution: UUID | None, wish: Literal["stop", "kill"], message: str) -> Operation[int]:
    total: int = 0
    left: int | str = ""
    while left != 0:
        stopped, left, ready = yield runs.stop_all(name, execution, wish, message, left)
        total += stopped
        yield from ring(ready)
    return total
