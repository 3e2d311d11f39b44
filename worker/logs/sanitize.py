"""
Sanitizes the output of a run: converts the bytes of whole lines to readable text without secrets. Pure.

Text that a terminal would have overwritten is left out, colours stay, other control characters become visible signs.
"""

import re
from collections.abc import Iterator
from typing import Final

from worker.logs.masking import NOTHING, Mask

LINE_MAX: Final = 64 * 1024
"""Bytes of text in one line; a longer one goes on in the next, and says so."""

_COLOUR_MAX = 32
_COLOUR = rb"\x1b\[[0-9;:]*m"
_ODD = re.compile(_COLOUR.decode() + "|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CUT_COLOUR = re.compile("\x1b[^m]*$")
_WHOLE_COLOUR = re.compile(_COLOUR)
_FOLLOWING = (0,) * 12 + (1, 1, 2, 3)
"""How many bytes follow the first one of a character in UTF-8, by the upper half of that."""

_NOT_ODD = bytes(byte for byte in range(256) if byte not in {*range(9), *range(0x0B, 0x20), 0x7F})


class Cleaner:
    """Converts output to readable text, masked by *mask*."""

    def __init__(self, mask: Mask = NOTHING) -> None:
        self._mask = mask
        self.hold = LINE_MAX + max(map(len, mask.parts), default=0) + _COLOUR_MAX
        """Bytes of an unfinished line after which there is a ``place_to_cut`` it."""

    def has_secret(self, raw: bytes) -> bool:
        """Whether *raw* contains something to mask, which may make it shorter."""
        return self._mask.finds(raw)

    def clean(self, raw: bytes) -> str:
        """Whole lines as they are stored, without the end of the last one."""
        raw = self._mask.raw(raw)
        if b"\r" in raw:
            raw = _last_states(raw)
        text = raw.decode("utf-8", "replace")
        if b"\xc2" in raw or raw.translate(None, _NOT_ODD):
            text = _ODD.sub(_show, text)
        return text

    def certain(self, data: bytes) -> bytes:
        """
        The part of an unfinished line that can be shown whatever follows: its end may begin a secret, a character or a
        colour.
        """
        cut = len(data)
        for part in self._mask.parts:
            longest = min(len(part) - 1, len(data))
            cut = min(cut, len(data) - next((n for n in range(longest, 0, -1) if data.endswith(part[:n])), 0))
        for match in self._mask.matches(data):
            if match.start() < cut < match.end():
                cut = match.start()
        colour = data.rfind(b"\x1b", max(0, cut - _COLOUR_MAX), cut)
        if colour >= 0 and not _WHOLE_COLOUR.match(data, colour, cut):
            cut = colour
        start = cut
        while start and cut - start < 3 and data[start - 1] & 0xC0 == 0x80:
            start -= 1
        if start and cut - start < _FOLLOWING[data[start - 1] >> 4]:
            cut = start - 1
        return data[:cut]

    def place_to_cut(self, data: bytes) -> int:
        """Where to cut a long line: not within a secret, a character or a colour. *data* is longer by a secret."""
        cut = LINE_MAX
        for match in self._mask.matches(data):
            if match.start() >= cut:
                break
            if match.end() > cut:
                return match.end()
        colour = data.rfind(b"\x1b", cut - _COLOUR_MAX, cut)
        if colour >= 0 and b"m" not in data[colour:cut]:
            return colour
        for back in range(3):
            if data[cut - back] & 0xC0 != 0x80:
                return cut - back
        return cut


def size_of(text: str) -> int:
    """The size of a line as ``log_max_size`` counts it: its bytes in UTF-8, and one for its end."""
    return (len(text) if text.isascii() else len(text.encode())) + 1


def in_pieces(text: str) -> Iterator[str]:
    """*text* in pieces of at most ``LINE_MAX`` bytes, cut between characters and not within a colour."""
    while size_of(text) > LINE_MAX + 1:
        piece = text.encode()[:LINE_MAX].decode("utf-8", "ignore")
        torn = _CUT_COLOUR.search(piece, len(piece) - _COLOUR_MAX)
        if torn and torn.start():
            piece = piece[: torn.start()]
        yield piece
        text = text[len(piece) :]
    yield text


def _last_states(raw: bytes) -> bytes:
    """The final state of each line in a terminal: the text after the last carriage return that text follows."""
    raw = raw.replace(b"\r\n", b"\n")
    return b"\n".join([line.rstrip(b"\r").rpartition(b"\r")[2] for line in raw.split(b"\n")])


def _show(match: re.Match[str]) -> str:
    odd = match[0]
    if len(odd) > 1:
        return odd  # a colour
    code = ord(odd)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"\\x{code:02x}"
