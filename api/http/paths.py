"""
Encoded slashes inside a name in a path.

ASGI servers decode ``%2F`` before the router splits the path, which would split the name too. Until the path is routed,
an escape sequence replaces it.
"""

import re
from typing import Any, Final
from urllib.parse import unquote

from litestar.types import ASGIApp, Receive, Send

ESCAPE: Final = "\x1f"
_SLASH: Final = ESCAPE + "1"
_ITSELF: Final = ESCAPE + "0"
_ENCODED: Final = re.compile(r"%([12])[fF]")


class EncodedSlashes:
    """ASGI middleware that lets one part of a path below *prefixes* contain encoded slashes."""

    def __init__(self, app: ASGIApp, prefixes: tuple[str, ...]) -> None:
        self._app = app
        self._prefixes = prefixes

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Route on the path as it was sent."""
        raw: bytes = scope.get("raw_path") or b""
        if b"%" in raw and scope["path"].startswith(self._prefixes):
            scope["path"] = escaped(raw.partition(b"?")[0].decode("latin-1"))
        await self._app(scope, receive, send)


def escaped(raw: str) -> str:
    """A path as it was sent, decoded but for its encoded slashes."""
    return unquote(_ENCODED.sub(lambda found: _SLASH if found[1] == "2" else _ITSELF, raw))


def unescaped(parts: dict[str, str]) -> dict[str, str]:
    """The parts of a routed path by name, decoded in full."""
    return {
        name: part.replace(_SLASH, "/").replace(_ITSELF, ESCAPE) if ESCAPE in part else part
        for name, part in parts.items()
    }


def readable(path: str) -> str:
    """An escaped path for messages: percent-encoded again where necessary."""
    return path.replace(_SLASH, "%2F").replace(_ITSELF, "%1F")
