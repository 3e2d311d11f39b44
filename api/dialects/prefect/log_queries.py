"""Queries of log lines: the lines of the runs in a filter, merged by time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec

from api.dialects.prefect import search, task_runs
from api.dialects.prefect.bodies import in_us, in_utc
from api.dialects.prefect.errors import DIALECT
from api.dialects.prefect.run_view import FLOW_RUNS, View
from api.http.auth import Grant
from api.http.decoding import invalid
from api.http.request import Request
from api.http.response import Response, json_response
from api.http.router import Routes
from shared import ids
from shared.clock import from_datetime
from shared.store import logs
from shared.store.dialects import orchestrated
from shared.store.logs import Line

routes = Routes(dialect=DIALECT)

MAX_LINES: Final = 100_000
"""Lines of one log that are looked at, when not all of them are wanted."""

LEVELS: Final[dict[str, int]] = {"stdout": 20, "stderr": 40, "system": 20}
"""The level of a line, by its stream: that is what is kept of it."""

Runs = Annotated[list[UUID], msgspec.Meta(max_length=1000)]


class OfRuns(msgspec.Struct, forbid_unknown_fields=True):
    """Lines of these runs."""

    any_: Runs | None = None


class Between(msgspec.Struct, forbid_unknown_fields=True):
    """Levels between these two, both inclusive."""

    ge_: int | None = None
    le_: int | None = None


class During(msgspec.Struct, forbid_unknown_fields=True):
    """Times between these two, both inclusive."""

    before_: datetime | None = None
    after_: datetime | None = None


class LogFilter(msgspec.Struct, forbid_unknown_fields=True):
    """``logs``. Lines of a flow run are those of its task runs too."""

    operator: Literal["and_"] = "and_"
    level: Between | None = None
    timestamp: During | None = None
    flow_run_id: OfRuns | None = None
    task_run_id: OfRuns | None = None
    text: None = None


class LogPage(msgspec.Struct):
    """``POST /logs/filter``."""

    logs: LogFilter | None = None
    sort: Literal["TIMESTAMP_ASC", "TIMESTAMP_DESC"] | None = None
    limit: int | None = None
    offset: Annotated[int, msgspec.Meta(ge=0, le=MAX_LINES)] | None = None


class Source(msgspec.Struct, frozen=True):
    """A log, and the Prefect runs that it belongs to."""

    run_id: UUID
    name: str
    flow_run_id: UUID | None
    task_run_id: UUID | None


@routes.post("/api/logs/filter", scope="read")
async def filter_logs(request: Request) -> Response:
    """Log lines of the runs in the filter."""
    page = request.read(LogPage) if request.body else LogPage()
    wanted = page.logs or LogFilter()
    if not (wanted.flow_run_id and wanted.flow_run_id.any_) and not (wanted.task_run_id and wanted.task_run_id.any_):
        raise invalid("body.logs", "must name runs by flow_run_id.any_ or task_run_id.any_")
    limit, offset = search.read_limit(page.limit), page.offset or 0
    newest_first = page.sort == "TIMESTAMP_DESC"
    sources = await request.store.run(_sources(wanted, request.grant))
    found = await request.store.run(_merged(sources, wanted, offset + limit, newest_first))
    return json_response([_shown(source, line) for source, line in found[offset : offset + limit]])


async def _sources(wanted: LogFilter, grant: Grant) -> list[Source]:
    """The logs of the runs in the filter that have lines, one for each attempt."""
    flow_runs = wanted.flow_run_id.any_ if wanted.flow_run_id else None
    wanted_task_runs = wanted.task_run_id.any_ if wanted.task_run_id else None
    views = list[View]()
    if wanted_task_runs is None:
        for flow_run in await task_runs.read_many(flow_runs or [], FLOW_RUNS):
            views += [flow_run] if flow_run is not None else []
            belonging = (await orchestrated.of_external(str(flow_run.id))) if flow_run is not None else []
            views += [one for one in (await task_runs.read_many(belonging)) if one is not None]
    else:
        for run_id in wanted_task_runs:
            view = await task_runs.read(run_id)
            if view is not None and (flow_runs is None or view.facts.flow_run_id in flow_runs):
                views.append(view)
    found = list[Source]()
    for view in views:
        if grant.covers(view.latest.record.task):
            found += await _logs_of(view)
    return found


async def _logs_of(view: View) -> list[Source]:
    is_flow_run = view.facts.flow_id is not None
    kind = "prefect.flow_runs" if is_flow_run else "runfleet.runs" if view.is_ours else "prefect.task_runs"
    flow_run = view.id if is_flow_run else view.facts.flow_run_id
    attempts = [(view.latest.latest_attempt, view.latest.record)]
    if view.latest.latest_attempt != view.id:
        attempts = await orchestrated.attempts(view.id)
    return [
        Source(run_id, kind, flow_run, None if is_flow_run else view.id)
        for run_id, record in attempts
        if record.log_lines
    ]


async def _merged(
    sources: Sequence[Source], wanted: LogFilter, most: int, newest_first: bool
) -> list[tuple[Source, Line]]:
    """At least the first *most* matching lines, in order."""
    picks = wanted.level is not None or wanted.timestamp is not None
    found = list[tuple[Source, Line]]()
    for source in sources:
        start, count = (0, MAX_LINES) if picks else (-max(1, most), most) if newest_first else (0, most)
        window = await logs.window(source.run_id, start, count)
        found += [(source, line) for line in window.lines if _fits(line, wanted)]
    return sorted(found, key=lambda one: (one[1].at, one[1].n), reverse=newest_first)


def _fits(line: Line, wanted: LogFilter) -> bool:
    level, during = wanted.level or Between(), wanted.timestamp or During()
    at_us, of_line = from_datetime(line.at), LEVELS[line.stream]
    return (
        (level.ge_ is None or of_line >= level.ge_)
        and (level.le_ is None or of_line <= level.le_)
        and (during.after_ is None or at_us >= in_us(in_utc(during.after_)))
        and (during.before_ is None or at_us <= in_us(in_utc(during.before_)))
    )


def _shown(source: Source, line: Line) -> dict[str, Any]:
    return {
        "id": ids.named_id(source.run_id, f"line {line.n}", from_datetime(line.at)),
        "created": line.at,
        "updated": line.at,
        "name": source.name,
        "level": LEVELS[line.stream],
        "message": line.text,
        "timestamp": line.at,
        "flow_run_id": source.flow_run_id,
        "task_run_id": source.task_run_id,
    }
