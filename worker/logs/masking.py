"""
The mask that hides secrets in output, as they are and in the forms that programs commonly write them. Pure.

A value is found as plain text, in JSON, a URL, a shell's or Python's quotes, and inside Base64. Very short or common
values are not masked: hiding each ``1`` of a log would only give it away.
"""

import base64
import json
import re
import shlex
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, quote_plus

REDACTED: Final = "[redacted]"

OWN_MIN: Final = 4
"""Characters of the shortest secret that is masked in the runs of its own task."""

FOREIGN_MIN: Final = 8
"""Characters of the shortest that is masked in the runs of all other tasks as well."""

COMMON: Final = frozenset(
    ["true", "false", "none", "null", "default", "production", "development", "staging", "localhost", "127.0.0.1"]
)
"""Values that are masked nowhere."""

_BASE64_MIN: Final = 8


class Mask:
    """Replaces values, in all their forms, in bytes and text with ``REDACTED``."""

    def __init__(self, values: Iterable[str], foreign: Iterable[str] = ()) -> None:
        """*values* are also found inside Base64; *foreign* are not, because there may be many of them."""
        parts = _parts(values, _forms) | _parts(foreign, _plain_forms)
        self.parts: Final = sorted(parts, key=lambda part: (-len(part), part))
        """All forms of all values, the longest first."""
        self._pattern = re.compile(b"|".join(map(re.escape, self.parts))) if self.parts else None

    def finds(self, raw: bytes) -> bool:
        """Whether there is something to mask."""
        return any(part in raw for part in self.parts)

    def matches(self, raw: bytes) -> Iterable[re.Match[bytes]]:
        """All places to mask."""
        return self._pattern.finditer(raw) if self._pattern is not None else ()

    def raw(self, raw: bytes) -> bytes:
        """*raw*, masked."""
        if self._pattern is None or not raw or not self.finds(raw):
            return raw
        return self._pattern.sub(REDACTED.encode(), raw)

    def text(self, text: str) -> str:
        """*text*, masked."""
        if self._pattern is None or not text:
            return text
        raw = text.encode("utf-8", "surrogateescape")
        return self.raw(raw).decode("utf-8", "surrogateescape") if self.finds(raw) else text

    def value(self, value: Any) -> Any:
        """A JSON value, masked at any depth, including the names in it."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(one) for one in value]
        if isinstance(value, dict):
            return {self.text(name): self.value(one) for name, one in value.items()}
        if isinstance(value, (int, float)) and not isinstance(value, bool) and self.finds(json.dumps(value).encode()):
            return REDACTED
        return value


@lru_cache(maxsize=512)
def mask(own: frozenset[str], foreign: frozenset[str] = frozenset()) -> Mask:
    """
    The mask for a run with its *own* secrets; *foreign* are all other known ones.

    It is created once for each task, not for each run.
    """
    return Mask(
        [value for value in own if is_maskable(value)],
        [value for value in foreign - own if is_maskable(value, FOREIGN_MIN)],
    )


def is_maskable(value: str, least: int = OWN_MIN) -> bool:
    """Whether *value* is long and uncommon enough to be masked."""
    return len(value) >= least and value.lower() not in COMMON


def _parts(values: Iterable[str], forms: Callable[[str], set[bytes]]) -> set[bytes]:
    """
    All forms of all values; a value with several lines is masked line by line, because output never has it in one line.
    """
    parts: set[bytes] = set()
    for value in values:
        lines = [line.strip() for line in value.splitlines()]
        for one in [value] if lines == [value] else [value, *filter(is_maskable, lines)]:
            parts |= forms(one)
    return {part for part in parts if b"\n" not in part}


def _forms(value: str) -> set[bytes]:
    raw = value.encode("utf-8", "surrogateescape")
    return _plain_forms(value) | (_base64(raw) if len(raw) >= _BASE64_MIN else set())


def _plain_forms(value: str) -> set[bytes]:
    in_json = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    raw = value.encode("utf-8", "surrogateescape")
    in_urls = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    found = {value, *in_json, *(text.replace("/", "\\/") for text in in_json), *in_urls}
    found |= {re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), text) for text in in_urls}
    found |= {repr(value)[1:-1], value.replace("'", "'\\''"), shlex.quote(value)[1:-1] if "'" in value else value}
    return {text.encode("utf-8", "surrogateescape") for text in found}


def _base64(raw: bytes) -> set[bytes]:
    """The Base64 encodings of *raw* inside other data: three texts, one for each offset modulo three."""
    found = set()
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw).rstrip(b"=")
        whole = len(raw) + before
        inner = text[(0, 2, 3)[before] : whole * 4 // 3]
        found |= {inner, text} if not before else {inner}
    return found | {text.replace(b"+", b"-").replace(b"/", b"_") for text in found}


NOTHING: Final = Mask(())
"""The mask that hides nothing."""
