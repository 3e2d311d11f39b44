"""The ASGI application, assembled in one function."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Final

from litestar import Litestar
from litestar import Response as LitestarResponse

from api.dashboard.serving import dashboard_routes
from api.dialects import marquez, ona, prefect
from api.dialects.ona import hooks
from api.http.paths import EncodedSlashes
from api.http.problems import AnyRequest, as_response
from api.http.router import NATIVE, Dialect, Endpoint, litestar_routes
from api.http.state import AppState
from api.http.websockets import Sockets
from api.native import (
    events,
    executions,
    fleet,
    health,
    logs,
    queues,
    reports,
    run_context,
    runs,
    schemas,
    session,
    tasks,
    tokens,
    workers,
)
from api.native.openapi import documentation
from shared.settings import Settings
from shared.store.redis.async_store import AsyncStore

NAMED: Final = ("/api/tasks/", "/api/runs/", "/api/queues/", "/api/workers/")
"""Paths that contain a name, which may have encoded slashes."""


def create_app(settings: Settings, store: AsyncStore | None = None) -> Litestar:
    """
    The ASGI application that serves everything.

    Without *store* it opens one of its own and closes it at the end. ``app.state.runfleet`` is its ``AppState``; set
    ``closing`` there to end all streams.
    """
    state = AppState(settings, store or AsyncStore(settings))

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        yield
        state.closing.set()
        await state.tail.close()
        if store is None:
            await state.store.close()

    served = dialects()

    def refuse(request: AnyRequest, error: Exception) -> LitestarResponse[bytes]:
        path = request.scope["path"]
        dialect = next((one for one in served if path.startswith(one.prefixes)), NATIVE)
        return as_response(dialect.answer(error, request.scope))

    app = Litestar(
        route_handlers=[
            *litestar_routes(state, [*native_endpoints(), *dialect_endpoints()]),
            *dashboard_routes(endpoint.path for endpoint in native_endpoints()),
        ],
        exception_handlers={Exception: refuse},
        lifespan=[lifespan],
        openapi_config=None,  # api.native.openapi describes the endpoints from the same structs that read them
        logging_config=None,  # shared.telemetry is what logs
    )
    app.asgi_handler = EncodedSlashes(
        app.asgi_handler, (*NAMED, *(prefix for each in served for prefix in each.prefixes))
    )
    app.asgi_handler = Sockets(app.asgi_handler, state, prefect.sockets.handlers(state))
    app.state.runfleet = state
    return app


@cache
def native_endpoints() -> tuple[Endpoint, ...]:
    """Every endpoint of the native API, in the order in which the documentation shows them."""
    modules = (
        runs,
        run_context,
        reports,
        logs,
        tasks,
        executions,
        hooks,
        queues,
        workers,
        fleet,
        events,
        session,
        tokens,
        health,
        schemas,
    )
    declared = [endpoint for module in modules for endpoint in module.routes.endpoints]
    return (*declared, *documentation(declared).endpoints)


def dialect_endpoints() -> list[Endpoint]:
    """Every endpoint of the other systems' APIs."""
    routes = (*marquez.ROUTES, *ona.ROUTES, *prefect.ROUTES)
    return [endpoint for one in routes for endpoint in one.endpoints]


def dialects() -> list[Dialect]:
    """The other systems' APIs, each once."""
    return list({endpoint.dialect.name: endpoint.dialect for endpoint in dialect_endpoints()}.values())
