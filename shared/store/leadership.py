"""Scheduler leadership, and the poll in which the leader reads all that it has to do."""

from typing import Any, Final
from uuid import UUID

import msgspec

from shared.settings import LEASE_MS
from shared.store.redis.call import NOW, Call, Key, optional_strings
from shared.store.redis.decoding import pairs_of, text_of, texts_of
from shared.store.redis.scripts import script

LEADERSHIP_US: Final = 3_500_000
"""How long a scheduler leads without another poll; a standby takes over within a second more."""

GAP_US: Final = 2_500_000
"""A time without contact from any process that counts as an outage, not as a crash."""


class Leadership(msgspec.Struct, frozen=True, kw_only=True):
    """The schedulers. ``leader`` is "" when none leads; ``lag_ms`` is the time since its last poll."""

    leader: str
    standbys: list[str]
    lag_ms: int


class Poll(msgspec.Struct, frozen=True, kw_only=True):
    """
    All that a scheduler learns in one poll. ``token`` 0: another one leads (``leader``), and the rest is empty, except
    for the ``store_id`` and ``reset_keys``.

    ``next_due_us`` None: no run is delayed. ``expired`` are running runs whose lease is over. The counts are of tasks
    whose history may need pruning, of logs that their worker left uncompressed, of executions with runs left to
    create (``incomplete``) and of those whose stop was left half-done (``stopping``). ``reset_keys`` held
    data of another program, and were reset; ``overwritten_keys`` still hold such data, and are skipped.
    """

    token: int
    leader: str
    now_us: int
    next_due_us: int | None = None
    catalog: int = 0
    waiting: dict[str, int] = {}
    expired: list[tuple[UUID, bytes]] = []
    prune_candidates: int = 0
    uncompacted: int = 0
    store_id: str = ""
    incomplete: int = 0
    stopping: int = 0
    reset_keys: list[str] = []
    overwritten_keys: list[str] = []


def poll(scheduler: str, batch: int = 100, health: bytes = b"", now: int | str = NOW) -> Call[Poll]:
    """
    Read all that a scheduler has to do, and take or keep the leadership if possible; a leader stores its *health*.
    """

    def read(reply: Any) -> Poll:
        token, leader = int(reply[0]), text_of(reply[1] or b"")
        if not token:
            return Poll(
                token=0,
                leader=leader,
                now_us=int(reply[2]),
                store_id=text_of(reply[3]),
                reset_keys=texts_of(reply[4]),
            )
        expired = zip(reply[6][::2], reply[6][1::2], strict=True)
        return Poll(
            token=token,
            leader=leader,
            now_us=int(reply[2]),
            next_due_us=int(float(reply[3])) if reply[3] else None,
            catalog=reply[4],
            waiting=pairs_of(reply[5]),
            expired=[(UUID(bytes=one), value) for one, value in expired if len(one) == 16],
            prune_candidates=reply[7],
            uncompacted=reply[8],
            store_id=text_of(reply[9]),
            incomplete=reply[10],
            stopping=reply[11],
            reset_keys=texts_of(reply[12]),
            overwritten_keys=texts_of(reply[13]),
        )

    limits_us = (LEADERSHIP_US, GAP_US, LEASE_MS * 1000)
    return Call(script("scheduler_poll"), (now, scheduler, *limits_us, batch, health), read)


def resign(scheduler: str) -> Call[bool]:
    """Hand the leadership over; whether this one had it."""
    return Call(script("resign_leadership"), (NOW, scheduler), bool)


async def schedulers(now_us: int) -> Leadership:
    """The leader at stored time *now_us*, and the standbys."""
    held = await Call("HMGET", (Key("leader"), "id", "until"), optional_strings)
    seen = await Call("ZRANGE", (Key("schedulers"), 0, -1), texts_of)
    # When it is further ahead than a poll sets it, Redis's clock went back since.
    name, until_us = held[0] or b"", int(held[1] or 0)
    leads = bool(name) and now_us < until_us <= now_us + LEADERSHIP_US
    leader = text_of(name) if leads else ""
    return Leadership(
        leader=leader,
        standbys=sorted(name for name in seen if name != leader),
        lag_ms=max(0, now_us - (until_us - LEADERSHIP_US)) // 1000 if leads else 0,
    )
