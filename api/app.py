"""The application, put together in one function."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from litestar import Litestar
from litestar import Response as LitestarResponse
from litestar.types import ControllerRouterHandler

from api.dialects import marquez, ona, prefect
from api.dialects.ona import hooks
from api.http.dialect import Dialect, EncodedSlashes, Route, Routes, dialect_routes
from api.http.endpoint import Endpoint, litestar_route
from api.http.problems import AnyRequest, as_response, litestar_handler
from api.http.state import AppState
from api.http.websockets import Sockets
from api.native import events, executions, fleet, health, logs, queues, runs, schemas, tasks, tokens, workers
from api.native.openapi import documentation
from shared.settings import Settings
from shared.store.redis.async_store import AsyncStore

NAMED: Final = ("/api/tasks/", "/api/runs/", "/api/queues/", "/api/workers/")
"""Below these a name is part of the path, and one with a slash is wrong rather than nowhere."""


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

    spoken = dialects()

    def refuse(request: AnyRequest, error: Exception) -> LitestarResponse[bytes]:
        path = request.scope["path"]
        for dialect in spoken:
            if path.startswith(dialect.prefixes):
                return as_response(dialect.answer(error, request.scope))
        return litestar_handler(request, error)

    app = Litestar(
        route_handlers=[*native_routes(state, endpoints()), *dialect_routes(state, foreign_routes())],
        exception_handlers={Exception: refuse},
        lifespan=[lifespan],
        openapi_config=None,  # api.native.openapi describes the endpoints from the same structs that read them
        logging_config=None,  # shared.telemetry is what logs
    )
    app.asgi_handler = EncodedSlashes(
        app.asgi_handler, (*NAMED, *(prefix for each in spoken for prefix in each.prefixes))
    )
    app.asgi_handler = Sockets(app.asgi_handler, state, prefect.sockets.handlers(state))
    app.state.runfleet = state
    return app


def foreign_routes() -> list[Route]:
    """Every path of the other systems' APIs."""
    modules: tuple[Routes, ...] = (
        marquez.routes.routes,
        marquez.run_routes.routes,
        marquez.lineage_routes.routes,
        *ona.ROUTES,
        *prefect.ROUTES,
    )
    return [declared for routes in modules for declared in routes.declared]


def dialects() -> list[Dialect]:
    """The other systems' APIs, each once."""
    return list({declared.dialect.name: declared.dialect for declared in foreign_routes()}.values())


def endpoints() -> list[Endpoint]:
    """Every endpoint of the native API, in the order in which the documentation shows them."""
    modules = (runs, logs, tasks, executions, hooks, queues, workers, fleet, events, tokens, health, schemas)
    declared = [endpoint for module in modules for endpoint in module.routes.endpoints]
    return [*declared, *documentation(declared).endpoints]


def native_routes(state: AppState, declared: Sequence[Endpoint]) -> list[ControllerRouterHandler]:
    """One Litestar handler for each path of *declared*."""
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in declared:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    return [litestar_route(state, methods) for methods in by_path.values()]
