"""Search in the log of one run, plain text or a regular expression, and its outline: stderr and silences."""

import re
from collections.abc import Callable, Iterator
from typing import Final
from uuid import UUID

from api.http.decoding import invalid
from api.http.state import AppState
from api.native.log_reading import LogReading
from api.native.parameters import FindQuery
from api.native.responses import FindResponseBody, OutlineResponseBody
from shared.runs import Run
from shared.store import logs

COLOUR: Final = re.compile(r"\x1b\[[0-9;:]*m")
"""A colour code, the only escape sequence that workers leave in a line."""

MOST_HITS: Final = 1000
STDERR: Final = logs.STREAMS.index("stderr")

MOST_INSTRUCTIONS: Final = 1000
"""Size of a compiled expression; each character of a line costs at most this many steps."""

Spans = Callable[[str], Iterator[tuple[int, int]]]
"""Finds where a line's text matches: the first column and the one after the last, for each match that is not empty."""


def pattern_of(query: FindQuery) -> Spans:
    """What finds *query* in a line. Raises Invalid for an expression that RE2 does not accept, or without RE2."""
    return _expression(query.q, query.case) if query.regex else _text(query.q, query.case)


async def search(state: AppState, run_id: UUID, spans: Spans, query: FindQuery) -> FindResponseBody:
    """All matches from line *query.start* on, as far as a second goes. Raises NotFound."""
    wanted = {logs.STREAMS.index(stream) for stream in query.streams}
    hits: list[tuple[int, int, int]] = []
    total = 0
    reading = LogReading(state, run_id, query.start)
    async for lines in reading.turns():
        for line in lines:
            if wanted and line.stream not in wanted:
                continue
            text = COLOUR.sub("", line.text) if "\x1b" in line.text else line.text
            for first, after in spans(text):
                total += 1
                if total <= MOST_HITS:
                    hits.append((line.n, first, after))
    return FindResponseBody(hits=hits, total=total, complete=reading.is_complete, scanned=reading.scanned)


async def outline(state: AppState, run: Run, buckets: int) -> OutlineResponseBody:
    """*run*'s log in at most *buckets* parts of equally many lines. Raises NotFound."""
    kept = await state.store.run(logs.part(run.id, 0, 1))
    width = max(1, -(-(kept.total_lines - kept.first_available) // buckets))
    found: list[tuple[int, int, int]] = []
    before_us = 0
    reading = LogReading(state, run.id, kept.first_available)
    async for lines in reading.turns():
        for line in lines:
            first = line.n - (line.n - kept.first_available) % width
            if not found or found[-1][0] != first:
                found.append((first, 0, 0))
            _, errors, silence = found[-1]
            quiet_ms = (line.at_us - before_us) // 1000 if before_us else 0
            found[-1] = (first, errors + (line.stream == STDERR), max(silence, quiet_ms))
            before_us = line.at_us
    return OutlineResponseBody(buckets=found, complete=reading.is_complete)


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
