"""Wake-ups: Dramatiq messages without content that make a worker look at a queue."""

import time
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import msgspec

from shared.store.redis.call import Argument, Call, nothing
from shared.store.redis.decoding import pairs_of
from shared.store.redis.scripts import script

ACTOR: Final = "look"
"""The name of the one actor."""

MOST: Final = 64
"""Wake-ups that a queue may have at once; more would wake no further worker."""

AT_ONCE: Final = 16
"""Most wake-ups that are sent at once; a worker that gets one and sees more runs wakes others."""


async def wake_queues(queues: Mapping[str, int]) -> None:
    """
    Wake workers of *queues*, each for its number of waiting runs; makes no call without any. A lost wake-up costs the
    time until the scheduler sends it again, a spare one nothing.
    """
    if not queues:
        return
    args: list[Argument] = ["", MOST]
    for queue, waiting in queues.items():
        for message_id, message in messages(queue, waiting):
            args += [queue, message_id, message]
    await Call(script("wake_queues"), tuple(args), nothing)


def read_ready(reply: list[Any]) -> dict[str, int]:
    """The queues whose workers a script says to wake, and for how many runs each."""
    return pairs_of(reply)


def messages(queue: str, waiting: int) -> list[tuple[str, str]]:
    """Wake-ups for so many runs of one queue, as (id, message), at most ``AT_ONCE``; not sent yet."""
    ids = [str(uuid4()) for _ in range(min(waiting, AT_ONCE))]
    return [(message_id, _message(queue, message_id)) for message_id in ids]


def _message(queue: str, message_id: str) -> str:
    """A message in Dramatiq's own format, so that processes which send one need not import Dramatiq."""
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
