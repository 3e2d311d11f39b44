"""
The Dramatiq broker: wakes workers when a queue has runs.

Pending runs wait in the store. A Dramatiq message only says "look at this queue"; a thread that gets it claims runs
until there are none. Two things are different from Dramatiq's own Redis broker, and why:

* An idle consumer *waits* on ``wake:queue:<queue>`` instead of polling with a back-off, which gets a message 362 ms
  late at the median. A lost wake-up costs one ``WAIT_S``.
* A consumer takes no more wake-ups than there are free threads in its process, so that no wake-up lies where no thread
  can answer it. Wake-ups are hints: they are acknowledged whatever happened, and the scheduler sends them again for
  runs that still wait.

There are no delay queues, no retries and no results: delays, retries and outcomes are changes in the store.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import dramatiq
import dramatiq.worker
import redis
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer, _scripts
from dramatiq.message import Message
from dramatiq.worker import _WorkQueueItem

from shared.errors import StoreFull, StoreUnavailable
from shared.store.redis.call import Call, Key
from shared.store.redis.scripts import verbatim
from shared.store.redis.sync_store import Store
from shared.store.wakeups import ACTOR

WAIT_S: Final = 5.0
"""How long an idle consumer waits for a wake-up before it looks anyway."""

RESTART_S: Final = 1.0
"""How long a consumer that lost Redis waits before it tries again."""

DISPATCH: Final = verbatim("dispatch", _scripts["dispatch"], key_suffix="dramatiq")
"""Dramatiq's own script, with its keys below ours."""

MOST_TAKEN: Final = 1000
"""Most wake-ups that are taken in one step; fewer than Lua's stack holds."""


class FreeThreads:
    """How many of a process's worker threads have nothing to do; consumers wait for one before they take a wake-up."""

    def __init__(self, total: int) -> None:
        self._free = self._total = total
        self._change = threading.Condition()
        self._closed = False
        self._resting = False

    @property
    def closed(self) -> bool:
        """Whether this process is draining."""
        return self._closed

    @property
    def taken(self) -> int:
        """For how many threads a wake-up was taken that is not answered yet."""
        return self._total - self._free

    def wait(self, timeout_s: float) -> int:
        """
        The number of free threads; waits up to *timeout_s* for the first. 0 while they rest, and after ``close``.
        """
        with self._change:
            self._change.wait_for(lambda: (self._free > 0 and not self._resting) or self._closed, timeout_s)
            return 0 if self._closed or self._resting else max(0, self._free)

    def take(self) -> None:
        """A wake-up was taken for a thread."""
        with self._change:
            self._free -= 1

    def give_back(self) -> None:
        """The thread has answered its wake-up."""
        self.lose(1)

    def lose(self, count: int) -> None:
        """So many wake-ups that were taken will never be answered."""
        with self._change:
            self._free = min(self._total, self._free + count)
            self._change.notify_all()

    def rest(self, resting: bool) -> None:
        """No wake-up is to be taken for now, because nothing can be executed here; or again."""
        with self._change:
            self._resting = resting
            self._change.notify_all()

    def close(self) -> None:
        """No wake-up is to be taken any more: this process is draining."""
        with self._change:
            self._closed = True
            self._change.notify_all()


class WakeupBroker(RedisBroker):
    """Dramatiq's Redis broker with consumers that wait and take only what can be answered."""

    def __init__(self, store: Store, threads: FreeThreads) -> None:
        super().__init__(middleware=[], client=redis.Redis())  # never connected: all calls are the store's
        self.store = store
        self.threads = threads

    @property
    def consumer_class(self) -> type[_WakeupConsumer]:
        return _WakeupConsumer

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue, without the delay queue that Dramatiq would poll beside it."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def _dispatch(self, command: str) -> Callable[..., Any]:
        """
        How Dramatiq asks Redis for anything: *command* of its script, as a call of ours on the connections we have.

        Its maintenance, which looks for dead workers with KEYS, is left out: our scheduler removes them by name.
        """

        def dispatch(queue_name: str, *args: Any) -> object:
            now_ms, maintain = time.time_ns() // 1_000_000, 0
            of_broker = (self.broker_id, self.heartbeat_timeout, self.dead_message_ttl, maintain, MOST_TAKEN)
            return self.store.run(Call(DISPATCH, (command, now_ms, queue_name, *of_broker, *args), _unread))

        return dispatch


def _unread(reply: Any) -> object:
    """Dramatiq's own code reads the replies of its script."""
    return reply


