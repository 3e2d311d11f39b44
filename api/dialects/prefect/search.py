"""
Searches task runs and flow runs: filters, order, pages, and history.

Candidates come from an index (all runs created through this API, by the status of our record; the runs of a flow run;
or ids in the filter), newest first. They are then tested one by one, at most ``MAX_RUNS`` of them.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec

from api.dialects.prefect import states, task_runs
from api.dialects.prefect.bodies import in_utc
from api.dialects.prefect.filters import TaskRunFilter, fits_task_run
from api.dialects.prefect.flow_filters import FlowFilter, FlowRunFilter, asks, belongs, fits_flow_run, is_of_flow
from api.dialects.prefect.run_view import FLOW_RUNS, TASK_RUNS, View
from api.http.auth import Grant
from api.http.decoding import invalid
from api.http.request import Request
from shared.clock import from_datetime, to_datetime
from shared.errors import RunfleetError
from shared.runs import Reason, Status
from shared.store.dialects import orchestrated

MAX_RUNS: Final = 100_000
"""Task runs that one request looks at."""

STEP: Final = 500
"""Most task runs that are read at once; a request begins with as many as it would show if all of them fitted."""

MAX_PAGE: Final = 200
LAST_US: Final = from_datetime(datetime.max.replace(tzinfo=UTC))
"""The last moment that can be written down, as stored time."""

MAX_INTERVALS: Final = 1000
"""Intervals of one history."""

Sort = Literal[
    "ID_DESC",
    "START_TIME_ASC",
    "START_TIME_DESC",
    "EXPECTED_START_TIME_ASC",
    "EXPECTED_START_TIME_DESC",
    "NAME_ASC",
    "NAME_DESC",
    "NEXT_SCHEDULED_START_TIME_ASC",
    "END_TIME_DESC",
]


class Page(msgspec.Struct):
    """Filters, an order, and a page. ``deployments``: there are none here, so such a filter matches nothing."""

    task_runs: TaskRunFilter | None = None
    flow_runs: FlowRunFilter | None = None
    flows: FlowFilter | None = None
    deployments: dict[str, Any] | None = None
    sort: Sort | None = None
    limit: int | None = None
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    page: Annotated[int, msgspec.Meta(ge=1, le=2**40)] | None = None


class Wanted(msgspec.Struct):
    """As ``Page``, with defaults filled in."""

    page_of: Page
    sort: Sort
    limit: int
    offset: int
    page: int


class History(msgspec.Struct):
    """``/task_runs/history``."""

    history_start: datetime
    history_end: datetime
    history_interval_seconds: Annotated[float, msgspec.Meta(ge=1, le=10**9)]
    task_runs: TaskRunFilter | None = None
    flow_runs: FlowRunFilter | None = None
    flows: FlowFilter | None = None
    deployments: dict[str, Any] | None = None


class Found(msgspec.Struct):
    """The runs of a page; ``total`` counts all matches if it was requested."""

    views: list[View]
    total: int


class BadLimit(RunfleetError):
    """A page size that is out of range."""

    status = 422
    title = "Unprocessable Entity"


def read_page(request: Request) -> Wanted:
    """The body's filters. Raises Invalid, and BadLimit."""
    page = request.read(Page) if request.body else Page()
    if page.flows and page.flows.tags:
        raise invalid("body.flows.tags", "runs can be filtered by the id and the name of their flow, not by its tags")
    return Wanted(page, page.sort or "ID_DESC", read_limit(page.limit), page.offset or 0, page.page or 1)


def read_limit(limit: int | None) -> int:
    """The requested page size. Raises BadLimit."""
    if limit is None:
        return MAX_PAGE
    if not 0 <= limit <= MAX_PAGE:
        wrong = f"less than or equal to {MAX_PAGE}" if limit > 0 else "greater than or equal to 0"
        raise BadLimit(f"Invalid limit: must be {wrong}.")
    return limit


