"""The fleet at a glance."""

from typing import TypeVar

import msgspec
from msgspec import UNSET

from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from api.native.fleet_responses import FleetModel, RedisFacts, SchedulesModel, WrongKeyModel
from shared.store import fleet, scoped_fleet

routes = Routes("Fleet")

T = TypeVar("T", bound=msgspec.Struct)


@routes.get("/api/fleet", summary="Read the fleet", answers={200: FleetModel})
async def read_fleet(request: Request) -> Response:
    """
    The leading scheduler and its lag, schedules that do not fire, facts about Redis, how many runs wait and for how
    long, and running runs. A token for some tasks sees the counts of these tasks only, and nothing of Redis.
    """
    found = await request.store.run(scoped_fleet.facts(request.grant.covers) if request.grant.tasks else fleet.facts())
    return request.answer(
        FleetModel(
            leader=found.leader,
            standbys=found.standbys,
            scheduler_lag_ms=found.scheduler_lag_ms,
            schedules=UNSET if found.health is None else _as(SchedulesModel, found.health),
            oldest_waiting_ms=found.oldest_waiting_ms,
            redis=UNSET if found.redis is None else _as(RedisFacts, found.redis),
            wrong_keys=[_as(WrongKeyModel, one) for one in found.wrong_keys] or UNSET,
            counts=found.counts,
        )
    )


def _as(kind: type[T], found: object) -> T:
    return msgspec.convert(found, kind, from_attributes=True)
