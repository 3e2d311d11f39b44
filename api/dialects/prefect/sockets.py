"""
Prefect's three WebSockets: events in, events out, and the queue of background runs.

All begin alike: the client says who it is (``{"type": "auth", "token": …}``) and hears ``auth_success``. A run of the
queue is a consumer's until it has ended, or until the consumer has gone.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from api.auth import Grant
from api.bodies import Scope
from api.dialects.prefect import events, ledger, taskruns
from api.dialects.prefect.bodies import in_us, in_utc
from api.sockets import HANDSHAKE_S, NORMAL, Gone, Handler, Socket, read_token
from api.web import Web
from shared.clock import rfc3339
from shared.errors import Conflict, Forbidden, RunfleetError, StoreUnavailable, Unauthorized
from shared.store import driven
from shared.telemetry import get_logger

PROTOCOL: Final = "prefect"
VIOLATION: Final = 4001
"""The code for a message that was not to be sent at this point."""

QUEUE: Final = "/api/task_runs/subscriptions/scheduled"

ATTEND_S: Final = 2.0
"""How often a process says which consumers are connected with it."""

SETTLING_S: Final = 5.0
"""How long nothing is taken back after the process began, or lost Redis: consumers need as long to come back."""

LINGER_S: Final = 30.0
"""How long a process without consumers goes on looking for what others had."""

LOOK_S: Final = 2.0
"""How long a consumer waits for a bell before the queue is looked at anyway."""

AWAY_S: Final = 1.0
"""How long to wait before asking Redis again that did not answer."""

MOST_KEYS: Final = 1000
"""Tasks that one consumer may serve."""

AT_ONCE: Final = 200
"""Events that are looked up at once."""

_log = get_logger("api")


class _Subscribe(msgspec.Struct, tag_field="type", tag="subscribe"):
    keys: list[str] = []
    client_id: str | None = None


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


class _Said(msgspec.Struct):
    type: str = ""


class Consumers:
    """
    Those that serve background tasks and are connected with this process.

    It tells the store of them, and takes back what others had that have gone: from every process, because the one that
    a consumer was connected with may be gone too.
    """

    def __init__(self, web: Web) -> None:
        self._web = web
        self._store = web.store
        self._present: Counter[str] = Counter()
        self._gone: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._settled_s = 0.0

    def come(self, consumer: str) -> None:
        """A connection of *consumer* was made."""
        self._present[consumer] += 1
        self._gone.discard(consumer)
        if self._task is None or self._task.done():
            self._settled_s = time.monotonic() + SETTLING_S
            self._task = asyncio.create_task(self._attend())

    def leave(self, consumer: str) -> None:
        """A connection ended. If that was this process's doing, its consumer will come back."""
        self._present[consumer] -= 1
        if self._present[consumer] <= 0:
            del self._present[consumer]
            if not self._web.closing.is_set():
                self._gone.add(consumer)

    async def _attend(self) -> None:
        """Until the process stops, or there was no consumer for long."""
        until_s = time.monotonic() + LINGER_S
        while time.monotonic() < until_s:
            if self._present or self._gone:
                until_s = time.monotonic() + LINGER_S
            try:
                await self._look()
            except StoreUnavailable:
                self._settled_s = time.monotonic() + SETTLING_S
            except Exception:
                _log.exception("api.failed", error_id="", method="attend", path=QUEUE)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._web.closing.wait(), ATTEND_S)
                return

    async def _look(self) -> None:
        gone = list(self._gone)
        lost = await self._store.do(driven.attend(list(self._present), gone))
        self._gone.difference_update(gone)
        if time.monotonic() < self._settled_s:
            return
        for consumer, executions in lost:
            for execution in executions:
                await self._store.run(events.take_back(execution, consumer))


def handlers(web: Web) -> Mapping[str, Handler]:
    """The WebSockets by path."""
    consumers = Consumers(web)

    async def queue(socket: Socket) -> None:
        await serve_queue(socket, consumers)

    return {
        "/api/events/in": take_events,
        "/api/events/out": tell_events,
        QUEUE: queue,
    }


