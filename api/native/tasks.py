"""Tasks: list, read, define, delete, stop, pause, resume, statistics."""

import asyncio
import time
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from api.native.parameters import MatchHeaders, StatsQuery, TaskPath, TasksQuery
from api.native.responses import (
    Affected,
    Percentiles,
    StatsBucket,
    StatsModel,
    TaskCounts,
    TaskDefinition,
    TaskModel,
    TasksResponseBody,
)
from api.native.runs import require_own_task, shown
from shared import ops, schedules
from shared.clock import SECOND_US, from_datetime, to_datetime
from shared.errors import Forbidden, NotFound
from shared.ops import define_tasks, stats
from shared.runs import Run
from shared.store import tasks
from shared.store.listing import Filter, page

routes = Routes("Tasks")

NEXT_TICKS: Final = 5
DAY_US: Final = 86_400 * SECOND_US


@routes.get("/api/tasks", summary="List tasks", answers={200: TasksResponseBody})
async def list_tasks(request: Request, query: TasksQuery) -> Response:
    """By name, with the current state of each."""
    text = query.search.lower()
    found = [
        entry
        for entry in await request.store.run(tasks.entries())
        if request.grant.covers(entry.name)
        and (not text or text in entry.name.lower() or text in entry.task.description.lower())
        and (not query.group or entry.task.group == query.group)
        and (not query.tag or not set(query.tag).isdisjoint(entry.task.tags))
    ]
    part = found[query.offset : query.offset + query.limit]
    return request.answer(TasksResponseBody(tasks=await _models(request, part), total=len(found)))


@routes.get("/api/tasks/{taskName}", summary="Read a task", answers={200: TaskModel}, errors=(404,))
async def read_task(request: Request, path: TaskPath) -> Response:
    """
    Its definition, its schedule in words and times, and its current state. Values of secrets and secret parameters are
    not shown, and values of `env` not to a token with scope `read`.
    """
    require_own_task(request, path.task_name)
    return await _answer(request, await _entry(request, path.task_name))


@routes.put(
    "/api/tasks/{taskName}",
    summary="Define a task",
    answers={200: TaskModel, 201: TaskModel},
    errors=(409, 412, 507),
    example={"run": "./report.sh --day yesterday", "cron": "30 6 * * mon-fri", "timeout": "20m"},
)
async def define_task(request: Request, path: TaskPath, headers: MatchHeaders, body: TaskDefinition) -> Response:
    """
    With the keys and rules of the task file. 403 unless `RUNFLEET_API_TASKS` is on; 409 for a task of the task file. It
    survives an apply of the file, unless the file has a task of this name. Live runs continue with their definition.
    """
    _require_authoring(request, path)
    table: dict[str, Any] = msgspec.json.decode(request.body)
    put = await request.store.run(
        define_tasks.put(path.task_name, table, request.state.settings.keys, only_if=_condition(headers))
    )
    return await _answer(request, put.entry, status=201 if put.verdict == "added" else 200)


@routes.delete("/api/tasks/{taskName}", summary="Delete a task", answers={204: None}, errors=(404, 409, 412))
async def delete_task(request: Request, path: TaskPath, headers: MatchHeaders) -> Response:
    """
    Deletes a task that was defined through the API; its runs stay in the history. 403 unless `RUNFLEET_API_TASKS` is
    on; 409 for a task of the task file, for one that has live runs, and for one that others depend on.
    """
    _require_authoring(request, path)
    await request.store.run(define_tasks.remove(path.task_name, only_if=_condition(headers)))
    return Response(status=204)


@routes.post("/api/tasks/{taskName}/stop", summary="Stop a task's runs", answers={202: Affected}, errors=(404,))
async def stop_task(request: Request, path: TaskPath) -> Response:
    """
    Stops every live execution of it, waiting ones included; also of a task that is no longer defined. A token for some
    tasks stops the executions whose other steps it covers too, and leaves the others alone.
    """
    require_own_task(request, path.task_name)
    only = (lambda names: request.grant.covers(*names)) if request.grant.tasks else None
    affected = await request.store.run(ops.stop_task(path.task_name, only=only))
    if not affected:
        await _entry(request, path.task_name)
    return request.answer(Affected(affected=affected), status=202)


@routes.post("/api/tasks/{taskName}/pause", summary="Pause a schedule", answers={200: TaskModel}, errors=(404,))
async def pause_task(request: Request, path: TaskPath) -> Response:
    """Ticks that pass while it is paused are not caught up on. The task can still be started by hand."""
    require_own_task(request, path.task_name)
    return await _answer(request, await request.store.run(ops.pause(path.task_name)))


@routes.post("/api/tasks/{taskName}/resume", summary="Resume a schedule", answers={200: TaskModel}, errors=(404,))
async def resume_task(request: Request, path: TaskPath) -> Response:
    """The next tick fires again."""
    require_own_task(request, path.task_name)
    return await _answer(request, await request.store.run(ops.resume(path.task_name)))


