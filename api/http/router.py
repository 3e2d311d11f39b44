"""
The router: an endpoint as a value, and each step of a request to it.

A module declares its endpoints with ``Routes``. In the native API the handler's own signature is the contract:
arguments named ``path``, ``query``, ``headers`` and ``body`` are annotated with msgspec structs, each request is
decoded into them before the handler is called, and ``api.native.openapi`` documents the same structs::

    routes = Routes("Runs")

    @routes.get("/api/runs/{id}", answers={200: Run}, summary="Read a run")
    async def read_run(request: Request, path: RunPath) -> Response: ...

The paths, statuses and error bodies of a dialect are another system's, so its handlers get the request alone, and a
``Dialect`` gives errors their shape::

    DIALECT = Dialect(name="marquez", refuse=refuse, prefixes=("/api/v1/",))
    routes = Routes(dialect=DIALECT)

    @routes.get("/api/v1/namespaces/{namespace}")
    async def read_namespace(request: Request) -> Response: ...
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_type_hints

import msgspec
from litestar import route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive
from litestar.types import Scope as Connection

from api.http.auth import OPEN, Scope
from api.http.decoding import raise_if_any, read_headers, read_json, read_path, read_query
from api.http.idempotency import KeyHeaders, answered_once
from api.http.paths import ESCAPE, readable, unescaped
from api.http.problems import AnyRequest, named, problem_reply
from api.http.request import Request
from api.http.request_body import MAX_BODY, read_body, require_json, unpacked
from api.http.response import Response
from api.http.state import AppState
from shared.errors import Problem, RunfleetError

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Handler = Callable[..., Awaitable[ASGIApp]]
H = TypeVar("H", bound=Handler)


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """
    The conventions of an API, the native one or another system's.

    ``refuse`` gives errors their shape; an unexpected error was logged and is an ``Unexpected`` then. Unknown paths
    below ``prefixes`` are refused in the same shape. ``check`` raises for requests that no handler should get.
    """

    name: str
    refuse: Callable[[RunfleetError, Connection], Response]
    prefixes: tuple[str, ...]
    check: Callable[[Request], None] | None = None

    def answer(self, error: Exception, scope: Connection) -> Response:
        """The response to *error*."""
        if ESCAPE in scope["path"]:
            scope = {**scope, "path": readable(scope["path"])}  # type: ignore[assignment]
        return self.refuse(named(error, scope), scope)


NATIVE: Final = Dialect(name="native", refuse=problem_reply, prefixes=())


class Media(NamedTuple):
    """A response body that is not a JSON object: its media type, and a sentence about it."""

    type: str
    about: str


Answer = type[msgspec.Struct] | tuple[type[msgspec.Struct], ...] | Media | None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """
    One method on one path, in OpenAPI's notation. ``scope`` None means that no token is needed.

    ``answers`` maps each status of success to its response, or to several of which one is sent; ``errors`` are the
    statuses beyond those that every endpoint may have. ``inputs`` are the handler's arguments. ``once``: the response
    to a request with an ``Idempotency-Key`` is kept for repeats; every native POST has this, except for those that read
    the key themselves or whose answer is a secret.
    """

    dialect: Dialect
    method: Method
    path: str
    handler: Handler
    scope: Scope | None
    max_body: int
    tag: str
    summary: str
    about: str
    answers: dict[int, Answer]
    errors: tuple[int, ...]
    inputs: dict[str, type[msgspec.Struct]]
    order: tuple[str, ...]
    body_required: bool
    example: dict[str, Any] | None
    once: bool


class Routes:
    """Collects the endpoints of one module; *tag* groups those of the native API in its documentation."""

    def __init__(self, tag: str = "", dialect: Dialect = NATIVE) -> None:
        self.tag = tag
        self.dialect = dialect
        self.endpoints: list[Endpoint] = []

    def get(self, path: str, **details: Any) -> Callable[[H], H]:
        """Declare a GET (and with it HEAD). Needs scope ``read`` unless *details* say otherwise."""
        return self._declare("GET", path, **{"scope": "read", **details})

    def post(self, path: str, **details: Any) -> Callable[[H], H]:
        """Declare a POST. Needs scope ``run`` unless *details* say otherwise."""
        return self._declare("POST", path, **{"scope": "run", **details})

    def put(self, path: str, **details: Any) -> Callable[[H], H]:
        """Declare a PUT. Needs scope ``admin`` unless *details* say otherwise."""
        return self._declare("PUT", path, **{"scope": "admin", **details})

    def patch(self, path: str, **details: Any) -> Callable[[H], H]:
        """Declare a PATCH. Needs scope ``admin`` unless *details* say otherwise."""
        return self._declare("PATCH", path, **{"scope": "admin", **details})

    def delete(self, path: str, **details: Any) -> Callable[[H], H]:
        """Declare a DELETE. Needs scope ``admin`` unless *details* say otherwise."""
        return self._declare("DELETE", path, **{"scope": "admin", **details})

    def _declare(
        self,
        method: Method,
        path: str,
        *,
        scope: Scope | None,
        max_body: int = MAX_BODY,
        answers: dict[int, Answer] | None = None,
        summary: str = "",
        errors: tuple[int, ...] = (),
        body_required: bool = True,
        example: dict[str, Any] | None = None,
        once: bool = True,
    ) -> Callable[[H], H]:
        def add(handler: H) -> H:
            hints = get_type_hints(handler)
            names = tuple(name for name in inspect.signature(handler).parameters if name != "request")
            is_once = once and self.dialect is NATIVE and method == "POST" and "headers" not in names
            self.endpoints.append(
                Endpoint(
                    dialect=self.dialect,
                    method=method,
                    path=path,
                    handler=handler,
                    scope=scope,
                    max_body=max_body,
                    tag=self.tag,
                    summary=summary,
                    about=inspect.getdoc(handler) or "",
                    answers=answers or {},
                    errors=errors,
                    inputs={name: hints[name] for name in names} | ({"headers": KeyHeaders} if is_once else {}),
                    order=names,
                    body_required=body_required and "body" in names,
                    example=example,
                    once=is_once,
                )
            )
            return handler

        return add


def litestar_routes(state: AppState, endpoints: Iterable[Endpoint]) -> list[HTTPRouteHandler]:
    """One Litestar handler for each path of *endpoints*."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return [_litestar_route(state, path, methods) for path, methods in by_path.items()]


