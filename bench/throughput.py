"""
Runs a second: runs are made while their queue is paused, then drained; the time is from the first start to the last end
on record. Measured in turn with what limits them: a bare loop of ``posix_spawn``, a bare loop of ``fork``, Dramatiq.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from bench import peers
from bench.context import Bench
from bench.figures import Figure, median
from bench.fleet import CHECKOUT, Fleet, wait_until
from shared import ops
from shared.store import runs, wakeups
from shared.store.fleet import pause_queue

TASKS: Final = f"""
[defaults]
keep_runs = 100000
env = {{ PYTHONPATH = "{CHECKOUT}" }}
[tasks.argv]
run = ["true"]
[tasks.shell]
run = "true"
[tasks.isolated]
call = "bench.callables:nothing"
[tasks.warm]
call = "bench.callables:nothing"
isolate = false
"""

COUNTS: Final = {"argv": 1500, "shell": 1000, "isolated": 1500, "warm": 4000}
WORDS: Final = {
    "argv": 'command ["true"]',
    "shell": 'command "true" (sh -e -c)',
    "isolated": "callable, isolate = true",
    "warm": "callable, isolate = false",
}
PEERS: Final = {"argv": "spawn", "shell": "spawn", "isolated": "fork", "warm": "Dramatiq"}
GOALS: Final = {"argv": (0.5, 0.65), "isolated": (0.5, 0.75), "warm": (2.0, 5.0)}
PEER_WORDS: Final = {
    "spawn": "bare posix_spawn of /bin/true",
    "fork": "bare fork from a warm parent",
    "Dramatiq": "Dramatiq, 8 threads, with results",
}
AT_ONCE: Final = 8


def measure(bench: Bench) -> Iterator[Figure]:
    """Rates and ratios of one worker process and of two."""
    for processes in (1, 2):
        rates: defaultdict[str, list[float]] = defaultdict(list)
        ratios: defaultdict[str, list[float]] = defaultdict(list)
        with bench.fleet(TASKS) as fleet:
            fleet.start_worker(processes)
            for kind in COUNTS:
                drain(fleet, kind, 16 * processes)  # interpreters are warm, definitions known
            for _ in range(bench.rounds):
                found = {
                    "spawn": peers.rate("spawn", "2000", str(AT_ONCE), processes=processes),
                    **{kind: drain(fleet, kind, COUNTS[kind] * processes) for kind in ("argv", "shell")},
                    "fork": peers.rate("fork", "2000", str(AT_ONCE), processes=processes),
                    "isolated": drain(fleet, "isolated", COUNTS["isolated"] * processes),
                    "Dramatiq": dramatiq(fleet, 2000, processes),
                    "warm": drain(fleet, "warm", COUNTS["warm"] * processes),
                }
                for name, rate in found.items():
                    rates[name].append(rate)
                for kind, peer in PEERS.items():
                    ratios[kind].append(found[kind] / found[peer])
        yield from _figures(processes, rates, ratios)


def drain(fleet: Fleet, task: str, count: int) -> float:
    """Runs a second, of *count* runs of a task that all wait when the first one starts."""
    fleet.store.run(pause_queue("default", True))
    triggered = fleet.run(ops.trigger(fleet.catalog, task, ops.Request(replicas=count)))
    execution = triggered.run.execution_id
    fleet.store.run(pause_queue("default", False))
    fleet.store.run(wakeups.wake_queues({"default": 16}))
    wait_until(lambda: fleet.store.run(runs.is_over(execution)), f"{count} runs of {task} ended", 120)
    ended = fleet.run(runs.execution_runs(execution))
    bad = [run for run in ended if run.exit_code]
    if bad:
        raise RuntimeError(f"{len(bad)} of {count} runs of {task} did not succeed; the first: {bad[0].message}")
    first = min(run.start_at for run in ended if run.start_at)
    last = max(run.end_at for run in ended if run.end_at)
    return count / (last - first).total_seconds()


def dramatiq(fleet: Fleet, count: int, processes: int) -> float:
    """Messages a second that Dramatiq sees to, all of them waiting when it starts."""
    path = str(fleet.valkey.path)
    peers.together("drain", "fill", path, str(count * processes))
    return peers.rate("drain", "work", path, processes=processes)


def _figures(processes: int, rates: dict[str, list[float]], ratios: dict[str, list[float]]) -> Iterator[Figure]:
    many = "1 process" if processes == 1 else f"{processes} processes"
    for kind, words in WORDS.items():
        yield Figure(part="throughput", name=f"{words}, {many}", value=median(rates[kind]), unit="runs/s")
        goal, stretch = GOALS.get(kind, (None, None))
        yield Figure(
            part="throughput",
            name=f"{words}, {many}: ratio",
            value=median(ratios[kind]),
            unit="×",
            goal=goal,
            stretch=stretch,
            more_is_better=True,
            note=f"to {PEER_WORDS[PEERS[kind]]}",
        )
    for peer, words in PEER_WORDS.items():
        yield Figure(part="throughput", name=f"{words}, {many}", value=median(rates[peer]), unit="/s", note="peer")
