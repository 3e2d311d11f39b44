"""
Reading of a whole log for one answer.

It shares the event loop with thousands of requests: it reads the log in small parts, gives way after each
``TURN_CHARACTERS`` of text, and ends after ``READ_S``.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final
from uuid import UUID

from api.http.state import AppState
from shared.store import logs
from shared.store.log_record import StoredLine

READ_S: Final = 1.0
PART_LINES: Final = 4000
PART_CHARACTERS: Final = 512 * 1024
"""Lines and text that are read from the store at once, about."""

TURN_CHARACTERS: Final = 64 * 1024
"""Text after which others get their turn; as long as the longest line."""


class LogReading:
    """One reading from line *start* on (negative: from the end). ``is_complete``: it came to the log's end in time."""

    def __init__(self, state: AppState, run_id: UUID, start: int) -> None:
        self._state, self._run_id, self._start = state, run_id, start
        self.is_complete = False
        self.scanned = 0

    async def turns(self) -> AsyncIterator[list[StoredLine]]:
        """The lines, some at a time. Raises NotFound."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READ_S
        start, limit = self._start, 64
        while True:
            async with self._state.log_reads:
                part = await self._state.store.run(logs.part(self._run_id, start, limit))
            for lines in _turns(part.lines):
                yield lines
                self.scanned += len(lines)
                await asyncio.sleep(0)
                if loop.time() >= deadline:
                    self.is_complete = lines[-1].n + 1 >= part.total_lines
                    return
            if not part.lines or part.next >= part.total_lines:
                self.is_complete = True
                return
            size = sum(len(line.text) for line in part.lines)
            start = part.next
            limit = min(PART_LINES, max(1, len(part.lines) * PART_CHARACTERS // max(size, 1)), limit * 4)


def _turns(lines: list[StoredLine]) -> Iterator[list[StoredLine]]:
    first = size = 0
    for at, line in enumerate(lines):
        size += len(line.text) + 32  # a line costs something even if it is empty
        if size >= TURN_CHARACTERS:
            yield lines[first : at + 1]
            first, size = at + 1, 0
    if first < len(lines):
        yield lines[first:]
