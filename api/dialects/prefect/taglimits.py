"""Limits of concurrency by tag (version 1 of that API)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from api.dialects.door import Question, Routes
from api.dialects.prefect import leases
from api.dialects.prefect.errors import DIALECT
from api.dialects.prefect.limits import Most, Part, about_of, known, part_of, put, remove
from api.dialects.prefect.routes import on, say
from api.reply import Reply
from shared.clock import to_datetime
from shared.errors import NotFound
from shared.store import limits
from shared.store.call import Operation
from shared.store.limits import Limit

routes = Routes(DIALECT)


class TagLimit(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /concurrency_limits/``."""

    tag: str
    concurrency_limit: Most


class Reset(msgspec.Struct):
    """``POST /concurrency_limits/tag/{tag}/reset``: the runs that hold a slot then."""

    slot_override: list[UUID] | None = None


@on(routes, "POST", "/api/concurrency_limits", "run")
async def put_tag_limit(ask: Question) -> Reply:
    """Limit the runs with a tag: 201, or 200 when there was a limit."""
    wanted = ask.read(TagLimit)
    limit, is_new = await ask.web.store.run(put(f"tag:{wanted.tag}", wanted.concurrency_limit, True))
    return say(await ask.web.store.run(_shown_tag(limit)), 201 if is_new else 200)


@on(routes, "POST", "/api/concurrency_limits/filter", "read")
async def list_tag_limits(ask: Question) -> Reply:
    """All limits by tag."""
    part = ask.read(Part) if ask.body else Part()
    found = [one for one in await ask.web.store.run(limits.all_limits()) if one.name.startswith("tag:")]
    return say([await ask.web.store.run(_shown_tag(one)) for one in part_of(found, part)])


@on(routes, "GET", "/api/concurrency_limits/tag/{tag}", "read")
async def read_tag_limit(ask: Question) -> Reply:
    """The limit of a tag, and the runs that hold a slot."""
    limit = await ask.web.store.run(known(f"tag:{ask.path['tag']}"))
    return say(await ask.web.store.run(_shown_tag(limit)))


@on(routes, "GET", "/api/concurrency_limits/{id}", "read")
async def read_tag_limit_by_id(ask: Question) -> Reply:
    """As by tag."""
    limit = await ask.web.store.run(known(ask.path["id"], by_tag=True))
    return say(await ask.web.store.run(_shown_tag(limit)))


@on(routes, "DELETE", "/api/concurrency_limits/tag/{tag}", "run")
async def delete_tag_limit(ask: Question) -> Reply:
    """Take the limit of a tag away."""
    await ask.web.store.run(remove(f"tag:{ask.path['tag']}"))
    return Reply()


@on(routes, "DELETE", "/api/concurrency_limits/{id}", "run")
async def delete_tag_limit_by_id(ask: Question) -> Reply:
    """As by tag."""
    limit = await ask.web.store.run(known(ask.path["id"], by_tag=True))
    await ask.web.store.run(remove(limit.name))
    return Reply()


@on(routes, "POST", "/api/concurrency_limits/tag/{tag}/reset", "run")
async def reset_tag_limit(ask: Question) -> Reply:
    """Take the slots of a tag from whoever holds them."""
    wanted = ask.read(Reset) if ask.body else Reset()
    name = f"tag:{ask.path['tag']}"
    if not await ask.web.store.do(limits.reset(name, wanted.slot_override or ())):
        raise NotFound("Concurrency limit not found")
    return say(await ask.web.store.run(_shown_tag(await ask.web.store.run(known(name)))))


def _shown_tag(limit: Limit) -> Operation[dict[str, Any]]:
    about, held = about_of(limit), (yield from limits.holders(limit.name))
    of_leases = [holder.id for holder in leases.task_runs(held.leases)]
    return {
        "id": about.id,
        "created": to_datetime(about.created_us),
        "updated": to_datetime(about.updated_us),
        "tag": limit.name.removeprefix("tag:"),
        "concurrency_limit": about.max,
        "active_slots": [*held.runs, *of_leases],
    }
