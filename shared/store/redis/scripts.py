"""
The store's scripts, loaded by name from ``lua/``.

A script is put together from three parts: a first line with its flags, the parts of ``lua/lib/`` that its header asks
for (``-- uses: clock records``), and its own text. ``F.status`` in Lua stands for the position of that field in
``runs.Record``: it is replaced by the number here, so that the order is written down once.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shared.runs import FIELDS

FOLDER = Path(__file__).parents[1] / "lua"
_POSITION = {name: str(number) for number, name in enumerate(FIELDS, 1)}


@dataclass(frozen=True, slots=True)
class Script:
    """
    A script's name, its whole text, and the SHA-1 that Redis knows it by.

    Its one key is the store's prefix and whatever ``key_suffix`` adds to that.
    """

    name: str
    text: bytes
    sha: str
    key_suffix: bytes = b""


@cache
def script(name: str) -> Script:
    """
    The script of that name. Raises FileNotFoundError, or KeyError for a field that a record does not have.
    """
    return compose(name, path_of(name).read_text())


def path_of(name: str) -> Path:
    """The file of a script: in ``lua/dialects`` if only other systems' APIs use it, otherwise in ``lua/core``."""
    path = FOLDER / "core" / f"{name}.lua"
    return path if path.exists() else FOLDER / "dialects" / f"{name}.lua"


def compose(name: str, own: str) -> Script:
    """A script of one's own text. Raises as ``script`` does."""
    flags = re.search(r"^-- flags: (.+)$", own, re.MULTILINE)
    uses = re.search(r"^-- uses: (.+)$", own, re.MULTILINE)
    parts = ["#!lua flags=" + flags[1].replace(" ", ",") if flags else "#!lua"]
    parts += [_library(part) for part in (uses[1].split() if uses else [])]
    text = "\n".join([*parts, own])
    text = re.sub(r"\bF\.(\w+)", lambda match: _POSITION[match[1]], text)
    text = "\n".join(line for line in text.splitlines() if line and not line.lstrip().startswith("--"))
    return verbatim(name, text.encode())


def verbatim(name: str, text: bytes, *, key_suffix: str = "") -> Script:
    """A script of exactly this text, its key being ``<prefix>:<below>``, or the prefix alone."""
    sha = hashlib.sha1(text, usedforsecurity=False).hexdigest()
    return Script(name, text, sha, b":" + key_suffix.encode() if key_suffix else b"")


def script_names() -> list[str]:
    """Every operation that is a script, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*/*.lua") if path.parent.name != "lib")


@cache
def _library(name: str) -> str:
    return (FOLDER / "lib" / f"{name}.lua").read_text()
