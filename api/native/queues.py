"""Queues: list, pause, resume."""

import msgspec

from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from api.native.fleet_responses import QueueModel, QueuesResponseBody
from api.native.parameters import QueuePath
from shared.errors import NotFound
from shared.store import fleet, scoped_fleet

routes = Routes("Queues")


@routes.get("/api/queues", summary="List queues", answers={200: QueuesResponseBody})
async def list_queues(request: Request) -> Response:
    """
    `latency_ms` is the age of the oldest waiting run: the number to monitor and to scale by. A token for some tasks
    sees the queues of these, each with the counts of their runs only; slots and workers are those of the whole queue.
    """
    seen = scoped_fleet.queues(request.grant.covers) if request.grant.tasks else fleet.queues()
    queues = await request.store.run(seen)
    return request.answer(QueuesResponseBody(queues=[_model(queue) for queue in queues]))


@routes.post(
    "/api/queues/{queue}/pause", summary="Pause a queue", scope="admin", answers={200: QueueModel}, errors=(404,)
)
async def pause_queue(request: Request, path: QueuePath) -> Response:
    """Workers claim no more runs from it. Running ones continue, new ones wait."""
    await _named(request, path.queue)
    await request.store.run(fleet.pause_queue(path.queue, True))
    return request.answer(await _named(request, path.queue))


@routes.post(
    "/api/queues/{queue}/resume", summary="Resume a queue", scope="admin", answers={200: QueueModel}, errors=(404,)
)
async def resume_queue(request: Request, path: QueuePath) -> Response:
    """Workers claim from it again."""
    await _named(request, path.queue)
    await request.store.run(fleet.pause_queue(path.queue, False))
    return request.answer(await _named(request, path.queue))


async def _named(request: Request, name: str) -> QueueModel:
    for queue in await request.store.run(fleet.queues()):
        if queue.name == name:
            return _model(queue)
    raise NotFound(f"there is no queue {name}: no task and no worker names it")


def _model(queue: fleet.Queue) -> QueueModel:
    return msgspec.convert(queue, QueueModel, from_attributes=True)
