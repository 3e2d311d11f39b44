"""The store's side of a wake-up: a Dramatiq message that says "look at queue q" and nothing else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final
from uuid import uuid4

import msgspec

from shared.store.redis.call import Argument, Call, nothing
from shared.store.redis.scripts import script

ACTOR: Final = "look"
"""The name of the one actor."""

MOST: Final = 64
"""Wake-ups that a queue may have at once; more would wake nobody who is not awake."""

AT_ONCE: Final = 16
"""Wake-ups that one occasion sends at most; whoever gets one and sees more runs wakes others."""


def ring(queues: Mapping[str, int]) -> Call[None]:
    """
    Wake the workers of *queues*, each for its number of waiting runs. A lost wake-up costs one reconcile interval, a
    spare one nothing.
    """
    args: list[Argument] = ["", MOST]
    for queue, waiting in queues.items():
        for message_id, message in messages(queue, waiting):
            args += [queue, message_id, message]
    return Call(script("wake_queues"), tuple(args), nothing)


def messages(queue: str, waiting: int) -> list[tuple[str, str]]:
    """Wake-ups for so many runs of one queue, as (id, message), at most ``AT_ONCE``; not sent yet."""
    ids = [str(uuid4()) for _ in range(min(waiting, AT_ONCE))]
    return [(message_id, _message(queue, message_id)) for message_id in ids]


def _message(queue: str, message_id: str) -> str:
    """A message in Dramatiq's own format, so that the processes that ring need not import Dramatiq."""
    return msgspec.json.encode(
        {
            "queue_name": queue,
            "actor_name": ACTOR,
            "args": [],
            "kwargs": {},
            "options": {"redis_message_id": message_id},
            "message_id": message_id,
            "message_timestamp": time.time_ns() // 1_000_000,
        }
    ).decode()
