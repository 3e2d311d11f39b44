"""Holders of concurrency-limit slots, as stored with a lease."""

from collections.abc import Iterable
from typing import Literal
from uuid import UUID

import msgspec

from api.dialects.prefect.run_view import View
from shared.store import limits


class Holder(msgspec.Struct, omit_defaults=True):
    """The holder of a lease. ``tasks`` is the pattern of the token that acquired it ("": all tasks)."""

    type: Literal["flow_run", "task_run", "deployment", ""] = ""
    id: UUID | None = None
    tasks: str = ""


_decode = msgspec.json.Decoder(Holder | None).decode


def holder_in(raw: bytes) -> Holder | None:
    """The holder of a lease, from the JSON that is stored with it."""
    found: Holder | None = _decode(raw)
    return found


def task_runs(holders: Iterable[bytes]) -> list[Holder]:
    """The task runs among the holders of leases."""
    held = [holder_in(one) for one in holders]
    return [holder for holder in held if holder is not None and holder.type == "task_run"]


async def release_leases(view: View) -> None:
    """Release the tag-limit slots of a task run whose process is gone."""
    for tag in view.facts.tags:
        for lease, holder in (await limits.leases(f"tag:{tag}")).items():
            if any(one.id == view.id for one in task_runs([holder])):
                await limits.give(lease)
