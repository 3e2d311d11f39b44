"""
Cursors: the position at which a page of runs ended, as the text of ``next_cursor``.

A cursor names the place of the last run shown, not how many there were before it, so runs that are
added or removed between two pages neither repeat a run nor leave one out.
"""

import base64
import hashlib
from uuid import UUID

import msgspec

from shared.runs import Record, Status


class Place(msgspec.Struct, array_like=True, frozen=True):
    """
    Where a page ended: after this entry of this sorted set, or after the run with these ``values`` in a sorted list.

    ``query`` identifies the query. ``matched`` and ``seen`` count what was found and looked at before it.
    """

    query: bytes
    matched: int
    seen: int
    id: bytes
    suffix: str = ""
    score: int = 0
    values: tuple[str | int, ...] = ()


def query_name(where: msgspec.Struct, sort_field: str, descending: bool) -> bytes:
    """A short name for a query: a cursor of another one leads nowhere."""
    text = msgspec.msgpack.encode((where, sort_field or "created_at", descending))
    return hashlib.sha256(text).digest()[:6]


def place_in(
    query: bytes, segments: list[list[str]], row: tuple[UUID, Record], matched: int = 0, seen: int = 0
) -> Place:
    """Where a run stands in the sorted sets that are read."""
    run_id, r = row
    state = r.reason if r.status == Status.ENDED else r.status
    for low, high, *suffixes in segments:
        for suffix in suffixes:
            scope, _, order = suffix.rpartition(":")
            if scope not in (f"ix:all:{state}", f"ix:t:{r.task}:{state}"):
                continue
            score = _score(r, order, is_of_task=scope.startswith("ix:t:"))
            if _bound(low) <= score <= _bound(high):
                return Place(query, matched, seen, run_id.bytes, suffix, score)
    raise AssertionError(f"run {run_id} is in none of the sets that were read")


def _score(r: Record, order: str, *, is_of_task: bool) -> int:
    """The score of a run in a sorted set of that order, as ``lua/lib/records.lua`` writes it."""
    if order == "created":
        return r.number if is_of_task else r.created_us
    if order == "start":
        return r.start_us
    if order == "exit":
        return r.exit_code
    return r.end_us - r.start_us if r.start_us > 0 else 0


def _bound(text: str) -> float:
    return float(text.removeprefix("("))


def cursor_in(
    query: bytes, segments: list[list[str]], row: tuple[UUID, Record], matched: int = 0, seen: int = 0
) -> str:
    """The cursor that continues after a run in the sorted sets that are read."""
    return encoded(place_in(query, segments, row, matched, seen))


def encoded(place: Place) -> str:
    """A place as a cursor."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).decode().rstrip("=")


def read_cursor(cursor: str, query: bytes) -> Place:
    """The place that a cursor names. Raises ValueError for one that is none, or is of another query."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = msgspec.msgpack.decode(raw, type=Place)
    except (ValueError, msgspec.DecodeError):
        raise ValueError("is not a valid cursor; use next_cursor from the previous page") from None
    if len(place.id) != 16 or min(place.matched, place.seen) < 0:
        raise ValueError("is not a valid cursor; use next_cursor from the previous page")
    if place.query != query:
        raise ValueError("is of another query; keep filters and sorting as they were on the page before")
    return place
