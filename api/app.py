"""The application, put together in one function."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.types import ControllerRouterHandler

from api import events, executions, fleet, health, logs, queues, runs, schemas, tasks, tokens, workers
from api.endpoint import Endpoint, litestar_route
from api.errors import litestar_handler
from api.openapi import documentation
from api.web import Web
from shared.settings import Settings
from shared.store.loop import AsyncStore


def create_app(settings: Settings, store: AsyncStore | None = None) -> Litestar:
    """
    The ASGI application that serves everything.

    Without *store* it opens one of its own and closes it at the end. ``app.state.web`` is what the process holds; set
    its ``closing`` to end all streams.
    """
    web = Web(settings, store or AsyncStore(settings))

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        yield
        web.closing.set()
        await web.tail.close()
        if store is None:
            await web.store.close()

    app = Litestar(
        route_handlers=[*native_routes(web, endpoints())],
        exception_handlers={Exception: litestar_handler},
        lifespan=[lifespan],
        openapi_config=None,  # api.openapi describes the endpoints from the same structs that read them
        logging_config=None,  # shared.telemetry is what logs
    )
    app.state.web = web
    return app


def endpoints() -> list[Endpoint]:
    """Every endpoint of the native API, in the order in which the documentation shows them."""
    modules = (runs, logs, tasks, executions, queues, workers, fleet, events, tokens, health, schemas)
    declared = [endpoint for module in modules for endpoint in module.routes.endpoints]
    return [*declared, *documentation(declared).endpoints]


def native_routes(web: Web, declared: Sequence[Endpoint]) -> list[ControllerRouterHandler]:
    """One Litestar handler for each path of *declared*."""
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in declared:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    return [litestar_route(web, methods) for methods in by_path.values()]
