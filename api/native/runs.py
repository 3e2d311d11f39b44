"""Runs: start, list, read, stop, rerun, delete."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar.types import ASGIApp
from msgspec import UNSET, UnsetType

from api.http.compact import compact
from api.http.decoding import invalid
from api.http.idempotency import KeyHeaders
from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from api.http.waiting import Waiting
from api.native.parameters import AllRunsQuery, RunPath, RunsQuery, StopQuery, TaskPath, WaitQuery
from api.native.requests import RunRequest
from api.native.responses import RunsResponseBody
from api.native.run_responses import RowsResponseBody
from api.native.run_rows import rows, usual_of
from shared import ops
from shared.clock import from_datetime
from shared.errors import NotFound, Refused
from shared.executions import newest_attempts
from shared.runs import Reason, Run, Status
from shared.store import executions, runs, tasks
from shared.store.listing import Filter, Page, page

routes = Routes("Runs")

LATEST_US: Final = 2**53 - 1
"""The year 2255. Later times cannot be distinguished in the store, whose numbers are floats."""

NOTHING: Final = Page(runs=[], total=0, next_cursor="", scanned=0, complete=True)
MAX_OFFSET: Final = 2**53

_STATES: Final = (*map(str, Status), *map(str, Reason))
_encoder = msgspec.json.Encoder()


@routes.post(
    "/api/tasks/{taskName}/run",
    summary="Trigger a new run",
    answers={201: Run},
    errors=(404, 409, 413, 415, 503, 507),
    body_required=False,
    example={"params": {"day": "2026-11-22"}, "tags": ["backfill"], "priority": 5},
)
async def run_task(
    request: Request, path: TaskPath, query: WaitQuery, headers: KeyHeaders, body: RunRequest
) -> ASGIApp:
    """
    Starts the task, after the tasks that it depends on. No body is needed. With several replicas or steps the response
    is the first run, and `execution_id` leads to the others. A trigger that the task's overlap rule refuses is answered
    201 as well: its run has ended as `skipped`, and `message` says why.
    """
    require_own_task(request, path.task_name)
    trigger = _trigger_of(body, headers, request.body)

    async def start() -> ops.Triggered:
        permit, charge = request.grant.authorise, request.grant.charge
        return await request.store.run(
            ops.trigger(request.catalog, path.task_name, trigger, permit=permit, charge=charge)
        )

    if query.wait:
        with Waiting(request.state, request.connection) as waiting:
            triggered = await start()
            run = triggered.run

            async def reply() -> Response:
                return await created(
                    request, await _latest_attempt(request, run, path.task_name), repeated=triggered.repeated
                )

            return waiting.for_end(run.execution_id, query.wait_timeout, reply)
    triggered = await start()
    return await created(request, triggered.run, repeated=triggered.repeated)


@routes.get(
    "/api/tasks/{taskName}/runs",
    summary="List runs for a task",
    answers={200: RunsResponseBody, 304: None},
    errors=(404,),
)
async def list_task_runs(request: Request, path: TaskPath, query: RunsQuery) -> Response:
    """
    Newest first, unless sorted otherwise. A task that was removed keeps its list while it has runs. With `view=row` the
    answer is a `RowsResponseBody`.
    """
    require_own_task(request, path.task_name)
    names = _texts(query.task_name)
    if names and path.task_name not in names:
        await _require_task(request, path.task_name)
        return await _runs(request, NOTHING, query)
    where = Filter(task_name=(path.task_name,), search=query.search, state=_states(query.status))
    found = await _page(request, where, query)
    if not found.total:
        await _require_task(request, path.task_name)
    return await _runs(request, found, query)


@routes.get("/api/runs", summary="List runs", answers={200: (RunsResponseBody, RowsResponseBody), 304: None})
async def list_runs(request: Request, query: AllRunsQuery) -> Response:
    """Runs of all tasks, newest first unless sorted otherwise."""
    names = _texts(query.task_name)
    if request.grant.tasks:
        # Also tasks that are no longer defined, as long as they have runs.
        defined, ran = await request.store.run(tasks.names()), await request.store.run(tasks.known_tasks())
        known = dict.fromkeys([*defined, *ran])
        names = tuple(name for name in names or known if request.grant.covers(name))
        if not names:
            return await _runs(request, NOTHING, query)
    where = Filter(
        task_name=names,
        state=_states(query.status),
        end_reason=tuple(Reason(reason) for reason in query.end_reason),
        triggered_by=query.triggered_by,
        queue=query.queue,
        worker=query.worker,
        tag=query.tag,
        execution_id=query.execution_id or None,
        external_execution_id=query.external_execution_id,
        created_after_us=moment(query.created_after),
        created_before_us=moment(query.created_before),
        ended_after_us=moment(query.ended_after),
        ended_before_us=moment(query.ended_before),
        min_duration_ms=query.min_duration_ms if query.min_duration_ms is not UNSET else None,
        exit_code=query.exit_code if query.exit_code is not UNSET else None,
        retries_only=query.retries_only,
        search=query.search,
    )
    return await _runs(request, await _page(request, where, query, query.cursor), query)


@routes.get("/api/runs/{id}", summary="Read a run", answers={200: Run}, errors=(404,))
async def read_run(request: Request, path: RunPath) -> Response:
    """By id, or by task and number: `report#1412` (written `report%231412` in a URL)."""
    return await answered(request, await find(request, path.id))


@routes.delete("/api/runs/{id}", summary="Delete a run", answers={204: None}, errors=(404, 409))
async def delete_run(request: Request, path: RunPath) -> Response:
    """Deletes the run with its log. 409 while it is pending or running, or its execution still needs its outputs."""
    await request.store.run(ops.delete(path.id))
    return Response(status=204)


@routes.post("/api/runs/{id}/stop", summary="Stop a run", answers={202: Run}, errors=(404, 409))
async def stop_run(request: Request, path: RunPath, query: StopQuery) -> Response:
    """
    A pending run ends at once; a running one is asked to stop, and ends when its process is gone. Later steps of its
    execution are skipped then, so the token must be for the tasks of these steps too.
    """
    if request.grant.tasks:
        await _require_whole(request, await find(request, path.id))
    try:
        run = await request.store.run(ops.stop(path.id, force=query.force))
    except Refused:
        if not request.is_repeat:
            raise
        run = await find(request, path.id)  # this very request stopped it, and its answer was lost
    return await answered(request, run, status=202)


@routes.post("/api/runs/{id}/rerun", summary="Run again", answers={201: Run}, errors=(404, 409, 507))
async def rerun(request: Request, path: RunPath, headers: KeyHeaders) -> Response:
    """A new execution with the parameters of a run that ended."""
    if request.grant.tasks:
        await find(request, path.id)
    key = headers.idempotency_key or ""
    again = ops.rerun(
        request.catalog, path.id, idempotency_key=key, permit=request.grant.authorise, charge=request.grant.charge
    )
    triggered = await request.store.run(again)
    return await created(request, triggered.run, repeated=triggered.repeated)


async def find(request: Request, ref: str) -> Run:
    """The run called *ref*. Raises NotFound, also when the token is for other tasks."""
    run = await request.store.run(runs.find(ref))
    request.grant.authorise((run.task_name,), absent=f"there is no run {run.id if _is_id(ref) else ref[:200]}")
    return run


def require_own_task(request: Request, name: str) -> None:
    """Raises NotFound for a task that the token is not for, as if it did not exist."""
    request.grant.authorise((name,), absent=f"there is no task {name}")


async def _require_whole(request: Request, run: Run) -> None:
    """Raises Forbidden when the run's execution touches other tasks than the token is for."""
    touched = await request.store.run(executions.tasks_of([run.execution_id]))
    request.grant.authorise(touched.get(run.execution_id, ()))


