"""``${NAME}`` in the strings of a task file: where it is replaced, and where it is kept."""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import UNSET

from shared.config.source_locations import Place

_DOLLAR: Final = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?")

VERBATIM: Final = ("run",)
"""Keys whose strings are kept, because the shell replaces ``${NAME}`` there."""

LATER: Final = ("secrets",)
"""Keys whose strings the worker replaces, so that the values never reach the store."""


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """
    *text* with each ``${NAME}`` replaced from *environ*, and ``$${`` by ``${``; replaced text is not scanned again.

    Raises ValueError that names the variable when it is not set, or when ``${`` is not followed by a name and ``}``.
    A worker calls this for a task's ``secrets``.
    """

    def value(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = _name(match)
        if name not in environ:
            raise ValueError(
                f"${{{name}}} is not set: set it in the environment, or write $${{{name}}} for the literal text"
            )
        return environ[name]

    return _DOLLAR.sub(value, text)


def references(text: str) -> list[str]:
    """The names of the variables in *text* that ``substitute`` would replace."""
    return [match[1] for match in _DOLLAR.finditer(text) if match[1]]


def substitute_tree(value: object, environ: Mapping[str, str], place: Place) -> object:
    """
    *value*, the content of a task file, with all strings substituted but those of ``VERBATIM`` and ``LATER`` keys.

    A string that cannot be substituted is reported at its place and becomes UNSET, so that it is reported only once.
    """
    if isinstance(value, str):
        try:
            if _belongs_to(place, LATER):
                return check(value)
            return value if _belongs_to(place, VERBATIM) else substitute(value, environ)
        except ValueError as error:
            place.problem(str(error))
            return UNSET
    if isinstance(value, dict):
        return {key: substitute_tree(item, environ, place.under(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute_tree(item, environ, place.under(index)) for index, item in enumerate(value)]
    return value


def check(text: str) -> str:
    """*text*, unchanged. Raises ValueError when a ``${`` in it is not a reference."""
    for match in _DOLLAR.finditer(text):
        if match[0] != "$${":
            _name(match)
    return text


def _name(match: re.Match[str]) -> str:
    if not match[1]:
        raise ValueError("has a ${ without a variable's name: write ${NAME}, or $${ for a literal ${")
    return match[1]


def _belongs_to(place: Place, keys: tuple[str, ...]) -> bool:
    """Whether the place is at or below one of *keys* of a task or of the defaults."""
    path = place.path
    depth = {"tasks": 2, "defaults": 1}.get(str(path[0]), 0) if path else 0
    return bool(depth) and len(path) > depth and path[depth] in keys
