"""
An endpoint as a value, and what a request to it goes through.

A module declares its endpoints with ``Routes``; the handler's own signature is the contract. Arguments named ``path``,
``query``, ``headers`` and ``body`` are annotated with msgspec structs, and each request is read into them before the
handler is called; ``api.native.openapi`` documents the same structs. So a handler reads, makes one call, and answers::

    routes = Routes("Runs")

    @routes.get("/api/runs/{id}", answers={200: Run}, summary="Read a run")
    async def read_run(ask: Request, path: RunPath) -> Response: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_type_hints

import msgspec
from litestar import route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive
from litestar.types import Scope as Connection

from api.http.auth import OPEN, Grant, Scope
from api.http.decoding import as_text, raise_if_any, read_headers, read_json, read_path, read_query
from api.http.idempotency import KeyHeaders, answered_once
from api.http.paths import MARK, as_meant
from api.http.problems import AnyRequest, TooLarge, WrongMediaType, problem_reply
from api.http.response import Response
from api.http.state import AppState
from api.http.urls import urls_of
from shared.errors import Invalid, Malformed, Problem, Unserviceable

MAX_BODY: Final = 1024 * 1024
"""Bytes of the largest body that is read."""

MAX_UNFINISHED: Final = 64 * MAX_BODY
"""Bytes of all bodies together that have begun and not come to their end; clients may take a minute for one."""

Method = Literal["GET", "POST", "PUT", "DELETE"]
Handler = Callable[..., Awaitable[ASGIApp]]
H = TypeVar("H", bound=Handler)

_encoder = msgspec.json.Encoder()


class Media(NamedTuple):
    """An answer that is not a JSON object: its media type and what it is."""

    type: str
    about: str


Answer = type[msgspec.Struct] | Media | None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """
    One method on one path. ``path`` is written as OpenAPI writes it; ``scope`` None means that no token is needed.

    ``answers`` maps each status of success to what it brings; ``errors`` are the statuses beside those that every
    endpoint may have. ``once``: the answer to a request with an ``Idempotency-Key`` is kept for repeats; every POST has
    this, except for those that read the key themselves.
    """

    method: Method
    path: str
    handler: Handler
    scope: Scope | None
    summary: str
    about: str
    tag: str
    answers: dict[int, Answer]
    errors: tuple[int, ...]
    inputs: dict[str, type[msgspec.Struct]]
    order: tuple[str, ...]
    body_required: bool
    example: dict[str, Any] | None
    once: bool


class Request:
    """
    A request as a handler sees it: who asks, the process's belongings, and how to answer.

    ``repeat_key`` names it and all its repeats, and ``repeat_id`` is an id that these share; both are "" without an
    ``Idempotency-Key``. ``is_repeat``: it came before, and how far it got is not known. ``kept_response`` is what its
    repeats are answered, if not the same: a token is shown only once.
    """

    __slots__ = (
        "connection",
        "grant",
        "is_repeat",
        "kept_response",
        "raw_body",
        "repeat_id",
        "repeat_key",
        "state",
        "urls",
    )

    def __init__(self, state: AppState, connection: Connection, grant: Grant, raw_body: bytes) -> None:
        self.repeat_key = self.repeat_id = ""
        self.is_repeat = False
        self.kept_response: Response | None = None
        self.state = state
        self.connection = connection
        self.grant = grant
        self.raw_body = raw_body
        self.urls = urls_of(connection)

    def answer(
        self, value: msgspec.Struct, *, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> Response:
        """*value* as JSON, with ``$schema`` in it."""
        return Response(_encoder.encode(self.with_schema(value)), status=status, headers=headers)

    def with_schema(self, value: msgspec.Struct) -> msgspec.Struct:
        """A copy of *value* that carries the URL of its schema."""
        return msgspec.structs.replace(value, schema=self.urls.schema(type(value).__name__))


class Routes:
    """Collects the endpoints of one module; *tag* groups them in the documentation."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
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

    def delete(self, path: str, **details: Any) -> Callable[[H], H]:
        """Declare a DELETE. Needs scope ``admin`` unless *details* say otherwise."""
        return self._declare("DELETE", path, **{"scope": "admin", **details})

    def _declare(
        self,
        method: Method,
        path: str,
        *,
        scope: Scope | None,
        answers: dict[int, Answer],
        summary: str,
        errors: tuple[int, ...] = (),
        body_required: bool = True,
        example: dict[str, Any] | None = None,
    ) -> Callable[[H], H]:
        def keep(handler: H) -> H:
            hints = get_type_hints(handler)
            names = tuple(name for name in inspect.signature(handler).parameters if name != "request")
            is_kept = method == "POST" and "headers" not in names
            self.endpoints.append(
                Endpoint(
                    method=method,
                    path=path,
                    handler=handler,
                    scope=scope,
                    summary=summary,
                    about=inspect.getdoc(handler) or "",
                    tag=self.tag,
                    answers=answers,
                    errors=errors,
                    inputs={name: hints[name] for name in names} | ({"headers": KeyHeaders} if is_kept else {}),
                    order=names,
                    body_required=body_required and "body" in names,
                    example=example,
                    once=is_kept,
                )
            )
            return handler

        return keep


