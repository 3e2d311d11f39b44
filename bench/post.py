"""
Runs created a second through one API process, over 32 connections, in turn with a bare Litestar handler that makes one
script call; and one POST that makes a thousand runs.
"""

import json
import subprocess
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
from bench.valkey import free_port
from shared.isolation import command, isolated

TASKS: Final = (
    '[defaults]\nkeep_runs = 1000000\n[tasks.noop]\nrun = ["true"]\n[tasks.many]\nrun = ["true"]\nreplicas = 1000\n'
)
TARGET: Final = "/api/tasks/noop/run"
CONNECTIONS: Final = 32
SECONDS: Final = 4
MANY: Final = 10


def measure(bench: Bench) -> Iterator[Figure]:
    """Rates, percentiles and their ratio; then milliseconds for a thousand replicas."""
    ours: defaultdict[str, list[float]] = defaultdict(list)
    theirs: defaultdict[str, list[float]] = defaultdict(list)
    with bench.fleet(TASKS) as fleet, ExitStack() as stack:
        port = free_port()
        peer = stack.enter_context(peers.start("handler", str(fleet.valkey.path), str(port)))
        stack.callback(peer.kill)
        api = fleet.start("api")
        wait_until(lambda: answers(port), "the peer answers", 30)
        load(fleet.port, 1)
        load(port, 1)
        for _ in range(bench.rounds):
            for found, at, pid in ((ours, fleet.port, api.pid), (theirs, port, peer.pid)):
                before_s = cpu_s(pid)
                measured = load(at, SECONDS)
                found["cpu_us"].append((cpu_s(pid) - before_s) / measured["count"] * 1e6)
                for name, value in measured.items():
                    found[name].append(value)
        with fleet.client() as client:
            many = [once(client) for _ in range(MANY + 1)][1:]
    ratio = median([mine / bare for mine, bare in zip(ours["rate"], theirs["rate"], strict=True)])
    where = f"{CONNECTIONS} connections, one API process"
    yield Figure(part="post", name="POST a run", value=median(ours["rate"]), unit="/s", note=where)
    yield Figure(
        part="post",
        name="POST a run: ratio",
        value=ratio,
        unit="×",
        goal=1.0,
        stretch=1.5,
        more_is_better=True,
        note="to a bare Litestar handler with one script",
    )
    yield Figure(
        part="post",
        name="POST a run, CPU of the API",
        value=median(ours["cpu_us"]),
        unit="µs",
        note=f"the bare handler's: {median(theirs['cpu_us']):.0f} µs; what others do on the machine doesn't change it",
    )
    yield Figure(part="post", name="POST a run, p50", value=median(ours["p50_ms"]), unit="ms", note=where)
    yield Figure(part="post", name="POST a run, p99", value=median(ours["p99_ms"]), unit="ms", note=where)
    yield Figure(part="post", name="bare Litestar handler", value=median(theirs["rate"]), unit="/s", note="peer")
    yield Figure(part="post", name="bare Litestar handler, p99", value=median(theirs["p99_ms"]), unit="ms", note="peer")
    yield Figure(part="post", name="one POST making 1000 runs", value=median(many), unit="ms", goal=60, stretch=25)


def load(port: int, seconds: float, *what: str) -> dict[str, float]:
    """The figures of the load client, posting *what* (``TARGET``). Raises RuntimeError when one was no success."""
    words = [*command("bench.load"), str(port), str(CONNECTIONS), str(seconds), *(what or (TARGET,))]
    done = subprocess.run(words, env=isolated({}), capture_output=True, text=True, check=True, timeout=seconds + 30)
    answer: dict[str, float] = json.loads(done.stdout)
    if answer["bad"]:
        raise RuntimeError(f"{answer['bad']} answers of port {port} were no success")
    return answer


def once(client: Client) -> float:
    """Milliseconds of one POST that makes a thousand runs."""
    began_s = time.perf_counter()
    status, body = client.post("/api/tasks/many/run")
    taken_s = time.perf_counter() - began_s
    if status != 201:
        raise RuntimeError(f"status {status}: {body.decode()}")
    return taken_s * 1000


def answers(port: int) -> bool:
    """Whether a run can be posted there."""
    try:
        with Client(port) as client:
            return client.post(TARGET)[0] == 201
    except OSError:
        return False
