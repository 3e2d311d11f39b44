"""
Finding task runs: which part of what fits, in what order, and their history.

Candidates come from an index (all that were made by way of this API, by what our record says of their state; those of
a flow run; those named by id), newest first, and are then looked at one by one, at most ``MOST_RUNS`` of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec

from api.auth import Grant
from api.dialects.door import Question
from api.dialects.prefect import taskruns, words
from api.dialects.prefect.bodies import in_utc
from api.dialects.prefect.filters import (
    FlowFilter,
    FlowRunFilter,
    TaskRunFilter,
    belongs,
    fits_flow,
    fits_flow_run,
    fits_task_run,
)
from api.dialects.prefect.ledger import FLOW_RUNS, TASK_RUNS, View
from shared.clock import from_datetime, to_datetime
from shared.errors import Invalid, Problem, RunfleetError
from shared.runs import Reason, Status
from shared.store import driven
from shared.store.call import Operation

MOST_RUNS: Final = 100_000
"""Task runs that one request looks at."""

STEP: Final = 500
"""Most task runs that are read at once; a request begins with as many as it would show if all of them fitted."""

MOST_ON_A_PAGE: Final = 200
MOST_INTERVALS: Final = 1000
"""Intervals of one history."""

Sort = Literal[
    "ID_DESC",
    "EXPECTED_START_TIME_ASC",
    "EXPECTED_START_TIME_DESC",
    "NAME_ASC",
    "NAME_DESC",
    "NEXT_SCHEDULED_START_TIME_ASC",
    "END_TIME_DESC",
]


class Page(msgspec.Struct):
    """Filters, an order, and which part of what fits. ``deployments``: there are none here, so none fits."""

    task_runs: TaskRunFilter | None = None
    flow_runs: FlowRunFilter | None = None
    flows: FlowFilter | None = None
    deployments: dict[str, Any] | None = None
    sort: Sort | None = None
    limit: int | None = None
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    page: Annotated[int, msgspec.Meta(ge=1, le=2**40)] | None = None


class Wanted(msgspec.Struct):
    """As ``Page``, with what was left out."""

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
    """The runs of a page; ``total`` counts all that fit if that was asked for."""

    views: list[View]
    total: int


class BadLimit(RunfleetError):
    """A page of a size that is not served."""

    status = 422
    title = "Unprocessable Entity"


def read_page(ask: Question) -> Wanted:
    """The body's filters. Raises Invalid, and BadLimit."""
    page = ask.read(Page) if ask.body else Page()
    limit = MOST_ON_A_PAGE if page.limit is None else page.limit
    if not 0 <= limit <= MOST_ON_A_PAGE:
        wrong = f"less than or equal to {MOST_ON_A_PAGE}" if limit > 0 else "greater than or equal to 0"
        raise BadLimit(f"Invalid limit: must be {wrong}.")
    return Wanted(page, page.sort or "ID_DESC", limit, page.offset or 0, page.page or 1)


def read_history(ask: Question) -> tuple[History, Wanted]:
    """The body's filters and stretches of time. Raises Invalid."""
    wanted = ask.read(History)
    wanted.history_start, wanted.history_end = in_utc(wanted.history_start), in_utc(wanted.history_end)
    span_s = (wanted.history_end - wanted.history_start).total_seconds()
    if span_s < 0:
        raise invalid("body.history_start", "must not be after history_end")
    if span_s / wanted.history_interval_seconds > MOST_INTERVALS:
        raise invalid("body.history_interval_seconds", f"makes more than {MOST_INTERVALS} intervals")
    page = Page(wanted.task_runs, wanted.flow_runs, wanted.flows, wanted.deployments)
    return wanted, Wanted(page, "ID_DESC", MOST_RUNS, 0, 1)


def invalid(location: str, message: str) -> Invalid:
    """An Invalid with one problem."""
    return Invalid([Problem(location, message)])


def find(wanted: Wanted, grant: Grant, offset: int, limit: int, *, counts: bool = False) -> Operation[Found]:
    """Those that fit, in the order wanted; stops early where neither order nor count need them all."""
    fits = fits_task_run(wanted.page_of.task_runs)
    found, matched = list[View](), 0
    needs_all = counts or wanted.sort != "ID_DESC"
    looked_at, size = 0, STEP if needs_all else max(1, min(offset + limit, STEP))
    candidates = _Candidates(wanted.page_of)
    while True:
        batch = yield from candidates.batch(looked_at, size)
        if not batch:
            break
        views = yield from taskruns.read_many(batch)
        flow_runs = yield from _flow_runs_of(views, wanted.page_of)
        for view in views:
            if view is None or not fits(view) or not grant.covers(view.latest.record.task):
                continue
            if not belongs(view, flow_runs, wanted.page_of.flow_runs, wanted.page_of.flows):
                continue
            matched += 1
            if wanted.sort != "ID_DESC" or offset < matched <= offset + limit:
                found.append(view)
        looked_at, size = looked_at + len(batch), min(2 * size, STEP)
        if looked_at >= MOST_RUNS or (not needs_all and matched >= offset + limit):
            break
    if wanted.sort == "ID_DESC":
        return Found(found, matched)
    return Found(_sorted(found, wanted.sort)[offset : offset + limit], matched)


