"""
How a dialect's requests come in and its answers go out.

The native endpoints document themselves by structs and refuse with RFC 9457; a dialect's paths, methods, statuses and
error bodies are another system's. So a dialect says with one ``Dialect`` how it refuses, declares its paths with
``Routes``, and its handlers get a ``DialectRequest``::

    DIALECT = Dialect(name="marquez", refuse=refuse, prefixes=("/api/v1/",))
    routes = Routes(DIALECT)

    @routes.on("GET", "/api/v1/namespaces/{namespace}", scope="read")
    async def read_namespace(ask: DialectRequest) -> Response: ...
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from litestar import route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Send
from litestar.types import Scope as Connection

from api.http.auth import OPEN, Grant, Scope
from api.http.decoding import MAX_QUERY_FIELDS, raise_if_any, read_json
from api.http.endpoint import MAX_BODY, read_body
from api.http.paths import MARK, as_meant, as_sent, held_together
from api.http.problems import AnyRequest, TooLarge, WrongMediaType, named
from api.http.response import Response
from api.http.state import AppState
from api.http.urls import urls_of
from shared.errors import Malformed, Problem, RunfleetError

T = TypeVar("T", bound=msgspec.Struct)
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Refuse = Callable[[RunfleetError, Connection], Response]


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """
    Another system's API. ``refuse`` gives any error its shape; it gets only errors with a ``status``, an unexpected one
    as ``api.http.problems.Unexpected`` after it was logged. ``prefixes``: unknown paths below these are refused by it
    too.
    """

    name: str
    refuse: Refuse
    prefixes: tuple[str, ...]

    def answer(self, error: Exception, scope: Connection) -> Response:
        """The answer for *error*, in the dialect's shape."""
        if MARK in scope["path"]:
            scope = {**scope, "path": as_sent(scope["path"])}  # type: ignore[assignment]
        return self.refuse(named(error, scope), scope)


class DialectRequest:
    """
    A request as a dialect's handler sees it.

    ``path`` has the parts of the path by name, a ``%2F`` in one decoded; ``query`` the parameters in the order given;
    ``body`` the bytes after any gzip.
    """

    __slots__ = ("_query", "body", "connection", "grant", "path", "state", "urls")

    def __init__(self, state: AppState, connection: Connection, grant: Grant, body: bytes) -> None:
        self.state = state
        self.connection = connection
        self.grant = grant
        self.body = body
        self.path = _parts(connection)
        self.urls = urls_of(connection)
        self._query: dict[str, list[str]] | None = None

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's parameters. Raises Malformed when it cannot be read."""
        if self._query is None:
            self._query = {}
            try:
                text = self.connection["query_string"].decode("latin-1")
                pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
            except ValueError as error:
                raise Malformed(f"the query string cannot be read: {error}") from None
            for name, value in pairs:
                self._query.setdefault(name, []).append(value)
        return self._query

    def header(self, name: str) -> str:
        """The first header called *name* (in lower case), or ""."""
        return header(self.connection, name)

    def json(self) -> Any:
        """The body's JSON value. Raises Malformed."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"the body is not JSON: {error}") from None

    def read(self, kind: type[T]) -> T:
        """The body as a *kind*. Raises Malformed, and Invalid with all its problems, located as ``body.x.y``."""
        problems: list[Problem] = []
        value = read_json(kind, self.body, problems)
        raise_if_any(problems)
        assert value is not None
        return value


Handler = Callable[[DialectRequest], Awaitable[ASGIApp]]
H = TypeVar("H", bound=Handler)


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one path of a dialect; *scope* None needs no token."""

    dialect: Dialect
    method: Method
    path: str
    scope: Scope | None
    max_body: int
    handler: Handler


