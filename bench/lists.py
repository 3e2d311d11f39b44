"""
Both list calls over HTTP with the filled store: every sort field, direction, status, with and without a task, at three
depths. A figure is the median time of an answer; every total is checked against what was put in. Then filters that no
index answers.
"""

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import msgspec

from bench.context import Bench
from bench.figures import Figure, median, percentile
from bench.filling import Filled
from bench.fleet import Fleet
from shared.store.listing import SORT_FIELDS

GOAL_MS: Final = 50.0
STRETCH_MS: Final = 10.0
OFFSETS: Final = (0, 1000, 10_000)
STATUSES: Final = ("", "pending", "running", "ended")


FILTERS: Final = (
    "task_name=task-000,task-001",
    "triggered_by=cron",
    "triggered_by=api",
    "tag=nightly",
    "queue=other",
    "exit_code=75",
    "min_duration_ms=600000",
    "retries_only=true",
    "search=task-17",
    "created_after=2020-01-01T00:00:00Z",
)
"""Filters without an index: they read at most 100 000 records, and then say that they did not see all."""


@dataclass(frozen=True)
class Question:
    """One list call and the total it has to answer; None when it may stop before it saw everything."""

    kind: str
    target: str
    total: int | None


def measure(bench: Bench) -> Iterator[Figure]:
    """Worst and median over all combinations; those beyond the goal one by one."""
    filled = bench.filled()
    with ExitStack() as stack:
        fleet = stack.enter_context(Fleet(filled.valkey, bench.folder(stack)))
        fleet.start("api")
        asked = questions(filled)
        times: dict[Question, list[float]] = {question: [] for question in asked}
        with fleet.client() as client:
            for _ in range(bench.rounds + 1):
                for question in asked:
                    began_s = time.perf_counter()
                    status, body = client.get(question.target)
                    times[question].append((time.perf_counter() - began_s) * 1000)
                    total = msgspec.json.decode(body).get("total")
                    if status != 200 or question.total not in (total, None):
                        raise RuntimeError(
                            f"{question.target}: status {status}, total {total} where {question.total} runs are"
                        )
    medians = {question: median(taken[1:]) for question, taken in times.items()}  # the first round warms up
    for kind in dict.fromkeys(question.kind for question in asked):
        of_kind = {question: value for question, value in medians.items() if question.kind == kind}
        worst = max(of_kind, key=of_kind.__getitem__)
        size = f"{len(of_kind)} combinations, {filled.runs} runs"
        yield _figure(f"{kind}, worst", of_kind[worst], worst.target)
        yield _figure(f"{kind}, p95", percentile(list(of_kind.values()), 95), size)
        yield _figure(f"{kind}, median", median(list(of_kind.values())), size)
        missed = sorted((question for question in of_kind if of_kind[question] > GOAL_MS), key=lambda q: -of_kind[q])
        for question in missed[:10]:
            yield _figure(f"{kind}, beyond the goal", of_kind[question], question.target)


def questions(filled: Filled) -> list[Question]:
    """Every combination, for all tasks, the biggest one and a middling one."""
    big, middling = filled.names[0], filled.names[len(filled.names) // 2]
    found = []
    for sort_field, direction, status, offset in itertools.product(SORT_FIELDS, ("asc", "desc"), STATUSES, OFFSETS):
        query: dict[str, str | int] = {"limit": 50, "offset": offset, "sort_direction": direction}
        query |= {key: value for key, value in (("sort_field", sort_field), ("status", status)) if value}
        plain = urlencode(query)
        found.append(Question("GET /api/runs", f"/api/runs?{plain}", filled.total((), status)))
        for name in (big, middling):
            total = filled.total((name,), status)
            found += [
                Question("GET /api/runs?task_name=", f"/api/runs?task_name={name}&{plain}", total),
                Question("GET /api/tasks/{t}/runs", f"/api/tasks/{name}/runs?{plain}", total),
            ]
    return found + [Question("filters that look at records", f"/api/runs?{query}", None) for query in FILTERS]


def _figure(name: str, value: float, note: str) -> Figure:
    return Figure(part="lists", name=name, value=value, unit="ms", goal=GOAL_MS, stretch=STRETCH_MS, note=note)
