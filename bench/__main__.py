"""
``python -m bench [NAME…]``: measure, and print one table.

Without names all parts are measured, in under a quarter of an hour. Every figure is the median of several rounds; what
it is compared with is measured in the same run.
"""

import argparse
import importlib
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from bench.context import Bench
from bench.figures import Figure, number, table

PARTS: Final[dict[str, str]] = {
    "fill": "a store with a million ended runs",
    "lists": "both list calls, every sort and filter",
    "memory": "Redis per run, idle processes",
    "latency": "from a POST to the child's first instruction",
    "post": "runs created a second, beside a bare handler",
    "lineage": "OpenLineage events taken, beside a bare handler, and told",
    "throughput": "runs a second, beside bare loops and Dramatiq",
    "roundtrips": "round trips a run, commands of an idle fleet",
    "logs": "output into the store and out again",
    "plans": "executions of 250 and 2000 steps, wide and deep",
    "schedules": "10 000 schedules, 200 due at once",
}


def main() -> int:
    """Run the parts; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Runfleet on this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(f"{n} ({t})" for n, t in PARTS.items()))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--runs", type=int, default=1_000_000, help="runs in the filled store (1 000 000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each figure (3)")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; choose of {', '.join(PARTS)}")
    bench = Bench(runs=given.runs, rounds=given.rounds)
    figures: list[Figure] = []
    try:
        for name in given.names or PARTS:
            began_s = time.monotonic()
            for figure in importlib.import_module(f"bench.{name}").measure(bench):
                figures.append(figure)
                say(f"{figure.part}: {figure.name}: {number(figure.value)} {figure.unit} {figure.verdict}")
            say(f"{name} took {time.monotonic() - began_s:.0f} s")
    finally:
        bench.close()
    print(table(figures))  # noqa: T201  # the table is what this command is for
    if given.json:
        document = {
            "machine": machine(),
            "figures": [{**msgspec.to_builtins(f), "reached": f.verdict} for f in figures],
        }
        given.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


def machine() -> dict[str, str | int]:
    """The machine and software of the measurement."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
    }


def say(text: str) -> None:
    """Progress, beside the table."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # progress


if __name__ == "__main__":
    sys.exit(main())
