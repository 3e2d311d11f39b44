"""Ten thousand schedules of which two hundred are due in one second: how late, and what the scheduler costs at rest."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from bench.context import Bench
from bench.figures import Figure, median, percentile
from bench.fleet import SECRET, Fleet, cpu_s, wait_until
from bench.valkey import PREFIX
from shared.clock import from_datetime
from shared.runs import Run
from shared.signing import Keys
from shared.store import tasks
from shared.store.listing import Filter, page
from shared.tasks import Task, define

SCHEDULES: Final = 10_000
DUE: Final = 200
IDLE_S: Final = 8.0
APART_S: Final = 4


def measure(bench: Bench) -> Iterator[Figure]:
    """Lateness of the runs' creation and of their start, then the scheduler's share of a core."""
    made: list[list[float]] = []
    started: list[list[float]] = []
    with bench.fleet() as fleet:
        fleet.start_worker(2)
        first_s = int(time.time()) + 15
        moments = [first_s + number * APART_S for number in range(bench.rounds)]
        apply(fleet, moments)
        began_s = time.monotonic()
        scheduler = fleet.start("scheduler")
        leading_s = time.monotonic() - began_s
        end_s = moments[-1] + 5.0
        wait_until(lambda: time.time() > end_s, "the last moment passed", 60, 0.2)
        for moment in moments:
            found = fired(fleet, moment)
            made.append([_late_ms(from_datetime(run.created_at), moment) for run in found])
            started.append([_late_ms(from_datetime(run.start_at), moment) for run in found if run.start_at])
        shares = [core_share(scheduler.pid, IDLE_S / bench.rounds) for _ in range(bench.rounds)]
    size = f"{SCHEDULES} schedules, {DUE} due at once, 2 worker processes"
    for name, late, goal, stretch in (
        ("created late, p50", [percentile(one, 50) for one in made], None, None),
        ("created late, p99", [percentile(one, 99) for one in made], None, None),
        ("started late, p50", [percentile(one, 50) for one in started], None, None),
        ("started late, p99", [percentile(one, 99) for one in started], 300, 100),
    ):
        yield Figure(part="schedules", name=name, value=median(late), unit="ms", goal=goal, stretch=stretch, note=size)
    yield Figure(part="schedules", name="idle scheduler", value=median(shares) * 100, unit="% core", goal=2)
    yield Figure(part="schedules", name="start of a scheduler until it leads", value=leading_s, unit="s")


def apply(fleet: Fleet, moments: list[int]) -> None:
    """Tasks of which ``DUE`` fire at each of *moments* (whole seconds), and the others at midnight."""
    definitions = []
    for number in range(SCHEDULES):
        cron = f"0 0 0 {number % 28 + 1} 1 *"
        if number < DUE * len(moments):
            at = datetime.fromtimestamp(moments[number // DUE], UTC)
            cron = f"{at.second} {at.minute} {at.hour} {at.day} {at.month} *"
        task = Task(name=f"due-{number:05}", run=("true",), cron=(cron,))
        definitions.append((task, define(task, Keys(SECRET, prefix=PREFIX))))
    fleet.store.run(tasks.apply(definitions))


def fired(fleet: Fleet, moment: int) -> list[Run]:
    """The runs of the tick at *moment*. Raises RuntimeError when there are not ``DUE`` of them, all started."""
    everything = fleet.run(page(Filter(created_after_us=(moment - 1) * 1_000_000), limit=1000))
    found = [run for run in everything.runs if run.scheduled_for and from_datetime(run.scheduled_for) == moment * 10**6]
    started = sum(1 for run in found if run.start_at)
    if len(found) != DUE or started != DUE:
        raise RuntimeError(f"{len(found)} runs were made and {started} started where {DUE} were due")
    return found


def core_share(pid: int, seconds: float) -> float:
    """How much of one core a process used while *seconds* passed."""
    before, began_s = cpu_s(pid), time.monotonic()
    time.sleep(seconds)  # how long it is watched
    return (cpu_s(pid) - before) / (time.monotonic() - began_s)


def _late_ms(at_us: int, moment: int) -> float:
    return at_us / 1000 - moment * 1000