def read_history(request: Request) -> tuple[History, Wanted]:
    """The body's filters and intervals. Raises Invalid."""
    wanted = request.read(History)
    wanted.history_start, wanted.history_end = in_utc(wanted.history_start), in_utc(wanted.history_end)
    span_s = (wanted.history_end - wanted.history_start).total_seconds()
    if span_s < 0:
        raise invalid("body.history_start", "must not be after history_end")
    if span_s / wanted.history_interval_seconds > MAX_INTERVALS:
        raise invalid("body.history_interval_seconds", f"makes more than {MAX_INTERVALS} intervals")
    page = Page(wanted.task_runs, wanted.flow_runs, wanted.flows, wanted.deployments)
    return wanted, Wanted(page, "ID_DESC", MAX_RUNS, 0, 1)


async def find(
    wanted: Wanted, grant: Grant, offset: int, limit: int, *, counts: bool = False, via: str = TASK_RUNS
) -> Found:
    """
    The matching runs in the requested order; stops early where neither order nor count need them all. *via* selects
    task runs or flow runs. Raises Invalid.
    """
    fits = _fits_of(wanted.page_of, via)
    found, matched = list[View](), 0
    needs_all = counts or wanted.sort != "ID_DESC"
    looked_at, size = 0, STEP if needs_all else max(1, min(offset + limit, STEP))
    candidates = _Candidates(wanted.page_of, via)
    while True:
        batch = await candidates.batch(looked_at, size)
        if not batch:
            break
        views = await task_runs.read_many(batch, via)
        flow_runs = await _flow_runs_of(views, wanted.page_of, via, grant)
        for view in views:
            if view is None or not grant.covers(view.latest.record.task) or not fits(view, flow_runs):
                continue
            matched += 1
            if wanted.sort != "ID_DESC" or offset < matched <= offset + limit:
                found.append(view)
        looked_at, size = looked_at + len(batch), min(2 * size, STEP)
        if looked_at >= MAX_RUNS or (not needs_all and matched >= offset + limit):
            break
    if wanted.sort == "ID_DESC":
        return Found(found, matched)
    return Found(_sorted(found, wanted.sort)[offset : offset + limit], matched)


def _fits_of(page: Page, via: str) -> Callable[[View, Mapping[UUID, View]], bool]:
    """Whether a run matches, given the flow runs of the candidates."""
    if via == TASK_RUNS:
        fits = fits_task_run(page.task_runs)
        return lambda view, flow_runs: fits(view) and belongs(view, flow_runs, page.flow_runs, page.flows)
    if asks(page.task_runs):
        raise invalid("body.task_runs", "flow runs cannot be filtered by their task runs here")
    by_run = fits_flow_run(page.flow_runs)
    return lambda view, _: by_run(view) and is_of_flow(view, page.flows)


