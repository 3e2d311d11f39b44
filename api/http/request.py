"""The request as handlers see it, in the native API and in every dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from litestar.types import Scope as Connection

from api.http.auth import Grant
from api.http.decoding import query_values, raise_if_any, read_json
from api.http.paths import unescaped
from api.http.response import Response
from api.http.urls import urls_of
from shared.errors import Malformed, Problem

if TYPE_CHECKING:
    from api.http.state import AppState
    from shared.ops import Catalog
    from shared.store.redis.async_store import AsyncStore

T = TypeVar("T", bound=msgspec.Struct)

_encoder = msgspec.json.Encoder()


class Request:
    """
    One request: its content, its sender's rights, and the state of the process that serves it.

    ``body`` is the decompressed body. ``repeat_key`` identifies the request and all its repeats, and ``repeat_id`` is
    an id that these share; both are "" without an ``Idempotency-Key``. ``is_repeat``: the request was received before,
    and may have taken effect. ``kept_response`` is the response for repeats, if it differs: a token is shown only once.
    """

    __slots__ = (
        "_query",
        "body",
        "connection",
        "grant",
        "is_repeat",
        "kept_response",
        "repeat_id",
        "repeat_key",
        "state",
        "urls",
    )

    def __init__(self, state: AppState, connection: Connection, grant: Grant, body: bytes) -> None:
        self.repeat_key = self.repeat_id = ""
        self.is_repeat = False
        self.kept_response: Response | None = None
        self.state = state
        self.connection = connection
        self.grant = grant
        self.body = body
        self.urls = urls_of(connection)
        self._query: dict[str, list[str]] | None = None

    @property
    def store(self) -> AsyncStore:
        """The store of the process."""
        return self.state.store

    @property
    def catalog(self) -> Catalog:
        """The catalog of tasks, cached in this process."""
        return self.state.catalog

    @property
    def path(self) -> dict[str, str]:
        """The parts of the path by name, decoded. Raises Malformed if one is not UTF-8."""
        if "\ufffd" in self.connection["path"]:  # ASGI servers replace invalid bytes by this, unless it was sent
            try:
                unquote_to_bytes(self.connection.get("raw_path") or self.connection["path"]).decode()
            except UnicodeDecodeError:
                raise Malformed("the path is not in UTF-8; percent-encode the bytes of names in UTF-8") from None
        return unescaped(self.connection["path_params"])

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's parameters, each with its values in the order given. Raises Malformed."""
        if self._query is None:
            self._query = query_values(self.connection["query_string"])
        return self._query

    def header(self, name: str) -> str:
        """The first header called *name* (in lower case), or ""."""
        wanted = name.encode()
        return next((value.decode("latin-1") for key, value in self.connection["headers"] if key == wanted), "")

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

    def answer(
        self, value: msgspec.Struct, *, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> Response:
        """*value* as JSON, with ``$schema`` in it."""
        value = msgspec.structs.replace(value, schema=self.urls.schema(type(value).__name__))
        return Response(_encoder.encode(value), status=status, headers=headers)
