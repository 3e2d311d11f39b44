"""The limits, the queue and the worker that a pending run waits for."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from shared.store.redis.call import NOW, Call
from shared.store.redis.scripts import script


class Gate(msgspec.Struct, frozen=True):
    """
    A limit that the run's execution waits at: ``task:<name>`` for a task's ``max_concurrent``, else ``shared:<name>``.

    ``most`` is None for a limit that was taken away; ``place`` counts from 1, 0 is unknown. ``run`` is one that holds
    it, None when a lease or an external run does, then ``since_us`` is since when (0: unknown).
    """

    name: str
    held: int
    most: int | None
    place: int
    run: UUID | None
    since_us: int


class Waiting(msgspec.Struct, frozen=True):
    """``ahead`` counts the runs before it in its queue; None when it is in none."""

    is_paused: bool
    ahead: int | None
    is_external: bool
    gates: Sequence[Gate]


def waiting(run_id: UUID, now: int | str = NOW) -> Call[Waiting]:
    """Why a pending run waits. One that is gone, or waits no more, waits for nothing."""
    return Call(script("why_waiting"), (now, run_id.bytes), _read)


def _read(reply: Any) -> Waiting:
    gates = [
        Gate(
            name=name.decode(),
            held=held,
            most=int(most) if most else None,
            place=place + 1 if place != b"" else 0,
            run=UUID(bytes=run) if run else None,
            since_us=int(float(since)) if since else 0,
        )
        for name, held, most, place, run, since in reply[4:]
    ]
    return Waiting(bool(reply[1]), reply[2] if reply[2] != b"" else None, bool(reply[3]), gates)