def history_of(views: Sequence[View], wanted: History, now_us: int) -> list[dict[str, Any]]:
    """Per interval, how many runs were expected to start in it, by their current state."""
    start_us, end_us = from_datetime(wanted.history_start), from_datetime(wanted.history_end)
    step_us = round(wanted.history_interval_seconds * 1e6)
    counts: defaultdict[int, dict[tuple[str, str], list[float]]] = defaultdict(dict)
    for view in views:
        current, state = view.current, view.current.state
        if start_us <= current.expected_us < end_us:
            row = counts[(current.expected_us - start_us) // step_us]
            running_us = now_us - state.at_us if state.type == "RUNNING" else 0
            late_us = (current.start_us or now_us) - current.expected_us
            is_late = current.start_us or state.type not in states.TERMINAL
            sums = row.setdefault((state.type, state.name), [0, 0.0, 0.0])
            sums[0] += 1
            sums[1] += (current.total_us + running_us) / 1e6
            sums[2] += max(0, late_us) / 1e6 if is_late else 0.0
    return [
        {
            "interval_start": to_datetime(start_us + number * step_us),
            "interval_end": to_datetime(min(start_us + (number + 1) * step_us, LAST_US)),
            "states": [
                {
                    "state_type": kind,
                    "state_name": name,
                    "count_runs": int(count),
                    "sum_estimated_run_time": run_s,
                    "sum_estimated_lateness": late_s,
                }
                for (kind, name), (count, run_s, late_s) in sorted(counts[number].items())
            ],
        }
        for number in range(-(-(end_us - start_us) // step_us))
    ]


class _Candidates:
    """The ids of runs that may match, a batch from an offset at a time."""

    def __init__(self, page: Page, via: str) -> None:
        self._via = via
        self._chosen = _named(page, via)
        flow_runs = page.flow_runs if via == TASK_RUNS else None
        self._flow_runs = flow_runs.id.any_ if flow_runs and flow_runs.id and flow_runs.operator == "and_" else None
        self._states = _states(page.task_runs if via == TASK_RUNS else page.flow_runs)

    async def batch(self, offset: int, size: int) -> list[UUID]:
        """*size* of them from *offset* on; none when there are no more."""
        if self._chosen is None and self._flow_runs is not None:
            belonging = set[UUID]()
            for flow_run in set(self._flow_runs):
                belonging.update(await orchestrated.of_external(str(flow_run)))
            self._chosen = sorted(belonging, reverse=True)
        if self._chosen is not None:
            return self._chosen[offset : offset + size]
        if not self._states:
            return []
        page = await orchestrated.listed(self._via, self._states, offset, size)
        return page[1]


def _named(page: Page, via: str) -> list[UUID] | None:
    """The runs that a filter names by id, newest first; None when it names none."""
    if page.deployments:
        return []
    wanted = page.task_runs if via == TASK_RUNS else page.flow_runs
    if wanted is None or wanted.operator != "and_" or wanted.id is None or wanted.id.any_ is None:
        return None
    return sorted(set(wanted.id.any_), reverse=True)


def _states(wanted: TaskRunFilter | FlowRunFilter | None) -> list[str]:
    """The statuses and end reasons that our records may have in the requested states."""
    everything = [Status.PENDING.value, Status.RUNNING.value, *(reason.value for reason in Reason)]
    of_type = wanted.state.type if wanted and wanted.operator == "and_" and wanted.state else None
    if of_type is None or of_type.any_ is None or (wanted and wanted.state and wanted.state.operator != "and_"):
        return everything
    chosen: set[str] = set()
    for kind in of_type.any_:
        chosen.update(states.STATUSES.get(kind, ()), states.REASONS.get(kind, ()))
    return [state for state in everything if state in chosen]


async def _flow_runs_of(views: Sequence[View | None], page: Page, via: str, grant: Grant) -> dict[UUID, View]:
    """The flow runs of *views* that *grant* covers, if the filters ask about them."""
    if via == FLOW_RUNS or (page.flow_runs is None and page.flows is None):
        return {}
    wanted = {view.facts.flow_run_id for view in views if view is not None and view.facts.flow_run_id is not None}
    found = await task_runs.read_many(sorted(wanted), FLOW_RUNS)
    return {
        flow_run.id: flow_run
        for flow_run in found
        if flow_run is not None and grant.covers(flow_run.latest.record.task)
    }


def _sorted(views: list[View], sort: Sort) -> list[View]:
    views = sorted(views, key=lambda view: view.id)

    def scheduled_us(view: View) -> int:
        state = view.current.state
        moment = state.details.scheduled_time if state.type == "SCHEDULED" else None
        return from_datetime(moment) if moment else 2**63

    keys: dict[str, tuple[Callable[[View], Any], bool]] = {
        "START_TIME_ASC": (lambda view: view.current.start_us or 2**63, False),
        "START_TIME_DESC": (lambda view: view.current.start_us, True),
        "EXPECTED_START_TIME_ASC": (lambda view: view.current.expected_us, False),
        "EXPECTED_START_TIME_DESC": (lambda view: view.current.expected_us, True),
        "NAME_ASC": (lambda view: view.facts.name, False),
        "NAME_DESC": (lambda view: view.facts.name, True),
        "NEXT_SCHEDULED_START_TIME_ASC": (scheduled_us, False),
        "END_TIME_DESC": (lambda view: view.current.end_us, True),
    }
    key, descending = keys[sort]
    return sorted(views, key=key, reverse=descending)
