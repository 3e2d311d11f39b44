"""
Pages of runs in any order, with exact totals.

One script answers what the indexes know (task, status, end reason, and all sort fields) in logarithmic time. The
other filters look at the records, newest first or in the order asked for, up to ``SCAN_LIMIT`` of them; the page
then says whether it saw everything.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from shared.runs import Reason, Record, Run, Status
from shared.store.cursors import Place, cursor_in, encoded, place_in, query_name, read_cursor
from shared.store.records import as_runs, packed_records, readable_rows
from shared.store.redis.call import Call, Key, RawKey, strings
from shared.store.redis.decoding import json_reading
from shared.store.redis.scripts import script

SORT_FIELDS: Final = ("task_name", "status", "start_at", "exit_code", "duration", "created_at", "")
SCAN_LIMIT: Final = 100_000
_STEP: Final = 1000
_REASONS: Final = tuple(Reason)
_decode_tags = json_reading(list[str], "the tags of a run")


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which runs. Several values of a field mean any of them, several fields all of them; empty means not filtered.

    ``state`` is a status or an end reason. Times are stored time, after is inclusive, before exclusive. ``search``
    looks for a text in task name, id, message, worker, tags and external id, whatever the case.
    """

    task_name: tuple[str, ...] = ()
    status: tuple[Status, ...] = ()
    state: tuple[str, ...] = ()
    end_reason: tuple[Reason, ...] = ()
    triggered_by: tuple[str, ...] = ()
    queue: tuple[str, ...] = ()
    worker: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    execution_id: UUID | None = None
    external_execution_id: str = ""
    created_after_us: int | None = None
    created_before_us: int | None = None
    ended_after_us: int | None = None
    ended_before_us: int | None = None
    min_duration_ms: int | None = None
    exit_code: int | None = None
    retries_only: bool = False
    search: str = ""


class Page(msgspec.Struct, frozen=True):
    """
    Some runs and how many there are in all. ``next_cursor`` is "" on the last page.

    ``scanned`` counts the records looked at; with ``complete`` False there were more, and ``total`` counts the matching
    ones among those scanned.
    """

    runs: list[Run]
    total: int
    next_cursor: str
    scanned: int
    complete: bool


async def page(
    where: Filter,
    *,
    sort_field: str = "created_at",
    descending: bool = True,
    limit: int = 50,
    offset: int = 0,
    cursor: str = "",
) -> Page:
    """
    One page. ``cursor`` (a page's ``next_cursor``) goes on after the last run of that page and replaces ``offset``:
    whatever came or went meanwhile, no run that kept its place is shown twice or left out.

    Raises ValueError for a cursor that is none, or is of another query.
    """
    query = query_name(where, sort_field, descending)
    place = read_cursor(cursor, query) if cursor else None
    if place is not None:
        offset = 0
    candidates = await _candidates(where)
    if candidates is not None:
        return _sorted_page(candidates, where, sort_field, descending, limit, offset, query, place)
    tasks = list(where.task_name)
    if sort_field == "task_name" and not tasks:
        tasks = await Call("ZRANGE", (Key("history"), 0, -1), lambda reply: [name.decode() for name in reply])
        if place is not None and place.suffix.startswith("ix:t:"):
            tasks.append(place.suffix.split(":")[2])  # its last run may have gone, and its name with it
    mixed = len(tasks) > 1 and sort_field in ("created_at", "status", "")  # numbers of different tasks don't compare
    segments = _segments([] if mixed else tasks, _states(where), sort_field, descending)
    if sort_field in ("created_at", "") and (mixed or not tasks):
        segments, where = _created_within(segments, where)
    if _looks_at_records(where) or mixed:
        return await _scan(segments, where, descending, limit, offset, query, place)
    total, upto, rows = await _page(segments, descending, limit, offset, place)
    runs = as_runs(rows)
    more = cursor_in(query, segments, rows[-1]) if rows and upto < total else ""
    return Page(runs, total, more, len(runs), True)


def newest(task: str, limit: int) -> Call[list[Run]]:
    """The runs of a task that were made last, the newest first."""
    segments = _segments([task], _states(Filter()), "created_at", True)
    return _page(segments, True, limit, 0).then(lambda found: as_runs(found[2]))


def newest_before(task: str, number: int, limit: int) -> Call[list[Run]]:
    """The runs of a task with lower numbers, the nearest first."""
    return _numbered(task, "-inf", f"({number}", True, limit)


def following(task: str, number: int, limit: int) -> Call[list[Run]]:
    """The runs of a task with higher numbers, the nearest first."""
    return _numbered(task, f"({number}", "+inf", False, limit)


