"""
Prefect's three WebSockets: events in, events out, and the queue of background runs (``serving``).

On each the client first authenticates (``{"type": "auth", "token": …}``) and gets ``auth_success``.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from api.dialects.prefect import events, run_view, task_runs
from api.dialects.prefect.bodies import in_us, in_utc
from api.dialects.prefect.task_queue import QUEUE, Consumers, read_as, serve_queue
from api.http.auth import Grant, Scope
from api.http.state import AppState
from api.http.streams import first_of
from api.http.websockets import HANDSHAKE_S, Handler, Socket, read_token
from shared.errors import RunfleetError, StoreUnavailable, Unserviceable

PROTOCOL: Final = "prefect"
POLL_S: Final = 2.0
"""How long to wait for a notification before polling."""

RETRY_S: Final = 1.0
"""How long to wait before asking Redis again that did not answer."""

AT_ONCE: Final = 200
"""Events that are read at once."""


class _Named(msgspec.Struct):
    name: list[str] | None = None
    prefix: list[str] | None = None
    exclude_name: list[str] | None = None
    exclude_prefix: list[str] | None = None


class _Since(msgspec.Struct):
    since: datetime | None = None


class _Resource(msgspec.Struct):
    id: list[str] | None = None
    id_prefix: list[str] | None = None


class _EventFilter(msgspec.Struct):
    event: _Named | None = None
    occurred: _Since | None = None
    resource: _Resource | None = None


class _Filter(msgspec.Struct, tag_field="type", tag="filter"):
    filter: _EventFilter
    backfill: bool = True


def handlers(state: AppState) -> Mapping[str, Handler]:
    """The WebSockets by path."""
    consumers = Consumers(state)

    async def queue(socket: Socket) -> None:
        grant = await _authenticate(socket, "run")
        await serve_queue(socket, grant, await _first(socket), consumers)

    return {
        "/api/events/in": receive_events,
        "/api/events/out": send_events,
        QUEUE: queue,
    }


async def receive_events(socket: Socket) -> None:
    """Store the events that an engine sends, one after another; faster ones wait in the network."""
    grant = await _authenticate(socket, "run")
    while True:
        event = events.read_event(await socket.receive())
        if event is not None:
            await _apply(socket.state, grant, event)


async def _apply(state: AppState, grant: Grant, event: events.Event) -> None:
    """Store one event, waiting while Redis is unavailable: the client would not send it again."""
    while True:
        try:
            await state.store.run(events.apply(state.catalog, grant, event))
        except StoreUnavailable:
            if state.closing.is_set():
                raise
            await asyncio.sleep(RETRY_S)
        except RunfleetError:
            return  # the client could not do better, and would only send it again
        else:
            return


async def send_events(socket: Socket) -> None:
    """Send the states of task runs as they change, from the time that the client requests."""
    grant = await _authenticate(socket, "read")
    wanted = read_as(await _first(socket), _Filter)
    if wanted is None:
        await socket.close(1002, "Expected 'filter' message")
        return
    sending = asyncio.create_task(_send_events(socket, grant, wanted))
    await first_of(_drain(socket), sending)
    if not sending.cancelled():
        sending.result()


async def _send_events(socket: Socket, grant: Grant, wanted: _Filter) -> None:
    state, reported = socket.state, dict[UUID, UUID]()
    async with state.tail.following() as newest:
        position = newest
        since = wanted.filter.occurred.since if wanted.filter.occurred else None
        if wanted.backfill and since is not None:
            position = f"{in_us(in_utc(since)) // 1000}-0"
        while True:
            try:
                found = (await state.tail.after(position, POLL_S))[:AT_ONCE]
                runs = list(dict.fromkeys(one.execution_id for one in found if _is_about_a_run(one.type)))
                views = await state.store.run(task_runs.read_many([run for run in runs if run is not None]))
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
                continue
            for view in views:
                if view is None or not grant.covers(view.latest.record.task) or not _is_wanted(view, wanted.filter):
                    continue
                if reported.get(view.id) != view.current.state.id:
                    reported[view.id] = view.current.state.id
                    await socket.send({"type": "event", "event": events.shown(view)})
            if found:
                position = found[-1].id
            while len(reported) > 10_000:
                del reported[next(iter(reported))]


def _is_about_a_run(kind: str) -> bool:
    return kind in ("run.created", "run.started", "run.given_back", "run.ended", "run.stop_requested")


def _is_wanted(view: run_view.View, wanted: _EventFilter) -> bool:
    names = events.names_of(view)
    named, resource = wanted.event or _Named(), wanted.resource or _Resource()
    run = f"{events.TASK_RUN}{view.id}"
    return (
        (named.name is None or not names.isdisjoint(named.name))
        and (named.prefix is None or any(name.startswith(prefix) for name in names for prefix in named.prefix))
        and (named.exclude_name is None or names.isdisjoint(named.exclude_name))
        and not any(name.startswith(prefix) for name in names for prefix in named.exclude_prefix or ())
        and (resource.id is None or run in resource.id)
        and (resource.id_prefix is None or any(run.startswith(prefix) for prefix in resource.id_prefix))
    )


async def _authenticate(socket: Socket, scope: Scope) -> Grant:
    """Authenticate a client by its first message; one without the subprotocol by its request."""
    speaks = PROTOCOL in socket.subprotocols
    await socket.accept(PROTOCOL if speaks else None)
    grant = await _grant(socket, read_token(await _first(socket)) if speaks else "")
    grant.require(scope)
    if speaks:
        await socket.send({"type": "auth_success"})
    return grant


async def _grant(socket: Socket, token: str) -> Grant:
    """
    The client's grant, waiting while Redis is unavailable: Prefect's engine treats a connection that ends before
    ``auth_success`` as a final refusal, and drops its events.
    """
    while True:
        try:
            return await socket.grant(token)
        except StoreUnavailable:
            if socket.state.closing.is_set():
                raise
            await asyncio.sleep(RETRY_S)


async def _first(socket: Socket) -> bytes:
    """The client's first message. Raises Unserviceable, so that a slow client reconnects, when it takes too long."""
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            return await socket.receive()
    except TimeoutError:
        raise Unserviceable(f"the client sent nothing for {HANDSHAKE_S:g} s") from None


async def _drain(socket: Socket) -> None:
    """Read and discard messages until the client disconnects."""
    while True:
        await socket.receive()
