"""Routes for task runs and their states."""

from typing import Any
from uuid import UUID

from api.dialects.prefect import run_view, search, set_state, task_runs
from api.dialects.prefect.bodies import Rename, SetState, TaskRunCreate, shown_state
from api.dialects.prefect.errors import DIALECT, PlainNotFound
from api.dialects.prefect.parameters import now_us, run_in_query, uuid_in
from api.dialects.prefect.run_view import TASK_RUNS, View
from api.dialects.prefect.set_state import Answer
from api.http.request import Request
from api.http.response import Response, json_response
from api.http.router import Routes
from shared.errors import NotFound

routes = Routes(dialect=DIALECT)


def shown(view: View) -> dict[str, Any]:
    """A task run as clients read it."""
    return run_view.shown_task_run(view.id, view.facts, view.current, now_us())


async def require_run(request: Request, absent: str, via: str = TASK_RUNS) -> View:
    """The run of the path. Raises NotFound with the message *absent*, also when the token is for other tasks."""
    view = await request.store.run(task_runs.read(uuid_in(request), via))
    if view is None:
        raise NotFound(absent)
    request.grant.authorise((view.latest.record.task,), absent=absent)
    return view


async def run_states(request: Request, run_id: UUID, via: str = TASK_RUNS) -> Response:
    """All states of a run, oldest first; none for an unknown run."""
    view = await request.store.run(task_runs.read(run_id, via, history=True))
    if view is None or not request.grant.covers(view.latest.record.task):
        return json_response([])
    return json_response([shown_state(state) for state in run_view.history(view)])


@routes.post("/api/task_runs")
async def create_task_run(request: Request) -> Response:
    """Create a task run: 201, or 200 when it exists."""
    wanted = request.read(TaskRunCreate)
    made = await request.store.run(task_runs.create(request.catalog, request.grant, wanted))
    body = run_view.shown_task_run(made.id, made.facts, made.current, now_us())
    return json_response(body, 201 if made.is_new else 200)


@routes.get("/api/task_runs/{id}")
async def read_task_run(request: Request) -> Response:
    """A task run."""
    return json_response(shown(await require_run(request, "Task not found")))


@routes.patch("/api/task_runs/{id}", scope="run")
async def rename_task_run(request: Request) -> Response:
    """Rename a task run."""
    await task_runs.rename(request.store, request.grant, uuid_in(request), request.read(Rename).name)
    return Response(status=204)


@routes.delete("/api/task_runs/{id}")
async def delete_task_run(request: Request) -> Response:
    """Delete a task run and release its slots."""
    view = await require_run(request, "Task run not found")
    await request.store.run(task_runs.delete(request.catalog, view))
    return Response(status=204)


@routes.post("/api/task_runs/{id}/set_state")
async def set_task_run_state(request: Request) -> Response:
    """Propose a state: 201 when one was written."""
    run_id, wanted = uuid_in(request), request.read(SetState)
    try:
        answer = await request.store.run(set_state.set_state(request.catalog, run_id, wanted, request.grant))
    except NotFound as error:
        raise PlainNotFound(str(error)) from None
    return proposal_response(answer)


def proposal_response(answer: Answer) -> Response:
    """The response to a proposal."""
    decision = answer.decision
    details: dict[str, Any] = {"type": f"{decision.answer.lower()}_details"}
    if decision.answer == "WAIT":
        details["delay_seconds"] = decision.delay_s
    if decision.answer != "ACCEPT":
        details["reason"] = decision.reason
    body = {"state": shown_state(answer.state), "status": decision.answer, "details": details}
    return json_response(body, 201 if answer.wrote else 200)


@routes.get("/api/task_run_states")
async def read_task_run_states(request: Request) -> Response:
    """All states of a task run, oldest first; none for an unknown run."""
    return await run_states(request, run_in_query(request, "task_run_id"))


@routes.post("/api/task_runs/filter", scope="read")
async def filter_task_runs(request: Request) -> Response:
    """Task runs that match a filter."""
    wanted = search.read_page(request)
    found = await request.store.run(search.find(wanted, request.grant, wanted.offset, wanted.limit))
    return json_response([shown(view) for view in found.views])


@routes.post("/api/task_runs/paginate", scope="read")
async def paginate_task_runs(request: Request) -> Response:
    """A page of matching task runs, and the number of pages."""
    wanted = search.read_page(request)
    offset = (wanted.page - 1) * wanted.limit
    found = await request.store.run(search.find(wanted, request.grant, offset, wanted.limit, counts=True))
    pages = -(-found.total // wanted.limit) if wanted.limit else 0
    results = [shown(view) for view in found.views]
    return json_response(
        {"results": results, "count": found.total, "limit": wanted.limit, "pages": pages, "page": wanted.page}
    )


@routes.post("/api/task_runs/count", scope="read")
async def count_task_runs(request: Request) -> Response:
    """How many task runs match a filter."""
    wanted = search.read_page(request)
    found = await request.store.run(search.find(wanted, request.grant, 0, 0, counts=True))
    return json_response(found.total)


@routes.post("/api/task_runs/history", scope="read")
async def task_run_history(request: Request) -> Response:
    """How many task runs were to start in each interval, by their current state."""
    stretches, wanted = search.read_history(request)
    found = await request.store.run(search.find(wanted, request.grant, 0, wanted.limit))
    return json_response(search.history_of(found.views, stretches, now_us()))
