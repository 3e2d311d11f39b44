"""
One run's output: how fast it gets into the store under each policy, and how soon a reader sees a line.

The printing program writes the time into every line; a reader that follows the log over server-sent events compares.
"""

import json
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from bench.client import request
from bench.context import Bench
from bench.figures import Figure, median, percentile
from bench.fleet import CHECKOUT, Fleet, wait_until
from shared import ops
from shared.runs import Run
from shared.store import runs

SIZE: Final = 50_000_000
LINE: Final = (
    "2026-11-22T05:36:06Z INFO worker.jobs: handled item 0123456789 of batch 42 in 17 ms, nothing special about it"
)
LINES: Final = 1000
SECONDS: Final = 4

TASKS: Final = f"""
[defaults]
env = {{ PYTHONPATH = "{CHECKOUT}" }}
[tasks.whole]
run = "yes '{LINE}' | head -c {SIZE}"
log_max_size = "100mb"
[tasks.drop-old]
run = "yes '{LINE}' | head -c {SIZE}"
log_on_full = "drop_old"
[tasks.drop-new]
run = "yes '{LINE}' | head -c {SIZE}"
log_on_full = "drop_new"
[tasks.kill]
run = "yes '{LINE}' | head -c {SIZE}"
log_on_full = "kill"
graceful_stop = "1s"
[tasks.ticking]
run = ["{sys.executable}", "-m", "bench.ticking", "{LINES}", "{SECONDS}"]
log_max_size = "10mb"
"""

WORDS: Final = {
    "whole": "50 MB, all kept",
    "drop-old": "50 MB, newest 1 MB kept (drop_old)",
    "drop-new": "50 MB, first 1 MB kept (drop_new)",
}


def measure(bench: Bench) -> Iterator[Figure]:
    """Megabytes a second, seconds until a run that prints too much is over, and milliseconds to a reader."""
    with bench.fleet(TASKS) as fleet:
        fleet.start("api")
        fleet.start_worker()
        execute(fleet, "kill")
        rates: dict[str, list[float]] = {task: [] for task in WORDS}
        kills: list[float] = []
        delays: list[list[float]] = []
        for _ in range(bench.rounds):
            for task in WORDS:
                run = execute(fleet, task)
                rates[task].append(SIZE / 1e6 / _seconds(run))
            kills.append(_seconds(execute(fleet, "kill")) * 1000)
            delays.append(follow(fleet))
    for task, words in WORDS.items():
        goal, stretch = (50, 150) if task == "whole" else (None, None)
        yield Figure(
            part="logs",
            name=words,
            value=median(rates[task]),
            unit="MB/s",
            goal=goal,
            stretch=stretch,
            more_is_better=True,
            note="from start to end of the run, its pipe included",
        )
    yield Figure(part="logs", name="a run that prints too much is over (kill)", value=median(kills), unit="ms")
    note = f"{LINES} lines/s for {SECONDS} s, one reader over SSE"
    p50, p99 = (median([percentile(one, rank) for one in delays]) for rank in (50, 99))
    yield Figure(part="logs", name="printed to seen, p50", value=p50, unit="ms", note=note)
    yield Figure(part="logs", name="printed to seen, p99", value=p99, unit="ms", goal=200, note=note)


def execute(fleet: Fleet, task: str) -> Run:
    """A run of *task*, when it has ended."""
    triggered = fleet.run(ops.trigger(fleet.catalog, task, ops.Request()))
    execution = triggered.run.execution_id
    wait_until(lambda: fleet.store.run(runs.is_over(execution)), f"{task} ended", 120, 0.005)
    return fleet.run(runs.find(str(triggered.run.id)))


def follow(fleet: Fleet) -> list[float]:
    """For each line of a run that prints the time, milliseconds until a reader has it."""
    triggered = fleet.run(ops.trigger(fleet.catalog, "ticking", ops.Request()))
    delays: list[float] = []
    data = b""
    with socket.create_connection(("127.0.0.1", fleet.port), SECONDS + 20) as connection:
        connection.sendall(request("GET", f"/api/runs/{triggered.run.id}/log/stream"))
        while b"event: done" not in data:
            more = connection.recv(1 << 18)
            if not more:
                raise RuntimeError("the stream broke off")
            now_ns = time.time_ns()
            *events, data = (data + more).split(b"\n\n")
            for event in events:
                if b"event: done" in event:
                    return _complete(delays)
                if b"event: line" in event:
                    line: Any = json.loads(event.partition(b"data: ")[2].partition(b"\r\n")[0])
                    delays.append((now_ns - int(line["text"].partition(" ")[0])) / 1e6)
    return _complete(delays)


def _complete(delays: list[float]) -> list[float]:
    if len(delays) != LINES * SECONDS:
        raise RuntimeError(f"{len(delays)} lines were seen where {LINES * SECONDS} were printed")
    return delays


def _seconds(run: Run) -> float:
    if isinstance(run.start_at, msgspec.UnsetType) or isinstance(run.end_at, msgspec.UnsetType):
        raise TypeError(f"run {run.id} has not ended")
    return (run.end_at - run.start_at).total_seconds()
