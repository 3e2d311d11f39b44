"""Plans of up to two thousand steps, wide and deep: what a step costs, and whether it costs more in a larger plan."""

import time
from collections.abc import Iterator
from typing import Final, Literal

from bench.context import Bench
from bench.figures import Figure, median
from bench.fleet import Fleet
from shared import ops
from shared.runs import Reason
from shared.store import executions, runs, tasks
from shared.store.runs import Wanted
from shared.tasks import Task, define

Shape = Literal["wide", "deep"]
SMALL: Final = 250
LARGE: Final = 2000
MOST_GROWTH: Final = 2
"""A step of the large plan may cost so much more than one of the small plan; a square law would give 8."""


def measure(bench: Bench) -> Iterator[Figure]:
    """Starting, running (claims and ends, without processes) and reading an execution, for both shapes and sizes."""
    for shape in ("wide", "deep"):
        seen: dict[int, list[tuple[float, float, float]]] = {SMALL: [], LARGE: []}
        for _ in range(bench.rounds):
            for size, found in seen.items():
                with bench.fleet() as fleet:
                    found.append(_once(fleet, shape, size))
        for number, name in enumerate(("start", "run", "read")):
            small, large = (median([one[number] for one in seen[size]]) / size for size in (SMALL, LARGE))
            yield Figure(
                part="plans",
                name=f"{shape}: {name} a step",
                value=large * 1e6,
                unit="us",
                note=f"one of {LARGE} steps; the whole takes {large * LARGE * 1e3:.0f} ms",
            )
            yield Figure(
                part="plans",
                name=f"{shape}: {name}, {LARGE} steps to {SMALL}",
                value=large / small,
                unit="x a step",
                goal=MOST_GROWTH,
                note="1 is linear",
            )


def _once(fleet: Fleet, shape: Shape, size: int) -> tuple[float, float, float]:
    """Seconds to start, to run and to read one execution of *size* steps."""
    catalog = ops.Catalog()
    fleet.store.run(tasks.apply([(task, define(task)) for task in _graph(shape, size)]))
    fleet.run(catalog.needed(fleet.run(catalog.get("last"))))  # definitions are read once, and then known
    began_s = time.perf_counter()
    run = fleet.run(ops.trigger(catalog, "last", ops.Request())).run
    started_s = time.perf_counter()
    claimed, ended = fleet.store.run(runs.claim(_wanted(0))), 0
    while claimed is not None:
        ended += 1
        call = runs.end(claimed.id, claimed.record.token, Reason.SUCCESS, 0, "", wanted=_wanted(ended))
        claimed = fleet.store.run(call).claimed
    ran_s = time.perf_counter()
    found = fleet.run(executions.get(run.execution_id))
    read_s = time.perf_counter()
    if ended != size or found is None or found.phase != "succeeded":
        raise RuntimeError(f"{ended} of {size} steps ended, and the execution is {found and found.phase}")
    return started_s - began_s, ran_s - started_s, read_s - ran_s


def _graph(shape: Shape, size: int) -> list[Task]:
    middle = [f"s{number}" for number in range(1, size - 1)]
    if shape == "deep":
        chain = ["s0", *middle, "last"]
        return [
            Task(name=name, run="true", depends_on=(before,) if before else ())
            for before, name in zip(["", *chain], chain, strict=False)
        ]
    leaves = [Task(name=name, run="true", depends_on=("s0",)) for name in middle]
    return [Task(name="s0", run="true"), *leaves, Task(name="last", run="true", depends_on=tuple(middle))]


def _wanted(turn: int) -> Wanted:
    return Wanted(worker="w", slot="0", turn=str(turn), lease_us=60_000_000, queues=["default"])
