"""
Logs: written in chunks while a run lives, compressed in blocks once it has ended, read by line number either way.

A chunk or block is a msgpack list of ``StoredLine``; lines that the policy has dropped (before the record's
``log_first``) may still be in the first one and are not shown.
"""

import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from shared.clock import to_datetime
from shared.errors import NotFound
from shared.runs import TRANSITIONS, Status
from shared.store.log_record import StoredLine
from shared.store.redis.call import NOW, Call, Key, RawKey, optional_strings
from shared.store.redis.decoding import reading
from shared.store.redis.scripts import script
from shared.store.runs import bare_record

STREAMS: Final = ("stdout", "stderr", "system")
BLOCK_LINES: Final = 2000
"""Lines in one compressed block, so that a window deep in a log unpacks little."""

BLOCK_BYTES: Final = 512 * 1024
UNFINISHED_MS: Final = 60_000

_encode = msgspec.msgpack.Encoder().encode
_lines = reading(msgspec.msgpack.Decoder(list[StoredLine]).decode, "a part of a log")


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line as readers see it. ``continued``: it goes on in the next line, because it was longer than 64 KiB."""

    n: int
    at: datetime
    stream: Literal["stdout", "stderr", "system"]
    text: str
    continued: bool = False


class Unfinished(msgspec.Struct, frozen=True, array_like=True):
    """The end of a line that a running run has begun to write to ``stream``; it has no number yet."""

    stream: Literal["stdout", "stderr"]
    text: str


_unfinished = reading(msgspec.msgpack.Decoder(tuple[int, list[Unfinished]]).decode, "an unfinished line of a log")


class Window(msgspec.Struct, frozen=True):
    """
    Lines of a log. ``total_lines`` is one more than the highest number given out, ``first_available`` the lowest kept.

    ``truncated``: the limit cut it. ``finalized``: the run has ended and nothing will be added (except to
    an external run, whose end may be reported before its last lines). ``unfinished``: what a running run has written
    since, by streams; None when that is not known, because lines follow the window or have just come.
    """

    lines: list[Line]
    first_available: int
    total_lines: int
    truncated: bool
    finalized: bool
    unfinished: Sequence[Unfinished] | None = None


def append_reported(
    run_id: UUID, lines: Sequence[tuple[int, int, str]], most_bytes: int, digest: str, now: int | str = NOW
) -> Call[Literal["stored", "full", "lost"]]:
    """
    Add lines (stored time, stream, text) to the log of an external run: before its start is reported, while it runs,
    and for some seconds more; only once for each *digest*. The log keeps at
    most *most_bytes*, the oldest.
    """
    parts = [part for line in lines for part in line]
    return Call(
        script("append_reported_log"), (now, run_id.bytes, most_bytes, digest, *parts), lambda reply: reply.decode()
    )


def append(
    run_id: UUID,
    token: int,
    lines: Sequence[StoredLine],
    *,
    first_kept: int,
    kept_bytes: int,
    now: int | str = NOW,
) -> Call[Literal["stored", "already_stored", "lost"]]:
    """Append lines (at least one, numbers rising) to a running run's log, and drop those before *first_kept*."""
    first = lines[0].n
    args = (
        now,
        run_id.bytes,
        token,
        first,
        lines[-1].n - first + 1,
        _encode(lines),
        first_kept,
        kept_bytes,
        TRANSITIONS["heartbeat"][0].source or "",
    )
    return Call(script("append"), args, lambda reply: reply.decode())


def show_unfinished(
    run_id: UUID, token: int, lines: Sequence[Unfinished], next_line: int, now: int | str = NOW
) -> Call[Literal["stored", "lost"]]:
    """
    Store unfinished lines for readers, which come before the line with number *next_line*; none deletes the last ones.
    Expires after ``UNFINISHED_MS`` unless it is set again.
    """
    packed = _encode([next_line, lines]) if lines else b""
    args = (now, run_id.bytes, token, packed, TRANSITIONS["heartbeat"][0].source or "", UNFINISHED_MS)
    return Call(script("unfinished_line"), args, lambda reply: reply.decode())


class Part(msgspec.Struct, frozen=True):
    """Stored lines of a log, as ``Window`` shows them; ``next`` is the number of the line that would follow them."""

    lines: list[StoredLine]
    next: int
    first_available: int
    total_lines: int
    truncated: bool
    status: str


async def part(run_id: UUID, start: int, limit: int) -> Part:
    """As ``window``, with the lines as they are stored."""
    kept = await bare_record(run_id)
    if kept is None:
        raise NotFound(f"there is no run {run_id}")
    first, total = kept.log_first, kept.log_lines
    start = max(first, total + start if start < 0 else start)
    lines: list[StoredLine] = []
    if start < total:
        for block in await _blocks(run_id, start, limit):
            lines += [line for line in block if start <= line.n < total]
            if len(lines) >= limit:
                break
    lines = lines[:limit]
    following = lines[-1].n + 1 if lines else start
    return Part(lines, following, first, max(total, first), bool(kept.log_truncated), kept.status)


