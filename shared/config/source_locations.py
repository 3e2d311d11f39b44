"""Places in a task file, and the problems found there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

Path = tuple[str | int, ...]
"""Keys and list positions from the top of the file: ``("tasks", "report", "cron", 1)``."""


class Finding(NamedTuple):
    """One problem. ``nearest``: the name that was probably meant, or ""."""

    file: str
    path: Path
    message: str
    nearest: str = ""


class Place(NamedTuple):
    """A position in one file, and the list that collects problems. ``file`` is "" for a table from elsewhere."""

    found: list[Finding]
    file: str = ""
    path: Path = ()

    def under(self, key: str | int) -> Place:
        """The place of *key*, or of that item, in the table or list at this place."""
        return self._replace(path=(*self.path, key))

    def problem(self, message: str, nearest: str = "") -> None:
        """Report a problem at this place."""
        line = message if message.isprintable() else ascii(message)[1:-1]  # one problem, one line
        self.found.append(Finding(self.file, self.path, line, nearest))


def location(path: Path) -> str:
    """*path* as it would be written in TOML: ``tasks."my.task".cron[1]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else show(part))
    return text


def show(value: object) -> str:
    """*value* for a message: one short printable line, as TOML writes it; lists and tables are only named."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value if len(value) <= 60 else value[:60] + "…"
        return json.dumps(text, ensure_ascii=not text.replace(" ", "").isprintable())
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a number of more than 64 bits"
    if isinstance(value, float):
        return repr(value)
    names = {"list": "a list", "tuple": "a list", "dict": "a table", "NoneType": "null"}
    return names.get(type(value).__name__, f"a {type(value).__name__}")


def nearest(word: str, known: Iterable[str], alike: float = 0.6) -> str:
    """The one of *known* that *word* was probably meant to be, or ""; *alike*: the least similarity, from 0 to 1."""
    by_lower = {name.lower(): name for name in known}
    matches = get_close_matches(word.lower()[:100], by_lower, 1, alike)
    return by_lower[matches[0]] if matches else ""
