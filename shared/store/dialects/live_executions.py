"""Live executions, found by their live runs, however many others there are."""

from typing import Any, Final
from uuid import UUID

from shared.store.records import decode_record
from shared.store.redis.call import Call, Key, RawKey, optional_strings
from shared.store.redis.scripts import script

MOST: Final = 5000
"""Live runs that are looked at. With more of them a list of all executions comes to live ones soon enough."""

_STEP: Final = 500


async def places() -> list[tuple[int, UUID]] | None:
    """When each was made, and its id, the newest first. None when more than ``MOST`` runs are not over."""
    runs = await Call(script("live_runs"), (MOST,), _runs)
    if runs is None:
        return None
    found: dict[UUID, int] = {}
    for step in range(0, len(runs), _STEP):
        some = runs[step : step + _STEP]
        values = await Call("MGET", tuple(RawKey(b"run:" + run) for run in some), optional_strings)
        ids = [_execution(run, value) for run, value in zip(some, values, strict=True) if value]
        if ids:
            scores = await Call("ZMSCORE", (Key("executions:all"), *(one.bytes for one in ids)), optional_strings)
            found |= {one: int(float(score)) for one, score in zip(ids, scores, strict=True) if score is not None}
    return sorted(((created_us, one) for one, created_us in found.items()), reverse=True)


def _runs(reply: Any) -> list[bytes] | None:
    runs: list[bytes] | None = reply
    return runs


def _execution(run: bytes, value: Any) -> UUID:
    execution = decode_record(value).execution
    return UUID(execution) if execution else UUID(bytes=run)
