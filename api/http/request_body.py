"""Request bodies: size limits, encodings and media types."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from litestar.types import Receive
from litestar.types import Scope as Connection

from api.http.problems import TooLarge, WrongMediaType
from shared.errors import Malformed, Unserviceable

if TYPE_CHECKING:
    from api.http.state import AppState

MAX_BODY: Final = 1024 * 1024
"""Bytes of the largest body that is read."""

MAX_UNFINISHED: Final = 64 * MAX_BODY
"""Bytes of all bodies together whose end has not come yet; clients may take a minute for one."""


class UnknownEncoding(WrongMediaType):
    """The body has a Content-Encoding that is not supported."""


async def read_body(state: AppState, scope: Connection, receive: Receive, max_body: int = MAX_BODY) -> bytes:
    """
    The whole body as sent, b"" without one. Raises TooLarge above *max_body* bytes, Malformed when the client
    disconnected before its end, and Unserviceable when too many large bodies are being read at once.
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
    raise Malformed("the client disconnected before the body was complete")


def _within_limit(body: bytes, max_body: int) -> bytes:
    if len(body) > max_body:
        raise TooLarge(f"the body has more than {max_body} bytes")
    return body


def require_json(scope: Connection) -> None:
    """Raises WrongMediaType for a body that is not sent as plain JSON in UTF-8."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            media, _, parameters = value.decode("latin-1").lower().partition(";")
            charset = parameters.partition("charset=")[2].strip(' "')
            if media.strip() != "application/json" and not media.strip().endswith("+json"):
                raise WrongMediaType(f"the body is {media.strip() or 'of no media type'}; send it as application/json")
            if charset not in ("", "utf-8", "utf8"):
                raise WrongMediaType(f"the body is in {charset}; JSON is sent in UTF-8")
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise WrongMediaType(f"the body is encoded as {value.decode('latin-1')}; send it as it is")


def unpacked(body: bytes, encoding: str, max_body: int) -> bytes:
    """*body*, decompressed. Raises UnknownEncoding, Malformed, and TooLarge beyond *max_body* bytes."""
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