def _litestar_route(state: AppState, path: str, methods: dict[str, Endpoint]) -> HTTPRouteHandler:
    """
    The Litestar handler of one path. Litestar matches path and method; nothing else stands between the socket and the
    handler, because starting a run is the most frequent request.
    """
    if "GET" in methods:
        methods["HEAD"] = methods["GET"]

    @route(path.replace("}", ":str}"), http_method=sorted(methods), status_code=200)  # type: ignore[arg-type]  # names
    async def serve(request: AnyRequest) -> ASGIApp:
        scope = request.scope
        endpoint = methods[scope["method"]]
        try:
            return await _handle(state, endpoint, scope, request.receive)
        except Exception as error:
            return endpoint.dialect.answer(error, scope)

    return serve


async def _handle(state: AppState, endpoint: Endpoint, scope: Connection, receive: Receive) -> ASGIApp:
    grant = OPEN
    if endpoint.scope is not None:
        grant = await state.authenticator.grant(scope)
        grant.require(endpoint.scope)
    if endpoint.dialect is not NATIVE:
        request = Request(state, scope, grant, await read_body(state, scope, receive, endpoint.max_body))
        if request.body:
            encoding = request.header("content-encoding").strip().lower()
            request.body = unpacked(request.body, encoding, endpoint.max_body)
        if endpoint.dialect.check is not None:
            endpoint.dialect.check(request)
        return await endpoint.handler(request)
    inputs = endpoint.inputs
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    if "path" in inputs:
        values["path"] = read_path(inputs["path"], unescaped(scope["path_params"]), problems)
    values["query"] = read_query(inputs.get("query", NoQuery), scope["query_string"], problems)
    if "headers" in inputs:
        values["headers"] = read_headers(inputs["headers"], scope["headers"], problems)
    raw = b""
    if "body" in inputs:
        raw = await read_body(state, scope, receive, endpoint.max_body)
        if raw:
            require_json(scope)
            values["body"] = read_json(inputs["body"], raw, problems)
        elif endpoint.body_required:
            problems.append(Problem("body", "is required"))
        else:
            values["body"] = inputs["body"]()
    raise_if_any(problems)
    request = Request(state, scope, grant, raw)
    arguments = [values[name] for name in endpoint.order]
    if endpoint.once and values["headers"].idempotency_key:
        key = values["headers"].idempotency_key
        return await answered_once(request, key, lambda: endpoint.handler(request, *arguments))
    return await endpoint.handler(request, *arguments)


class NoQuery(msgspec.Struct, frozen=True):
    """No parameters: any parameter is an error."""
