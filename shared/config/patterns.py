"""
A check of untrusted regular expressions: refuses those that could take very long (ReDoS).

Python's ``re`` backtracks: ``(a+)+b`` takes twice as long for each further ``a``, and nothing can interrupt it. (re2
does not backtrack, but has no wheels for musl.) So each pattern is analysed before it is used: wherever a repeat or an
alternative could end in more than one place, the next character must decide. Outside of repeats a few places may stay
ambiguous, because texts are short.
"""

import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

op: Any = import_module("re._constants")  # private, but in every Python since 3.11
parser: Any = import_module("re._parser")

PATTERN_MAX: Final = 500
"""Maximum length of a pattern, in characters."""

TEXT_MAX: Final = 2000
"""Maximum length of a text that a pattern is matched with, in characters."""

OPEN_REPEATS: Final = 2
OPEN_CHOICES: Final = 5
"""How many repeats, and how many options and alternatives, may be ambiguous outside of repeats."""

Tokens = Any
"""A pattern as ``re`` parses it: a sequence of (operation, details)."""

_OTHERS: Final = 1 << 128
"""A set of characters is a bit mask: one bit per ASCII character, and this one for all others."""

_ALL: Final = (1 << 129) - 1


@lru_cache(maxsize=1000)
def why_not(pattern: str) -> str:
    """Why *pattern* is refused, to follow its name in a sentence; "" when it is accepted."""
    if len(pattern) > PATTERN_MAX:
        return f"has {len(pattern)} characters, more than {PATTERN_MAX}: shorten it"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a syntax that a future Python may read differently
            re.compile(pattern)
            tokens = parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is not a regular expression: {error}"
    analysis = _Analysis(bool(tokens.state.flags & re.IGNORECASE))
    try:
        analysis.sequence(tokens, 0, inside=False)
    except _TooSlow as found:
        return f"{show(pattern)} may take very long on some texts: {found}"
    if analysis.repeats > OPEN_REPEATS or analysis.choices > OPEN_CHOICES:
        return (
            f"{show(pattern)} may take very long on some texts: {analysis.repeats + analysis.choices} of its repeats, "
            "options and alternatives can match what follows them; exclude that, as in [^,]* before a comma"
        )
    return ""


def show(pattern: str) -> str:
    """The pattern, shortened for an error message."""
    return pattern if len(pattern) <= 100 else pattern[:99] + "…"


class _TooSlow(Exception):
    """A part of a pattern that could take very long; the message says which, and the cure."""


class _Analysis:
    """An analysis of a pattern, from its end to its beginning; counts the ambiguous places outside of repeats."""

    def __init__(self, ignores_case: bool) -> None:
        self.repeats = self.choices = 0
        self._ignores_case = ignores_case

    def sequence(self, tokens: Tokens, follow: int, *, inside: bool) -> tuple[int, bool]:
        """The characters it can begin with, and whether it can be empty; *follow* is what may come after it."""
        first, empty = 0, True
        for code, details in reversed(list(tokens)):
            begins, is_empty = self._token(code, details, first | (follow if empty else 0), inside)
            first = begins | (first if is_empty else 0)
            empty = empty and is_empty
        return first, empty

    def _token(self, code: Any, details: Any, follow: int, inside: bool) -> tuple[int, bool]:
        if code in (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN):
            return self._characters(code, details), False
        if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            return self._repeat(code, details, follow, inside)
        if code is op.BRANCH:
            return self._branch(details[1], follow, inside)
        if code is op.SUBPATTERN:
            return self.sequence(details[3], follow, inside=inside)
        if code is op.ATOMIC_GROUP:
            return self.sequence(details, follow, inside=inside)
        if code in (op.ASSERT, op.ASSERT_NOT):
            self.sequence(details[1], 0, inside=inside)
            return 0, True
        if code is op.AT:
            return 0, True
        raise _TooSlow("it has a back-reference or a conditional; write that out")

    def _repeat(self, code: Any, details: Any, follow: int, inside: bool) -> tuple[int, bool]:
        least, most, tokens = details
        is_many = most > 1
        begins, is_empty = _Analysis(self._ignores_case)._dry(tokens)
        if is_many and is_empty:
            raise _TooSlow("it repeats something that can be empty; remove one of the two repeats")
        self.sequence(tokens, follow | (begins if is_many else 0), inside=inside or is_many)
        if least != most and code is not op.POSSESSIVE_REPEAT and begins & follow:
            if inside:
                raise _TooSlow("a repeat within a repeat can end in several places; put a separator between them")
            if is_many:
                self.repeats += 1
            else:
                self.choices += 1
        return begins, is_empty or least == 0

    def _dry(self, tokens: Tokens) -> tuple[int, bool]:
        """``sequence`` without its counts."""
        try:
            return self.sequence(tokens, 0, inside=False)
        finally:
            self.repeats = self.choices = 0

    def _branch(self, branches: list[Tokens], follow: int, inside: bool) -> tuple[int, bool]:
        seen, first, empty, is_open = 0, 0, False, False
        for tokens in branches:
            begins, is_empty = self.sequence(tokens, follow, inside=inside)
            whole = begins | (follow if is_empty else 0)
            is_open = is_open or bool(seen & whole)
            seen, first, empty = seen | whole, first | begins, empty or is_empty
        if is_open:
            if inside:
                raise _TooSlow(
                    "alternatives within a repeat begin with the same character; make each begin with another one"
                )
            self.choices += 1
        return first, empty

    def _characters(self, code: Any, details: Any) -> int:
        if code is op.ANY:
            return _ALL
        if code is op.LITERAL:
            return self._literal(details)
        if code is op.NOT_LITERAL:
            return _ALL if details > 127 else _ALL & ~self._literal(details)
        found, negated = 0, False
        for kind, value in details:
            if kind is op.NEGATE:
                negated = True
            elif kind is op.LITERAL:
                found |= self._literal(value)
            elif kind is op.RANGE:
                for character in range(value[0], min(value[1], 127) + 1):
                    found |= self._literal(character)
                found |= _OTHERS if value[1] > 127 else 0
            else:
                found |= _category(value)
        return (_ALL & ~found) | _OTHERS if negated else found

    def _literal(self, character: int) -> int:
        if character > 127:
            return _OTHERS
        if not self._ignores_case:
            return 1 << character
        one = chr(character)
        return 1 << ord(one.lower()) | 1 << ord(one.upper()) | (_OTHERS if one.isalpha() else 0)


_OF_KIND: Final[dict[str, Callable[[str], bool]]] = {
    "digit": str.isdigit,
    "space": str.isspace,
    "word": lambda one: one.isalnum() or one == "_",
}


def _category(category: Any) -> int:
    """All characters of a class like ``\\\\w``, with all non-ASCII ones to be safe."""
    name = str(category).removeprefix("CATEGORY_")
    kind = name.removeprefix("NOT_").lower()
    of_kind = _OF_KIND[kind]
    is_negated = name.startswith("NOT_")
    return _OTHERS | sum(1 << number for number in range(128) if of_kind(chr(number)) != is_negated)
