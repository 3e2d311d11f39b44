"""
The queue of background runs, and its consumers.

A run belongs to the consumer that received it until it ends, or until the consumer is gone: then it returns to the
queue.
"""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import msgspec

from api.dialects.prefect import events, run_view, task_runs
from api.http.auth import Grant
from api.http.state import AppState
from api.http.websockets import NORMAL, Gone, Socket
from shared.clock import rfc3339
from shared.errors import RunfleetError, StoreUnavailable
from shared.store.dialects import orchestrated
from shared.telemetry import get_logger

VIOLATION: Final = 4001
"""The close code for an unexpected message."""

QUEUE: Final = "/api/task_runs/subscriptions/scheduled"

HEARTBEAT_S: Final = 2.0
"""How often a process sends the heartbeats of its consumers."""

SETTLING_S: Final = 5.0
"""How long nothing is taken back after the process began, or lost Redis: consumers need as long to come back."""

LINGER_S: Final = 30.0
"""How long a process without consumers goes on looking for what others had."""

MAX_KEYS: Final = 1000
"""Tasks that one consumer may serve."""

POLL_S: Final = 2.0
"""How long a consumer waits for a message before the queue is looked at anyway."""

RETRY_S: Final = 1.0
"""How long to wait before asking Redis again that did not answer."""

_log = get_logger("api")


class _Subscribe(msgspec.Struct, tag_field="type", tag="subscribe"):
    keys: list[str] = []
    client_id: str | None = None


class _Message(msgspec.Struct):
    type: str = ""


class Consumers:
    """
    The consumers of background tasks that are connected to this process.

    Sends their heartbeats, and returns the runs of lost consumers of every process, because the process that a consumer
    was connected to may be gone too.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._store = state.store
        self._present: Counter[str] = Counter()
        self._gone: set[str] = set()
        self._slots: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._settled_s = 0.0

    def come(self, consumer: str, slot: str) -> None:
        """Register a connection of *consumer*; *slot* is the store's name for it."""
        self._present[consumer] += 1
        self._slots.add(slot)
        self._gone.discard(consumer)
        if self._task is None or self._task.done():
            self._settled_s = time.monotonic() + SETTLING_S
            self._task = asyncio.create_task(self._heartbeat())

    def leave(self, consumer: str, slot: str) -> None:
        """Unregister a connection. If this process closed it, its consumer will reconnect."""
        self._slots.discard(slot)
        self._present[consumer] -= 1
        if self._present[consumer] <= 0:
            del self._present[consumer]
            if not self._state.closing.is_set():
                self._gone.add(consumer)

    async def _heartbeat(self) -> None:
        """Send heartbeats until the process stops, or there was no consumer for long."""
        until_s = time.monotonic() + LINGER_S
        while time.monotonic() < until_s:
            if self._present or self._gone:
                until_s = time.monotonic() + LINGER_S
            try:
                await self._check()
            except StoreUnavailable:
                self._settled_s = time.monotonic() + SETTLING_S
            except Exception:
                _log.exception("api.failed", error_id="", method="heartbeat", path=QUEUE)
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._state.closing.wait()
                    return

    async def _check(self) -> None:
        gone = list(self._gone)
        lost = await self._store.run(orchestrated.consumer_heartbeat(list(self._present), gone, list(self._slots)))
        self._gone.difference_update(gone)
        if time.monotonic() < self._settled_s:
            return
        for consumer, executions in lost.gone:
            for execution in executions:
                await self._return_to_queue(execution, consumer)
        for consumer, execution in lost.unacknowledged:
            await self._return_to_queue(execution, consumer, only_unacknowledged=True)

    async def _return_to_queue(self, execution: UUID, consumer: str, *, only_unacknowledged: bool = False) -> None:
        """Return runs; one that fails does not delay the others, and is tried again later."""
        try:
            await self._store.run(
                events.return_to_queue(
                    self._state.catalog, execution, consumer, only_unacknowledged=only_unacknowledged
                )
            )
        except StoreUnavailable:
            raise
        except Exception:
            _log.exception("api.failed", error_id="", method="return to queue", path=str(execution))


