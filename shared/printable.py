"""
Makes foreign text safe to print to a terminal or a log.

What stands in Redis was not always written by us, and the message of a run repeats words of its task. Characters that a
terminal obeys (an escape that clears the screen or sets its title, a carriage return that writes over a line), that
change the direction of text, or are invisible are shown as signs instead. Two invisible ones stay, because words of
several languages and many emoji are written with them: the joiners U+200C and U+200D. Pure.

Stored logs, messages and outputs are not changed by this: they are evidence, and the API gives them as they are.
"""

import re
from typing import Final

_CONTROLS: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and line feed, DEL, C1 with NEL
    "\u2028\u2029"  # ends of lines and paragraphs
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions
    "\u00ad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # invisible
    "\ud800-\udfff"  # halves of characters, which no stream takes
)
_ODD: Final = re.compile(f"[{_CONTROLS}]")
_COLOUR: Final = re.compile(f"\x1b\\[[0-9;]*m|[{_CONTROLS}]")


def printable(text: str, *, one_line: bool = False, colours: bool = False) -> str:
    """
    *text* with signs for what controls a terminal or is not seen, but for ends of lines and tabs.

    With *one_line* for these too; with *colours* not for escapes that only set them.
    """
    if text.isprintable():
        return text
    text = (_COLOUR if colours else _ODD).sub(_sign, text)
    return text.replace("\n", "\u240a").replace("\t", "\u2409") if one_line else text


def _sign(found: re.Match[str]) -> str:
    odd = found[0]
    if len(odd) > 1:
        return odd  # a colour
    code = ord(odd)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
