"""Worker processes: list, drain."""

import msgspec
from msgspec import UNSET

from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from api.native.fleet_responses import WorkerModel, WorkersResponseBody
from api.native.parameters import WorkerPath
from shared.errors import NotFound
from shared.store import fleet, scoped_fleet

routes = Routes("Workers")


@routes.get("/api/workers", summary="List workers", answers={200: WorkersResponseBody})
async def list_workers(request: Request) -> Response:
    """
    Every worker process with a recent heartbeat, and its runs. A token for some tasks sees the workers that serve a
    queue of these tasks, each with these queues and runs only.
    """
    seen = scoped_fleet.workers(request.grant.covers) if request.grant.tasks else fleet.workers()
    workers = await request.store.run(seen)
    return request.answer(WorkersResponseBody(workers=[_model(worker) for worker in workers]))


@routes.post(
    "/api/workers/{id}/drain", summary="Drain a worker", scope="admin", answers={202: WorkerModel}, errors=(404,)
)
async def drain_worker(request: Request, path: WorkerPath) -> Response:
    """It claims nothing more, and exits when its runs have ended."""
    await request.store.run(fleet.drain(path.id))
    for worker in await request.store.run(fleet.workers()):
        if worker.id == path.id:
            return request.answer(_model(worker), status=202)
    raise NotFound(f"worker {path.id} is gone already")


def _model(worker: fleet.Worker) -> WorkerModel:
    model = msgspec.convert(worker, WorkerModel, from_attributes=True)
    model.unfit = worker.unfit or UNSET
    return model
