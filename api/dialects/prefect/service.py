"""Server information: health, version, settings, and the workers of background tasks."""

import msgspec

from api.dialects.prefect import task_runs
from api.dialects.prefect.errors import API_VERSION, DIALECT, PACKAGE_VERSION
from api.http.problems import UNFIT
from api.http.request import Request
from api.http.response import Response, json_response
from api.http.router import Routes
from shared.errors import Misconfigured, NotFound, Unserviceable
from shared.store import tasks, version
from shared.store.dialects import orchestrated
from shared.tasks import is_task_name

routes = Routes(dialect=DIALECT)


class TaskWorkerFilter(msgspec.Struct):
    """Those that serve one of these tasks."""

    task_keys: list[str]


class TaskWorkers(msgspec.Struct):
    """``/task_workers/filter``."""

    task_worker_filter: TaskWorkerFilter | None = None


@routes.get("/api/hello", scope=None)
async def hello(request: Request) -> Response:
    """Respond to a greeting."""
    return json_response("👋")


@routes.get("/api/health", scope=None)
async def health(request: Request) -> Response:
    """The process is alive."""
    return json_response(True)


@routes.get("/api/ready", scope=None)
async def ready(request: Request) -> Response:
    """Redis answers, and the process is not stopping."""
    if request.state.closing.is_set():
        raise Unserviceable("this process is stopping")
    try:
        await request.store.run(version.check())
    except Misconfigured:
        raise Unserviceable(UNFIT) from None
    return json_response({"message": "OK"})


@routes.get("/api/version")
async def api_version(request: Request) -> Response:
    """The version of the REST API."""
    return json_response(API_VERSION)


@routes.get("/api/admin/version")
async def package_version(request: Request) -> Response:
    """The version of Prefect's server that this API implements."""
    return json_response(PACKAGE_VERSION)


@routes.get("/api/admin/storage")
async def storage(request: Request) -> Response:
    """The default storage of results: none, so that clients choose."""
    return json_response({"default_result_storage_block_id": None})


@routes.get("/api/csrf-token", scope=None)
async def csrf_token(request: Request) -> Response:
    """404, so that clients send no token."""
    raise NotFound("Not Found")


@routes.post("/api/task_workers/filter", scope="read")
async def task_workers(request: Request) -> Response:
    """The consumers of background tasks, each with its tasks that the token is for."""
    wanted = request.read(TaskWorkers) if request.body else TaskWorkers()
    found = [msgspec.json.decode(about) for about in (await request.store.run(orchestrated.consumers())).values()]
    if request.grant.tasks:
        for one in found:
            one["task_keys"] = [key for key in one["task_keys"] if request.grant.covers(await _task_of(request, key))]
        found = [one for one in found if one["task_keys"]]
    keys = wanted.task_worker_filter.task_keys if wanted.task_worker_filter else None
    return json_response([one for one in found if keys is None or set(keys) & set(one["task_keys"])])


async def _task_of(request: Request, key: str) -> str:
    """The name of the task whose runs a consumer requests by *key*."""
    entries = await request.store.run(tasks.some([key])) if is_task_name(key) else {}
    return key if key in entries and entries[key].task.external else task_runs.task_name(key)
