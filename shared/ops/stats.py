"""Figures of one task's recent runs: how they ended, how long they waited and took, and when."""

from datetime import timedelta
from typing import Final

import msgspec

from shared.clock import from_datetime, rfc3339
from shared.runs import Run
from shared.store.listing import Filter, page

LIMIT: Final = 10_000
"""Most runs that figures are made from; the newest."""


class Bucket(msgspec.Struct, frozen=True):
    """Runs that were created in one stretch of time, for a chart."""

    start_at: str
    counts: dict[str, int]


class Stats(msgspec.Struct, frozen=True):
    """Figures of a task; percentiles (p50, p95, p99) in milliseconds, absent when there is nothing to measure."""

    counts: dict[str, int]
    wait_ms: dict[str, int]
    run_ms: dict[str, int]
    buckets: list[Bucket]
    complete: bool


async def of_task(name: str, since_us: int, until_us: int, buckets: int = 24) -> Stats:
    """Figures over the runs of a task created in [since, until), from at most the newest 10 000 of them."""
    found: list[Run] = []
    complete = False
    while len(found) < LIMIT:
        part = await page(Filter(task_name=(name,)), limit=1000, offset=len(found))
        found += part.runs
        if not part.next_cursor or from_datetime(part.runs[-1].created_at) < since_us:
            complete = True
            break
    chosen = [run for run in found if since_us <= from_datetime(run.created_at) < until_us]
    width = max(1, (until_us - since_us) // buckets)
    charts: list[dict[str, int]] = [{} for _ in range(buckets)]
    totals: dict[str, int] = {}
    for run in chosen:
        word = str(run.end_reason or run.status)
        totals[word] = totals.get(word, 0) + 1
        chart = charts[min((from_datetime(run.created_at) - since_us) // width, buckets - 1)]
        chart[word] = chart.get(word, 0) + 1
    waits = [(run.start_at - run.created_at) // timedelta(milliseconds=1) for run in chosen if run.start_at]
    lengths = [run.duration_ms for run in chosen if isinstance(run.duration_ms, int)]
    rows = [Bucket(rfc3339(since_us + number * width), chart) for number, chart in enumerate(charts)]
    return Stats(totals, _percentiles(waits), _percentiles(lengths), rows, complete)


def _percentiles(values: list[int]) -> dict[str, int]:
    if not values:
        return {}
    ordered = sorted(values)
    return {f"p{p}": ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 95, 99)}