def _is_id(ref: str) -> bool:
    try:
        UUID(ref)
    except ValueError:
        return False
    return True


async def _require_task(request: Request, name: str) -> None:
    """Raises NotFound for a task that neither is defined nor has runs."""
    entry = await request.store.run(tasks.entry(name))
    counts = await request.store.run(tasks.counts([name]))
    if entry is None and not (name in counts and counts[name].total):
        raise NotFound(f"there is no task {name}")


def _trigger_of(body: RunRequest, headers: KeyHeaders, raw: bytes) -> ops.Request:
    if body.run_at is not UNSET and body.delay_ms is not UNSET:
        raise invalid("body.delay_ms", "cannot be combined with run_at", body.delay_ms)
    key = headers.idempotency_key or ""
    return ops.Request(
        params=body.params or None,
        external_execution_id=body.external_execution_id,
        due_us=moment(body.run_at),
        delay_ms=body.delay_ms if body.delay_ms is not UNSET else None,
        priority=body.priority if body.priority is not UNSET else None,
        tags=tuple(body.tags),
        labels=body.labels,
        replicas=body.replicas or None,
        triggered_by="cloud" if body.external_execution_id else "api",
        idempotency_key=key,
        body_digest=hashlib.sha256(raw).hexdigest() if key else "",
    )


