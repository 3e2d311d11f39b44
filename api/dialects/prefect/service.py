"""What a client asks a Prefect server about itself, and who serves background tasks."""

from __future__ import annotations

import msgspec

from api.dialects.prefect import taskruns
from api.dialects.prefect.errors import API_VERSION, DIALECT, PACKAGE_VERSION
from api.dialects.prefect.routes import on, say
from api.http.dialect import DialectRequest, Routes
from api.http.problems import UNFIT
from api.http.response import Response
from shared.errors import Misconfigured, NotFound, Unserviceable
from shared.store import tasks, version
from shared.store.dialects import orchestrated
from shared.tasks import is_task_name

routes = Routes(DIALECT)


class TaskWorkerFilter(msgspec.Struct):
    """Those that serve one of these tasks."""

    task_keys: list[str]


class TaskWorkers(msgspec.Struct):
    """``/task_workers/filter``."""

    task_worker_filter: TaskWorkerFilter | None = None


@on(routes, "GET", "/api/hello", None)
async def hello(request: DialectRequest) -> Response:
    """Wave back."""
    return say("👋")


@on(routes, "GET", "/api/health", None)
async def health(request: DialectRequest) -> Response:
    """The process lives."""
    return say(True)


@on(routes, "GET", "/api/ready", None)
async def ready(request: DialectRequest) -> Response:
    """Redis answers, and the process is not stopping."""
    if request.state.closing.is_set():
        raise Unserviceable("this process is stopping")
    try:
        await request.state.store.run(version.check())
    except Misconfigured:
        raise Unserviceable(UNFIT) from None
    return say({"message": "OK"})


@on(routes, "GET", "/api/version", "read")
async def api_version(request: DialectRequest) -> Response:
    """The version of the REST API."""
    return say(API_VERSION)


@on(routes, "GET", "/api/admin/version", "read")
async def package_version(request: DialectRequest) -> Response:
    """The version of the server that this stands for."""
    return say(PACKAGE_VERSION)


@on(routes, "GET", "/api/admin/storage", "read")
async def storage(request: DialectRequest) -> Response:
    """Where clients put results when they are told nothing: where they like."""
    return say({"default_result_storage_block_id": None})


@on(routes, "GET", "/api/csrf-token", None)
async def csrf_token(request: DialectRequest) -> Response:
    """There is none: clients then send none."""
    raise NotFound("Not Found")


@on(routes, "POST", "/api/task_workers/filter", "read")
async def task_workers(request: DialectRequest) -> Response:
    """Who serves background tasks, each with those that the token is for."""
    wanted = request.read(TaskWorkers) if request.body else TaskWorkers()
    found = [msgspec.json.decode(about) for about in (await request.state.store.run(orchestrated.consumers())).values()]
    if request.grant.tasks:
        for one in found:
            one["task_keys"] = [key for key in one["task_keys"] if request.grant.covers(await _task_of(request, key))]
        found = [one for one in found if one["task_keys"]]
    keys = wanted.task_worker_filter.task_keys if wanted.task_worker_filter else None
    return say([one for one in found if keys is None or set(keys) & set(one["task_keys"])])


async def _task_of(request: DialectRequest, key: str) -> str:
    """What we call the task whose runs are fetched by *key*."""
    entries = await request.state.store.run(tasks.some([key])) if is_task_name(key) else {}
    return key if key in entries and entries[key].task.external else taskruns.task_name(key)
