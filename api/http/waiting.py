"""A response that waits until an execution is over, or a timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final
from uuid import UUID

from litestar.types import Receive, Scope, Send

from api.http.auth import client_of
from api.http.problems import problem_reply
from api.http.response import Response
from api.http.state import AppState
from api.http.streams import disconnected, first_of
from shared.errors import StoreUnavailable
from shared.store import runs

LOOK_S: Final = 5.0
"""How often to read whether an execution is over, in case its event was missed."""


class Waiting:
    """
    Counts as a stream, and waits until the execution is over, the time is up, the client has left, or the process is
    stopping. Made before the request changes anything, so that one above the limit changes nothing::

        with Waiting(web, scope) as waiting:
            ...  # start the execution
            return waiting.for_end(execution_id, timeout_s, reply)
    """

    def __init__(self, state: AppState, scope: Scope) -> None:
        """Reserve a stream. Raises Unserviceable above the limit."""
        self._state = state
        self._reservation = state.stream_limit.reserve(client_of(scope))
        self._execution: UUID | None = None
        self._timeout_s = 0.0
        self._reply: Callable[[], Awaitable[Response]] | None = None

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Release the stream if there is nothing to wait for."""
        if kind is not None or self._reply is None:
            self._reservation.release()

    def for_end(self, execution_id: UUID, timeout_s: float, reply: Callable[[], Awaitable[Response]]) -> Waiting:
        """Wait for that execution, at most for *timeout_s*, and then send the response that *reply* returns."""
        self._execution, self._timeout_s, self._reply = execution_id, timeout_s, reply
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, and respond if the client is still connected."""
        with self._reservation:
            answering = asyncio.create_task(self._answer(scope))
            await first_of(answering, disconnected(receive))
        if not answering.cancelled():
            await answering.result()(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        assert self._reply is not None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    await self._until_over()
            return await self._reply()
        except Exception as error:
            return problem_reply(error, scope)

    async def _until_over(self) -> None:
        assert self._execution is not None
        state = self._state
        with state.tail.ending(self._execution) as over:
            while not state.closing.is_set():
                with suppress(StoreUnavailable):
                    async with state.tail.following():
                        if await state.store.run(runs.is_over(self._execution)):
                            return
                        await first_of(over.wait(), state.closing.wait(), asyncio.sleep(LOOK_S))
                        continue
                await first_of(state.closing.wait(), asyncio.sleep(LOOK_S))
