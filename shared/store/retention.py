"""Retention: deletes ended runs with their logs, by number and age or one by one."""

from typing import Any

import msgspec

from shared.errors import Conflict, NotFound
from shared.runs import Run
from shared.store.redis.call import NOW, Call
from shared.store.redis.scripts import script


class Pruned(msgspec.Struct, frozen=True):
    """How many ``runs`` were deleted, and the number to continue after; None when that was all."""

    runs: int
    after_number: int | None


def prune(
    task: str, keep_runs: int, keep_us: int, batch: int = 50, after_number: int = 0, now: int | str = NOW
) -> Call[Pruned]:
    """
    Delete the oldest ended runs of a task beyond both bounds, of at most *batch* with a number above *after_number*.

    A run that a live execution still needs stays, and takes no other's place.
    """
    args = (now, task, keep_runs, keep_us, batch, b"", after_number)
    return Call(script("prune"), args, lambda reply: Pruned(reply[0], int(reply[1]) if reply[1] else None))


def delete(run: Run, now: int | str = NOW) -> Call[None]:
    """Delete one ended run with its log. Raises NotFound, and Conflict when it or what needs it is live."""

    def read(reply: Any) -> None:
        if reply == 0:
            raise NotFound(f"there is no run {run.id}")
        if reply == -1:
            raise Conflict(f"run {run.id} is {run.status}; stop it before deleting it")
        if reply == -2:
            raise Conflict(
                f"run {run.id} is still needed by its execution {run.execution_id}, or one that goes on from that; "
                "wait for the end of it, or stop it, before deleting the run"
            )

    return Call(script("prune"), (now, run.task_name, 0, 0, 1, run.id.bytes, 0), read)