def litestar_route(state: AppState, endpoints: Sequence[Endpoint]) -> HTTPRouteHandler:
    """
    The Litestar handler of one path: *endpoints* are its methods.

    Litestar finds the path and the method; from there on nothing but this stands between the socket and the handler,
    because starting a run is what clients do most.
    """
    methods: dict[str, Endpoint] = {endpoint.method: endpoint for endpoint in endpoints}
    if "GET" in methods:
        methods["HEAD"] = methods["GET"]
    path = endpoints[0].path.replace("}", ":str}")

    @route(path, http_method=sorted(methods), status_code=200)  # type: ignore[arg-type]  # they are method names
    async def serve(request: AnyRequest) -> ASGIApp:
        scope = request.scope
        try:
            return await _handle(state, methods[scope["method"]], scope, request.receive)
        except Exception as error:
            return problem_reply(error, scope)

    return serve


async def _handle(state: AppState, endpoint: Endpoint, scope: Connection, receive: Receive) -> ASGIApp:
    grant = OPEN
    if endpoint.scope is not None:
        grant = await state.authenticator.grant(scope)
        grant.require(endpoint.scope)
    inputs = endpoint.inputs
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    if "path" in inputs:
        values["path"] = read_path(inputs["path"], _parts(scope["path_params"]), problems)
    values["query"] = read_query(inputs.get("query", NoQuery), scope["query_string"], problems)
    if "headers" in inputs:
        values["headers"] = read_headers(inputs["headers"], scope["headers"], problems)
    raw = b""
    if "body" in inputs:
        raw = await read_body(state, scope, receive)
        if raw:
            _require_json(scope)
            values["body"] = read_json(inputs["body"], raw, problems)
        elif endpoint.body_required:
            problems.append(Problem("body", "is required"))
        else:
            values["body"] = inputs["body"]()
    raise_if_any(problems)
    request = Request(state, scope, grant, raw)
    wanted = [values[name] for name in endpoint.order]
    if endpoint.once and values["headers"].idempotency_key:
        return await answered_once(
            request, values["headers"].idempotency_key, lambda: endpoint.handler(request, *wanted)
        )
    return await endpoint.handler(request, *wanted)


def _parts(found: dict[str, str]) -> dict[str, str]:
    return {name: as_meant(value) if MARK in value else value for name, value in found.items()}


class NoQuery(msgspec.Struct, frozen=True):
    """No parameters: any is a mistake."""


async def read_body(state: AppState, scope: Connection, receive: Receive, max_body: int = MAX_BODY) -> bytes:
    """
    The whole body as it was sent, b"" without one. Raises TooLarge above *max_body* bytes, Malformed when the client
    left before its end, and Unserviceable when too many large bodies are being read at once.
    """
    announced = False
    for name, value in scope["headers"]:
        if name == b"content-length":
            if value.isdigit() and int(value) > max_body:
                raise TooLarge(f"the body has {int(value)} bytes; at most {max_body} are read")
            announced = value != b"0"
        elif name == b"transfer-encoding":
            announced = True
    if not announced:
        return b""
    message: Any = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return _within_limit(message.get("body", b""), max_body)
    chunks: list[bytes] = []
    size = 0
    try:
        while message["type"] != "http.disconnect":
            chunk = message.get("body", b"")
            size += len(chunk)
            state.unfinished_bytes += len(chunk)
            if size > max_body:
                raise TooLarge(f"the body has more than {max_body} bytes")
            if state.unfinished_bytes > MAX_UNFINISHED:
                raise Unserviceable("this process is reading as many large bodies as it can; try again")
            chunks.append(chunk)
            if not message.get("more_body"):
                return b"".join(chunks)
            message = await receive()
    finally:
        state.unfinished_bytes -= size
    raise Malformed("the client left before the body was complete")


def _within_limit(body: bytes, max_body: int) -> bytes:
    if len(body) > max_body:
        raise TooLarge(f"the body has more than {max_body} bytes")
    return body


def _require_json(scope: Connection) -> None:
    for name, value in scope["headers"]:
        if name == b"content-type":
            media, _, parameters = value.decode("latin-1").lower().partition(";")
            charset = parameters.partition("charset=")[2].strip(' "')
            if media.strip() != "application/json" and not media.strip().endswith("+json"):
                raise WrongMediaType(f"the body is {media.strip() or 'nameless'}; send it as application/json")
            if charset not in ("", "utf-8", "utf8"):
                raise WrongMediaType(f"the body is in {charset}; JSON is sent in UTF-8")
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise WrongMediaType(f"the body is encoded as {value.decode('latin-1')}; send it as it is")


def invalid(location: str, message: str, value: object = "") -> Invalid:
    """An Invalid with one problem, for what only a handler can tell."""
    return Invalid([Problem(location, message, as_text(value) if value != "" else "")])
