"""
Text that somebody else may have written, as it can go to a terminal or a log.

What stands in Redis was not always written by us. Characters that a terminal obeys (an escape that clears the screen or
sets its title, a carriage return that writes over a line, a change of direction) are shown as signs instead. Pure.
"""

from __future__ import annotations

import re
from typing import Final

_ODD: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str, *, one_line: bool = False) -> str:
    """*text* with signs for what controls a terminal, but for ends of lines and tabs; with *one_line* for these too."""
    if text.isprintable():
        return text
    text = _ODD.sub(_sign, text)
    return text.replace("\n", "\u240a").replace("\t", "\u2409") if one_line else text


def _sign(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