def last_success(task: str, number: int) -> Call[Run | None]:
    """The last run before *number* of a task that succeeded, or None."""
    segment = ["-inf", f"({number}", f"ix:t:{task}:success:created"]
    return _page([segment], True, 1, 0).then(lambda found: next(iter(as_runs(found[2])), None))


def _numbered(task: str, low: str, high: str, descending: bool, limit: int) -> Call[list[Run]]:
    ((_, _, *sets),) = _segments([task], _states(Filter()), "created_at", descending)
    return _page([[low, high, *sets]], descending, limit, 0).then(lambda found: as_runs(found[2]))


def latest(tasks: Sequence[str]) -> Call[list[str]]:
    """How the newest run of each task stands: ``pending``, ``running``, an end reason, or "" without a run."""
    return Call(script("last_states"), tuple(tasks), lambda reply: [state.decode() for state in reply])


async def _scan(
    segments: list[list[str]],
    where: Filter,
    descending: bool,
    limit: int,
    offset: int,
    query: bytes,
    place: Place | None,
) -> Page:
    matched, seen = (place.matched, place.seen) if place is not None else (0, 0)
    first, found, last, everything = matched + offset, list[Run](), "", False
    while seen < SCAN_LIMIT:
        size, upto, rows = await _page(segments, descending, _STEP, 0, place)
        for row in rows:
            seen += 1
            if _matches(row[0], row[1], where):
                matched += 1
                if first < matched <= first + limit:
                    found += as_runs([row])
                if matched == first + limit:
                    last = cursor_in(query, segments, row, matched, seen)
        if upto >= size or not rows:
            everything = True
            break
        place = place_in(query, segments, rows[-1])
    return Page(found, matched, last if matched > first + limit else "", seen, everything)


def _page(
    segments: list[list[str]], descending: bool, limit: int, offset: int, place: Place | None = None
) -> Call[tuple[int, int, list[tuple[UUID, Record]]]]:
    """How many there are, how many of them come up to the end of this page, and the page."""
    after = b"" if place is None else msgspec.msgpack.encode((place.suffix, str(place.score)))
    if place is not None:
        # The id as old msgpack's raw bytes, which is what Redis reads.
        after = b"\x93" + after[1:] + b"\xb0" + place.id
    args = ("", offset, limit, "1" if descending else "0", msgspec.msgpack.encode(segments), after)

    def read(reply: Any) -> tuple[int, int, list[tuple[UUID, Record]]]:
        pairs = zip(reply[2::2], reply[3::2], strict=True)
        return reply[0], reply[1], readable_rows(pairs)

    return Call(script("page"), args, read)


async def _candidates(where: Filter) -> list[tuple[UUID, Record]] | None:
    """The few runs that a filter names by an index of its own, or None when it names none."""
    if where.execution_id is not None:
        first = where.execution_id.bytes
        ids = await Call("LRANGE", (RawKey(b"exec-runs:" + first), 0, -1), strings)
        ids = ids or [first]
    elif where.external_execution_id:
        key = Key("external:" + where.external_execution_id)
        ids = await Call("SMEMBERS", (key,), lambda reply: sorted(reply))
        if not ids:
            return []
    else:
        return None
    return readable_rows(await packed_records(ids))


def _sorted_page(
    candidates: list[tuple[UUID, Record]],
    where: Filter,
    sort_field: str,
    descending: bool,
    limit: int,
    offset: int,
    query: bytes,
    place: Place | None,
) -> Page:
    def key(row: tuple[UUID, Record]) -> tuple[tuple[str | int, ...], bytes]:
        run_id, r = row
        values: dict[str, tuple[str | int, ...]] = {
            "task_name": (r.task, r.created_us),
            "status": (r.status, r.created_us),
            "start_at": (r.start_us,),
            "exit_code": (r.exit_code,),
            "duration": (_duration_ms(r),),
        }
        return values.get(sort_field, (r.created_us,)), run_id.bytes

    matching = sorted((row for row in candidates if _matches(row[0], row[1], where)), key=key, reverse=descending)
    total = len(matching)
    if place is not None:
        last = (place.values, place.id)
        offset = sum(key(row) >= last if descending else key(row) <= last for row in matching)
    rows = matching[offset : offset + limit]
    more = ""
    if rows and offset + limit < total:
        more = encoded(Place(query, 0, 0, rows[-1][0].bytes, values=key(rows[-1])[0]))
    return Page(as_runs(rows), total, more, len(candidates), True)


