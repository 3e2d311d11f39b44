"""Calls about tasks. Those that write need an admin and RUNFLEET_API_TASKS, as in the native API."""

from uuid import UUID

from api.dialects.ona import automations, bodies, pagination, task_list, task_writes
from api.dialects.ona.catalog import find, shown
from api.dialects.ona.changes import Author
from api.dialects.ona.connect_rpc import Calls
from api.http.decoding import invalid
from api.http.request import Request
from shared.errors import Forbidden
from shared.ops import define_tasks

routes = Calls()


@routes.call(bodies.CreateTaskRequest, scope="admin")
async def create_task(request: Request, wanted: bodies.CreateTaskRequest) -> bodies.CreateTaskResponse:
    """Create a task in an environment, under a reference that is new there."""
    id_ = await request.store.run(task_writes.create(wanted, _author(request)))
    return bodies.CreateTaskResponse(task=await _task(request, id_))


@routes.call(bodies.GetTaskRequest, scope="read")
async def get_task(request: Request, wanted: bodies.GetTaskRequest) -> bodies.GetTaskResponse:
    """Read a task."""
    return bodies.GetTaskResponse(task=await _task(request, UUID(wanted.id)))


@routes.call(bodies.ListTasksRequest, scope="read")
async def list_tasks(request: Request, wanted: bodies.ListTasksRequest) -> bodies.ListTasksResponse:
    """Matching tasks, newest first."""
    which = task_list.where(wanted.filter, request.grant)
    found, place = await request.store.run(task_list.page(which, pagination.page_request(request, wanted.pagination)))
    return bodies.ListTasksResponse(
        pagination=bodies.PaginationResponse(next_token=pagination.token(place)),
        tasks=await request.store.run(shown(found, request.grant)),
    )


@routes.call(bodies.UpdateTaskRequest, scope="admin")
async def update_task(request: Request, wanted: bodies.UpdateTaskRequest) -> bodies.UpdateTaskResponse:
    """Change the given fields. Executions continue with the definition that they were started with."""
    await request.store.run(task_writes.update(wanted, _author(request)))
    return bodies.UpdateTaskResponse()


@routes.call(bodies.DeleteTaskRequest, scope="admin")
async def delete_task(request: Request, wanted: bodies.DeleteTaskRequest) -> bodies.DeleteTaskResponse:
    """Delete a task that is not live and has no dependents."""
    _author(request)
    known = await request.store.run(find(UUID(wanted.id), request.grant))
    await request.store.run(define_tasks.remove(known.entry.name))
    return bodies.DeleteTaskResponse()


@routes.call(bodies.UpsertAutomationsFileRequest, scope="admin")
async def upsert_automations_file(
    request: Request, wanted: bodies.UpsertAutomationsFileRequest
) -> bodies.UpsertAutomationsFileResponse:
    """Create and update tasks, all or none; tasks that the file does not name stay."""
    author = _author(request)
    if wanted.automations_file.services:
        message = "services are not run here, only tasks; leave them out of the file"
        raise invalid("body.automationsFile.services", message)
    touched = await request.store.run(automations.upsert(wanted, author))
    return bodies.UpsertAutomationsFileResponse(updated_service_ids=[], updated_task_ids=[str(id_) for id_ in touched])


async def _task(request: Request, id_: UUID) -> bodies.Task:
    known = await request.store.run(find(id_, request.grant))
    (task,) = await request.store.run(shown([known], request.grant))
    return task


def _author(request: Request) -> Author:
    """The author of a definition. Raises Forbidden while the API may not define tasks."""
    if not request.state.settings.api_tasks:
        raise Forbidden("tasks cannot be defined through this API; set RUNFLEET_API_TASKS=on to allow it")
    return Author(request.grant, request.state.settings.keys)