async def serve_queue(socket: Socket, grant: Grant, subscription: bytes, consumers: Consumers) -> None:
    """Deliver background runs to a consumer when they are due, one after another as it acknowledges them."""
    wanted = read_as(subscription, _Subscribe)
    if wanted is None:
        await socket.close(VIOLATION, "Protocol violation: expected 'subscribe' message")
        return
    if not wanted.keys or len(wanted.keys) > MAX_KEYS:
        await socket.close(VIOLATION, f"Protocol violation: expected 1 to {MAX_KEYS} 'keys' in subscribe message")
        return
    if not wanted.client_id or len(wanted.client_id) > 500:
        await socket.close(VIOLATION, "Protocol violation: expected 'client_id' in subscribe message")
        return
    tasks = [await _queue_of(socket.state, key, grant) for key in dict.fromkeys(wanted.keys)]
    consumer = _name_of(wanted.client_id, grant)
    queue = _Queue(socket, consumer, {"identifier": wanted.client_id, "task_keys": wanted.keys}, tasks)
    consumers.come(consumer, queue.slot)
    try:
        await queue.serve()
    finally:
        consumers.leave(consumer, queue.slot)


def _name_of(client_id: str, grant: Grant) -> str:
    """
    The name of a consumer here. It includes the pattern of its token: otherwise a consumer for other tasks that claims
    the same id could keep these runs, or have them returned.
    """
    return f"{client_id} ({grant.tasks})" if grant.tasks else client_id


class _Queue:
    """One consumer's connection."""

    def __init__(self, socket: Socket, consumer: str, about: dict[str, Any], tasks: list[str]) -> None:
        self._socket = socket
        self._store = socket.state.store
        self._consumer = consumer
        self._about = about
        self._tasks = tasks
        self._turn = orchestrated.Turn.first()
        self._received: asyncio.Task[bytes] | None = None

    @property
    def slot(self) -> str:
        """The name of this connection in the store."""
        return self._turn.slot

    async def serve(self) -> None:
        """Serve until the client disconnects, or sends a message that the protocol does not allow."""
        try:
            with self._store.subscribe_external_queues(self._tasks) as subscription:
                while True:
                    wait_s = await self._deliver()
                    if wait_s is None:
                        return
                    if wait_s > 0 and await self._received_before(subscription.wait(wait_s)):
                        await self._unexpected_message()
                        return
        finally:
            if self._received is not None:
                self._received.cancel()

    async def _deliver(self) -> float | None:
        """Deliver due runs; seconds until the next look, or None to end."""
        about = self._about | {"timestamp": rfc3339(time.time_ns() // 1000)}
        try:
            found = await self._store.run(
                orchestrated.consumer_fetch(self._consumer, msgspec.json.encode(about), self._tasks, self._turn)
            )
            if found.id is None:
                return POLL_S if found.wait_us is None else min(POLL_S, max(0.01, found.wait_us / 1e6))
            view = await self._store.run(task_runs.read(found.id))
        except StoreUnavailable:
            return RETRY_S  # the same turn returns the same run, if it already got one
        if view is None:
            self._turn = self._turn.next()
            return 0
        try:
            await self._socket.send(run_view.shown_task_run(view.id, view.facts, view.current, time.time_ns() // 1000))
            message = read_as(await self._receive(), _Message)
        except Gone:
            await self._return(view.id)
            raise
        if message is not None and message.type == "ack":
            self._turn = self._turn.next()
            return 0
        await self._return(view.id)
        if message is not None and message.type == "quit":
            await self._socket.close(NORMAL)
        else:
            await self._socket.close(VIOLATION, "Protocol violation: expected 'ack' message")
        return None

    async def _return(self, run_id: UUID) -> None:
        with suppress(RunfleetError):  # if unacknowledged, it is returned later
            await self._store.run(events.return_to_queue(self._socket.state.catalog, run_id, self._consumer))

    async def _received_before(self, waiting: Any) -> bool:
        """Whether the client sent something before *waiting* was done."""
        if self._received is None:
            self._received = asyncio.create_task(self._socket.receive())
        other = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait({self._received, other}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            other.cancel()
        return self._received.done()

    async def _unexpected_message(self) -> None:
        message = read_as(await self._receive(), _Message)
        if message is not None and message.type == "quit":
            await self._socket.close(NORMAL)
        else:
            await self._socket.close(VIOLATION, "Protocol violation: nothing was sent that could be acknowledged")

    async def _receive(self) -> bytes:
        received, self._received = self._received, None
        return await (received or self._socket.receive())


async def _queue_of(state: AppState, key: str, grant: Grant) -> str:
    """The task whose runs a consumer requests by *key*. Raises Forbidden when *grant* does not cover it."""
    entry = await state.store.run(task_runs.task_of(state.catalog, key, False, grant))
    return entry.name


def read_as(message: bytes, kind: type[Any]) -> Any:
    """The message as a *kind*, None if it is not one."""
    try:
        return msgspec.json.decode(message, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
