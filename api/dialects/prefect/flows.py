"""Flows: create, read, find. A flow is an external task of ours, and its flow runs are executions of it."""

import uuid
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec

from api.dialects.prefect import search, task_runs
from api.dialects.prefect.bodies import Label, Name
from api.dialects.prefect.errors import DIALECT
from api.dialects.prefect.filters import TaskRunFilter
from api.dialects.prefect.flow_filters import FlowFilter, FlowRunFilter, asks, fits_flow
from api.dialects.prefect.parameters import uuid_in
from api.http.auth import Grant
from api.http.decoding import invalid
from api.http.request import Request
from api.http.response import Response, json_response
from api.http.router import Routes
from shared import external_names, ops
from shared.clock import to_datetime
from shared.errors import NotFound
from shared.store import tasks
from shared.store.tasks import Entry
from shared.tasks import Task

routes = Routes(dialect=DIALECT)

NAMESPACE: Final = UUID("3a3f8d0e-6f5a-5d0c-9c0b-5b8f1d0f7a11")
"""In which a flow's name gives its id."""

ID: Final = "prefect.flow.id"
"""The label of a task that stands for a flow: the flow's id."""

NAME: Final = "prefect.flow.name"
"""The label of a task that stands for a flow: the flow's name."""


class FlowCreate(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /flows/``."""

    name: Name
    tags: list[str] | None = None
    labels: dict[str, Label] | None = None


class FlowPage(msgspec.Struct):
    """``/flows/filter`` and ``/flows/count``: filters, an order, and a page."""

    flows: FlowFilter | None = None
    flow_runs: FlowRunFilter | None = None
    task_runs: TaskRunFilter | None = None
    deployments: dict[str, Any] | None = None
    sort: Literal["CREATED_DESC", "UPDATED_DESC", "NAME_ASC", "NAME_DESC"] | None = None
    limit: int | None = None
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None


def flow_id(name: str) -> UUID:
    """The id of the flow called *name*."""
    return uuid.uuid5(NAMESPACE, name)


def task_name(name: str) -> str:
    """The name of that flow's task."""
    return external_names.task_name("prefect", "flow", name)


@routes.post("/api/flows")
async def create_flow(request: Request) -> Response:
    """Create a flow: 201, or 200 when the name exists; the existing flow is not changed."""
    wanted = request.read(FlowCreate)
    request.grant.authorise((task_name(wanted.name),))
    entry, is_new = await request.store.run(_declare(request.catalog, wanted))
    return json_response(_shown_flow(entry), 201 if is_new else 200)


@routes.get("/api/flows/{id}")
async def read_flow(request: Request) -> Response:
    """A flow."""
    found = await request.store.run(flow(request.catalog, uuid_in(request)))
    if found is None or not request.grant.covers(found.name):
        raise NotFound("Flow not found")
    return json_response(_shown_flow(found))


@routes.get("/api/flows/name/{name}")
async def read_flow_by_name(request: Request) -> Response:
    """The flow of that name."""
    name = task_name(request.path["name"])
    try:
        entry = await request.store.run(request.catalog.get(name, fresh=True))
    except NotFound:
        raise NotFound("Flow not found") from None
    if not request.grant.covers(name):
        raise NotFound("Flow not found")
    return json_response(_shown_flow(entry))


@routes.post("/api/flows/filter", scope="read")
async def filter_flows(request: Request) -> Response:
    """Flows that match a filter."""
    page = _page(request)
    limit = search.read_limit(page.limit)
    found, offset = await request.store.run(_find(request.grant, page)), page.offset or 0
    return json_response([_shown_flow(entry) for entry in found[offset : offset + limit]])


@routes.post("/api/flows/count", scope="read")
async def count_flows(request: Request) -> Response:
    """How many flows match a filter."""
    return json_response(len(await request.store.run(_find(request.grant, _page(request)))))


async def _declare(catalog: ops.Catalog, wanted: FlowCreate) -> tuple[Entry, bool]:
    name = task_name(wanted.name)
    try:
        return (await catalog.get(name, fresh=True)), False
    except NotFound:
        pass
    task = Task(
        name=name,
        external=True,
        description=wanted.name[:500],
        group="prefect-flows",
        tags=tuple(dict.fromkeys(wanted.tags or [])),
        labels={key: value for key, value in (wanted.labels or {}).items() if isinstance(value, str)}
        | {ID: str(flow_id(wanted.name)), NAME: wanted.name},
        keep_runs=task_runs.KEEP_RUNS,
    )
    return (await ops.declare(catalog, task)), True


async def flow(catalog: ops.Catalog, wanted: UUID) -> Entry | None:
    """The flow with that id: the catalog holds it under a name that only the flow's own name produces."""
    for entry in catalog.entries.values():
        if entry.task.labels.get(ID) == str(wanted) and _is_flow(entry):
            return entry
    for entry in await tasks.entries():
        if entry.task.labels.get(ID) == str(wanted) and _is_flow(entry):
            catalog.entries[entry.name] = entry
            return entry
    return None


def _is_flow(entry: Entry) -> bool:
    """Whether a task stands for a flow, rather than merely having the same labels."""
    labels = entry.task.labels
    return entry.task.external and NAME in labels and labels.get(ID) == str(flow_id(labels[NAME]))


def _page(request: Request) -> FlowPage:
    page = request.read(FlowPage) if request.body else FlowPage()
    if asks(page.flow_runs) or asks(page.task_runs):
        raise invalid("body", "flows cannot be filtered by their runs here")
    return page


async def _find(grant: Grant, page: FlowPage) -> list[Entry]:
    """The matching flows, in the requested order."""
    if page.deployments:
        return []
    found = [
        entry
        for entry in (await tasks.entries())
        if _is_flow(entry) and grant.covers(entry.name) and _fits(entry, page.flows)
    ]
    keys: dict[str, tuple[Callable[[Entry], Any], bool]] = {
        "NAME_ASC": (lambda entry: entry.task.labels[NAME], False),
        "NAME_DESC": (lambda entry: entry.task.labels[NAME], True),
        "CREATED_DESC": (lambda entry: entry.applied_us, True),
        "UPDATED_DESC": (lambda entry: entry.applied_us, True),
    }
    key, descending = keys[page.sort or "NAME_ASC"]
    return sorted(found, key=key, reverse=descending)


def _fits(entry: Entry, wanted: FlowFilter | None) -> bool:
    task = entry.task
    return fits_flow(UUID(task.labels[ID]), task.labels[NAME], task.tags, wanted)


def _shown_flow(entry: Entry) -> dict[str, Any]:
    task = entry.task
    labels = {name: value for name, value in task.labels.items() if not name.startswith("prefect.flow.")}
    return {
        "id": task.labels[ID],
        "created": to_datetime(entry.applied_us),
        "updated": to_datetime(entry.applied_us),
        "name": task.labels[NAME],
        "tags": task.tags,
        "labels": labels,
    }