class Routes:
    """Collects what one module of a dialect answers."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.declared: list[Route] = []

    def on(self, method: Method, path: str, *, scope: Scope | None, max_body: int = MAX_BODY) -> Callable[[H], H]:
        """Declare a handler. A GET is a HEAD too; *max_body* is in bytes, after gzip as well as before."""

        def keep(handler: H) -> H:
            self.declared.append(
                Route(dialect=self.dialect, method=method, path=path, scope=scope, max_body=max_body, handler=handler)
            )
            return handler

        return keep


def header(scope: Connection, name: str) -> str:
    """The first header called *name* (in lower case), or ""."""
    wanted = name.encode()
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == wanted), "")


def dialect_routes(state: AppState, declared: Sequence[Route]) -> list[HTTPRouteHandler]:
    """One Litestar handler for each path of *declared*."""
    by_path: dict[str, list[Route]] = {}
    for one in declared:
        by_path.setdefault(one.path, []).append(one)
    return [_litestar_route(state, methods) for methods in by_path.values()]


class EncodedSlashes:
    """
    Lets a name with a slash be one part of a path below *prefixes* (``api.http.paths``).
    """

    def __init__(self, app: ASGIApp, prefixes: tuple[str, ...]) -> None:
        self._app = app
        self._prefixes = prefixes

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Route on the path as it was sent."""
        raw: bytes = scope.get("raw_path") or b""
        if b"%" in raw and scope["path"].startswith(self._prefixes):
            scope["path"] = held_together(raw.partition(b"?")[0].decode("latin-1"))
        await self._app(scope, receive, send)


def _parts(connection: Connection) -> dict[str, str]:
    """The parts of the path by name, as they were meant. Raises Malformed for bytes that are no text."""
    if "\ufffd" in connection["path"]:  # what ASGI servers put for such bytes, unless it was sent
        try:
            unquote_to_bytes(connection.get("raw_path") or connection["path"]).decode()
        except UnicodeDecodeError:
            raise Malformed("the path is not in UTF-8; percent-encode the bytes of names in UTF-8") from None
    parts = connection["path_params"].items()
    return {name: as_meant(value) for name, value in parts}


def _litestar_route(state: AppState, declared: Sequence[Route]) -> HTTPRouteHandler:
    methods: dict[str, Route] = {one.method: one for one in declared}
    if "GET" in methods:
        methods["HEAD"] = methods["GET"]
    path = declared[0].path.replace("}", ":str}")

    @route(path, http_method=sorted(methods), status_code=200)  # type: ignore[arg-type]  # they are method names
    async def serve(request: AnyRequest) -> ASGIApp:
        scope = request.scope
        asked = methods[scope["method"]]
        try:
            return await _handle(state, asked, scope, request.receive)
        except Exception as error:
            return asked.dialect.answer(error, scope)

    return serve


async def _handle(state: AppState, asked: Route, scope: Connection, receive: Receive) -> ASGIApp:
    grant = OPEN
    if asked.scope is not None:
        grant = await state.authenticator.grant(scope)
        grant.require(asked.scope)
    body = await read_body(state, scope, receive, asked.max_body)
    if body:
        body = unpacked(body, header(scope, "content-encoding").strip().lower(), asked.max_body)
    return await asked.handler(DialectRequest(state, scope, grant, body))


class UnknownEncoding(WrongMediaType):
    """The body is packed in a way that nobody here can unpack."""


def unpacked(body: bytes, encoding: str, max_body: int) -> bytes:
    """*body* without its Content-Encoding. Raises UnknownEncoding, Malformed, and TooLarge beyond *max_body* bytes."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise UnknownEncoding(f"the body is encoded as {encoding[:50]}; send it as it is, or with gzip")
    packed = zlib.decompressobj(wbits=31)
    try:
        plain = packed.decompress(body, max_body + 1)
        if len(plain) > max_body or packed.unconsumed_tail:
            raise TooLarge(f"the body has more than {max_body} bytes when unpacked")
        if not packed.eof or packed.unused_data:
            raise Malformed("the gzip body is cut off, or more follows it")
    except zlib.error as error:
        raise Malformed(f"the body is not gzip, as its Content-Encoding says: {error}") from None
    return plain
