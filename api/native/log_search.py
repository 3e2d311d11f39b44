"""
Search in the log of one run: plain text or a regular expression, line by line.

A search may share the event loop with thousands of requests: it reads the log in small parts, gives way after each
``TURN_CHARACTERS`` of text, and ends after ``SEARCH_S`` with what it has found.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Final
from uuid import UUID

from api.http.decoding import invalid
from api.http.state import AppState
from api.native.parameters import FindQuery
from api.native.responses import FindResponseBody
from shared.store import logs

COLOUR: Final = re.compile(r"\x1b\[[0-9;:]*m")
"""A colour code, the only escape sequence that workers leave in a line."""

SEARCH_S: Final = 1.0
MOST_HITS: Final = 1000
PART_LINES: Final = 4000
PART_CHARACTERS: Final = 512 * 1024
"""Lines and text that are read from the store at once, about."""

TURN_CHARACTERS: Final = 64 * 1024
"""Text after which others get their turn; as long as the longest line."""

MOST_INSTRUCTIONS: Final = 1000
"""Size of a compiled expression; each character of a line costs at most this many steps."""

Spans = Callable[[str], Iterator[tuple[int, int]]]
"""Finds where a line's text matches: the first column and the one after the last, for each match that is not empty."""


def pattern_of(query: FindQuery) -> Spans:
    """What finds *query* in a line. Raises Invalid for an expression that RE2 does not accept, or without RE2."""
    return _expression(query.q, query.case) if query.regex else _text(query.q, query.case)


async def search(state: AppState, run_id: UUID, spans: Spans, query: FindQuery) -> FindResponseBody:
    """All matches from line *query.start* on, as far as a second goes. Raises NotFound."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SEARCH_S
    wanted = {logs.STREAMS.index(stream) for stream in query.streams}
    hits: list[tuple[int, int, int]] = []
    total = scanned = since_turn = 0
    start, limit = query.start, 64
    while True:
        async with state.log_reads:
            part = await state.store.run(logs.part(run_id, start, limit))
        size = 0
        for line in part.lines:
            if since_turn >= TURN_CHARACTERS:
                since_turn = 0
                await asyncio.sleep(0)
                if loop.time() >= deadline:
                    return FindResponseBody(hits=hits, total=total, complete=False, scanned=scanned)
            size += len(line.text)
            since_turn += len(line.text) + 32  # a line costs something even if it is empty
            scanned += 1
            if wanted and line.stream not in wanted:
                continue
            text = COLOUR.sub("", line.text) if "\x1b" in line.text else line.text
            for first, after in spans(text):
                total += 1
                if total <= MOST_HITS:
                    hits.append((line.n, first, after))
        if not part.lines or part.next >= part.total_lines:
            return FindResponseBody(hits=hits, total=total, complete=True, scanned=scanned)
        if loop.time() >= deadline:
            return FindResponseBody(hits=hits, total=total, complete=False, scanned=scanned)
        start = part.next
        limit = min(PART_LINES, max(1, len(part.lines) * PART_CHARACTERS // max(size, 1)), limit * 4)


def _text(wanted: str, is_cased: bool) -> Spans:
    needle = wanted if is_cased else _folded(wanted)

    def spans(text: str) -> Iterator[tuple[int, int]]:
        hay = text if is_cased else _folded(text)
        at = hay.find(needle)
        while at >= 0:
            yield at, at + len(needle)
            at = hay.find(needle, at + len(needle))

    return spans


def _folded(text: str) -> str:
    """*text* in lower case, as long as it was, so that columns stay what they are: \u0130 alone would become two."""
    lower = text.lower()
    return lower if len(lower) == len(text) else text.replace("\u0130", "i").lower()


def _expression(wanted: str, is_cased: bool) -> Spans:
    try:
        import re2
    except ImportError:
        raise invalid(
            "query.regex",
            "needs RE2, which is not installed where the API runs: pip install 'runfleet[search]', "
            "or send regex=false to find plain text",
            "true",
        ) from None
    options = re2.Options()
    options.case_sensitive = is_cased
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        compiled = re2.compile(wanted, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise invalid("query.q", f"is not a regular expression of RE2: {reason}", wanted) from None
    if compiled.programsize > MOST_INSTRUCTIONS:
        raise invalid("query.q", "is too large a regular expression; use smaller repetition counts", wanted)

    def spans(text: str) -> Iterator[tuple[int, int]]:
        return (match.span() for match in compiled.finditer(text) if match.end() > match.start())

    return spans
