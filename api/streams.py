"""
Streams: answers that go on until their source ends, the client leaves, or the process is told to stop.

Memory per stream is bounded: a source is asked for its next chunk only after the last one was taken, so a slow reader
slows its source and nothing piles up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Final

import msgspec
from litestar.types import Receive, Scope, Send

from api.auth import client_of
from api.errors import problem_reply
from api.reply import guarded
from api.web import Web
from shared.errors import RunfleetError, Unserviceable

KEEPALIVE_S: Final = 15.0
"""A source that has nothing to say for this long says ``COMMENT``, so that proxies don't hang up."""

COMMENT: Final = b": still here\n\n"
RETRY_MS: Final = 2000
"""How long a browser waits before it comes back."""

LAST_WORDS_S: Final = 1.0
"""How long the end of a stream may take when the process stops and the reader does not read."""

EVENT_STREAM: Final = b"text/event-stream; charset=utf-8"

_encoder = msgspec.json.Encoder()


def sse(event: str, data: Any, event_id: str = "") -> bytes:
    """One server-sent event; *data* becomes JSON, which has no line breaks."""
    head = f"id: {event_id}\nevent: {event}\ndata: " if event_id else f"event: {event}\ndata: "
    return head.encode() + _encoder.encode(data) + b"\n\n"


class Stream:
    """A streamed answer. Takes a seat when made (Unserviceable when there is none) and gives it back when sent."""

    def __init__(
        self,
        web: Web,
        scope: Scope,
        source: AsyncGenerator[bytes],
        *,
        media: bytes = EVENT_STREAM,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        if web.closing.is_set():
            raise Unserviceable("this process is stopping; connect again")
        self._client = client_of(scope)
        web.seats.take(self._client)
        self._web = web
        self._source = source
        self._is_sse = media == EVENT_STREAM
        # X-Accel-Buffering: nginx and its like pass events on at once instead of collecting them.
        self._headers = guarded((b"content-type", media), (b"x-accel-buffering", b"no"), *headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send chunks until something ends it."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self._headers})
            if scope.get("method") != "HEAD":
                await self._until_over(scope, receive, send)
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._web.seats.leave(self._client)

    async def _until_over(self, scope: Scope, receive: Receive, send: Send) -> None:
        pump = asyncio.create_task(self._pump(scope, send))
        others = [asyncio.create_task(_disconnected(receive)), asyncio.create_task(_is_set(self._web.closing))]
        try:
            await asyncio.wait([pump, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pump, *others):
                task.cancel()
            results = await asyncio.gather(pump, *others, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    async def _pump(self, scope: Scope, send: Send) -> None:
        if self._is_sse:
            await _send(send, b"retry: %d\n\n" % RETRY_MS)
        try:
            # Closed here and now, because a source holds an ear at the store.
            async with aclosing(self._source) as source:
                async for chunk in source:
                    await _send(send, chunk)
        except RunfleetError as error:
            # The status line is gone; an event says what a status would have. The client comes back and resumes.
            # Text must break off instead, or half a log would look like a whole one.
            if not self._is_sse:
                raise
            await _send(send, b"event: problem\ndata: " + problem_reply(error, scope).body + b"\n\n")


async def _send(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _is_set(event: asyncio.Event) -> None:
    await event.wait()
