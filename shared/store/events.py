"""The stream of what happened: read by dashboards and whoever waits for an execution to be over."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from shared.store.call import Call, Key


class Event(msgspec.Struct, frozen=True):
    """
    One thing that happened. ``id`` is the stream's (``<ms>-<n>``), ``at_us`` its stored time to the millisecond.

    ``data``: the end reason of ``run.ended``, the worker of ``run.started`` and ``worker.*``, the number of replicas of
    ``run.created``, the definition hash of ``task.changed``, otherwise "". The stream keeps about the last 10 000.
    """

    id: str
    type: str
    at_us: int
    task: str
    run_id: UUID | None
    execution_id: UUID | None
    data: str


def events_after(after_id: str, limit: int) -> Call[list[Event]]:
    """At most *limit* events after *after_id*, oldest first."""
    return Call("XRANGE", (Key("events"), f"({after_id}", "+", "COUNT", limit), _read)


def recent_id() -> Call[str]:
    """The id of the newest event, ``0-0`` when there is none."""
    return Call(
        "XREVRANGE", (Key("events"), "+", "-", "COUNT", 1), lambda reply: reply[0][0].decode() if reply else "0-0"
    )


def oldest_id() -> Call[str]:
    """The id of the oldest event still kept, ``0-0`` when there is none."""
    return Call("XRANGE", (Key("events"), "-", "+", "COUNT", 1), lambda reply: reply[0][0].decode() if reply else "0-0")


def _read(reply: Any) -> list[Event]:
    events = []
    for entry_id, fields in reply:
        text = entry_id.decode()
        values = dict(zip(fields[::2], fields[1::2], strict=True))
        run, execution = values[b"run"], values[b"execution"]
        events.append(
            Event(
                id=text,
                type=values[b"type"].decode(),
                at_us=int(text.partition("-")[0]) * 1000,
                task=values[b"task"].decode(),
                run_id=UUID(bytes=run) if run else None,
                execution_id=UUID(bytes=execution) if execution else None,
                data=values[b"data"].decode(),
            )
        )
    return events