@routes.get("/api/tasks/{taskName}/stats", summary="Statistics of a task", answers={200: StatsModel}, errors=(404,))
async def task_stats(request: Request, path: TaskPath, query: StatsQuery) -> Response:
    """Ends by reason, and how long runs waited and took, since a time and by intervals of it."""
    require_own_task(request, path.task_name)
    await _entry(request, path.task_name)
    now_us = time.time_ns() // 1000
    since_us = now_us - DAY_US if query.since is UNSET else max(0, min(from_datetime(query.since), now_us - SECOND_US))
    figures = await request.store.run(stats.of_task(path.task_name, since_us, now_us, query.buckets))
    return request.answer(
        StatsModel(
            since=to_datetime(since_us),
            until=to_datetime(now_us),
            counts=figures.counts,
            wait_ms=Percentiles(**figures.wait_ms),
            run_ms=Percentiles(**figures.run_ms),
            buckets=[StatsBucket(start_at=bucket.start_at, counts=bucket.counts) for bucket in figures.buckets],
            complete=figures.complete,
        )
    )


def _require_authoring(request: Request, path: TaskPath) -> None:
    require_own_task(request, path.task_name)
    if not request.state.settings.api_tasks:
        raise Forbidden("tasks cannot be defined through this API; set RUNFLEET_API_TASKS=on to allow it")


def _condition(headers: MatchHeaders) -> define_tasks.Condition | None:
    wanted, unwanted = headers.if_match, headers.if_none_match
    if wanted is UNSET and unwanted is UNSET:
        return None

    def is_meant(before: tasks.Entry | None) -> bool:
        is_wanted = isinstance(wanted, UnsetType) or _matches(wanted, before)
        return is_wanted and (isinstance(unwanted, UnsetType) or not _matches(unwanted, before))

    return is_meant


def _matches(etags: str, entry: tasks.Entry | None) -> bool:
    """Whether *entry* is one of the *etags* of an ``If-Match`` header (RFC 9110, 13.1.1)."""
    if entry is None:
        return False
    return etags.strip() == "*" or _etag(entry) in (etag.strip() for etag in etags.split(","))


def _etag(entry: tasks.Entry) -> str:
    return f'"{entry.definition.hash}"'


async def _answer(request: Request, entry: tasks.Entry, *, status: int = 200) -> Response:
    (model,) = await _models(request, [entry])
    return request.answer(model, status=status, headers=((b"etag", _etag(entry).encode()),))


async def _entry(request: Request, name: str) -> tasks.Entry:
    entry = await request.store.run(tasks.entry(name))
    if entry is None:
        raise NotFound(f"there is no task {name}")
    return entry


async def _models(request: Request, entries: list[tasks.Entry]) -> list[TaskModel]:
    names = [entry.name for entry in entries]
    if not names:
        return []
    counts = await request.store.run(tasks.counts(names))
    # Asked for together, they go to the store in one pipeline.
    newest = await asyncio.gather(*(request.store.run(page(Filter(task_name=(name,)), limit=1)) for name in names))
    last = {run.task_name: run for run in await shown(request, [run for found in newest for run in found.runs])}
    return [_model(request, entry, counts.get(entry.name), last.get(entry.name)) for entry in entries]


def _model(request: Request, entry: tasks.Entry, counts: tasks.Counts | None, last_run: Run | None) -> TaskModel:
    task = entry.task
    words, ticks = "", list[datetime]()
    if task.cron:
        schedule = schedules.parse(task.cron, task.timezone)
        words = schedule.words()
        after: int | None = time.time_ns() // 1000
        while after is not None and len(ticks) < NEXT_TICKS:
            after = schedule.next_after(after)
            if after is not None:
                ticks.append(to_datetime(after))
    return TaskModel(
        schema=request.urls.schema("TaskModel"),
        name=entry.name,
        description=task.description,
        group=task.group,
        queue=task.queue,
        tags=list(task.tags),
        labels=task.labels,
        cron=list(task.cron),
        timezone=task.timezone if task.cron else "",
        schedule=words,
        next_ticks=[] if entry.paused else ticks,
        paused=entry.paused,
        manual_trigger=task.manual_trigger,
        replicas=task.replicas,
        source="api" if entry.source == "api" else "file",
        applied_at=to_datetime(entry.applied_us),
        definition_hash=entry.definition.hash,
        # Values of `env` are often secrets, so only a token that may start the task sees them.
        definition=ops.definition_shown(entry.definition.body, env=request.grant.scope != "read"),
        counts=TaskCounts(
            pending=counts.pending if counts else 0,
            running=counts.running if counts else 0,
            total=counts.total if counts else 0,
            by_reason=counts.by_reason if counts else {},
        ),
        last_run=UNSET if last_run is None else last_run,
    )
