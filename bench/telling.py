"""
The cost of emitting lineage events for a worker process: runs a second, in turn with runs without events,
CPU, and how long after the last run the last event is heard.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from bench import peers
from bench.client import Client
from bench.context import Bench
from bench.figures import Figure, median
from bench.fleet import cpu_s, wait_until
from bench.memory import children
from bench.throughput import TASKS, WORDS, drain
from bench.valkey import free_port

COUNTS: Final = {"argv": 1000, "warm": 2000}
"""Runs of ``bench.throughput``'s tasks: a command, and the fastest kind of callable."""

NOBODY: Final = "http://127.0.0.1:9"


def measure(bench: Bench) -> Iterator[Figure]:
    """Ratios with a listener and without one, then the cost of an event."""
    found: defaultdict[tuple[str, str], list[Drained]] = defaultdict(list)
    with bench.fleet(TASKS) as fleet, ExitStack() as stack:
        port = free_port()
        listener = stack.enter_context(peers.start("listener", str(port)))
        stack.callback(listener.kill)
        wait_until(lambda: hears(port), "the listener hears", 30)
        whoever = [("", ""), ("a listener", f"http://127.0.0.1:{port}"), ("nobody", NOBODY)]
        for _ in range(bench.rounds):
            whoever.append(whoever.pop(0))  # none is always the first one of a round
            for whom, where in whoever:
                (process,) = children(fleet.start_worker(1, OPENLINEAGE_URL=where).pid)
                for kind, count in COUNTS.items():
                    for most in (32, count):
                        watched = Watched(process, port, 2 * most if whom == "a listener" else 0)
                        last = watched.until_told(drain(fleet, kind, most), most)
                    found[whom, kind].append(last)
                fleet.stop("worker")
    yield from _figures(found)


class Drained:
    """Runs a second, the worker process's CPU for a run, and seconds until all of them had been told."""

    def __init__(self, rate: float, cpu_us: float, late_s: float) -> None:
        self.rate, self.cpu_us, self.late_s = rate, cpu_us, late_s


class Watched:
    """A worker process from now on, until a listener has heard of so many *events* more."""

    def __init__(self, process: int, port: int, events: int) -> None:
        self._process, self._port, self._events = process, port, events
        self._heard, self._cpu_s = heard(port), cpu_s(process)

    def until_told(self, rate: float, runs: int) -> Drained:
        """What became of *runs* that have ended."""
        began_s = time.monotonic()
        wait_until(lambda: heard(self._port) - self._heard >= self._events, f"{self._events} events are heard")
        late_s = time.monotonic() - began_s
        return Drained(rate, (cpu_s(self._process) - self._cpu_s) / runs * 1e6, late_s)


def heard(port: int) -> int:
    """How many events the listener has heard."""
    with Client(port) as client:
        return int(client.get("/")[1])


def hears(port: int) -> bool:
    """Whether the listener is there."""
    try:
        return heard(port) >= 0
    except OSError:
        return False


def _figures(found: dict[tuple[str, str], list[Drained]]) -> Iterator[Figure]:
    for whom in ("a listener", "nobody"):
        for kind in COUNTS:
            pairs = zip(found[whom, kind], found["", kind], strict=True)
            yield Figure(
                part="lineage",
                name=f"{WORDS[kind]}, sent to {whom}: ratio",
                value=median([told.rate / silent.rate for told, silent in pairs]),
                unit="×",
                note=f"to runs without events, {median([one.rate for one in found['', kind]]):.0f}/s",
            )
    for kind, count in COUNTS.items():
        heard, silent = found["a listener", kind], found["", kind]
        yield Figure(
            part="lineage",
            name=f"{WORDS[kind]}: CPU of an event",
            value=(median([one.cpu_us for one in heard]) - median([one.cpu_us for one in silent])) / 2,
            unit="µs",
            note="half of what a worker process needs more for a run that it tells of",
        )
        yield Figure(
            part="lineage",
            name=f"{WORDS[kind]}: last event after last end",
            value=median([one.late_s for one in heard]),
            unit="s",
            note=f"{2 * count} events",
        )
