"""
From a POST to the first instruction of what it starts, with nothing else to do.

The child says itself when it began (it prints the time), so nothing between is left out; ``date`` itself needs about a
millisecond to be loaded, which is part of the figure.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from bench.client import Client
from bench.context import Bench
from bench.figures import Figure, median, percentile
from bench.fleet import CHECKOUT
from shared.clock import from_datetime
from shared.runs import Run

TASKS: Final = f"""
[defaults]
env = {{ PYTHONPATH = "{CHECKOUT}" }}
[tasks.argv]
run = ["date", "+%s%N"]
[tasks.shell]
run = "date +%s%N"
[tasks.isolated]
call = "bench.callables:stamp"
[tasks.warm]
call = "bench.callables:stamp"
isolate = false
"""

WORDS: Final = {
    "argv": 'command ["date"]',
    "shell": 'command "date" (sh -e -c)',
    "isolated": "callable, isolate = true",
    "warm": "callable, isolate = false",
}
GOALS: Final = {"argv": (10, 5), "warm": (5, 2)}
SAMPLES: Final = 20
PAUSE_S: Final = 0.1


def measure(bench: Bench) -> Iterator[Figure]:
    """p50 and p95 of each kind, and what the p50 is made of."""
    taken: defaultdict[tuple[str, str], list[list[float]]] = defaultdict(list)
    with bench.fleet(TASKS) as fleet:
        fleet.start("api")
        fleet.start("scheduler")
        fleet.start_worker()
        with fleet.client() as client:
            for kind in WORDS:
                once(client, kind)
                once(client, kind)
            for _ in range(bench.rounds):
                for kind in WORDS:
                    samples = [once(client, kind) for _ in range(SAMPLES)]
                    for step in samples[0]:
                        taken[kind, step].append([sample[step] for sample in samples])
    for kind, words in WORDS.items():
        goal, stretch = GOALS.get(kind, (None, None))
        p50 = {step: median([percentile(one, 50) for one in taken[kind, step]]) for step in ("post", "claim", "start")}
        made_of = f"POST answered after {p50['post']:.1f}, claimed after {p50['claim']:.1f}"
        yield Figure(
            part="latency",
            name=f"{words}, p50",
            value=p50["start"],
            unit="ms",
            goal=goal,
            stretch=stretch,
            note=made_of,
        )
        everything = [value for one in taken[kind, "start"] for value in one]
        yield Figure(part="latency", name=f"{words}, p95", value=percentile(everything, 95), unit="ms")


def once(client: Client, task: str) -> dict[str, float]:
    """One run: milliseconds from before the POST until it was answered, the run was claimed, its child had begun."""
    time.sleep(PAUSE_S)  # a fleet that was busy is not idle at once
    began_ns = time.time_ns()
    status, body = client.post(f"/api/tasks/{task}/run")
    answered_ns = time.time_ns()
    if status != 201:
        raise RuntimeError(f"POST for {task} was answered {status}: {body.decode()}")
    run = msgspec.json.decode(body, type=Run)
    while run.end_at is msgspec.UNSET:
        time.sleep(0.03)  # a poll, rare enough not to disturb what is measured
        run = msgspec.json.decode(client.get(f"/api/runs/{run.id}")[1], type=Run)
    log: Any = msgspec.json.decode(client.get(f"/api/runs/{run.id}/log")[1])
    if run.exit_code or not run.start_at or len(log["lines"]) != 1:
        raise RuntimeError(f"a run of {task} ended with exit code {run.exit_code}: {run.message}")
    return {
        "post": (answered_ns - began_ns) / 1e6,
        "claim": (from_datetime(run.start_at) * 1000 - began_ns) / 1e6,
        "start": (int(log["lines"][0]["text"]) - began_ns) / 1e6,
    }
