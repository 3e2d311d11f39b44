"""The event stream of an environment: one line of JSON per event of its tasks and their executions."""

from collections.abc import AsyncGenerator
from typing import Final
from uuid import UUID

import msgspec
from litestar.types import ASGIApp

from api.dialects.ona.catalog import Known, by_names
from api.dialects.ona.codec import from_plain
from api.dialects.ona.connect_rpc import Calls
from api.dialects.ona.errors import EVENTS
from api.dialects.ona.wire import Uuid
from api.http.problems import WrongMediaType
from api.http.request import Request
from api.http.streams import KEEPALIVE_S, Stream
from shared.store.events import Event

routes = Calls()

_OPERATIONS: Final = {
    "run.started": "UPDATE_STATUS",
    "run.given_back": "UPDATE_STATUS",
    "run.ended": "UPDATE_STATUS",
    "run.stop_requested": "UPDATE_STATUS",
    "execution.ended": "UPDATE_STATUS",
    "task.changed": "UPDATE",
}
"""Ona's operation for an event; an execution's first run is its creation."""

PIECE: Final = 64
"""
The vendor's client takes so many bytes at a time: of a line of another length it would see the end with the next one
only.
"""

_encode = msgspec.json.Encoder().encode


class Watch(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The environment to watch. Events of an organization, which are not about tasks, are not supported."""

    environment_id: Uuid


@routes.post(EVENTS + "WatchEvents", scope="read")
async def watch_events(request: Request) -> ASGIApp:
    """Stream events until the client disconnects. The binary encoding of streams is not supported."""
    if request.header("content-type").lower().partition(";")[0].strip() != "application/json":
        raise WrongMediaType("send the request as application/json; events come as application/jsonl")
    given = request.json()
    if isinstance(given, dict) and "environmentId" not in given and "environment_id" in given:
        given["environmentId"] = given.pop("environment_id")
    watch = from_plain(Watch, given)
    return Stream(
        request.state, request.connection, _lines(request, UUID(watch.environment_id)), media=b"application/jsonl"
    )


async def _lines(request: Request, environment: UUID) -> AsyncGenerator[bytes]:
    async with request.state.tail.following() as position:
        while True:
            events = await request.state.tail.after(position, KEEPALIVE_S)
            if events:
                position = events[-1].id
            names = {event.task for event in events if event.task and request.grant.covers(event.task)}
            known = await request.store.run(by_names(names))
            lines = [
                line
                for event in events
                if event.task in known
                and known[event.task].environment == environment
                and (line := _line(event, known[event.task]))
            ]
            if lines:
                yield b"".join(lines)


def _line(event: Event, known: Known) -> bytes:
    """The event in Ona's format; b"" for a kind that Ona does not have."""
    operation = _OPERATIONS.get(event.type, "")
    if event.type == "run.created":
        operation = "CREATE" if event.run_id == event.execution_id else "UPDATE_STATUS"
    if not operation:
        return b""
    is_task = event.execution_id is None
    shown = {
        "operation": f"RESOURCE_OPERATION_{operation}",
        "resourceType": "RESOURCE_TYPE_TASK" if is_task else "RESOURCE_TYPE_TASK_EXECUTION",
        "resourceId": str(known.id if is_task else event.execution_id),
    }
    line = _encode(shown)
    return line + b" " * (-(len(line) + 1) % PIECE) + b"\n"