class _WakeupConsumer(_RedisConsumer):
    broker: WakeupBroker

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._look_first = True

    def __next__(self) -> Any:
        try:
            return self._next()
        except StoreUnavailable:
            # Dramatiq would log a critical line a second; the store logs the outage.
            self._look_first = True
            if not self.broker.threads.closed:
                time.sleep(RESTART_S)  # nothing says when Redis is back
            return None
        except Exception:
            # A consumer that raises is closed and made again by Dramatiq; what it had taken is with it.
            self.logger.exception("Queue %r could not be listened to.", self.queue_name)
            time.sleep(RESTART_S)  # what raised may raise again at once
            return None

    def _next(self) -> Any:
        if self.message_cache:
            return self._hand_over()
        free = self.broker.threads.wait(1.0)
        if not free:
            return None
        if not self._look_first:
            woken = self.broker.store.block(Call("BLPOP", (Key(f"wake:queue:{self.queue_name}"), WAIT_S), bool), WAIT_S)
            free = self.broker.threads.wait(0)
            if woken and not free:
                self.broker.store.run(
                    Call("LPUSH", (Key(f"wake:queue:{self.queue_name}"), ""), int)
                )  # for another process
        try:
            messages = self.broker.do_fetch(self.queue_name, free) if free else []
        except StoreFull:
            # Dramatiq's script needs memory to hand a wake-up over; a claim needs none, and what waits was accepted.
            self.broker.threads.take()
            return dramatiq.MessageProxy(_local(self.queue_name))
        self.message_cache = [message for message in messages if message]  # one that was in the list twice is empty
        self._look_first = len(messages) > 1  # there may be more
        return self._hand_over() if self.message_cache else None

    def _hand_over(self) -> Any:
        """The first wake-up taken; None when it is none, as anybody may write to the list that it came from."""
        raw = self.message_cache.pop(0)
        try:
            message = Message.decode(raw)
            odd = message.actor_name != ACTOR or message.args or message.kwargs or "eta" in message.options
            message.options["redis_message_id"]  # else it cannot be acknowledged
        except Exception as error:
            self.logger.warning("Dropped what is no message: %s.", error)
            return None
        if odd:
            self.logger.warning("Dropped a message for %r: this queue takes wake-ups only.", message.actor_name)
            self._drop(message)
            return None
        self.queued_message_ids.add(message.message_id)
        self.broker.threads.take()
        return dramatiq.MessageProxy(message)

    def ack(self, message: Any) -> None:
        """
        Drop a wake-up that was answered. One that cannot be dropped now goes with its worker; it is not worth waiting.

        The one place where its thread counts as free again, because Dramatiq comes here whatever has happened.
        """
        self.broker.threads.give_back()
        self._drop(message)

    def _drop(self, message: Any) -> None:
        if not message.options["redis_message_id"]:
            return  # a local one
        try:
            super().ack(message)
        except Exception as error:
            self.logger.debug("A wake-up of queue %r could not be acknowledged: %s", self.queue_name, error)

    nack = ack

    def requeue(self, messages: Iterable[Any]) -> None:
        """Put wake-ups back that were taken and not answered, so that another process gets them."""
        try:
            super().requeue([message for message in messages if message.options["redis_message_id"]])
        except Exception as error:
            self.logger.debug("Wake-ups of queue %r could not be put back: %s", self.queue_name, error)


def worker(broker: WakeupBroker, queues: Iterable[str], threads: int, answer: Callable[[], None]) -> dramatiq.Worker:
    """A Dramatiq worker whose *threads* call ``answer`` for every wake-up of *queues*. Not started yet."""

    def look() -> None:
        answer()

    dramatiq.worker.CONSUMER_RESTART_DELAY_SECS = RESTART_S
    names = list(queues)
    dramatiq.actor(broker=broker, actor_name=ACTOR, queue_name=names[0])(look)
    for name in names:
        broker.declare_queue(name)
    made = dramatiq.Worker(broker, queues=set(names), worker_threads=threads, worker_timeout=500)
    made.queue_prefetch = threads
    return made


def local_wakeup(queue: str) -> Any:
    """A wake-up that one thread sends to another of its process, as an item of the worker's work queue."""
    return _WorkQueueItem(0, dramatiq.MessageProxy(_local(queue)))


def _local(queue: str) -> Message[Any]:
    """A wake-up that Redis knows nothing of."""
    return Message(queue, ACTOR, (), {}, {"redis_message_id": ""})
