"""Task runs and their states, as Prefect's clients ask for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec

from api.dialects.prefect import run_view, search, set_state, taskruns
from api.dialects.prefect.bodies import Rename, SetState, TaskRunCreate, shown_state
from api.dialects.prefect.errors import DIALECT, Untold, require_version
from api.dialects.prefect.run_view import View
from api.dialects.prefect.set_state import Answer
from api.http.auth import Scope
from api.http.dialect import DialectRequest, Handler, Method, Routes
from api.http.endpoint import MAX_BODY
from api.http.response import Response
from shared.errors import NotFound

routes = Routes(DIALECT)

_encode = msgspec.json.Encoder().encode


def on(
    where: Routes, method: Method, path: str, scope: Scope | None, *, max_body: int = MAX_BODY
) -> Callable[[Handler], Handler]:
    """Declare a handler for clients that speak this version of the API; *max_body* is in bytes."""

    def keep(handler: Handler) -> Handler:
        async def spoken(request: DialectRequest) -> Any:
            require_version(request)
            return await handler(request)

        where.on(method, path, scope=scope, max_body=max_body)(spoken)
        return handler

    return keep


def say(value: Any, status: int = 200) -> Response:
    """*value* as JSON."""
    return Response(_encode(value), status=status)


def uuid_in(request: DialectRequest, name: str = "id") -> UUID:
    """The id in the path. Raises NotFound when it is none."""
    text = request.path[name]
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("Not Found") from None


def run_in_query(request: DialectRequest, name: str) -> UUID:
    """The id of a run in the query. Raises Invalid when there is none."""
    try:
        return UUID(request.query.get(name, [""])[0])
    except ValueError:
        raise search.invalid(f"query.{name}", "must be a UUID") from None


def now_us() -> int:
    """The time as stored time, for what is worked out from a record while it is read."""
    return time.time_ns() // 1000


def shown(view: View) -> dict[str, Any]:
    """A task run as clients read it."""
    return run_view.shown_task_run(view.id, view.facts, view.current, now_us())


@on(routes, "POST", "/api/task_runs", "run")
async def create_task_run(request: DialectRequest) -> Response:
    """Make a task run: 201, or 200 when it was there."""
    wanted = request.read(TaskRunCreate)
    made = await request.state.store.run(taskruns.create(request.state.catalog, request.grant, wanted))
    body = run_view.shown_task_run(made.id, made.facts, made.current, now_us())
    return say(body, 201 if made.is_new else 200)


@on(routes, "GET", "/api/task_runs/{id}", "read")
async def read_task_run(request: DialectRequest) -> Response:
    """A task run."""
    view = await request.state.store.run(taskruns.read(uuid_in(request)))
    if view is None or not request.grant.covers(view.latest.record.task):
        raise NotFound("Task not found")
    return say(shown(view))


@on(routes, "PATCH", "/api/task_runs/{id}", "run")
async def rename_task_run(request: DialectRequest) -> Response:
    """Give a task run another name."""
    await taskruns.rename(request.state.store, request.grant, uuid_in(request), request.read(Rename).name)
    return Response(status=204)


@on(routes, "DELETE", "/api/task_runs/{id}", "admin")
async def delete_task_run(request: DialectRequest) -> Response:
    """Forget a task run; what it held is free."""
    view = await request.state.store.run(taskruns.read(uuid_in(request)))
    if view is None:
        raise NotFound("Task run not found")
    request.grant.authorise((view.latest.record.task,), absent="Task run not found")
    await request.state.store.run(taskruns.delete(request.state.catalog, view))
    return Response(status=204)


@on(routes, "POST", "/api/task_runs/{id}/set_state", "run")
async def set_task_run_state(request: DialectRequest) -> Response:
    """Propose a state: 201 when one was written."""
    run_id, wanted = uuid_in(request), request.read(SetState)
    try:
        answer = await request.state.store.run(
            set_state.set_state(request.state.catalog, run_id, wanted, request.grant)
        )
    except NotFound as error:
        raise Untold(str(error)) from None
    return answered(answer)


def answered(answer: Answer) -> Response:
    """What is said to a proposal."""
    decision = answer.decision
    details: dict[str, Any] = {"type": f"{decision.answer.lower()}_details"}
    if decision.answer == "WAIT":
        details["delay_seconds"] = decision.delay_s
    if decision.answer != "ACCEPT":
        details["reason"] = decision.reason
    body = {"state": shown_state(answer.state), "status": decision.answer, "details": details}
    return say(body, 201 if answer.wrote else 200)


@on(routes, "GET", "/api/task_run_states", "read")
async def read_task_run_states(request: DialectRequest) -> Response:
    """All states of a task run, oldest first; none of an unknown one."""
    view = await request.state.store.run(taskruns.read(run_in_query(request, "task_run_id"), history=True))
    if view is None or not request.grant.covers(view.latest.record.task):
        return say([])
    return say([shown_state(state) for state in run_view.history(view)])


@on(routes, "POST", "/api/task_runs/filter", "read")
async def filter_task_runs(request: DialectRequest) -> Response:
    """Task runs that fit a filter."""
    wanted = search.read_page(request)
    found = await request.state.store.run(search.find(wanted, request.grant, wanted.offset, wanted.limit))
    return say([shown(view) for view in found.views])


@on(routes, "POST", "/api/task_runs/paginate", "read")
async def paginate_task_runs(request: DialectRequest) -> Response:
    """A page of those that fit, and how many pages there are."""
    wanted = search.read_page(request)
    offset = (wanted.page - 1) * wanted.limit
    found = await request.state.store.run(search.find(wanted, request.grant, offset, wanted.limit, counts=True))
    pages = -(-found.total // wanted.limit) if wanted.limit else 0
    results = [shown(view) for view in found.views]
    return say({"results": results, "count": found.total, "limit": wanted.limit, "pages": pages, "page": wanted.page})


@on(routes, "POST", "/api/task_runs/count", "read")
async def count_task_runs(request: DialectRequest) -> Response:
    """How many fit a filter."""
    wanted = search.read_page(request)
    found = await request.state.store.run(search.find(wanted, request.grant, 0, 0, counts=True))
    return say(found.total)


@on(routes, "POST", "/api/task_runs/history", "read")
async def task_run_history(request: DialectRequest) -> Response:
    """How many were to start in each stretch of time, by the state that they are in now."""
    stretches, wanted = search.read_history(request)
    found = await request.state.store.run(search.find(wanted, request.grant, 0, wanted.limit))
    return say(search.history_of(found.views, stretches, now_us()))
