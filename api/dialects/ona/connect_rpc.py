"""
Connect RPC: declares calls, decodes their requests and encodes their responses.

Each call is a POST to its own path, or a GET if it only reads. A handler takes one decoded message and returns another.
"""

import base64
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeVar

from api.dialects.ona import binary, codec
from api.dialects.ona.errors import CALLS, refuse
from api.dialects.ona.wire import Message
from api.http.auth import Scope
from api.http.decoding import invalid
from api.http.problems import WrongMediaType
from api.http.request import Request
from api.http.request_body import MAX_BODY, unpacked
from api.http.response import JSON, Response
from api.http.router import Dialect, Routes
from shared.errors import Malformed

M = TypeVar("M", bound=Message)
Handler = Callable[[Request, M], Awaitable[Message]]

DIALECT: Final = Dialect(name="ona", refuse=refuse, prefixes=("/api/gitpod.v1.",))


class Codec(NamedTuple):
    """An encoding of messages."""

    media: bytes
    read: Callable[[Any, bytes], Any]
    write: Callable[[Message], bytes]


_CODECS: Final = {
    "application/json": Codec(JSON, codec.from_json, codec.to_json),
    "application/proto": Codec(b"application/proto", binary.from_binary, binary.to_binary),
}


class Calls(Routes):
    """The calls of one module."""

    def __init__(self) -> None:
        super().__init__(dialect=DIALECT)

    def call(self, kind: type[M], *, scope: Scope, service: str = CALLS) -> Callable[[Handler[M]], Handler[M]]:
        """Declare the handler of the call whose request is *kind*: ``GetTaskRequest`` declares ``GetTask``."""

        path = service + kind.__name__.removesuffix("Request")

        def register(handler: Handler[M]) -> Handler[M]:
            async def answer(request: Request, codec: Codec, content: bytes) -> Response:
                _require_deadline(request)
                wanted: M = codec.read(kind, content)
                return Response(codec.write(await handler(request, wanted)), media=codec.media)

            @self.post(path, scope=scope)
            async def serve(request: Request) -> Response:
                return await answer(request, _codec_of(request), request.body)

            if scope == "read":
                # The protocol allows GET for calls without side effects.
                @self.get(path, scope=scope)
                async def serve_get(request: Request) -> Response:
                    return await answer(request, *_from_query(request))

            return handler

        return register


def _require_deadline(request: Request) -> None:
    """
    Raises Invalid for a malformed deadline. A valid one is left to the client, which stops waiting by itself: if the
    server cut the call off, the client could not know whether it took effect.
    """
    deadline = request.header("connect-timeout-ms")
    if deadline and not (deadline.isascii() and deadline.isdigit() and len(deadline) <= 10):
        message = f"Connect-Timeout-Ms is {deadline[:50]}; it takes a whole number of at most 10 digits"
        raise invalid("", message)


def _codec_of(request: Request) -> Codec:
    """The codec of the request and its response. Raises WrongMediaType and Invalid."""
    version = request.header("connect-protocol-version")
    if version not in ("", "1"):
        raise invalid("", f"Connect-Protocol-Version is {version[:50]}; use 1")
    media, _, parameters = request.header("content-type").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "')
    codec = _CODECS.get(media.strip())
    if codec is None or charset not in ("", "utf-8", "utf8"):
        sent = media.strip()[:100] or "nameless"
        raise WrongMediaType(f"the body is {sent}; send it as application/json in UTF-8, or as application/proto")
    return codec


def _from_query(request: Request) -> tuple[Codec, bytes]:
    """The codec and the message of a GET. Raises Invalid, Malformed, WrongMediaType and TooLarge."""
    given = {name: values[0] for name, values in request.query.items()}
    unknown = given.keys() - {"connect", "encoding", "message", "base64", "compression"}
    if unknown or "message" not in given or "encoding" not in given or given.get("connect", "v1") != "v1":
        message = "of a GET must be connect=v1, encoding and message, and may have base64 and compression"
        raise invalid("query", message)
    codec = _CODECS.get("application/" + given["encoding"])
    if codec is None:
        raise WrongMediaType(f"the message is {given['encoding'][:50]}; send it as json or proto")
    content = given["message"].encode()
    if given.get("base64") == "1":
        try:
            content = base64.b64decode(content + b"=" * (-len(content) % 4), b"-_", validate=True)
        except ValueError:
            raise Malformed("the message is not in base64, as the query says") from None
    return codec, unpacked(content, given.get("compression", ""), MAX_BODY)
