"""Calls about executions: start a task with its dependencies, read, list, stop."""

import time
from typing import Final
from uuid import UUID

import msgspec

from api.dialects.ona import bodies, execution_list, pagination, render, task_list
from api.dialects.ona.catalog import Known, find, ids_of
from api.dialects.ona.connect_rpc import Calls
from api.dialects.ona.execution_bodies import (
    GetTaskExecutionRequest,
    GetTaskExecutionResponse,
    ListTaskExecutionsRequest,
    ListTaskExecutionsResponse,
    StartTaskRequest,
    StartTaskResponse,
    StopTaskExecutionRequest,
    StopTaskExecutionResponse,
    TaskExecution,
)
from api.dialects.ona.status import Start
from api.http.auth import Grant
from api.http.request import Request
from shared import ops
from shared.clock import SECOND_US
from shared.errors import Conflict, NotFound
from shared.executions import Execution
from shared.ops import Catalog
from shared.store import executions, metadata
from shared.store.origin import Origin

routes = Calls()

MANUAL: Final = "manual"
"""The trigger of a ``StartTask``."""

REPEAT_US: Final = 10 * SECOND_US
"""How long after a start the same call, made again by the client itself, means that same start."""


@routes.call(StartTaskRequest, scope="run")
async def start_task(request: Request, wanted: StartTaskRequest) -> StartTaskResponse:
    """
    Start a task and respond at once with the new execution. A call that the client retries because it got no response
    returns the execution of the first call.
    """
    store = request.store
    known = await store.run(find(UUID(wanted.id), request.grant))
    made = await store.run(_repeated(known, request.grant)) if _is_repeat(request) else None
    if made is None:
        made = await store.run(start(request.catalog, known, request.grant, MANUAL))
    return StartTaskResponse(task_execution=await _rendered(request, made))


@routes.call(GetTaskExecutionRequest, scope="read")
async def get_task_execution(request: Request, wanted: GetTaskExecutionRequest) -> GetTaskExecutionResponse:
    """Read an execution."""
    return GetTaskExecutionResponse(task_execution=await _rendered(request, UUID(wanted.id)))


@routes.call(ListTaskExecutionsRequest, scope="read")
async def list_task_executions(request: Request, wanted: ListTaskExecutionsRequest) -> ListTaskExecutionsResponse:
    """Matching executions, newest first."""
    filter_ = wanted.filter
    page_request = pagination.page_request(request, wanted.pagination)
    names: frozenset[str] | None = None
    if filter_.task_ids or filter_.task_references or filter_.environment_ids or request.grant.tasks:
        which = task_list.TaskFilter(
            frozenset(map(UUID, filter_.environment_ids)),
            frozenset(filter_.task_references),
            frozenset(map(UUID, filter_.task_ids)),
            request.grant,
        )
        names = frozenset(await request.store.run(task_list.names(which)))
    found, place = await request.store.run(
        execution_list.page(names, frozenset(filter_.phases), page_request, request.urls.base, request.grant)
    )
    return ListTaskExecutionsResponse(
        pagination=bodies.PaginationResponse(next_token=pagination.token(place)), task_executions=found
    )


@routes.call(StopTaskExecutionRequest, scope="run")
async def stop_task_execution(request: Request, wanted: StopTaskExecutionRequest) -> StopTaskExecutionResponse:
    """Stop an execution: running steps are asked to end, and no further step begins. No effect after its end."""
    execution = await readable(request, UUID(wanted.id))
    await request.store.run(ops.stop_execution(execution.id, by=request.grant.who))
    return StopTaskExecutionResponse()


async def start(catalog: Catalog, known: Known, grant: Grant, trigger: str, key: str = "") -> UUID:
    """
    Start a task for *grant*, by *trigger*; the id of the execution. The same *key* returns the same execution.

    Raises Forbidden for a task that may not be started by hand, or that depends on tasks outside the grant, and
    Conflict when a dependency is missing.
    """
    entry = known.entry
    try:
        needed = await catalog.needed(entry)
        ids = await ids_of([entry.name, *needed])
        note = Start(creator=grant.who, trigger=trigger, environment=known.environment, ids=ids)
        request = ops.Request(
            triggered_by="cloud",
            origin=Origin(metadata={render.START: msgspec.json.encode(note)}),
            idempotency_key=key,
            body_digest=trigger if key else "",
        )
        triggered = await ops.trigger(catalog, entry.name, request, permit=grant.authorise, charge=grant.charge)
    except NotFound as error:
        raise Conflict(f"task {known.reference} cannot be started: {error}") from None
    return triggered.run.execution_id


async def readable(request: Request, execution_id: UUID) -> Execution:
    """The execution. Raises NotFound, also when the token does not cover all its tasks."""
    found = await request.store.run(render.read(execution_id))
    if found is None:
        raise NotFound(f"there is no task execution {execution_id}")
    request.grant.authorise(found.tasks, absent=f"there is no task execution {execution_id}")
    return found


async def _rendered(request: Request, execution_id: UUID) -> TaskExecution:
    found = await readable(request, execution_id)
    (rendered,) = await request.store.run(render.render_all([found], request.urls.base, request.grant))
    return rendered


def _is_repeat(request: Request) -> bool:
    count = request.header("x-stainless-retry-count")
    return count.isascii() and count.isdigit() and count.strip("0") != ""


async def _repeated(known: Known, grant: Grant) -> UUID | None:
    """The newest execution of the task that the same caller has just started with this dialect, if there is one."""
    after_us = time.time_ns() // 1000 - REPEAT_US
    newest = await executions.page(task=known.entry.name, limit=20, after_us=after_us)
    notes = await metadata.read_many([one.id for one in newest.executions])
    for one, note in zip(newest.executions, notes, strict=True):
        decode_start = render.decode_start(note[render.START]) if render.START in note else None
        if decode_start is not None and (decode_start.creator, decode_start.trigger) == (grant.who, MANUAL):
            return one.id
    return None
