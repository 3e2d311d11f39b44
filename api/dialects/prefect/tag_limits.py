"""Concurrency limits by tag (version 1 of that API)."""

from typing import Annotated, Any
from uuid import UUID

import msgspec

from api.dialects.prefect.errors import DIALECT
from api.dialects.prefect.holders import task_runs
from api.dialects.prefect.limits import (
    MAX_NAME,
    Most,
    Part,
    about_of,
    held_by,
    known,
    own_limits,
    part_of,
    put,
    remove,
)
from api.http.auth import Grant
from api.http.request import Request
from api.http.response import Response, json_response
from api.http.router import Routes
from shared.clock import to_datetime
from shared.errors import NotFound
from shared.store import limits
from shared.store.limits import Limit

routes = Routes(dialect=DIALECT)


class TagLimit(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /concurrency_limits/``."""

    tag: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME - len("tag:"))]
    concurrency_limit: Most


class Reset(msgspec.Struct):
    """``POST /concurrency_limits/tag/{tag}/reset``: the runs that hold a slot afterwards."""

    slot_override: list[UUID] | None = None


@routes.post("/api/concurrency_limits", scope="admin")
async def put_tag_limit(request: Request) -> Response:
    """Limit the runs with a tag: 201, or 200 when the limit exists."""
    wanted = request.read(TagLimit)
    limit, is_new = await request.store.run(put(f"tag:{wanted.tag}", wanted.concurrency_limit, True))
    return json_response(await request.store.run(_shown_tag(limit, request.grant)), 201 if is_new else 200)


@routes.post("/api/concurrency_limits/filter", scope="read")
async def list_tag_limits(request: Request) -> Response:
    """All tag limits; for a token for some tasks, those that these tasks name."""
    part, own = request.read(Part) if request.body else Part(), await own_limits(request)
    every = await request.store.run(limits.all_limits())
    found = [one for one in every if one.name.startswith("tag:") and (own is None or one.name in own)]
    return json_response([await request.store.run(_shown_tag(one, request.grant)) for one in part_of(found, part)])


@routes.get("/api/concurrency_limits/tag/{tag}")
async def read_tag_limit(request: Request) -> Response:
    """The limit of a tag, and the runs that hold a slot."""
    return await _answer(request, await request.store.run(known(f"tag:{request.path['tag']}")))


@routes.get("/api/concurrency_limits/{id}")
async def read_tag_limit_by_id(request: Request) -> Response:
    """Same, by id."""
    return await _answer(request, await request.store.run(known(request.path["id"], by_tag=True)))


@routes.delete("/api/concurrency_limits/tag/{tag}")
async def delete_tag_limit(request: Request) -> Response:
    """Delete the limit of a tag."""
    await request.store.run(remove(f"tag:{request.path['tag']}"))
    return Response()


@routes.delete("/api/concurrency_limits/{id}")
async def delete_tag_limit_by_id(request: Request) -> Response:
    """Same, by id."""
    limit = await request.store.run(known(request.path["id"], by_tag=True))
    await request.store.run(remove(limit.name))
    return Response()


@routes.post("/api/concurrency_limits/tag/{tag}/reset", scope="admin")
async def reset_tag_limit(request: Request) -> Response:
    """Release all slots of a tag."""
    wanted = request.read(Reset) if request.body else Reset()
    name = f"tag:{request.path['tag']}"
    if not await request.store.run(limits.reset(name, wanted.slot_override or ())):
        raise NotFound("Concurrency limit not found")
    return json_response(await request.store.run(_shown_tag(await request.store.run(known(name)), request.grant)))


async def _answer(request: Request, limit: Limit) -> Response:
    own = await own_limits(request)
    if own is not None and limit.name not in own:
        raise NotFound("Concurrency limit not found")
    return json_response(await request.store.run(_shown_tag(limit, request.grant)))


async def _shown_tag(limit: Limit, grant: Grant) -> dict[str, Any]:
    about, held = about_of(limit), (await held_by(limit, grant))
    of_leases = [holder.id for holder in task_runs(held.leases)]
    return {
        "id": about.id,
        "created": to_datetime(about.created_us),
        "updated": to_datetime(about.updated_us),
        "tag": limit.name.removeprefix("tag:"),
        "concurrency_limit": about.max,
        "active_slots": [*held.runs, *of_leases],
    }