def _states(where: Filter) -> list[str]:
    states = [str(Status.PENDING), str(Status.RUNNING), *map(str, _REASONS)]
    if where.status:
        states = [s for s in states if (s if s in ("pending", "running") else "ended") in where.status]
    if where.state:
        states = [s for s in states if s in where.state]
    if where.end_reason:
        states = [s for s in states if s in where.end_reason]
    return states


def _segments(tasks: list[str], states: list[str], sort_field: str, descending: bool) -> list[list[str]]:
    """
    The sorted sets to read, as ``page.lua`` wants them; a live run has no duration and comes before all that have one.
    """
    live = [state for state in states if state in ("pending", "running")]
    ended = [state for state in states if state not in live]
    scopes = [f"ix:t:{task}" for task in sorted(set(tasks))] or ["ix:all"]

    def sets(some: list[str], order: str) -> list[str]:
        return [f"{scope}:{state}:{order}" for scope in scopes for state in some]

    if sort_field == "task_name":
        segments = [[f"{scope}:{state}:created" for state in states] for scope in scopes]
    elif sort_field == "status":
        segments = [
            sets(group, "created")
            for group in (ended, [s for s in live if s == "pending"], [s for s in live if s == "running"])
        ]
    elif sort_field == "start_at":
        started = [state for state in states if state != "pending"]
        segments = [sets([s for s in live if s == "pending"], "created"), sets(started, "start")]
    elif sort_field == "duration":
        segments = [sets(live, "created"), sets(ended, "duration")]
    elif sort_field == "exit_code":
        # A live run's exit code is 0: it stands between the negative ones and those of processes.
        exits = sets(ended, "exit")
        bounded = [["-inf", "-1", *exits], ["-inf", "+inf", *sets(live, "created")], ["0", "+inf", *exits]]
        return bounded[::-1] if descending else bounded
    else:
        segments = [sets(states, "created")]
    segments = [["-inf", "+inf", *segment] for segment in segments if segment]
    return segments[::-1] if descending else segments


def _created_within(segments: list[list[str]], where: Filter) -> tuple[list[list[str]], Filter]:
    """The part of *segments* (all tasks, by creation) that *where* allows, and the rest of *where*."""
    after, before = where.created_after_us, where.created_before_us
    low = "-inf" if after is None else str(after)
    high = "+inf" if before is None else f"({before}"
    left = msgspec.structs.replace(where, created_after_us=None, created_before_us=None)
    return [[low, high, *segment[2:]] for segment in segments], left


def _looks_at_records(where: Filter) -> bool:
    plain = Filter(task_name=where.task_name, status=where.status, state=where.state, end_reason=where.end_reason)
    return where != plain


def _matches(run_id: UUID, r: Record, where: Filter) -> bool:
    """Whether a record is wanted. A list may look at 100 000 of them, so what few filters need is worked out last."""
    return (
        (not where.task_name or r.task in where.task_name)
        and (not where.status or r.status in where.status)
        and (not where.state or (r.reason or r.status) in where.state)
        and (not where.end_reason or r.reason in where.end_reason)
        and (not where.triggered_by or r.triggered_by in where.triggered_by)
        and (not where.queue or r.queue in where.queue)
        and (not where.worker or r.worker in where.worker)
        and (where.created_after_us is None or r.created_us >= where.created_after_us)
        and (where.created_before_us is None or r.created_us < where.created_before_us)
        and (where.ended_after_us is None or 0 < r.end_us >= where.ended_after_us)
        and (where.ended_before_us is None or 0 < r.end_us < where.ended_before_us)
        and (where.min_duration_ms is None or _duration_ms(r) >= where.min_duration_ms)
        and (where.exit_code is None or r.exit_code == where.exit_code)
        and (not where.retries_only or r.attempt > 0)
        and (not where.external_execution_id or r.external_id == where.external_execution_id)
        and (where.execution_id is None or (r.execution or str(run_id)) == str(where.execution_id))
        and (not where.tag or any(tag in _tags(r) for tag in where.tag))
        and (not where.search or where.search.casefold() in _text(run_id, r))
    )


def _duration_ms(r: Record) -> int:
    return (r.end_us - r.start_us) // 1000 if r.start_us and r.end_us else 0


def _tags(r: Record) -> list[str]:
    return _decode_tags(r.tags) if r.tags else []


def _text(run_id: UUID, r: Record) -> str:
    parts = [r.task, f"{r.task}#{r.number}", str(run_id), r.message, r.worker, *_tags(r), r.external_id]
    return "\n".join(parts).casefold()
