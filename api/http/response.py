"""A response of known length."""

from typing import Any, Final

import msgspec
from litestar.types import Receive, Scope, Send
from msgspec import UNSET, UnsetType

JSON: Final = b"application/json"
PROBLEM_JSON: Final = b"application/problem+json"
TEXT: Final = b"text/plain; charset=utf-8"

_GUARDS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"same-origin"),
)
"""Headers of every answer. There is no CORS header: pages of other origins have no business here."""

_encode: Final = msgspec.json.Encoder().encode


def guarded(*more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Response headers: those of every response and *more*, which win where both name the same header."""
    named = {name for name, _ in more}
    return [pair for pair in _GUARDS if pair[0] not in named] + list(more)


class Response:
    """One response of known length. A HEAD request gets its headers only."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        media: bytes = JSON,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.status = status
        self.body = body
        self.headers = [*_GUARDS, *headers] if not headers else guarded(*headers)
        if status not in (204, 304):
            self.headers.append((b"content-type", media))
            self.headers.append((b"content-length", b"%d" % len(body)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        body = b"" if scope.get("method") == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body, "more_body": False})


def json_response(value: Any, status: int = 200, *, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    """*value* as JSON."""
    return Response(_encode(value), status=status, headers=headers)


class ResponseModel(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An object of the native API; ``schema`` is the ``$schema`` member of every object response."""

    schema: str | UnsetType = msgspec.field(default=UNSET, name="$schema")
