"""A run's log: windows of it, all of it as text, and live lines."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final
from uuid import UUID

import msgspec

from api.http.compact import compact
from api.http.request import Request
from api.http.response import TEXT, Response
from api.http.router import Media, Routes
from api.http.state import AppState
from api.http.streams import COMMENT, KEEPALIVE_S, Stream, sse
from api.native.log_search import COLOUR, outline, pattern_of, search
from api.native.parameters import FindQuery, FollowQuery, LogQuery, OutlineQuery, RawLogQuery, ResumeHeaders, RunPath
from api.native.responses import FindResponseBody, LogLine, LogResponseBody, OutlineResponseBody, UnfinishedLine
from api.native.runs import find, shown
from shared.errors import NotFound
from shared.runs import Run
from shared.store import logs, runs

routes = Routes("Logs")

CHUNK_LINES: Final = 1000
"""Lines read from the store at once while streaming, at most."""

PIECE_BYTES: Final = 64 * 1024
"""Text that a stream has in hand for its reader; only a longer line is more."""


@routes.get("/api/runs/{id}/log", summary="Read a window of a log", answers={200: LogResponseBody}, errors=(404,))
async def read_log(request: Request, path: RunPath, query: LogQuery) -> Response:
    """Lines keep their numbers for good; `first_available` shows how many were dropped at the front."""
    run = await find(request, path.id)
    window = await request.store.run(logs.window(run.id, query.start, query.limit))
    return request.answer(
        LogResponseBody(
            lines=[_wire(line) for line in window.lines],
            unfinished=[UnfinishedLine(stream=line.stream, text=line.text) for line in window.unfinished or ()],
            first_available=window.first_available,
            total_lines=window.total_lines,
            truncated=window.truncated,
            finalized=window.finalized,
        )
    )


@routes.get(
    "/api/runs/{id}/log/raw",
    summary="Download a log",
    answers={200: Media("text/plain", "All lines that are kept, each ended by a line feed")},
    errors=(404, 503),
)
async def download_log(request: Request, path: RunPath, query: RawLogQuery) -> Stream:
    """The log as plain text, streamed."""
    run = await find(request, path.id)
    name = f"{run.task_name}-{run.number}.log"
    return Stream(
        request.state,
        request.connection,
        _text(request.state, run.id, strip=query.ansi == "strip"),
        media=TEXT,
        headers=((b"content-disposition", f'attachment; filename="{name}"'.encode()),),
        is_whole=True,
    )


@routes.get(
    "/api/runs/{id}/log/stream",
    summary="Follow a log",
    answers={200: Media("text/event-stream", "Events `line`, `unfinished`, `dropped`, `truncated`, `done`")},
    errors=(404, 503),
)
async def follow_log(request: Request, path: RunPath, query: FollowQuery, headers: ResumeHeaders) -> Stream:
    """
    Server-sent events: `line` for each line (its number is the event's id), `unfinished` for a line that has no end
    yet, with all of it each time (a `line` of its stream or an empty text replaces it), `dropped` when requested lines
    are no longer kept, `truncated` once when the log became full, `done` with the run when it ended and everything was
    sent. A client that reconnects with `Last-Event-ID` gets the lines that follow, without gap or repeat.
    """
    run = await find(request, path.id)
    start = int(headers.last_event_id) + 1 if isinstance(headers.last_event_id, str) else query.start
    return Stream(request.state, request.connection, _follow(request, run, start))


@routes.get(
    "/api/runs/{id}/log/find", summary="Find text in a log", answers={200: FindResponseBody, 304: None}, errors=(404,)
)
async def find_in_log(request: Request, path: RunPath, query: FindQuery) -> Response:
    """
    Looks at the lines one after another, for at most a second; `complete` says whether that was enough. Regular
    expressions have the syntax of RE2, and take time that grows with the log only.
    """
    pattern = pattern_of(query)
    run = await find(request, path.id)
    return compact(request, await search(request.state, run.id, pattern, query))


@routes.get(
    "/api/runs/{id}/log/outline",
    summary="Read a log's outline",
    answers={200: OutlineResponseBody, 304: None},
    errors=(404,),
)
async def outline_log(request: Request, path: RunPath, query: OutlineQuery) -> Response:
    """Where a log has lines on stderr, and where nothing was printed for long: the map beside a log."""
    run = await find(request, path.id)
    return compact(request, await outline(request.state, run, query.buckets))


class Piecewise:
    """
    Reads a log for one stream, in windows that are small in lines and in bytes.

    A reader may leave a piece unread for a minute, and lines may have 64 KiB: five hundred readers of long lines would
    hold gigabytes. The part of a window beyond ``PIECE_BYTES`` is read again later, and fewer lines are requested next.
    """

    def __init__(self, state: AppState, run_id: UUID) -> None:
        self._state, self._run_id = state, run_id
        self._limit = CHUNK_LINES

    async def window(self, start: int) -> logs.Window:
        """The lines from *start* on; at least one if there is one."""
        async with self._state.log_reads:
            found = await self._state.store.run(logs.window(self._run_id, start, self._limit))
        size = 0
        for count, line in enumerate(found.lines, 1):
            size += len(line.text)
            if size >= PIECE_BYTES:
                self._limit = count
                return msgspec.structs.replace(found, lines=found.lines[:count])
        self._limit = min(CHUNK_LINES, self._limit * 2)
        return found


async def _text(state: AppState, run_id: UUID, *, strip: bool) -> AsyncGenerator[bytes]:
    start, log = 0, Piecewise(state, run_id)
    while True:
        window = await log.window(start)
        if not window.lines:
            return
        text = "".join(line.text if line.continued else line.text + "\n" for line in window.lines)
        yield (COLOUR.sub("", text) if strip else text).encode("utf-8", "replace")
        start = window.lines[-1].n + 1


async def _follow(request: Request, run: Run, start: int) -> AsyncGenerator[bytes]:
    log = Piecewise(request.state, run.id)
    loop = asyncio.get_running_loop()
    spoke_at = loop.time()
    said_truncated = False
    shown: dict[str, str] = {}
    with request.store.subscribe_log(run.id) as subscription:
        while True:
            window = await log.window(start)
            if start < 0:
                start = window.lines[0].n if window.lines else window.total_lines
            if start < window.first_available:
                yield sse("dropped", {"from": start, "to": window.first_available - 1})
                start = window.first_available
            if window.truncated and not said_truncated:
                said_truncated = True
                yield sse("truncated", {"first_available": window.first_available, "total_lines": window.total_lines})
            if window.lines:
                yield b"".join(sse("line", _wire(line), str(line.n)) for line in window.lines)
                start = window.lines[-1].n + 1
                spoke_at = loop.time()
                for line in window.lines:
                    shown.pop(line.stream, None)  # a line of a stream replaces its unfinished beginning
            elif window.finalized:
                yield sse("done", await _ended(request, run.id))
                return
            else:
                if window.unfinished is not None:
                    begun: dict[str, str] = {line.stream: line.text for line in window.unfinished}
                    for stream in sorted(shown.keys() | begun.keys()):
                        if shown.get(stream) != begun.get(stream):
                            yield sse("unfinished", {"stream": stream, "text": begun.get(stream, "")})
                            spoke_at = loop.time()
                    shown = begun
                await subscription.wait()
            if loop.time() - spoke_at >= KEEPALIVE_S:
                yield COMMENT
                spoke_at = loop.time()


async def _ended(request: Request, run_id: UUID) -> msgspec.Struct | dict[str, str]:
    try:
        (run,) = await shown(request, [await request.store.run(runs.find(str(run_id)))])
        return run
    except NotFound:
        return {"id": str(run_id)}


def _wire(line: logs.Line) -> LogLine:
    return LogLine(n=line.n, at=line.at, stream=line.stream, text=line.text, continued=line.continued)
