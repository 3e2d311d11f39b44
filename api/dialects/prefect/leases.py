"""Leases of concurrency-limit slots: acquire, renew, release."""

import random
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec

from api.dialects.prefect.errors import DIALECT, Locked
from api.dialects.prefect.holders import Holder, holder_in
from api.dialects.prefect.limits import MAX_NAME, about_of, own_limits
from api.dialects.prefect.orchestration import jittered
from api.dialects.prefect.parameters import now_us, uuid_in
from api.http.auth import Grant
from api.http.request import Request
from api.http.response import Response, json_response
from api.http.router import Routes
from shared import ids
from shared.errors import Forbidden, RunfleetError
from shared.store import limits
from shared.store.limits import Taken

routes = Routes(dialect=DIALECT)

Slots = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
LeaseSeconds = Annotated[float, msgspec.Meta(ge=60, le=86400)]

LONGEST_WAIT_S: Final = 30
"""The longest wait for slots by name that is sent to a client."""


class HolderBody(msgspec.Struct):
    """The holder of a lease, as its client names it."""

    type: Literal["flow_run", "task_run", "deployment"]
    id: UUID


class AcquireSlots(msgspec.Struct):
    """``increment`` and ``increment-with-lease``."""

    slots: Slots
    names: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=MAX_NAME)]], msgspec.Meta(min_length=1, max_length=1000)
    ]
    mode: Literal["concurrency", "rate_limit"] = "concurrency"
    lease_duration: LeaseSeconds = 300
    holder: HolderBody | None = None


class ReleaseSlots(msgspec.Struct):
    """``decrement-with-lease``."""

    lease_id: UUID


class Renew(msgspec.Struct):
    """``leases/{id}/renew``."""

    lease_duration: LeaseSeconds = 300


class Gone(RunfleetError):
    """The lease has expired."""

    status = 410
    title = "Gone"


class NotPossible(RunfleetError):
    """A request that can never succeed."""

    status = 422
    title = "Unprocessable Entity"


_encode = msgspec.json.Encoder().encode


@routes.post("/api/v2/concurrency_limits/increment-with-lease")
async def acquire_slots(request: Request) -> Response:
    """
    Acquire slots under a lease: 423 while none is free. A limit that does not exist is never full.

    A token for some tasks may acquire slots of limits that its tasks name, and of tag limits, which any run may have.
    """
    wanted = request.read(AcquireSlots)
    await _require_own(request, wanted)
    if wanted.mode == "rate_limit":
        raise NotPossible("Only concurrency limits with slot decay can be used for rate limiting; none has it here")
    lease = ids.new_id(now_us())
    names = list(dict.fromkeys(wanted.names))
    lasts_us, holder = round(wanted.lease_duration * 1e6), _encode(_holder_of(wanted.holder, request.grant))
    taken = await request.store.run(limits.take(lease, names, wanted.slots, lasts_us, holder))
    _raise_if_refused(taken)
    return json_response({"lease_id": lease, "limits": await _taken_of(request, wanted)})


@routes.post("/api/v2/concurrency_limits/decrement-with-lease")
async def release_slots(request: Request) -> Response:
    """Release a lease's slots; no effect on an expired lease."""
    lease = request.read(ReleaseSlots).lease_id
    if await _is_own(request, lease):
        await request.store.run(limits.give(lease))
    return Response(status=204)


@routes.post("/api/v2/concurrency_limits/leases/{id}/renew")
async def renew_lease(request: Request) -> Response:
    """Renew a lease: 410 when it has expired, or was acquired with a token for other tasks."""
    lease = uuid_in(request)
    wanted = request.read(Renew) if request.body else Renew()
    lasts_us = round(wanted.lease_duration * 1e6)
    if not await _is_own(request, lease) or (await request.store.run(limits.renew(lease, lasts_us))).verdict == "gone":
        raise Gone("Lease not found - it may have expired or been revoked")
    return Response(status=204)


def _raise_if_refused(taken: Taken) -> None:
    if taken.verdict == "exceeds_limit":
        raise NotPossible("Slots requested is greater than the limit")
    if taken.verdict == "full":
        held_s = (now_us() - taken.since_us) / 1e6 if taken.since_us else 1.0
        wait_s = jittered(min(max(held_s, 0.5), LONGEST_WAIT_S), 0.3, random.random)
        raise Locked(f"no slot of {taken.limit} is free", wait_s)


def _holder_of(body: HolderBody | None, grant: Grant) -> Holder | None:
    """The holder to store with a lease, and the tasks of its token."""
    if body is None:
        return Holder(tasks=grant.tasks) if grant.tasks else None
    return Holder(body.type, body.id, grant.tasks)


async def _is_own(request: Request, lease: UUID) -> bool:
    """Whether a lease was acquired with a token for the same tasks, or the token is for all."""
    if not request.grant.tasks:
        return True
    raw = await request.store.run(limits.holder(lease))
    holder = None if raw is None else holder_in(raw)
    return holder is not None and holder.tasks == request.grant.tasks


async def _require_own(request: Request, wanted: AcquireSlots) -> None:
    """
    Raises Forbidden for limits, existing or not, that none of the token's tasks name.

    The holder is any text that the client sends, so it is not looked up.
    """
    own = await own_limits(request)
    if own is None:
        return
    others = [name for name in wanted.names if name not in own and not name.startswith("tag:")]
    if others:
        raise Forbidden(f"limit {others[0]} is not named by a task that {request.grant.who} is for")


async def _taken_of(request: Request, wanted: AcquireSlots) -> list[dict[str, Any]]:
    known = {one.name: one for one in await request.store.run(limits.all_limits())}
    found = [known[name] for name in dict.fromkeys(wanted.names) if name in known]
    return [{"id": about_of(one).id, "name": one.name, "limit": about_of(one).max} for one in found]
