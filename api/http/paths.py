"""
Names with a slash in a path.

ASGI servers decode ``%2F`` before anybody routes, and then it parts what it was to hold together. Until the path is
routed, a mark stands for it.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

MARK: Final = "\x1f"
SLASH: Final = MARK + "1"
ITSELF: Final = MARK + "0"

_HELD: Final = re.compile(r"%([12])[fF]")


def held_together(raw: str) -> str:
    """A path as it was sent, decoded, with marks for what must not part it."""
    return unquote(_HELD.sub(lambda found: SLASH if found[1] == "2" else ITSELF, raw))


def as_meant(part: str) -> str:
    """A part of a routed path, as the client meant it."""
    return part.replace(SLASH, "/").replace(ITSELF, MARK)


def as_sent(path: str) -> str:
    """A path with marks, encoded again where they stand."""
    return path.replace(SLASH, "%2F").replace(ITSELF, "%1F")
