"""The stream of the fleet's events."""

from collections.abc import AsyncGenerator
from typing import Any, Final

from api.http.event_tail import place_of
from api.http.request import Request
from api.http.router import Media, Routes
from api.http.streams import COMMENT, KEEPALIVE_S, Stream, sse
from api.native.parameters import EventsQuery, ResumeEventsHeaders
from shared.clock import rfc3339
from shared.store import events

routes = Routes("Events")

AT_ONCE: Final = 200
"""Events sent in one piece, so that a reader who does not read holds little."""


@routes.get(
    "/api/events/stream",
    summary="Follow events",
    answers={200: Media("text/event-stream", "One event for each thing that happened; its name is the event's type")},
    errors=(503,),
)
async def follow_events(request: Request, query: EventsQuery, headers: ResumeEventsHeaders) -> Stream:
    """
    Server-sent events about runs, tasks, workers and queues, from now on. A client that reconnects with `Last-Event-ID`
    gets the events that it missed; if some of them are no longer kept, the first event is `dropped`.
    """
    last_id = headers.last_event_id if isinstance(headers.last_event_id, str) else ""
    return Stream(request.state, request.connection, _follow(request, query, last_id))


async def _follow(request: Request, query: EventsQuery, last_id: str) -> AsyncGenerator[bytes]:
    tail = request.state.tail
    async with tail.following() as newest:
        if last_id:
            oldest = await request.store.run(events.oldest_id())
            if oldest and place_of(last_id) < place_of(oldest):
                yield sse("dropped", {"after": last_id, "oldest": oldest})
        position = last_id or newest
        # The first comment carries the position, so that a client that has received no event yet can resume as well.
        yield f"id: {position}\n: from here\n\n".encode()
        while True:
            found = (await tail.after(position, KEEPALIVE_S))[:AT_ONCE]
            if found:
                position = found[-1].id
            chunk = b"".join(
                sse(event.type, _wire(event), event.id) for event in found if _is_wanted(request, query, event)
            )
            yield chunk or COMMENT


def _is_wanted(request: Request, query: EventsQuery, event: events.Event) -> bool:
    if query.task and event.task not in query.task:
        return False
    # Events without a task are about the fleet, and so are hidden from a token for some tasks.
    if request.grant.tasks and not (event.task and request.grant.covers(event.task)):
        return False
    return not query.types or event.type in query.types


def _wire(event: events.Event) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": event.type, "at": rfc3339(event.at_us)}
    if event.task:
        shown["task"] = event.task
    if event.run_id is not None:
        shown["run_id"] = event.run_id
    if event.execution_id is not None:
        shown["execution_id"] = event.execution_id
    if event.data:
        shown["data"] = event.data
    return shown
