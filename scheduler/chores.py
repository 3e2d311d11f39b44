"""
What a leading scheduler has to do, one function a chore.

Each takes what it needs and says how much it did. Each may be done twice, by two schedulers, or half: what it
changes, it changes by a script that checks the state it found.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

from shared import ops
from shared.clock import SECOND_US
from shared.errors import DefinitionChanged
from shared.lineage.emitter import Emitter
from shared.runs import Reason
from shared.schedules import BadSchedule, Schedule, jitter_us, parse
from shared.store import bells, fleet, lineage, logs, runs, tasks
from shared.store.fleet import Pulse
from shared.store.tasks import Entry
from shared.store.threads import Store
from shared.tasks import Definition, Task
from shared.telemetry import get_logger

log = get_logger("scheduler")

ON_TIME_US: Final = 12 * SECOND_US
"""A tick this late was not missed: a leader may have been lost and its successor needs a moment."""

STALE: Final = -1
"""The version of a timetable that has to be read anew."""

RELEASE_BATCH: Final = 500
RESCUE_BATCH: Final = 100
COMPACT_BATCH: Final = 20
UNTOLD_BATCH: Final = 1000


class Timetable:
    """
    The schedules of the catalog, and a heap of when each has to be looked at next.

    Kept in memory and read anew whenever the catalog's version moves; the truth about what fired is the store's cursor.
    """

    def __init__(self) -> None:
        self.version = STALE
        self._catalog = ops.Catalog()
        self._entries: dict[str, Entry] = {}
        self._schedules: dict[str, Schedule] = {}
        self._cursors: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def refresh(self, store: Store, version: int) -> int:
        """Read the catalog again if its version is another one; how many schedules there are."""
        if version != self.version:
            entries = store.run(tasks.entries())
            self._cursors = store.do(tasks.cursors())
            self._entries = {entry.name: entry for entry in entries if entry.task.cron and not entry.paused}
            self._schedules = {}
            for name, entry in self._entries.items():
                try:
                    self._schedules[name] = parse(list(entry.task.cron), entry.task.timezone)
                except BadSchedule as error:  # applied by a release that knew more: leave it to that one
                    log.error("schedule.unreadable", task=name, error=str(error))
            self._heap = []
            for name in self._schedules:
                self._push(name)
            self.version = version
        return len(self._schedules)

    def next_us(self) -> int | None:
        """When the next tick is to be fired, jitter included; None when none ever is."""
        return self._heap[0][0] if self._heap else None

    def fire(self, store: Store, now_us: int, until_s: float) -> int:
        """
        Make the executions of all ticks whose time has come; how many were made here.

        What is not done at measured time *until_s* is left for the next round.
        """
        fired = 0
        while self._heap and self._heap[0][0] <= now_us and time.monotonic() < until_s:
            _, name = heapq.heappop(self._heap)
            fired += self._fire(store, self._entries[name], now_us)
            self._push(name)
            if self.version == STALE:
                break
        return fired

    def _fire(self, store: Store, entry: Entry, now_us: int) -> int:
        name, schedule = entry.name, self._schedules[entry.name]
        after = self._cursors.get(name, now_us)
        late_us = max(after, now_us - ON_TIME_US - entry.task.jitter_ms * 1000)
        count = schedule.count_between(after, late_us)
        catch_up = schedule.latest(late_us, after, entry.task.catch_up) if count and entry.task.catch_up else []
        # In order: a tick that its jitter still holds back holds back those after it, or the cursor would pass it by.
        on_time = itertools.takewhile(
            lambda tick: tick + jitter_us(name, tick, entry.task.jitter_ms) <= now_us,
            schedule.latest(now_us, late_us, 1000),
        )
        fired = 0
        try:
            missed = count - len(catch_up)
            if missed:
                first = schedule.next_after(after) or late_us
                last = schedule.latest(catch_up[0] - 1 if catch_up else late_us, after, 1)[-1]
                if store.run(ops.miss(entry, first, last, missed)):
                    log.warning("schedule.missed", task=name, missed=missed, catch_up=len(catch_up))
                self._cursors[name] = last
            for tick in itertools.chain(catch_up, on_time):
                if store.run(ops.fire(self._catalog, entry, tick)):
                    fired += 1
                    log.info("schedule.fired", task=name, tick_us=tick, late_ms=(now_us - tick) // 1000)
                self._cursors[name] = tick
        except DefinitionChanged:
            self.version = STALE  # somebody applied meanwhile; the next round reads the catalog again
        return fired

    def _push(self, name: str) -> None:
        tick = self._schedules[name].next_after(self._cursors.get(name, 0)) if name in self._cursors else None
        if tick is not None:
            heapq.heappush(self._heap, (tick + jitter_us(name, tick, self._entries[name].task.jitter_ms), name))


class Definitions:
    """Definitions by hash, which never change; kept in memory up to a bound."""

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._known: dict[str, Definition | None] = {}

    def task(self, store: Store, hash_: str) -> Task | None:
        """The task of a definition, None when nothing knows it any more."""
        if hash_ not in self._known:
            if len(self._known) >= self._most:
                self._known.clear()
            self._known[hash_] = store.do(tasks.definition(hash_))
        found = self._known[hash_]
        return found.task() if found else None


def release(store: Store, until_s: float) -> tuple[int, int | None]:
    """Let delayed runs whose time has come into their queues: how many, and when the next one is due (None: none)."""
    total = 0
    while True:
        count, next_due_us = store.run(ops.release(RELEASE_BATCH))
        total += count
        if count < RELEASE_BATCH or time.monotonic() > until_s:
            return total, next_due_us


def ring_again(store: Store, pulse: Pulse) -> int:
    """Ring for queues in which runs wait, in case a bell was lost; how many queues."""
    if pulse.waiting:
        store.do(bells.ring(pulse.waiting))
    return len(pulse.waiting)


def rescue(store: Store, definitions: Definitions, pulse: Pulse, emitter: Emitter | None) -> int:
    """End the runs whose lease is over, and tell the emitter of those that a worker had; how many."""
    rescued = 0
    for run_id, value in pulse.expired:
        record = runs.decode_record(value) if value else None
        if record is None:
            store.do(runs.rescue(run_id, "", None))
            continue
        ended = store.run(ops.rescue(run_id, record, definitions.task(store, record.definition)))
        if ended.verdict == "ended":
            rescued += 1
            if emitter is not None and not record.external:
                _tell(store, emitter, run_id)
            log.warning("run.rescued", run_id=str(run_id), task=record.task, worker=record.worker, reason=ended.state)
    return rescued


def forget(store: Store, backlog: set[str], bounds: Callable[[str], Task], until_s: float) -> int:
    """
    Forget what of these tasks' history is beyond their bounds; how many steps.

    A task that is done leaves the *backlog*; what time does not allow stays in it for the next round.
    """
    steps = 0
    while backlog and time.monotonic() < until_s:
        name = next(iter(backlog))
        task = bounds(name)
        behind: int | None = 0
        while behind is not None and time.monotonic() < until_s:
            behind = store.run(ops.forget(name, task, behind))
            steps += 1
        if behind is None:
            backlog.discard(name)
    return steps


def compact(store: Store, now_us: int) -> int:
    """Compress logs that a worker left behind; how many."""
    compacted = 0
    for run_id in store.do(logs.compacting(COMPACT_BATCH, now_us - 10 * SECOND_US)):
        compacted += store.run(logs.compact(run_id))
    return compacted


def tell(store: Store, emitter: Emitter | None, until_s: float) -> int:
    """
    Tell the emitter of runs of ours that ended without a worker, which tells of all others; how many.

    What was done meanwhile by a leader without lineage, or in more than 10 000 events, is not made up for.
    """
    told = 0
    while emitter is not None and time.monotonic() < until_s:
        untold = store.do(lineage.untold(UNTOLD_BATCH))
        for run_id, record in untold.runs:
            emitter.tell(run_id, record)
        told += len(untold.runs)
        if untold.missed:
            log.warning("lineage.missed")
        if not untold.has_more:
            break
    return told


def forget_events(store: Store, until_s: float) -> int:
    """Forget lineage events that are too old; how many."""
    forgotten = 0
    while time.monotonic() < until_s:
        step = store.do(lineage.trim())
        forgotten += step
        if step < lineage.TRIM_BATCH:
            break
    return forgotten


def forget_workers(store: Store) -> int:
    """Forget worker processes that have been silent for a minute; how many."""
    return len(store.do(fleet.gone()))


def _tell(store: Store, emitter: Emitter, run_id: UUID) -> None:
    record = store.do(runs.record(run_id))
    if record is not None and record.reason in (Reason.CRASHED, Reason.STOPPED):
        emitter.tell(run_id, record)
