"""
Concurrency limits by name (version 2 of that API), and what they share with tag limits.

Each is a shared limit of ours. A tag limit is called ``tag:<tag>`` (``tag_limits``); one of the task file can be read
here, and changed only in the file. A slot is held by a run until it ends, or by a lease (``leases``).
"""

from typing import Annotated, Any, Final
from uuid import UUID

import msgspec

from api.dialects.prefect.bodies import Name
from api.dialects.prefect.errors import DIALECT
from api.dialects.prefect.holders import holder_in
from api.dialects.prefect.parameters import now_us
from api.http.auth import Grant
from api.http.decoding import invalid
from api.http.request import Request
from api.http.response import Response, json_response
from api.http.router import Routes
from shared import ids
from shared.clock import to_datetime
from shared.errors import Conflict, NotFound
from shared.store import limits, runs, tasks
from shared.store.limits import Holders, Limit

routes = Routes(dialect=DIALECT)

Most = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


MAX_NAME: Final = 200
"""Characters of a limit's name; those of the task file have 100 at most, and one by tag is called ``tag:<tag>``."""


class Part(msgspec.Struct):
    """A page of a list."""

    limit: Annotated[int, msgspec.Meta(ge=0, le=200)] | None = None
    offset: Annotated[int, msgspec.Meta(ge=0)] | None = None


