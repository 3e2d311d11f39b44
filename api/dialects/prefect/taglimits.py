"""Limits of concurrency by tag (version 1 of that API)."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec

from api.dialects.prefect import leases
from api.dialects.prefect.errors import DIALECT
from api.dialects.prefect.limits import (
    MOST_NAME,
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
from api.dialects.prefect.routes import on, say
from api.http.auth import Grant
from api.http.dialect import DialectRequest, Routes
from api.http.response import Response
from shared.clock import to_datetime
from shared.errors import NotFound
from shared.store import limits
from shared.store.limits import Limit

routes = Routes(DIALECT)


class TagLimit(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /concurrency_limits/``."""

    tag: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_NAME - len("tag:"))]
    concurrency_limit: Most


class Reset(msgspec.Struct):
    """``POST /concurrency_limits/tag/{tag}/reset``: the runs that hold a slot then."""

    slot_override: list[UUID] | None = None


@on(routes, "POST", "/api/concurrency_limits", "admin")
async def put_tag_limit(request: DialectRequest) -> Response:
    """Limit the runs with a tag: 201, or 200 when there was a limit."""
    wanted = request.read(TagLimit)
    limit, is_new = await request.state.store.run(put(f"tag:{wanted.tag}", wanted.concurrency_limit, True))
    return say(await request.state.store.run(_shown_tag(limit, request.grant)), 201 if is_new else 200)


@on(routes, "POST", "/api/concurrency_limits/filter", "read")
async def list_tag_limits(request: DialectRequest) -> Response:
    """All limits by tag; for a token that is for some tasks those that these name."""
    part, own = request.read(Part) if request.body else Part(), await own_limits(request)
    every = await request.state.store.run(limits.all_limits())
    found = [one for one in every if one.name.startswith("tag:") and (own is None or one.name in own)]
    return say([await request.state.store.run(_shown_tag(one, request.grant)) for one in part_of(found, part)])


@on(routes, "GET", "/api/concurrency_limits/tag/{tag}", "read")
async def read_tag_limit(request: DialectRequest) -> Response:
    """The limit of a tag, and the runs that hold a slot."""
    return await _answer(request, await request.state.store.run(known(f"tag:{request.path['tag']}")))


@on(routes, "GET", "/api/concurrency_limits/{id}", "read")
async def read_tag_limit_by_id(request: DialectRequest) -> Response:
    """As by tag."""
    return await _answer(request, await request.state.store.run(known(request.path["id"], by_tag=True)))


@on(routes, "DELETE", "/api/concurrency_limits/tag/{tag}", "admin")
async def delete_tag_limit(request: DialectRequest) -> Response:
    """Take the limit of a tag away."""
    await request.state.store.run(remove(f"tag:{request.path['tag']}"))
    return Response()


@on(routes, "DELETE", "/api/concurrency_limits/{id}", "admin")
async def delete_tag_limit_by_id(request: DialectRequest) -> Response:
    """As by tag."""
    limit = await request.state.store.run(known(request.path["id"], by_tag=True))
    await request.state.store.run(remove(limit.name))
    return Response()


@on(routes, "POST", "/api/concurrency_limits/tag/{tag}/reset", "admin")
async def reset_tag_limit(request: DialectRequest) -> Response:
    """Take the slots of a tag from whoever holds them."""
    wanted = request.read(Reset) if request.body else Reset()
    name = f"tag:{request.path['tag']}"
    if not await request.state.store.run(limits.reset(name, wanted.slot_override or ())):
        raise NotFound("Concurrency limit not found")
    return say(await request.state.store.run(_shown_tag(await request.state.store.run(known(name)), request.grant)))


async def _answer(request: DialectRequest, limit: Limit) -> Response:
    own = await own_limits(request)
    if own is not None and limit.name not in own:
        raise NotFound("Concurrency limit not found")
    return say(await request.state.store.run(_shown_tag(limit, request.grant)))


async def _shown_tag(limit: Limit, grant: Grant) -> dict[str, Any]:
    about, held = about_of(limit), (await held_by(limit, grant))
    of_leases = [holder.id for holder in leases.task_runs(held.leases)]
    return {
        "id": about.id,
        "created": to_datetime(about.created_us),
        "updated": to_datetime(about.updated_us),
        "tag": limit.name.removeprefix("tag:"),
        "concurrency_limit": about.max,
        "active_slots": [*held.runs, *of_leases],
    }
