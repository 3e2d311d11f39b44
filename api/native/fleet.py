"""The fleet at a glance."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from api.native.fleet_responses import FleetModel, RedisFacts, SchedulesModel, WrongKeyModel
from shared.store import fleet, scoped_fleet
from shared.store.health import Health

routes = Routes("Fleet")


@routes.get("/api/fleet", summary="Read the fleet", answers={200: FleetModel})
async def read_fleet(request: Request) -> Response:
    """
    The leading scheduler and its lag, schedules that do not fire, facts about Redis, and how much waits, for how long,
    and runs. A token for some tasks sees the counts of these, and nothing of Redis.
    """
    found = await request.store.run(scoped_fleet.facts(request.grant.covers) if request.grant.tasks else fleet.facts())
    return request.answer(
        FleetModel(
            leader=found.leader,
            standbys=found.standbys,
            scheduler_lag_ms=found.scheduler_lag_ms,
            schedules=UNSET if found.health is None else _schedules(found.health),
            oldest_waiting_ms=found.oldest_waiting_ms,
            redis=UNSET if found.redis is None else RedisFacts(**msgspec.structs.asdict(found.redis)),
            wrong_keys=[WrongKeyModel(**msgspec.structs.asdict(one)) for one in found.wrong_keys] or UNSET,
            counts=found.counts,
        )
    )


def _schedules(health: Health) -> SchedulesModel:
    return SchedulesModel(
        overdue=health.overdue,
        overdue_tasks=list(health.overdue_tasks),
        unreadable=health.unreadable,
        unreadable_tasks=list(health.unreadable_tasks),
        failing=dict(health.failing),
    )
