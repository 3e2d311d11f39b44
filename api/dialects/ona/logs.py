"""
The log of an execution as plain text, followed until its end, and the call for the token to read it.

Ona's ``run_command`` reads the text at ``logUrl`` line by line, with a token that it requests first, and waits for
events until there is such a URL.
"""

from collections.abc import AsyncGenerator
from typing import Final
from uuid import UUID

from litestar.types import ASGIApp
from msgspec import UnsetType

from api.dialects.ona import execution_bodies, render
from api.dialects.ona.connect_rpc import Calls
from api.dialects.ona.errors import ENVIRONMENTS, LOGS
from api.dialects.ona.executions import readable
from api.http.auth import sent_token
from api.http.request import Request
from api.http.response import TEXT
from api.http.streams import Stream
from api.native.logs import Piecewise
from shared.errors import NotFound
from shared.executions import FINAL, Execution
from shared.runs import Run

routes = Calls()

NO_TOKEN: Final = "none"
"""A placeholder for an open API: the client requires a token."""

PATIENCE_S: Final = 5.0
"""How long to wait for an event of the execution before looking anyway."""


@routes.get(LOGS + "{execution}")
async def read_log(request: Request) -> ASGIApp:
    """The output of its steps, one step after another, until the execution is over."""
    try:
        execution_id = UUID(request.path["execution"])
    except ValueError:
        raise NotFound(f"there is no task execution {request.path['execution'][:100]}") from None
    await readable(request, execution_id)
    return Stream(request.state, request.connection, _text(request, execution_id), media=TEXT, is_whole=True)


@routes.call(execution_bodies.CreateEnvironmentLogsTokenRequest, scope="read", service=ENVIRONMENTS)
async def create_environment_logs_token(
    request: Request, wanted: execution_bodies.CreateEnvironmentLogsTokenRequest
) -> execution_bodies.CreateEnvironmentLogsTokenResponse:
    """Return the caller's own token, which opens the logs of everything that it may see."""
    sent = request.header("authorization")
    token = sent_token(sent.encode("latin-1")).decode("latin-1") if sent else NO_TOKEN
    return execution_bodies.CreateEnvironmentLogsTokenResponse(access_token=token)


async def _text(request: Request, execution_id: UUID) -> AsyncGenerator[bytes]:
    state, sent = request.state, set[UUID]()
    async with state.tail.following() as position:
        while True:
            execution = await state.store.run(render.read(execution_id))
            if execution is None:
                return
            run = _next(execution, sent)
            if run is not None:
                sent.add(run.id)
                async for piece in _of_run(request, run.id):
                    yield piece
            elif execution.phase in FINAL:
                return
            else:
                events = await state.tail.after(position, PATIENCE_S)
                position = events[-1].id if events else position


def _next(execution: Execution, sent: set[UUID]) -> Run | None:
    """The run that began first among those not sent yet."""
    begun = [run for run in execution.runs if run.id not in sent and not isinstance(run.start_at, UnsetType)]
    return min(begun, key=lambda run: (run.start_at, run.id), default=None)


async def _of_run(request: Request, run_id: UUID) -> AsyncGenerator[bytes]:
    start, log = 0, Piecewise(request.state, run_id)
    with request.store.subscribe_log(run_id) as subscription:
        while True:
            try:
                window = await log.window(start)
            except NotFound:
                return  # deleted meanwhile
            if window.lines:
                text = "".join(line.text if line.continued else line.text + "\n" for line in window.lines)
                yield text.encode("utf-8", "replace")
                start = window.lines[-1].n + 1
            elif window.finalized:
                return
            else:
                await subscription.wait()