async def window(run_id: UUID, start: int, limit: int) -> Window:
    """
    At most *limit* lines from number *start* on; a negative *start* counts from the end.

    Raises NotFound when there is no such run.
    """
    found = await part(run_id, start, limit)
    total = found.total_lines
    begun: Sequence[Unfinished] | None = None
    if found.status == Status.RUNNING and found.next >= total:
        begun = await Call("GET", (RawKey(b"unfinished:" + run_id.bytes),), lambda reply: _begun(reply, total))
    lines = [_shown(line) for line in found.lines]
    ended = found.status == Status.ENDED
    return Window(lines, found.first_available, total, found.truncated, ended, begun)


def compacting(batch: int, older_than_us: int) -> Call[list[UUID]]:
    """Ended runs whose log is still a stream, those that ended before stored time *older_than_us*."""
    args = (Key("compact"), "-inf", older_than_us, "LIMIT", 0, batch)
    return Call("ZRANGEBYSCORE", args, lambda reply: [UUID(bytes=one) for one in reply])


async def compact(run_id: UUID, now: int | str = NOW) -> bool:
    """Compress an ended run's log; whether there was anything to do. May be repeated, and done by two at once."""
    has_done = False
    while await compact_block(run_id, now):
        has_done = True
    return has_done


async def compact_block(run_id: UUID, now: int | str = NOW) -> bool:
    """
    Compress the oldest part of an ended run's log that is still a stream, about one block; False when there is none.

    A block takes some 20 ms, so more urgent work is done between two.
    """
    kept = await bare_record(run_id)
    lines: list[StoredLine] = []
    head = last = ""
    if kept is not None and kept.status == Status.ENDED:
        size, position = 0, "-"
        while len(lines) < BLOCK_LINES and size < BLOCK_BYTES:
            entries = await Call("XRANGE", (_log(run_id), position, "+", "COUNT", 8), _entries)
            for entry_id, chunk in entries:
                head, last, position = head or entry_id, entry_id, f"({entry_id}"
                fresh = [line for line in chunk if line.n >= kept.log_first]
                lines += fresh
                size += sum(len(line.text) + 16 for line in fresh)
                if len(lines) >= BLOCK_LINES or size >= BLOCK_BYTES:
                    break
            if not entries:
                break
    block = (lines[0].n, zlib.compress(_encode(lines), 6)) if lines else ("", b"")
    compacted: Call[bool] = Call(script("compact"), (now, run_id.bytes, head, last, *block), bool)
    return await compacted


async def _blocks(run_id: UUID, start: int, limit: int) -> list[list[StoredLine]]:
    """The chunks or blocks that hold lines from *start* on, enough for *limit* lines."""
    live = await _live_blocks(run_id, start, limit)
    if live and live[0] and live[0][0].n <= start:
        return live
    # Lines before the stream are compacted, or were dropped.
    firsts = await Call("HKEYS", (_archive(run_id),), lambda reply: sorted(int(one) for one in reply))
    after = [first for first in firsts if first > start]
    holding = [first for first in firsts if first <= start][-1:]
    wanted = [*holding, *[first for first in after if first < start + limit]]
    archived: list[list[StoredLine]] = []
    if wanted:
        values = await Call("HMGET", (_archive(run_id), *wanted), optional_strings)
        archived = [_lines(zlib.decompress(value)) for value in values if value]
    if not live:
        # The log may have been compacted between the looks; an empty one is simply empty.
        return archived or (await _live_blocks(run_id, start, limit))
    seen = archived[-1][-1].n if archived and archived[-1] else -1
    return archived + [[line for line in block if line.n > seen] for block in live]


async def _live_blocks(run_id: UUID, start: int, limit: int) -> list[list[StoredLine]]:
    holding = await Call("XREVRANGE", (_log(run_id), f"{start + 1}-0", "-", "COUNT", 1), _entries)
    position = holding[0][0] if holding else "-"
    blocks: list[list[StoredLine]] = []
    enough = 0
    while enough < limit:
        entries = await Call("XRANGE", (_log(run_id), position, "+", "COUNT", 16), _entries)
        if not entries:
            break
        for _, chunk in entries:
            blocks.append(chunk)
            enough += sum(1 for line in chunk if line.n >= start)
        position = f"({entries[-1][0]}"
    return blocks


def _entries(reply: Any) -> list[tuple[str, list[StoredLine]]]:
    return [(entry_id.decode(), _lines(fields[fields.index(b"d") + 1])) for entry_id, fields in reply]


def _begun(reply: bytes | None, total: int) -> list[Unfinished] | None:
    """The unfinished lines; None when lines have come since, which may include them."""
    next_line, lines = _unfinished(reply) if reply else (total, [])
    return lines if next_line >= total else None


def _shown(line: StoredLine) -> Line:
    stream: Any = STREAMS[line.stream]
    return Line(line.n, to_datetime(line.at_us), stream, line.text, line.continued)


def _log(run_id: UUID) -> RawKey:
    return RawKey(b"log:" + run_id.bytes)


def _archive(run_id: UUID) -> RawKey:
    return RawKey(b"logz:" + run_id.bytes)