def find_flow_runs(wanted: Wanted, grant: Grant) -> Operation[list[View]]:
    """Flow runs that fit, newest first."""
    found, looked_at, states = list[View](), 0, _states(None)
    while looked_at < MOST_RUNS and len(found) < wanted.offset + wanted.limit:
        page: tuple[int, list[UUID]] = yield driven.listed(FLOW_RUNS, states, looked_at, STEP)
        if not page[1]:
            break
        for view in (yield from taskruns.read_many(page[1], FLOW_RUNS)):
            if view is None or not grant.covers(view.latest.record.task):
                continue
            if fits_flow_run(view, wanted.page_of.flow_runs) and fits_flow(view.facts, wanted.page_of.flows):
                found.append(view)
        looked_at += len(page[1])
    return found[wanted.offset : wanted.offset + wanted.limit]


def history_of(views: Sequence[View], wanted: History, now_us: int) -> list[dict[str, Any]]:
    """Per interval, how many runs were expected to start in it, by the state that they are in."""
    start_us, end_us = from_datetime(wanted.history_start), from_datetime(wanted.history_end)
    step_us = round(wanted.history_interval_seconds * 1e6)
    counts: defaultdict[int, dict[tuple[str, str], list[float]]] = defaultdict(dict)
    for view in views:
        current, state = view.current, view.current.state
        if start_us <= current.expected_us < end_us:
            row = counts[(current.expected_us - start_us) // step_us]
            running_us = now_us - state.at_us if state.type == "RUNNING" else 0
            late_us = (current.start_us or now_us) - current.expected_us
            is_late = current.start_us or state.type not in words.TERMINAL
            sums = row.setdefault((state.type, state.name), [0, 0.0, 0.0])
            sums[0] += 1
            sums[1] += (current.total_us + running_us) / 1e6
            sums[2] += max(0, late_us) / 1e6 if is_late else 0.0
    return [
        {
            "interval_start": to_datetime(start_us + number * step_us),
            "interval_end": to_datetime(start_us + (number + 1) * step_us),
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
    """The ids of the runs that may fit, a batch from an offset at a time."""

    def __init__(self, page: Page) -> None:
        self._chosen = _named(page)
        flow_runs = page.flow_runs
        self._flow_runs = flow_runs.id.any_ if flow_runs and flow_runs.id and flow_runs.operator == "and_" else None
        self._states = _states(page.task_runs)

    def batch(self, offset: int, size: int) -> Operation[list[UUID]]:
        """*size* of them from *offset* on; none when there are no more."""
        if self._chosen is None and self._flow_runs is not None:
            belonging = set[UUID]()
            for flow_run in set(self._flow_runs):
                belonging.update((yield from driven.of_external(str(flow_run))))
            self._chosen = sorted(belonging, reverse=True)
        if self._chosen is not None:
            return self._chosen[offset : offset + size]
        if not self._states:
            return []
        page: tuple[int, list[UUID]] = yield driven.listed(TASK_RUNS, self._states, offset, size)
        return page[1]


def _named(page: Page) -> list[UUID] | None:
    """The runs that a filter names by id, newest first; None when it names none."""
    if page.deployments:
        return []
    wanted = page.task_runs
    if wanted is None or wanted.operator != "and_" or wanted.id is None or wanted.id.any_ is None:
        return None
    return sorted(set(wanted.id.any_), reverse=True)


def _states(wanted: TaskRunFilter | None) -> list[str]:
    """What our records say of runs in the states wanted."""
    everything = [Status.PENDING.value, Status.RUNNING.value, *(reason.value for reason in Reason)]
    of_type = wanted.state.type if wanted and wanted.operator == "and_" and wanted.state else None
    if of_type is None or of_type.any_ is None or (wanted and wanted.state and wanted.state.operator != "and_"):
        return everything
    chosen: set[str] = set()
    for kind in of_type.any_:
        chosen.update(words.STATUSES.get(kind, ()), words.REASONS.get(kind, ()))
    return [state for state in everything if state in chosen]


def _flow_runs_of(views: Sequence[View | None], page: Page) -> Operation[dict[UUID, View]]:
    """The flow runs that *views* belong to, if the filters ask about them."""
    if page.flow_runs is None and page.flows is None:
        return {}
    wanted = {view.facts.flow_run_id for view in views if view is not None and view.facts.flow_run_id is not None}
    found = yield from taskruns.read_many(sorted(wanted), FLOW_RUNS)
    return {flow_run.id: flow_run for flow_run in found if flow_run is not None}


def _sorted(views: list[View], sort: Sort) -> list[View]:
    views = sorted(views, key=lambda view: view.id)

    def scheduled_us(view: View) -> int:
        state = view.current.state
        moment = state.details.scheduled_time if state.type == "SCHEDULED" else None
        return from_datetime(moment) if moment else 2**63

    keys: dict[str, tuple[Callable[[View], Any], bool]] = {
        "EXPECTED_START_TIME_ASC": (lambda view: view.current.expected_us, False),
        "EXPECTED_START_TIME_DESC": (lambda view: view.current.expected_us, True),
        "NAME_ASC": (lambda view: view.facts.name, False),
        "NAME_DESC": (lambda view: view.facts.name, True),
        "NEXT_SCHEDULED_START_TIME_ASC": (scheduled_us, False),
        "END_TIME_DESC": (lambda view: view.current.end_us, True),
    }
    key, descending = keys[sort]
    return sorted(views, key=key, reverse=descending)
