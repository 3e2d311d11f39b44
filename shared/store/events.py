"""The event stream: read by dashboards, and by requests that wait for the end of an execution."""

from typing import Any, Final
from uuid import UUID

import msgspec

from shared.store.redis.call import Call, Key

TYPES: Final[dict[str, str]] = {
    "run.created": "The runs of an execution, or a retry, were created; `data` is how many.",
    "run.started": "A worker claimed a run; `data` names it.",
    "run.given_back": "A worker that could not start a run, or is draining, returned it: the run is pending again.",
    "run.ended": "A run ended; `data` is its end reason.",
    "run.stop_requested": "A running run was asked to stop.",
    "run.restored": "A running run was restored after Redis had been wiped.",
    "run.deleted": "A client deleted an ended run. Retention sends no event.",
    "execution.ended": "The last run of an execution ended.",
    "task.changed": "A task was added or redefined; `data` is the hash of its definition.",
    "task.removed": "A task was removed from the catalog; its history stays.",
    "task.paused": "A task's schedule was paused.",
    "task.resumed": "A task's schedule was resumed.",
    "queue.paused": "A queue was paused: workers claim no runs from it; `data` names it.",
    "queue.resumed": "A queue was resumed; `data` names it.",
    "worker.joined": "A worker process registered; `data` names it.",
    "worker.drain": "A worker process was asked to drain; `data` names it.",
    "worker.left": "A worker process left, or sent no heartbeat for a minute; `data` names it.",
}
"""Every type of event, and its meaning."""


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
    """An entry that another release wrote differently is read as far as it can be: readers must get past it."""
    events = []
    for entry_id, fields in reply:
        text = entry_id.decode()
        values = dict(zip(fields[::2], fields[1::2], strict=False))
        events.append(
            Event(
                id=text,
                type=values.get(b"type", b"").decode(errors="replace"),
                at_us=int(text.partition("-")[0]) * 1000,
                task=values.get(b"task", b"").decode(errors="replace"),
                run_id=_id(values.get(b"run", b"")),
                execution_id=_id(values.get(b"execution", b"")),
                data=values.get(b"data", b"").decode(errors="replace"),
            )
        )
    return events


def _id(value: bytes) -> UUID | None:
    return UUID(bytes=value) if len(value) == 16 else None
