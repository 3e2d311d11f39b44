"""
OpenLineage events taken a second by one API process, over 32 connections, in turn with a bare Litestar handler that
makes one script call and with the POST of a run. Half of the events make a run, all of them move one. What it costs to
tell others is measured in ``telling.py``.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from bench import peers, telling
from bench.context import Bench
from bench.figures import Figure, median
from bench.fleet import cpu_s, wait_until
from bench.post import CONNECTIONS, SECONDS, TARGET, TASKS, answers, load
from bench.valkey import free_port

EVENTS: Final = ("/api/v1/lineage", "events")


def measure(bench: Bench) -> Iterator[Figure]:
    """Events received, then events emitted."""
    yield from _taken(bench)
    yield from telling.measure(bench)


def _taken(bench: Bench) -> Iterator[Figure]:
    taken: defaultdict[str, list[float]] = defaultdict(list)
    posted: list[float] = []
    bare: list[float] = []
    with bench.fleet(TASKS) as fleet, ExitStack() as stack:
        port = free_port()
        peer = stack.enter_context(peers.start("handler", str(fleet.valkey.path), str(port)))
        stack.callback(peer.kill)
        api = fleet.start("api")
        wait_until(lambda: answers(port), "the peer answers", 30)
        for at, what in ((fleet.port, EVENTS), (fleet.port, (TARGET,)), (port, (TARGET,))):
            load(at, 1, *what)
        for _ in range(bench.rounds):
            before_s = cpu_s(api.pid)
            measured = load(fleet.port, SECONDS, *EVENTS)
            taken["cpu_us"].append((cpu_s(api.pid) - before_s) / measured["count"] * 1e6)
            for name, value in measured.items():
                taken[name].append(value)
            posted.append(load(fleet.port, SECONDS, TARGET)["rate"])
            bare.append(load(port, SECONDS, TARGET)["rate"])
    where = f"{CONNECTIONS} connections, one API process, 1.2 kB each"
    rates = taken["rate"]
    yield Figure(
        part="lineage",
        name="OpenLineage events",
        value=median(rates),
        unit="/s",
        goal=1000,
        stretch=2000,
        more_is_better=True,
        note=where,
    )
    yield Figure(
        part="lineage",
        name="OpenLineage events: ratio",
        value=median([mine / other for mine, other in zip(rates, bare, strict=True)]),
        unit="×",
        note=f"to a bare Litestar handler with one script, {median(bare):.0f}/s",
    )
    yield Figure(
        part="lineage",
        name="OpenLineage events: ratio",
        value=median([mine / other for mine, other in zip(rates, posted, strict=True)]),
        unit="×",
        note=f"to the POST of a run, {median(posted):.0f}/s",
    )
    yield Figure(part="lineage", name="OpenLineage events, CPU of the API", value=median(taken["cpu_us"]), unit="µs")
    yield Figure(part="lineage", name="OpenLineage events, p50", value=median(taken["p50_ms"]), unit="ms", note=where)
    yield Figure(part="lineage", name="OpenLineage events, p99", value=median(taken["p99_ms"]), unit="ms", note=where)
