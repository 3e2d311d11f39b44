"""
Makes calls from an event loop, and waits for published messages.

The calls of concurrent requests share round trips: whatever was asked for while one pipeline was on its way goes out
together in the next; ``settings.redis_pool`` may be under way at once. A process waits over one Pub/Sub connection,
however many readers follow logs or events; a message that is lost costs them ``PATIENCE_S``.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

import hiredis

from shared.errors import RunfleetError
from shared.settings import Settings
from shared.store.events import Event, events_after, recent_id
from shared.store.redis.call import Call, Drive, Operation, Trip
from shared.store.redis.connect import AWAY, SILENT, NoScriptError, RedisError, async_pool, explain
from shared.store.redis.outage import outage_of
from shared.store.redis.scripts import Script
from shared.telemetry import get_logger

T = TypeVar("T")

_log = get_logger("store")

PATIENCE_S = 1.0
"""How long a reader waits for a message before it looks anyway."""

PING_S = 10.0
"""How long the subscribed connection may be silent before it is asked whether it is there, and then until it is
given up."""

BATCH = 256
"""Most calls that go out in one pipeline."""


class AsyncStore:
    """The store as the API sees it; belongs to one event loop. Errors are as those of ``Store``."""

    def __init__(self, settings: Settings) -> None:
        self.prefix = settings.key_prefix.encode()
        self._pipelines = settings.redis_pool
        self._pool = async_pool(settings, timeout_s=settings.redis_timeout_s, size=self._pipelines)
        self._pubsub_pool = async_pool(settings, timeout_s=None, size=1)
        self._waiting: list[tuple[Call[Any], asyncio.Future[Any]]] = []
        self._under_way = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions: defaultdict[bytes, set[asyncio.Event]] = defaultdict(set)
        self._outage = outage_of(settings.redis_url)
        self._listener: asyncio.Task[None] | None = None
        self._pubsub_connection: Any = None

    async def run(self, what: Trip[T] | Operation[T]) -> T:
        """
        Make a call, in one pipeline with whatever else is asked for at this moment; several together; or all the calls
        of an operation one after another. Answers the result.
        """
        if isinstance(what, Call):
            result: T = what.read(await self._ask(what))
            return result
        operation = Drive(what)
        while not operation.is_over:
            try:
                answers = await self._make(operation.calls)
            except Exception as error:
                operation.fail(error)
            else:
                operation.answer(answers)
        return operation.result

    def subscribe_log(self, run_id: UUID) -> Subscription:
        """
        A subscription to a run's log: it is woken when that grew or when the run ended. Use it as::

            with store.subscribe_log(run_id) as subscription:
                while not finished:
                    ...  # read the window after the last line seen, and show it
                    await subscription.wait()
        """
        return Subscription(self, self.prefix + b":channel:log:" + run_id.bytes)

    def subscribe_events(self) -> Subscription:
        """A subscription to the stream of events; see ``subscribe_log`` for how to use it."""
        return Subscription(self, self.prefix + b":channel:events")

    def subscribe_external_queues(self, tasks: Sequence[str]) -> Subscription:
        """A subscription to the queues of external tasks *tasks*; see ``subscribe_log`` for how to use it."""
        return Subscription(self, *(self.prefix + b":channel:external-queue:" + task.encode() for task in tasks))

    async def wait_events(self, after_id: str, timeout_s: float) -> list[Event]:
        """The events after *after_id* ("$": from now), at most 1000; waits up to *timeout_s* for the first."""
        if after_id == "$":
            after_id = await self.run(recent_id())
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        with self.subscribe_events() as subscription:
            while True:
                found = await self.run(events_after(after_id, 1000))
                left = end - loop.time()
                if found or left <= 0:
                    return found
                await subscription.wait(min(left, PATIENCE_S))

    async def close(self) -> None:
        """Give the connections back; waiting readers wake up."""
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener
        for subscriptions in self._subscriptions.values():
            for event in subscriptions:
                event.set()
        for each in (self._pool, self._pubsub_pool):
            with suppress(*AWAY):
                await each.disconnect()

    async def _make(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """The results of the calls. The first refusal is raised after all were made."""
        futures = [self._ask(call) for call in calls]
        answers: list[Any] = []
        refusal: Exception | None = None
        try:
            for call, future in zip(calls, futures, strict=True):
                try:
                    answers.append(call.read(await future))
                except Exception as error:
                    refusal = refusal or error
        finally:
            for future in futures:
                future.cancel()  # nothing waits any more; does nothing to those that are done
        if refusal is not None:
            raise refusal
        return answers

    def _ask(self, call: Call[Any]) -> asyncio.Future[Any]:
        """The reply to come, unread."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, future))
        if self._under_way < self._pipelines:
            self._send()
        return future

    def _send(self) -> None:
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        self._under_way += 1
        task = asyncio.get_running_loop().create_task(self._send_batch(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_batch(self, batch: list[tuple[Call[Any], asyncio.Future[Any]]]) -> None:
        await asyncio.sleep(0)  # requests that are being read at this moment join the pipeline
        if self._waiting and len(batch) < BATCH:
            room = BATCH - len(batch)
            batch += self._waiting[:room]
            del self._waiting[:room]
        sent, packed = [], []
        for call, future in batch:
            try:
                packed.append(_packed(call.packed(self.prefix)))
                sent.append((call, future))
            except Exception as error:  # half a character is in it: it fails alone
                if not future.done():
                    future.set_exception(RunfleetError(f"Redis refused a command: it cannot be sent: {error}"))
        try:
            replies = await self._replies([call for call, _ in sent], packed) if sent else []
        except Exception as error:
            replies = [error] * len(sent)
        else:
            self._outage.worked()
        self._under_way -= 1
        for (_, future), reply in zip(sent, replies, strict=True):
            if isinstance(reply, Exception):
                explained = reply if isinstance(reply, RunfleetError) else explain(reply)
                self._outage.failed(explained)
                if not future.done():
                    future.set_exception(explained)
            elif not future.done():
                future.set_result(reply)
        if self._waiting and self._under_way < self._pipelines:
            self._send()

    async def _replies(self, calls: list[Call[Any]], packed: list[bytes]) -> list[Any]:
        try:
            replies = await self._exchange(packed)
        except AWAY as error:
            if isinstance(error, SILENT):
                raise
            replies = await self._exchange(packed)
        missing = [
            number
            for number, reply in enumerate(replies)
            if isinstance(reply, NoScriptError) and isinstance(calls[number].what, Script)
        ]
        if missing:
            again = [_packed(calls[number].packed_eval(self.prefix)) for number in missing]
            for number, reply in zip(missing, await self._exchange(again), strict=True):
                replies[number] = reply
        return replies

    async def _exchange(self, packed: list[bytes]) -> list[Any]:
        connection = await self._pool.get_connection()
        try:
            await connection.send_packed_command(packed)
            replies: list[Any] = []
            for _ in packed:
                try:
                    replies.append(await connection.read_response())
                except AWAY:
                    raise
                except RedisError as error:
                    replies.append(error)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        else:
            return replies
        finally:
            await self._pool.release(connection)

    async def _listen(self) -> None:
        """Read messages for as long as a reader waits for one; a lost connection is always opened again."""
        while True:
            try:
                await self._listen_once()
            except (*AWAY, RedisError):
                pass  # readers look by themselves meanwhile
            except Exception as error:
                _log.error("store.listener_failed", error=str(error), exc_info=error)
            await asyncio.sleep(PATIENCE_S)

    async def _listen_once(self) -> None:
        """Read messages until the connection is lost, or silent although it was asked for a sign of life."""
        connection = await self._pubsub_pool.get_connection()
        try:
            self._pubsub_connection = connection
            if self._subscriptions:
                await connection.send_command("SUBSCRIBE", *self._subscriptions)
            is_asked = False
            while True:
                reply = await connection.read_response(timeout=PING_S, disconnect_on_error=False)
                if reply is None:
                    if is_asked:
                        return  # a half-open connection: nothing would ever come
                    await connection.send_command("PING")
                    is_asked = True
                    continue
                is_asked = False
                if reply[0] == b"message":
                    for event in self._subscriptions.get(reply[1], ()):
                        event.set()
        finally:
            self._pubsub_connection = None
            try:
                await connection.disconnect(nowait=True)
            finally:
                await self._pubsub_pool.release(connection)

    def _subscribe(self, verb: str, channel: bytes) -> None:
        if self._listener is None or self._listener.done():
            self._listener = asyncio.get_running_loop().create_task(self._listen())
        connection = self._pubsub_connection
        if connection is not None:
            task = asyncio.get_running_loop().create_task(_quietly(connection, verb, channel))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class Subscription:
    """One reader's subscription to some channels, for the time of a ``with``."""

    def __init__(self, store: AsyncStore, *channels: bytes) -> None:
        self._store, self._channels, self._event = store, channels, asyncio.Event()
        self._settled = False

    async def wait(self, timeout_s: float = PATIENCE_S) -> None:
        """
        Return at the next wake-up, at once when there was one since the last wait, or after *timeout_s*.

        The first wait is short, because what happened before the subscription took hold was not published to it.
        """
        if not self._settled:
            timeout_s, self._settled = min(timeout_s, 0.1), True
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        self._event.clear()

    def __enter__(self) -> Subscription:
        subscriptions = self._store._subscriptions
        for channel in self._channels:
            fresh = channel not in subscriptions
            subscriptions[channel].add(self._event)
            if fresh:
                self._store._subscribe("SUBSCRIBE", channel)
        return self

    def __exit__(self, *_: object) -> None:
        subscriptions = self._store._subscriptions
        for channel in self._channels:
            subscriptions[channel].discard(self._event)
            if not subscriptions[channel]:
                del subscriptions[channel]
                self._store._subscribe("UNSUBSCRIBE", channel)


def _packed(command: tuple[Any, ...]) -> bytes:
    # redis-py packs by hiredis for threads only; its own packing takes five times as long.
    packed: bytes = hiredis.pack_command(command)
    return packed


async def _quietly(connection: Any, verb: str, channel: bytes) -> None:
    with suppress(*AWAY):
        await connection.send_command(verb, channel)
