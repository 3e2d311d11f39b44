"""
The store's scripts, loaded by name from ``lua/``.

A script is put together from a first line with its flags, the libraries that it needs, and its own text. Every file
names the libraries that it calls itself (``-- uses: clock records``); those that they use come with them. A name that
begins with ``on_`` is a hook: a function that calls what libraries of ``lua/dialects/lib`` declare for it
(``-- fills: on_run_ended=release_external``), so that the core names no dialect.

In Lua ``F.worker`` stands for the position of that field in ``runs.Record``, ``S.pending`` for a status and
``R.failed`` for an end reason: they are replaced here, so that each is written down once.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

from shared.runs import FIELDS, Reason, Status

FOLDER = Path(__file__).parents[1] / "lua"
LITERALS: Final = {
    **{f"F.{name}": str(number) for number, name in enumerate(FIELDS, 1)},
    **{f"S.{status.value}": f"'{status.value}'" for status in Status},
    **{f"R.{reason.value}": f"'{reason.value}'" for reason in Reason},
}


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
    The script of that name.

    Raises FileNotFoundError, KeyError for a field, status or end reason that does not exist, and ValueError for a
    library that does not exist or uses itself.
    """
    return compose(name, path_of(name).read_text())


def path_of(name: str) -> Path:
    """The file of a script: in ``lua/dialects`` if only other systems' APIs use it, otherwise in ``lua/core``."""
    path = FOLDER / "core" / f"{name}.lua"
    return path if path.exists() else FOLDER / "dialects" / f"{name}.lua"


def compose(name: str, own: str) -> Script:
    """A script of one's own text. Raises as ``script`` does."""
    flags = declared(own, "flags")
    parts = [_library(library) for library in _in_order(name, declared(own, "uses"))]
    lines = "\n".join([*parts, own]).splitlines()
    text = "\n".join(line for line in lines if line and not line.lstrip().startswith("--"))
    text = re.sub(r"\b[FSR]\.\w+", lambda match: LITERALS[match[0]], text)
    return verbatim(name, f"#!lua{' flags=' + ','.join(flags) if flags else ''}\n{text}".encode())


def verbatim(name: str, text: bytes, *, key_suffix: str = "") -> Script:
    """A script of exactly this text, its key being ``<prefix>:<below>``, or the prefix alone."""
    sha = hashlib.sha1(text, usedforsecurity=False).hexdigest()
    return Script(name, text, sha, b":" + key_suffix.encode() if key_suffix else b"")


def script_names() -> list[str]:
    """Every operation that is a script, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*/*.lua") if path.parent.name != "lib")


def declared(text: str, what: str) -> list[str]:
    """The words that a file's header says for *what*: ``flags``, ``uses``, ``fills`` or ``transitions``."""
    found = re.search(rf"^-- {what}: (.+)$", text, re.MULTILINE)
    return found[1].split() if found else []


def _in_order(name: str, uses: list[str]) -> list[str]:
    """These libraries and all that they use, each after those that it uses itself."""
    graph: dict[str, list[str]] = {}
    wanted = [(name, library) for library in uses]
    for user, library in wanted:
        if library not in graph:
            try:
                graph[library] = declared(_library(library), "uses")
            except FileNotFoundError:
                raise ValueError(f"{user}.lua uses {library}, which is no library in {FOLDER}") from None
            wanted += [(library, used) for used in graph[library]]
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ValueError(f"libraries of {name}.lua use one another in a circle: {' > '.join(error.args[1])}") from None


@cache
def _library(name: str) -> str:
    """The text of a library, or of the function that a hook is."""
    if not name.startswith("on_"):
        path = FOLDER / "lib" / f"{name}.lua"
        return (path if path.exists() else FOLDER / "dialects" / "lib" / f"{name}.lua").read_text()
    filled = []
    for path in sorted(FOLDER.glob("dialects/lib/*.lua")):
        fills = dict(word.split("=") for word in declared(path.read_text(), "fills"))
        filled += [(path.stem, fills[name])] if name in fills else []
    uses = "".join(f" {library}" for library, _ in filled)
    calls = "".join(f"  {function}(...)\n" for _, function in filled)
    return f"-- uses:{uses}\nlocal function {name}(...)\n{calls}end"
