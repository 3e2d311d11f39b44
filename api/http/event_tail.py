"""
The tail of the event stream, read once per process and shared by all its followers.

Five hundred streams on five hundred Redis connections would be five hundred times the work for the same events. Here
one reader keeps a ring buffer of the newest events; a follower that falls behind it reads the store itself until it has
caught up, so a slow client costs no memory.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final
from uuid import UUID

from shared.errors import StoreUnavailable
from shared.store import events
from shared.store.events import Event
from shared.store.redis.async_store import AsyncStore
from shared.telemetry import get_logger

RING: Final = 2000
"""Events kept in the process."""

PAGE: Final = 500
"""Events read from the store at once by a follower that fell behind."""

POLL_S: Final = 5.0
RETRY_S: Final = 0.5

_log = get_logger("api")


class EventTail:
    """Reads events while there are followers."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._ring: deque[Event] = deque(maxlen=RING)
        self._floor = ""
        self._last = ""
        self._arrived = asyncio.Event()
        self._followers = 0
        self._reader: asyncio.Task[None] | None = None
        self._endings: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)

    @property
    def is_reading(self) -> bool:
        """Whether there are followers, so that events are being read."""
        return self._reader is not None

    @asynccontextmanager
    async def following(self) -> AsyncIterator[str]:
        """A context in which events are read; yields the id after which none can be missed."""
        self._followers += 1
        try:
            if self._reader is None or self._reader.done():
                # Another follower may start the reader while this one waits for the id; the first one wins.
                recent = await self._store.run(events.recent_id())
                if self._reader is None or self._reader.done():
                    self._ring.clear()
                    self._floor = self._last = recent
                    self._reader = asyncio.create_task(self._read())
            yield self._last
        finally:
            self._followers -= 1
            if self._followers == 0:
                await self.close()

    async def after(self, event_id: str, timeout_s: float) -> list[Event]:
        """
        Events after *event_id*, oldest first; none when none came within *timeout_s*. Only inside ``following``.

        Raises StoreUnavailable when the follower is behind the ring buffer and the store does not answer.
        """
        if self._reader is not None and self._reader.done():
            self._reader.result()
        if place_of(event_id) < place_of(self._floor):
            behind = await self._store.run(events.events_after(event_id, PAGE))
            if behind:
                return behind
            event_id = self._floor
        if place_of(self._last) <= place_of(event_id):
            arrived = self._arrived
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await arrived.wait()
        after = place_of(event_id)
        newer: list[Event] = []
        for event in reversed(self._ring):
            if place_of(event.id) <= after:
                break
            newer.append(event)
        newer.reverse()
        return newer

    @contextmanager
    def ending(self, execution_id: UUID) -> Iterator[asyncio.Event]:
        """A context with an event that is set when the execution is over. Only inside ``following``."""
        over = asyncio.Event()
        self._endings[execution_id].add(over)
        try:
            yield over
        finally:
            waiting = self._endings[execution_id]
            waiting.discard(over)
            if not waiting:
                del self._endings[execution_id]

    async def close(self) -> None:
        """Stop reading."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader

    async def _read(self) -> None:
        while True:
            try:
                fresh = await self._store.wait_events(self._last, POLL_S)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
                continue
            except Exception as error:
                # All followers depend on this one reader: it logs errors and continues.
                _log.error("api.events_failed", error=str(error), exc_info=error)
                await asyncio.sleep(RETRY_S)
                continue
            if not fresh:
                continue
            for event in fresh:
                if len(self._ring) == RING:
                    self._floor = self._ring[0].id
                self._ring.append(event)
                if event.type == "execution.ended" and event.execution_id is not None:
                    for over in self._endings.get(event.execution_id, ()):
                        over.set()
            self._last = fresh[-1].id
            arrived, self._arrived = self._arrived, asyncio.Event()
            arrived.set()


def place_of(event_id: str) -> tuple[int, int]:
    """The position of an id (``<milliseconds>-<number>``) in the order of events; "" comes before all."""
    first, _, second = event_id.partition("-")
    return int(first or 0), int(second or 0)