async def take_events(socket: Socket) -> None:
    """Write down what an engine tells, one event after the other: what comes faster waits in the network."""
    grant = await _greet(socket, "run")
    while True:
        event = events.read_event(await socket.receive())
        if event is not None:
            await _apply(socket.web, grant, event)


async def _apply(web: Web, grant: Grant, event: events.Event) -> None:
    """What was told must not be lost because Redis is away for a while; the client cannot be asked for it again."""
    while True:
        try:
            await web.store.run(events.apply(web.catalog, grant, event))
        except StoreUnavailable:
            if web.closing.is_set():
                raise
            await asyncio.sleep(AWAY_S)
        except (Forbidden, Conflict):
            return  # nothing that the client could do otherwise
        else:
            return


async def tell_events(socket: Socket) -> None:
    """Tell of task runs' states as they change, from the time that the client names."""
    grant = await _greet(socket, "read")
    wanted = _read(await _first(socket), _Filter)
    if wanted is None:
        await socket.close(1002, "Expected 'filter' message")
        return
    listener = asyncio.create_task(_drain(socket))
    try:
        teller = asyncio.create_task(_tell(socket, grant, wanted))
        done, _ = await asyncio.wait({listener, teller}, return_when=asyncio.FIRST_COMPLETED)
        teller.cancel()
        with suppress(asyncio.CancelledError, Gone):
            await teller
        for one in done:
            one.result()
    finally:
        listener.cancel()


async def _tell(socket: Socket, grant: Grant, wanted: _Filter) -> None:
    web, told = socket.web, dict[UUID, UUID]()
    async with web.tail.following() as newest:
        position = newest
        since = wanted.filter.occurred.since if wanted.filter.occurred else None
        if wanted.backfill and since is not None:
            position = f"{in_us(in_utc(since)) // 1000}-0"
        while True:
            try:
                found = (await web.tail.after(position, LOOK_S))[:AT_ONCE]
                runs = list(dict.fromkeys(one.execution_id for one in found if _is_about_a_run(one.type)))
                views = await web.store.run(taskruns.read_many([run for run in runs if run is not None]))
            except StoreUnavailable:
                await asyncio.sleep(AWAY_S)
                continue
            for view in views:
                if view is None or not grant.covers(view.latest.record.task) or not _is_wanted(view, wanted.filter):
                    continue
                if told.get(view.id) != view.current.state.id:
                    told[view.id] = view.current.state.id
                    await socket.send({"type": "event", "event": events.shown(view)})
            if found:
                position = found[-1].id
            while len(told) > 10_000:
                del told[next(iter(told))]


def _is_about_a_run(kind: str) -> bool:
    return kind in ("run.created", "run.started", "run.ended", "run.stop_requested")


def _is_wanted(view: ledger.View, wanted: _EventFilter) -> bool:
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


async def serve_queue(socket: Socket, consumers: Consumers) -> None:
    """Hand background runs to a consumer, each when it is due, one after the other as it takes them."""
    grant = await _greet(socket, "run")
    wanted = _read(await _first(socket), _Subscribe)
    if wanted is None:
        await socket.close(VIOLATION, "Protocol violation: expected 'subscribe' message")
        return
    if not wanted.keys or len(wanted.keys) > MOST_KEYS:
        await socket.close(VIOLATION, f"Protocol violation: expected 1 to {MOST_KEYS} 'keys' in subscribe message")
        return
    if not wanted.client_id or len(wanted.client_id) > 500:
        await socket.close(VIOLATION, "Protocol violation: expected 'client_id' in subscribe message")
        return
    tasks = [await _queue_of(socket.web, key) for key in dict.fromkeys(wanted.keys)]
    for task in tasks:
        grant.require_task(task)
    consumers.come(wanted.client_id)
    try:
        await _Queue(socket, wanted.client_id, wanted.keys, tasks).serve()
    finally:
        consumers.leave(wanted.client_id)


