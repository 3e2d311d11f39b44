"""
Limits of concurrency, by tag (version 1 of that API) and by name (version 2).

Both are our shared limits: one by tag is called ``tag:<tag>``, and one of the task file is seen here too, though only
the file changes it. A slot is held by a run, until that ends, or by a lease, until it is given back or lapses.
"""

from __future__ import annotations

import random
import time
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from api.dialects.door import Question, Routes
from api.dialects.prefect.bodies import Name
from api.dialects.prefect.errors import DIALECT, Locked
from api.dialects.prefect.finding import invalid
from api.dialects.prefect.orchestration import jittered
from api.dialects.prefect.routes import on, say
from api.reply import Reply
from shared import ids
from shared.clock import to_datetime
from shared.errors import Conflict, NotFound, RunfleetError
from shared.store import limits
from shared.store.call import Operation
from shared.store.limits import Limit, Taken

routes = Routes(DIALECT)

Slots = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Most = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
LeaseSeconds = Annotated[float, msgspec.Meta(ge=60, le=86400)]

LONGEST_WAIT_S = 30
"""The longest a client is told to wait for slots that it asked for by name."""


class TagLimit(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /concurrency_limits/``."""

    tag: str
    concurrency_limit: Most


class Reset(msgspec.Struct):
    """``POST /concurrency_limits/tag/{tag}/reset``: the runs that hold a slot then."""

    slot_override: list[UUID] | None = None


class Part(msgspec.Struct):
    """Which part of a list."""

    limit: Annotated[int, msgspec.Meta(ge=0, le=200)] | None = None
    offset: Annotated[int, msgspec.Meta(ge=0)] | None = None


class NamedLimit(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /v2/concurrency_limits/``."""

    name: Name
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


class Holder(msgspec.Struct):
    """Who takes slots."""

    type: Literal["flow_run", "task_run", "deployment"]
    id: UUID


class Take(msgspec.Struct):
    """``increment`` and ``increment-with-lease``."""

    slots: Slots
    names: Annotated[list[str], msgspec.Meta(min_length=1, max_length=1000)]
    mode: Literal["concurrency", "rate_limit"] = "concurrency"
    lease_duration: LeaseSeconds = 300
    holder: Holder | None = None


class Give(msgspec.Struct):
    """``decrement-with-lease``."""

    lease_id: UUID


class Renew(msgspec.Struct):
    """``leases/{id}/renew``."""

    lease_duration: LeaseSeconds = 300


class About(msgspec.Struct):
    """What is kept of a limit beside its name and number. Times are stored time."""

    id: UUID
    created_us: int
    updated_us: int
    max: int
    active: bool = True


class Gone(RunfleetError):
    """The lease is over."""

    status = 410
    title = "Gone"


class NotPossible(RunfleetError):
    """A request that can never be met."""

    status = 422
    title = "Unprocessable Entity"


_about = msgspec.json.Decoder(About).decode
_encode = msgspec.json.Encoder().encode


@on(routes, "POST", "/api/concurrency_limits", "run")
async def put_tag_limit(ask: Question) -> Reply:
    """Limit the runs with a tag: 201, or 200 when there was a limit."""
    wanted = ask.read(TagLimit)
    limit, is_new = await ask.web.store.run(_put(f"tag:{wanted.tag}", wanted.concurrency_limit, True))
    return say(await ask.web.store.run(_shown_tag(limit)), 201 if is_new else 200)


@on(routes, "POST", "/api/concurrency_limits/filter", "read")
async def list_tag_limits(ask: Question) -> Reply:
    """All limits by tag."""
    part = ask.read(Part) if ask.body else Part()
    found = [one for one in await ask.web.store.run(limits.all_limits()) if one.name.startswith("tag:")]
    return say([await ask.web.store.run(_shown_tag(one)) for one in _part(found, part)])


@on(routes, "GET", "/api/concurrency_limits/tag/{tag}", "read")
async def read_tag_limit(ask: Question) -> Reply:
    """The limit of a tag, and the runs that hold a slot."""
    limit = await ask.web.store.run(_known(f"tag:{ask.path['tag']}"))
    return say(await ask.web.store.run(_shown_tag(limit)))


@on(routes, "GET", "/api/concurrency_limits/{id}", "read")
async def read_tag_limit_by_id(ask: Question) -> Reply:
    """As by tag."""
    limit = await ask.web.store.run(_known(ask.path["id"], by_tag=True))
    return say(await ask.web.store.run(_shown_tag(limit)))


@on(routes, "DELETE", "/api/concurrency_limits/tag/{tag}", "run")
async def delete_tag_limit(ask: Question) -> Reply:
    """Take the limit of a tag away."""
    await ask.web.store.run(_remove(f"tag:{ask.path['tag']}"))
    return Reply()


@on(routes, "DELETE", "/api/concurrency_limits/{id}", "run")
async def delete_tag_limit_by_id(ask: Question) -> Reply:
    """As by tag."""
    limit = await ask.web.store.run(_known(ask.path["id"], by_tag=True))
    await ask.web.store.run(_remove(limit.name))
    return Reply()


@on(routes, "POST", "/api/concurrency_limits/tag/{tag}/reset", "run")
async def reset_tag_limit(ask: Question) -> Reply:
    """Take the slots of a tag from whoever holds them."""
    wanted = ask.read(Reset) if ask.body else Reset()
    name = f"tag:{ask.path['tag']}"
    if not await ask.web.store.do(limits.reset(name, wanted.slot_override or ())):
        raise NotFound("Concurrency limit not found")
    return say(await ask.web.store.run(_shown_tag(await ask.web.store.run(_known(name)))))


@on(routes, "POST", "/api/v2/concurrency_limits", "run")
async def create_limit(ask: Question) -> Reply:
    """Make a limit. One whose slots come back by themselves (a rate) is not to be had here."""
    wanted = ask.read(NamedLimit)
    if wanted.slot_decay_per_second:
        raise invalid("body.slot_decay_per_second", "must be 0: slots that decay are not kept here")
    if await ask.web.store.run(limits.one_limit(wanted.name)) is not None:
        raise Conflict(f"there is a limit {wanted.name} already")
    limit, _ = await ask.web.store.run(_put(wanted.name, wanted.limit, wanted.active))
    return say(await ask.web.store.run(_shown(limit)), 201)


@on(routes, "POST", "/api/v2/concurrency_limits/filter", "read")
async def list_limits(ask: Question) -> Reply:
    """All limits, by name."""
    part = ask.read(Part) if ask.body else Part()
    found = _part(await ask.web.store.run(limits.all_limits()), part)
    return say([await ask.web.store.run(_shown(one)) for one in found])


@on(routes, "POST", "/api/v2/concurrency_limits/increment-with-lease", "run")
async def take_slots(ask: Question) -> Reply:
    """Take slots for a while: 423 while there are none. A limit that there is not lets everybody through."""
    wanted = ask.read(Take)
    if wanted.mode == "rate_limit":
        raise NotPossible("Only concurrency limits with slot decay can be used for rate limiting; none has it here")
    lease = ids.new_id(_now_us())
    names = list(dict.fromkeys(wanted.names))
    lasts_us, holder = round(wanted.lease_duration * 1e6), _encode(wanted.holder)
    taken = await ask.web.store.do(limits.take(lease, names, wanted.slots, lasts_us, holder))
    _raise_if_refused(taken)
    return say({"lease_id": lease, "limits": await _taken_of(ask, wanted)})


@on(routes, "POST", "/api/v2/concurrency_limits/decrement-with-lease", "run")
async def give_slots(ask: Question) -> Reply:
    """Give a lease's slots back; nothing happens when it is over."""
    await ask.web.store.do(limits.give(ask.read(Give).lease_id))
    return Reply(status=204)


@on(routes, "POST", "/api/v2/concurrency_limits/leases/{id}/renew", "run")
async def renew_lease(ask: Question) -> Reply:
    """Let a lease last from now: 410 when it is over."""
    try:
        lease = UUID(ask.path["id"])
    except ValueError:
        raise NotFound("Not Found") from None
    wanted = ask.read(Renew) if ask.body else Renew()
    if (await ask.web.store.do(limits.renew(lease, round(wanted.lease_duration * 1e6)))).verdict == "gone":
        raise Gone("Lease not found - it may have expired or been revoked")
    return Reply(status=204)


@on(routes, "GET", "/api/v2/concurrency_limits/{id}", "read")
async def read_limit(ask: Question) -> Reply:
    """A limit, by id or name."""
    return say(await ask.web.store.run(_shown(await ask.web.store.run(_known(ask.path["id"])))))


@on(routes, "PATCH", "/api/v2/concurrency_limits/{id}", "run")
async def change_limit(ask: Question) -> Reply:
    """Change a limit that was made through an API."""
    wanted = ask.read(LimitChange)
    if wanted.slot_decay_per_second:
        raise invalid("body.slot_decay_per_second", "must be 0: slots that decay are not kept here")
    limit = await ask.web.store.run(_known(ask.path["id"]))
    if not limit.about:
        raise Conflict(f"limit {limit.name} is the task file's; change it there")
    about = _about(limit.about)
    if wanted.name is not None and wanted.name != limit.name:
        raise invalid("body.name", "cannot be changed; make another limit")
    most = about.max if wanted.limit is None else wanted.limit
    await ask.web.store.run(_put(limit.name, most, about.active if wanted.active is None else wanted.active))
    return Reply(status=204)


@on(routes, "DELETE", "/api/v2/concurrency_limits/{id}", "run")
async def delete_limit(ask: Question) -> Reply:
    """Take away a limit that was made through an API."""
    limit = await ask.web.store.run(_known(ask.path["id"]))
    await ask.web.store.run(_remove(limit.name))
    return Reply(status=204)


def _put(name: str, most: int, active: bool) -> Operation[tuple[Limit, bool]]:
    known = yield from limits.one_limit(name)
    now_us = _now_us()
    if known is not None and not known.about:
        raise Conflict(f"limit {name} is the task file's; change it there")
    before = _about(known.about) if known is not None else About(ids.new_id(now_us), now_us, now_us, most)
    about = _encode(msgspec.structs.replace(before, updated_us=now_us, max=most, active=active))
    yield limits.put(name, most if active else None, about)
    return Limit(name, most if active else None, about), known is None


def _remove(name: str) -> Operation[None]:
    if not (yield limits.remove(name)):
        known = yield from limits.one_limit(name)
        if known is not None:
            raise Conflict(f"limit {name} is the task file's; change it there")
        raise NotFound("Concurrency limit not found")


def _known(ref: str, *, by_tag: bool = False) -> Operation[Limit]:
    """The limit of that name or id. Raises NotFound."""
    found = yield from limits.one_limit(ref)
    if found is not None and not by_tag:
        return found
    for one in (yield from limits.all_limits()):
        if str(_about_of(one).id) == ref.lower() and (one.name.startswith("tag:") or not by_tag):
            return one
    raise NotFound("Concurrency limit not found")


def _about_of(limit: Limit) -> About:
    """What is known of it; of the task file's only what follows from its name."""
    if limit.about:
        return _about(limit.about)
    return About(ids.named_id(UUID(int=0), f"limit {limit.name}", 0), 0, 0, limit.max or 0)


def _shown_tag(limit: Limit) -> Operation[dict[str, Any]]:
    about, held = _about_of(limit), (yield from limits.holders(limit.name))
    of_leases = [holder.id for holder in _task_runs(held.leases)]
    return {
        "id": about.id,
        "created": to_datetime(about.created_us),
        "updated": to_datetime(about.updated_us),
        "tag": limit.name.removeprefix("tag:"),
        "concurrency_limit": about.max,
        "active_slots": [*held.runs, *of_leases],
    }


def _shown(limit: Limit) -> Operation[dict[str, Any]]:
    about, held = _about_of(limit), (yield from limits.holders(limit.name))
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


def _task_runs(leases: list[bytes]) -> list[Holder]:
    held = [msgspec.json.decode(one, type=Holder | None) for one in leases]
    return [holder for holder in held if holder is not None and holder.type == "task_run"]


def _raise_if_refused(taken: Taken) -> None:
    if taken.verdict == "few":
        raise NotPossible("Slots requested is greater than the limit")
    if taken.verdict == "full":
        held_s = (_now_us() - taken.since_us) / 1e6 if taken.since_us else 1.0
        wait_s = jittered(min(max(held_s, 0.5), LONGEST_WAIT_S), 0.3, random.random)
        raise Locked(f"no slot of {taken.limit} is free", wait_s)


async def _taken_of(ask: Question, wanted: Take) -> list[dict[str, Any]]:
    known = {one.name: one for one in await ask.web.store.run(limits.all_limits())}
    found = [known[name] for name in dict.fromkeys(wanted.names) if name in known]
    return [{"id": _about_of(one).id, "name": one.name, "limit": _about_of(one).max} for one in found]


def _part(found: list[Limit], part: Part) -> list[Limit]:
    offset = part.offset or 0
    return found[offset : offset + (200 if part.limit is None else part.limit)]


def _now_us() -> int:
    return time.time_ns() // 1000
