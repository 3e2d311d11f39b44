"""Seeded faults of what scripts do with a key that somebody else wrote to; see ``mutation.py``."""

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.store import test_overwritten_keys as scenes
from tests.store.mutation import Mutant


def _lost(scene: Callable[..., Any], key: str) -> Callable[..., Any]:
    return partial(scenes.test_nothing_is_lost, scene=scene, key=key)


MUTANTS_OF_OVERWRITTEN_KEYS = [
    Mutant(
        "a run that cannot be claimed is lost from its queue",
        "lib/claim",
        "redis.call('ZADD', waiting, first[2], id)",
        "",
        _lost(scenes.claiming, "leases"),
    ),
    Mutant(
        "an end that claims nothing is no end",
        "end",
        "local sound, claimed = pcall(claim_next, wanted)",
        "local sound, claimed = true, claim_next(wanted)",
        scenes.test_an_end_stands_although_nothing_can_be_claimed_with_it,
    ),
    Mutant(
        "an event that is lost stops a script half-way",
        "lib/events",
        "redis.pcall('XADD'",
        "redis.call('XADD'",
        _lost(scenes.giving_back, "events"),
    ),
    Mutant(
        "a tick is done before its run can be made",
        "create",
        "-- These commands fail when a key that all runs share",
        "if o.tick_us > 0 then redis.call('HSET', P .. ':ticks', task, text(o.tick_us)) end\n-- These commands",
        _lost(scenes.firing, "executions:all"),
    ),
    Mutant(
        "an end comes before the retry it owes can be made",
        "end",
        "  local prepared = packed_retry",
        "  redis.call('ZREM', P .. ':leases', id)\n  local prepared = packed_retry",
        _lost(scenes.ending_with_a_retry, "numbers"),
    ),
]