class _Queue:
    """One consumer's connection."""

    def __init__(self, socket: Socket, consumer: str, keys: list[str], tasks: list[str]) -> None:
        self._socket = socket
        self._store = socket.web.store
        self._consumer = consumer
        self._keys = keys
        self._tasks = tasks
        self._heard: asyncio.Task[bytes] | None = None

    async def serve(self) -> None:
        """Until the client leaves, or says something that it should not."""
        try:
            with self._store.hear_inbox(self._tasks) as ear:
                while True:
                    wait_s = await self._deliver()
                    if wait_s is None:
                        return
                    if wait_s > 0 and await self._hears_before(ear.wait(wait_s)):
                        await self._unasked()
                        return
        finally:
            if self._heard is not None:
                self._heard.cancel()

    async def _deliver(self) -> float | None:
        """Hand over what is due; how long there is nothing more, or None when that was the last."""
        about = {"identifier": self._consumer, "task_keys": self._keys, "timestamp": rfc3339(time.time_ns() // 1000)}
        try:
            found = await self._store.do(driven.deliver(self._consumer, msgspec.json.encode(about), self._tasks))
            if found.id is None:
                due_us = found.next_due_us
                return LOOK_S if due_us is None else min(LOOK_S, max(0.01, due_us / 1e6 - time.time()))
            view = await self._store.run(taskruns.read(found.id))
        except StoreUnavailable:
            return AWAY_S  # what was handed over unheard is taken back when this consumer has gone
        if view is None:
            return 0
        try:
            await self._socket.send(ledger.shown_task_run(view.id, view.facts, view.current, time.time_ns() // 1000))
            said = _read(await self._hear(), _Said)
        except Gone:
            await self._return(view.id)
            raise
        if said is not None and said.type == "ack":
            return 0
        await self._return(view.id)
        if said is not None and said.type == "quit":
            await self._socket.close(NORMAL)
        else:
            await self._socket.close(VIOLATION, "Protocol violation: expected 'ack' message")
        return None

    async def _return(self, run_id: UUID) -> None:
        with suppress(RunfleetError):  # if not now, then when this consumer has gone
            await self._store.run(events.take_back(run_id, self._consumer))

    async def _hears_before(self, waiting: Any) -> bool:
        """Whether the client said something before *waiting* was over."""
        if self._heard is None:
            self._heard = asyncio.create_task(self._socket.receive())
        other = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait({self._heard, other}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            other.cancel()
        return self._heard.done()

    async def _unasked(self) -> None:
        said = _read(await self._hear(), _Said)
        if said is not None and said.type == "quit":
            await self._socket.close(NORMAL)
        else:
            await self._socket.close(VIOLATION, "Protocol violation: nothing was sent that could be acknowledged")

    async def _hear(self) -> bytes:
        heard, self._heard = self._heard, None
        return await (heard or self._socket.receive())


async def _greet(socket: Socket, scope: Scope) -> Grant:
    """Let a client in that says who it is; one that does not speak the protocol says it in its request."""
    speaks = PROTOCOL in socket.subprotocols
    await socket.accept(PROTOCOL if speaks else None)
    if not speaks:
        grant = await socket.grant()
        grant.require(scope)
        return grant
    token = read_token(await _first(socket))
    grant = await socket.grant(token)
    grant.require(scope)
    await socket.send({"type": "auth_success"})
    return grant


async def _first(socket: Socket) -> bytes:
    """What the client says next, soon."""
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            return await socket.receive()
    except TimeoutError:
        raise Unauthorized(f"the client said nothing for {HANDSHAKE_S:g} s") from None


async def _drain(socket: Socket) -> None:
    """Read until the client leaves; it has nothing more to say."""
    while True:
        await socket.receive()


async def _queue_of(web: Web, key: str) -> str:
    """The task whose runs a consumer asks for by *key*."""
    entry = await web.store.run(taskruns.task_of(web.catalog, key, False))
    return entry.name


def _read(message: bytes, kind: type[Any]) -> Any:
    """The message as a *kind*, None when it is none."""
    try:
        return msgspec.json.decode(message, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
