"""The memory of an ended run in Redis, and of each idle process."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.context import Bench
from bench.figures import Figure, median

KB: Final = 1000
MB: Final = 1_000_000

GOALS_MB: Final[dict[str, tuple[float, float]]] = {"api": (90, 70), "scheduler": (60, 45), "worker": (80, 60)}


def measure(bench: Bench) -> Iterator[Figure]:
    """Bytes a run, then resident megabytes of an idle fleet."""
    filled = bench.filled()
    yield Figure(
        part="memory",
        name="Redis, an ended run without log",
        value=filled.bytes_per_run / KB,
        unit="kB",
        goal=1.2,
        stretch=0.6,
        note=f"used_memory over {filled.runs} runs, records and all indexes",
    )
    weights: dict[str, list[float]] = {}
    for _ in range(bench.rounds):
        for name, resident in weigh(bench).items():
            weights.setdefault(name, []).append(resident)
    for name, found in weights.items():
        goal, stretch = GOALS_MB.get(name, (None, None))
        yield Figure(part="memory", name=f"idle {name}", value=median(found), unit="MB", goal=goal, stretch=stretch)


def weigh(bench: Bench) -> dict[str, float]:
    """Resident megabytes of each process; ``worker`` is launcher, process and spawner together."""
    with bench.fleet('[tasks.noop]\nrun = ["true"]\n') as fleet:
        api, scheduler, launcher = fleet.start("api"), fleet.start("scheduler"), fleet.start_worker()
        time.sleep(3)  # idle is a state that lasts
        found = {"api": resident_mb(api.pid), "scheduler": resident_mb(scheduler.pid)}
        (process,) = children(launcher.pid)
        (spawner,) = children(process)
        parts = {
            "worker: launcher": resident_mb(launcher.pid),
            "worker: process": resident_mb(process),
            "worker: spawner": resident_mb(spawner),
        }
        found |= {"worker": sum(parts.values()), **parts}
        with contextlib.suppress(PermissionError):  # our processes show it to root only
            shares = sum(proportional_mb(pid) for pid in (launcher.pid, process, spawner))
            found["worker, shared pages counted once"] = shares
        return found


def resident_mb(pid: int) -> float:
    """Resident set of a process, shared pages in full."""
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmRSS:") * 1024 / MB


def proportional_mb(pid: int) -> float:
    """Resident set of a process, shared pages by their share."""
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") * 1024 / MB


def children(pid: int) -> list[int]:
    """The processes that a process started from its main thread."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _kilobytes(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise RuntimeError(f"{path} has no {name}")