async def _latest_attempt(request: Request, run: Run, name: str) -> Run:
    """The first run, in its last attempt; that of task *name* when the execution has reached it."""
    made = await request.store.run(runs.execution_runs(run.execution_id))
    for wanted in (name, run.task_name):
        newest = newest_attempts(one for one in made if one.task_name == wanted)
        if newest:
            return newest[0]
    return run


async def _page(request: Request, where: Filter, query: RunsQuery, cursor: str = "") -> Page:
    try:
        return await request.store.run(
            page(
                where,
                sort_field=query.sort_field or "created_at",
                descending=query.sort_direction != "asc",
                limit=query.limit,
                offset=min(query.offset, MAX_OFFSET),
                cursor=cursor,
            )
        )
    except ValueError as error:
        raise invalid("query.cursor", str(error), cursor) from None


async def shown(request: Request, found: Sequence[Run]) -> list[Run]:
    """The runs as responses: with the URL of their schema, and without the values of secret parameters."""
    url = request.urls.run
    if any(run.params for run in found):
        found = await request.store.run(ops.without_secrets(request.catalog, found))
    return [msgspec.structs.replace(run, schema=url) for run in found]


async def answered(request: Request, run: Run, *, status: int = 200) -> Response:
    """The response with one run."""
    (one,) = await shown(request, [run])
    return request.answer(one, status=status)


async def _runs(request: Request, found: Page, query: RunsQuery) -> Response:
    about: dict[str, Any] = {
        "total": found.total,
        "next_cursor": found.next_cursor,
        "scanned": 0 if found.complete else found.scanned,
        "incomplete": not found.complete,
    }
    if query.view == "row":
        usual = await usual_of(request, found.runs)
        return compact(request, RowsResponseBody(runs=await rows(request, found.runs), usual=usual, **about))
    return request.answer(RunsResponseBody(runs=await shown(request, found.runs), **about))


async def created(request: Request, run: Run, *, repeated: bool = False) -> Response:
    """The 201 response for a run that was started, or was by an earlier request with the same key."""
    url = request.urls
    headers = [(b"location", f"{url.base}/api/runs/{run.id}".encode())]
    if repeated:
        headers.append((b"idempotent-replayed", b"true"))
    (one,) = await shown(request, [run])
    return Response(_encoder.encode(one), status=201, headers=tuple(headers))


def _texts(value: str) -> tuple[str, ...]:
    return tuple(part for part in value.split(",") if part)


def _states(value: str) -> tuple[str, ...]:
    """
    The statuses and end reasons in ``status``, of which any may match: most people call the end reason of an ended run
    its status. Raises Invalid for any other word.
    """
    states: list[str] = []
    for word in _texts(value):
        if word not in _STATES:
            near = get_close_matches(word, _STATES, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise invalid("query.status", f"must be one of {', '.join(_STATES)}{hint}", word)
        states += list(Reason) if word == Status.ENDED else [word]
    return tuple(states)


def moment(value: datetime | UnsetType) -> int | None:
    """A parameter's time as stored time; None when absent."""
    return None if isinstance(value, UnsetType) else max(0, min(from_datetime(value), LATEST_US))
