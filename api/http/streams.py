"""
Streamed responses, which end with their source, their client's connection, their token, or the process.

Memory per stream is bounded: a source is asked for its next chunk only after the last one was taken, so a slow reader
slows its source and nothing piles up. A stream whose reader disconnects ends at once, so it waits with
``asyncio.timeout``: ``asyncio.wait_for`` swallows a cancellation that comes together with a result.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing, suppress
from typing import Any, Final

import msgspec
from litestar.types import Receive, Scope, Send

from api.http.auth import client_of
from api.http.problems import problem_reply
from api.http.response import guarded
from api.http.state import AppState
from shared.errors import RunfleetError, Unserviceable

KEEPALIVE_S: Final = 15.0
"""A source without data for this long yields ``COMMENT``, so that proxies don't close the connection."""

COMMENT: Final = b": still here\n\n"
RETRY_MS: Final = 2000
"""How long a browser waits before it reconnects."""

LAST_WORDS_S: Final = 1.0
"""How long the end of a stream may take when the process stops and the reader does not read."""

CANCEL_AGAIN_S: Final = 1.0
"""A task that ignores its cancellation is cancelled again after this long."""

ABORT: Final = "runfleet.abort"
"""The extension of ASGI by which our server's connections are reset."""

EVENT_STREAM: Final = b"text/event-stream; charset=utf-8"

_encoder = msgspec.json.Encoder()


def sse(event: str, data: Any, event_id: str = "") -> bytes:
    """One server-sent event; *data* becomes JSON, which has no line breaks."""
    head = f"id: {event_id}\nevent: {event}\ndata: " if event_id else f"event: {event}\ndata: "
    return head.encode() + _encoder.encode(data) + b"\n\n"


def problem_event(error: Exception, scope: Scope) -> bytes:
    """An error as an event, for streams whose status line was sent."""
    return b"event: problem\ndata: " + problem_reply(error, scope).body + b"\n\n"


class Stream:
    """
    A streamed response. Reserved when it is created (Unserviceable above the limit), released when it was sent.

    *is_whole*: a normal end means complete content, so a stream that ends early is aborted, and never looks complete.
    """

    def __init__(
        self,
        state: AppState,
        scope: Scope,
        source: AsyncGenerator[bytes],
        *,
        media: bytes = EVENT_STREAM,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        is_whole: bool = False,
    ) -> None:
        if state.closing.is_set():
            raise Unserviceable("this process is stopping; connect again")
        self._reservation = state.stream_limit.reserve(client_of(scope))
        self._state = state
        self._source = source
        self._is_sse = media == EVENT_STREAM
        self._is_whole = is_whole
        # X-Accel-Buffering: nginx and its like pass events on at once instead of collecting them.
        self._headers = guarded((b"content-type", media), (b"x-accel-buffering", b"no"), *headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send chunks until something ends it."""
        with self._reservation:
            await send({"type": "http.response.start", "status": 200, "headers": self._headers})
            is_complete = scope.get("method") == "HEAD" or await self._until_over(scope, receive, send)
            if self._is_whole and not is_complete:
                await break_off(scope, receive)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _until_over(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Send all chunks; whether everything was sent."""
        pump = asyncio.create_task(self._pump(scope, send))
        refused = asyncio.create_task(self._state.authenticator.until_refused(scope))
        await first_of(pump, disconnected(receive), self._state.closing.wait(), refused)
        if refused.done() and not refused.cancelled() and self._is_sse:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await _send(send, problem_event(refused.result(), scope))
        if pump.cancelled():
            return False
        try:
            pump.result()
        except RunfleetError:
            return False  # the client sees the connection end
        return True

    async def _pump(self, scope: Scope, send: Send) -> None:
        if self._is_sse:
            await _send(send, b"retry: %d\n\n" % RETRY_MS)
        try:
            # Closed here and now, because a source subscribes to the store's channels.
            async with aclosing(self._source) as source:
                async for chunk in source:
                    await _send(send, chunk)
        except RunfleetError as error:
            # The status line was sent, so an event takes its place. The client reconnects and resumes.
            # Text must be aborted instead, or half a log would look like a whole one.
            if not self._is_sse:
                raise
            await _send(send, problem_event(error, scope))


async def first_of(*awaitables: Awaitable[Any]) -> None:
    """
    Wait until one of them is done, or the caller is cancelled; then all of them have ended, cancelled if need be.

    Tasks that the caller created keep their results; those of the others are dropped. A task that swallows a
    cancellation (``asyncio.wait_for`` did before Python 3.12, when it came together with a result) is cancelled again.
    """
    tasks: set[asyncio.Future[Any]] = {asyncio.ensure_future(one) for one in awaitables}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(tasks)


async def end(tasks: set[asyncio.Future[Any]]) -> None:
    """Cancel them, and wait until all have ended."""
    left = tasks
    while left := {task for task in left if not task.done()}:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio would log it


async def break_off(scope: Scope, receive: Receive) -> None:
    """Abort the connection, so that the client sees an error and not an end."""
    extensions: dict[str, Any] = scope.get("extensions") or {}
    abort = extensions.get(ABORT)
    if abort is None:
        raise Unserviceable("this process is stopping")  # other servers abort by themselves then
    abort()
    await disconnected(receive)


async def _send(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def disconnected(receive: Receive) -> None:
    """Wait until the client has disconnected, and drop what it still sends."""
    while (await receive())["type"] != "http.disconnect":
        pass
