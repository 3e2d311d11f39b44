"""
A store full of runs, as if a fleet had worked for a month: many tasks of very different sizes, every end reason.

The records are made here, of the product's own ``Record``; they are put in by ``fill.lua``, which is composed of the
product's own script parts, so that records and indexes are the ones the product would have written.
"""

import copy
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from bench.valkey import Valkey
from shared import ids
from shared.clock import SECOND_US
from shared.runs import Reason, Record, Status
from shared.store import open_store, tasks
from shared.store.redis.call import Call
from shared.store.redis.scripts import compose
from shared.tasks import Task, define

TASKS: Final = 200
BATCH: Final = 500
PENDING: Final = 2000
RUNNING: Final = 200
SPAN_US: Final = 30 * 24 * 3600 * SECOND_US

REASONS: Final[dict[Reason, tuple[float, tuple[int, ...], str]]] = {
    Reason.SUCCESS: (0.90, (0,), ""),
    Reason.FAILED: (0.06, (1, 1, 1, 2, 75, 127), "exited with code 1"),
    Reason.STOPPED: (0.01, (143,), "stopped by a person"),
    Reason.TIMEOUT: (0.01, (143, 137), "took longer than 10 m"),
    Reason.CRASHED: (0.005, (-2,), "crashed: worker host-17-ab12 was lost"),
    Reason.SKIPPED: (0.01, (-1,), "skipped: task-000#17 was still running"),
    Reason.LOG_OVERFLOW: (0.005, (137,), "printed more than 1 mb"),
}
"""Share, exit codes and message of every way to end."""


@dataclass(frozen=True)
class Filled:
    """
    A filled store. ``totals`` counts what was put in by (task, status), ``seconds`` is how long it took, and
    ``bytes_per_run`` what Redis needed for it.
    """

    valkey: Valkey
    names: list[str]
    totals: Counter[tuple[str, str]]
    seconds: float
    bytes_per_run: float

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return self.totals.total()

    def total(self, names: tuple[str, ...], status: str) -> int:
        """How many runs a list of *names* (empty: all) and *status* ("": all) must say there are."""
        return sum(
            count
            for (name, state), count in self.totals.items()
            if (not names or name in names) and status in ("", state)
        )


def fill(valkey: Valkey, runs: int) -> Filled:
    """Put *runs* runs into an empty store."""
    store = open_store(valkey.settings())
    script = compose("fill", (Path(__file__).parent / "fill.lua").read_text())
    names = [f"task-{number:03}" for number in range(TASKS)]
    definitions = {name: define(Task(name=name, run="true")) for name in names}
    store.run(tasks.apply([(definition.task(), definition) for definition in definitions.values()]))
    before = int(valkey.info("memory")["used_memory"])
    began_s = time.monotonic()
    totals: Counter[tuple[str, str]] = Counter()
    batch: list[bytes] = []
    encode = msgspec.msgpack.Encoder().encode
    for record in records(names, {name: one.hash for name, one in definitions.items()}, runs, random.Random(7)):
        totals[record.task, record.status] += 1
        batch += [ids.new_id(record.created_us).bytes, encode(record)]
        if len(batch) >= 2 * BATCH:
            store.run(Call(script, ("", *batch), int))
            batch = []
    if batch:
        store.run(Call(script, ("", *batch), int))
    seconds = time.monotonic() - began_s
    used = int(valkey.info("memory")["used_memory"]) - before
    store.close()
    return Filled(valkey, names, totals, seconds, used / runs)


def records(names: list[str], hashes: dict[str, str], runs: int, dice: random.Random) -> Iterator[Record]:
    """The records of *runs* runs in the order they were made; the last of them still wait or run."""
    shares = [1 / (rank + 1) for rank in range(len(names))]
    chosen = dice.choices(names, shares, k=runs)
    reasons = dice.choices(list(REASONS), [share for share, _, _ in REASONS.values()], k=runs)
    numbers: Counter[str] = Counter()
    templates = {name: template(name, hashes[name]) for name in names}
    last_us = time.time_ns() // 1000
    pending, running = min(PENDING, runs // 20), min(RUNNING, runs // 20)
    for number, (name, reason) in enumerate(zip(chosen, reasons, strict=True)):
        numbers[name] += 1
        created_us = last_us - SPAN_US + SPAN_US * number // runs
        record = copy.copy(templates[name])
        record.created_us, record.number = created_us, numbers[name]
        left = runs - number
        if left <= pending:
            yield record
            continue
        record.start_us = created_us + int(dice.expovariate(1 / 20_000))
        record.worker = f"host-{number % 7}-{1000 + number % 40}-ab12"
        record.token = number + 1
        if left <= pending + running:
            record.status = Status.RUNNING
            yield record
            continue
        _, codes, record.message = REASONS[reason]
        record.status, record.reason, record.exit_code = Status.ENDED, reason, dice.choice(codes)
        record.end_us = record.start_us + int(dice.lognormvariate(15, 2))
        if reason is Reason.SKIPPED:
            record.start_us, record.end_us, record.worker = 0, created_us, ""
        else:
            record.peak_memory, record.cpu_ms = dice.randrange(4_000_000, 90_000_000), dice.randrange(5, 5000)
        yield record


def template(name: str, definition: str) -> Record:
    """A pending run of a task, as its schedule makes it."""
    return Record(task=name, triggered_by="cron", definition=definition)