class NamedLimit(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /v2/concurrency_limits/``."""

    name: Annotated[Name, msgspec.Meta(max_length=MAX_NAME)]
    limit: Most
    active: bool = True
    active_slots: int = 0
    denied_slots: int = 0
    slot_decay_per_second: float = 0
    avg_slot_occupancy_seconds: float = 2.0


class LimitChange(msgspec.Struct, forbid_unknown_fields=True):
    """``PATCH /v2/concurrency_limits/{id or name}``."""

    name: str | None = None
    limit: Most | None = None
    active: bool | None = None
    active_slots: int | None = None
    denied_slots: int | None = None
    slot_decay_per_second: float | None = None


class About(msgspec.Struct):
    """The dialect's own fields of a limit. Times are stored time."""

    id: UUID
    created_us: int
    updated_us: int
    max: int
    active: bool = True


_about = msgspec.json.Decoder(About).decode
_encode = msgspec.json.Encoder().encode


@routes.post("/api/v2/concurrency_limits", scope="admin")
async def create_limit(request: Request) -> Response:
    """Create a limit. Slots that decay (rate limits) are not supported."""
    wanted = request.read(NamedLimit)
    if wanted.slot_decay_per_second:
        raise invalid("body.slot_decay_per_second", "must be 0: slots that decay are not supported")
    if await request.store.run(limits.one_limit(wanted.name)) is not None:
        raise Conflict(f"there is a limit {wanted.name} already")
    limit, _ = await request.store.run(put(wanted.name, wanted.limit, wanted.active))
    return json_response(await request.store.run(shown(limit, request.grant)), 201)


@routes.post("/api/v2/concurrency_limits/filter", scope="read")
async def list_limits(request: Request) -> Response:
    """All limits, by name. A token for some tasks sees the limits that those tasks name, with its own slots."""
    part = request.read(Part) if request.body else Part()
    own = await own_limits(request)
    found = [one for one in await request.store.run(limits.all_limits()) if own is None or one.name in own]
    return json_response([await request.store.run(shown(one, request.grant)) for one in part_of(found, part)])


@routes.get("/api/v2/concurrency_limits/{id}")
async def read_limit(request: Request) -> Response:
    """A limit, by id or name."""
    limit, own = await request.store.run(known(request.path["id"])), await own_limits(request)
    if own is not None and limit.name not in own:
        raise NotFound("Concurrency limit not found")
    return json_response(await request.store.run(shown(limit, request.grant)))


@routes.patch("/api/v2/concurrency_limits/{id}")
async def change_limit(request: Request) -> Response:
    """Change a limit that was created through an API."""
    wanted = request.read(LimitChange)
    if wanted.slot_decay_per_second:
        raise invalid("body.slot_decay_per_second", "must be 0: slots that decay are not supported")
    limit = await request.store.run(known(request.path["id"]))
    if not limit.about:
        raise _of_task_file(limit.name)
    about = _about(limit.about)
    if wanted.name is not None and wanted.name != limit.name:
        raise invalid("body.name", "cannot be changed; create another limit")
    most = about.max if wanted.limit is None else wanted.limit
    await request.store.run(put(limit.name, most, about.active if wanted.active is None else wanted.active))
    return Response(status=204)


@routes.delete("/api/v2/concurrency_limits/{id}")
async def delete_limit(request: Request) -> Response:
    """Delete a limit that was created through an API."""
    limit = await request.store.run(known(request.path["id"]))
    await request.store.run(remove(limit.name))
    return Response(status=204)


async def put(name: str, most: int, active: bool) -> tuple[Limit, bool]:
    """Create or change a limit; whether it was created. Raises Conflict for one of the task file."""
    found = await limits.one_limit(name)
    at_us = now_us()
    if found is not None and not found.about:
        raise _of_task_file(name)
    before = _about(found.about) if found is not None else About(ids.new_id(at_us), at_us, at_us, most)
    about = _encode(msgspec.structs.replace(before, updated_us=at_us, max=most, active=active))
    if not (await limits.put(name, most if active else None, about)):
        raise _of_task_file(name)
    return Limit(name, most if active else None, about), found is None


async def remove(name: str) -> None:
    """Delete a limit. Raises NotFound, and Conflict for one of the task file."""
    if not (await limits.remove(name)):
        found = await limits.one_limit(name)
        if found is not None:
            raise _of_task_file(name)
        raise NotFound("Concurrency limit not found")


def _of_task_file(name: str) -> Conflict:
    return Conflict(f"limit {name} is defined in the task file; edit it there")


async def known(ref: str, *, by_tag: bool = False) -> Limit:
    """The limit of that name or id. Raises NotFound."""
    found = await limits.one_limit(ref)
    if found is not None and not by_tag:
        return found
    for one in await limits.all_limits():
        if str(about_of(one).id) == ref.lower() and (one.name.startswith("tag:") or not by_tag):
            return one
    raise NotFound("Concurrency limit not found")


def about_of(limit: Limit) -> About:
    """The dialect's fields of a limit; those of a task-file limit are derived from its name."""
    if limit.about:
        return _about(limit.about)
    return About(ids.named_id(UUID(int=0), f"limit {limit.name}", 0), 0, 0, limit.max or 0)


async def own_limits(request: Request) -> set[str] | None:
    """
    The limits that the token's tasks name; None when it is for all tasks. Other limits are invisible to a token for
    some tasks.
    """
    if not request.grant.tasks:
        return None
    entries = await request.store.run(tasks.entries())
    return {name for entry in entries if request.grant.covers(entry.name) for name in entry.task.limits}


async def held_by(limit: Limit, grant: Grant) -> Holders:
    """The holders of a limit's slots that *grant* may see."""
    held = await limits.holders(limit.name)
    if not grant.tasks:
        return held
    named = [holder_in(one) for one in held.leases]
    ids = [*held.runs, *(one.id for one in named if one is not None and one.id is not None)]
    own = {run.id for run in (await runs.many(ids)) if grant.covers(run.task_name)} if ids else set[UUID]()
    leases = [
        raw
        for raw, one in zip(held.leases, named, strict=True)
        if one is not None and (one.id in own or one.tasks == grant.tasks)
    ]
    return Holders([one for one in held.runs if one in own], leases)


async def shown(limit: Limit, grant: Grant) -> dict[str, Any]:
    """A limit as clients read it."""
    about, held = about_of(limit), (await held_by(limit, grant))
    return {
        "id": about.id,
        "created": to_datetime(about.created_us),
        "updated": to_datetime(about.updated_us),
        "name": limit.name,
        "limit": about.max,
        "active": about.active,
        "active_slots": len(held.runs) + len(held.leases),
        "denied_slots": 0,
        "slot_decay_per_second": 0.0,
    }


def part_of(found: list[Limit], wanted: Part) -> list[Limit]:
    """The requested page of a list; 200 items by default."""
    offset = wanted.offset or 0
    return found[offset : offset + (200 if wanted.limit is None else wanted.limit)]
