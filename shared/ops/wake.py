"""Wakes the workers of queues in which something became ready."""

from __future__ import annotations

from collections.abc import Mapping

from shared.store import wakeups


async def ring(ready: Mapping[str, int]) -> None:
    """Ring for queues that got something to do, and how many runs; a lost ring is made up for by the scheduler."""
    if ready:
        await wakeups.ring(ready)
