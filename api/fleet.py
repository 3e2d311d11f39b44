"""The fleet at a glance."""

from __future__ import annotations

from api.bodies import FleetModel, RedisFacts
from api.endpoint import Ask, Routes
from api.reply import Reply
from shared.store import fleet

routes = Routes("Fleet")


@routes.get("/api/fleet", summary="Read the fleet", answers={200: FleetModel})
async def read_fleet(ask: Ask) -> Reply:
    """Who schedules, how late it is, what Redis says of itself, and how much waits and runs."""
    found = await ask.web.store.run(fleet.facts())
    redis = found.redis
    return ask.answer(
        FleetModel(
            leader=found.leader,
            standbys=found.standbys,
            scheduler_lag_ms=found.scheduler_lag_ms,
            redis=RedisFacts(
                version=redis.version,
                memory_bytes=redis.memory_bytes,
                max_memory_bytes=redis.max_memory_bytes,
                eviction_policy=redis.eviction_policy,
                persistence=redis.persistence,
                connections=redis.connections,
            ),
            counts=found.counts,
        )
    )
