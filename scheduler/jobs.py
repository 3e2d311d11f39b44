"""
The jobs of a leading scheduler apart from ticks, one function each.

Each gets the poll's facts and the measured time when it has to leave the rest for the next round, and returns how much
it did. Each may run twice, on two schedulers, or in part: its scripts check the state that they change. A run, task or
log that fails does not delay the others: the failure is recorded, and it is retried after a pause, behind the others.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final
from uuid import UUID

from scheduler.troubles import Troubles, Turns
from shared import ops
from shared.clock import SECOND_US
from shared.errors import StoreUnavailable, Unreadable
from shared.lineage.emitter import Emitter
from shared.runs import Reason
from shared.store import creation, fleet, logs, runs, stops, tasks, wakeups
from shared.store.dialects import lineage_events
from shared.store.leadership import Poll
from shared.store.records import decode_record
from shared.store.redis.sync_store import Store
from shared.telemetry import get_logger

log = get_logger("scheduler")

ENQUEUE_BATCH: Final = 500
RESCUE_BATCH: Final = 100
COMPACT_BATCH: Final = 20
CANDIDATES: Final = 20
UNREPORTED_BATCH: Final = 1000
LEFT_BEHIND_US: Final = 10 * SECOND_US
"""A log that its worker has not compacted for so long after the end is compacted here."""

SWEEP_S: Final = 30.0
"""How often one more task's history is looked at for its age, whether or not anything ended in it."""


class Jobs:
    """The jobs and their shared state: the store, failures, and pauses after failures."""

    def __init__(
        self,
        store: Store,
        catalog: ops.Catalog,
        troubles: Troubles,
        emitter: Emitter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.troubles = troubles
        self.emitter = emitter
        self.backlog: dict[str, None] = {}
        self._catalog = catalog
        self.next_due_us: int | None = None
        self._emitted_to = ""
        self._clock = clock
        self._swept_s = clock()
        self._sweep_order: list[str] = []
        self._turns = Turns(clock)

    def enqueue_due(self, poll: Poll, until_s: float) -> int:
        """Enqueue delayed runs whose time has come; ``next_due_us`` is then when the next one is due (None: none)."""
        self.next_due_us = poll.next_due_us
        total = 0
        while self.next_due_us is not None and self.next_due_us <= poll.now_us:
            enqueued = self.store.run(ops.enqueue_due(ENQUEUE_BATCH))
            for run_id in enqueued.failed:
                self.troubles.note("enqueue_due", str(run_id), Unreadable("it cannot be let into its queue"))
            total += enqueued.looked_at
            self.next_due_us = enqueued.next_due_us
            if enqueued.looked_at < ENQUEUE_BATCH or time.monotonic() > until_s:
                break
        return total

    def make(self, poll: Poll, until_s: float) -> int:
        """Create the runs that were too many for the step that created their execution; how many steps."""
        steps = 0
        if poll.incomplete:
            for execution_id in self.store.run(creation.incomplete(20 + self._turns.waiting("make "), poll.now_us)):
                if time.monotonic() > until_s:
                    break
                steps += self._one("make", str(execution_id), partial(self._make, execution_id, until_s))
        return steps

    def _make(self, execution_id: UUID, until_s: float) -> int:
        return self.store.run(ops.make_all(execution_id, lambda: time.monotonic() < until_s))

    def stop(self, poll: Poll, until_s: float) -> int:
        """Continue stops of large executions that others began; how many steps."""
        steps = 0
        if poll.stopping:
            for execution_id in self.store.run(stops.stopping(20 + self._turns.waiting("stop "), poll.now_us)):
                if time.monotonic() > until_s:
                    break
                steps += self._one("stop", str(execution_id), partial(self._stop, execution_id, until_s))
        return steps

    def _stop(self, execution_id: UUID, until_s: float) -> int:
        return self.store.run(ops.stop_rest(execution_id, lambda: time.monotonic() < until_s))

    def wake_queues(self, poll: Poll, until_s: float) -> int:
        """Wake the workers of queues in which runs wait, in case a wake-up was lost; how many queues."""
        self.store.run(wakeups.wake_queues(poll.waiting))
        return len(poll.waiting)

    def rescue(self, poll: Poll, until_s: float) -> int:
        """End the runs whose lease has expired, and emit lineage of those that a worker had; how many."""
        rescued = 0
        for run_id, value in poll.expired:
            if time.monotonic() > until_s:
                break
            rescued += self._one("rescue", str(run_id), partial(self._rescue, run_id, value))
        return rescued

    def prune(self, poll: Poll, until_s: float) -> int:
        """
        Delete history beyond the bounds of the tasks in the backlog; how many steps.

        A finished task leaves the backlog; the others wait for the next round.
        """
        if poll.prune_candidates:
            names: list[str] = self.store.run(tasks.prune_candidates(CANDIDATES))
            self.backlog |= dict.fromkeys(names)
        steps = 0
        for name in [name for name in self.backlog if self._turns.may(f"prune {name}")]:
            if time.monotonic() > until_s:
                break
            del self.backlog[name]  # at the end of the backlog, unless it is finished
            self.backlog[name] = None
            steps += self._one("prune", name, partial(self._prune, name, until_s))
        return steps

    def is_ready(self) -> bool:
        """Whether the backlog has a task that is not paused."""
        return any(self._turns.may(f"prune {name}") for name in self.backlog)

    def compact(self, poll: Poll, until_s: float) -> int:
        """Compress logs that a worker left behind, a block at a time; how many blocks."""
        blocks = 0
        if poll.uncompacted:
            batch = COMPACT_BATCH + self._turns.waiting("compact ")
            for run_id in self.store.run(logs.compacting(batch, poll.now_us - LEFT_BEHIND_US)):
                while time.monotonic() < until_s and self._one("compact", str(run_id), partial(self._compact, run_id)):
                    blocks += 1
        return blocks

    def emit(self, poll: Poll, until_s: float) -> int:
        """
        Emit lineage of runs that ended without a worker (workers do it for all others); how many.

        Ends while a leader without lineage led, or before the newest 10 000 events, are not made up for.
        """
        emitted = 0
        while self.emitter is not None and time.monotonic() < until_s:
            ends = self.store.run(lineage_events.unreported_ends(UNREPORTED_BATCH, self._emitted_to))
            for run_id, record in ends.runs:
                try:
                    self.emitter.emit(run_id, record)
                except Exception as error:
                    self.troubles.note("emit", str(run_id), error)
            self._emitted_to = ends.place  # stored with the next poll: anything lost now is emitted again
            emitted += len(ends.runs)
            if ends.missed:
                log.warning("lineage.missed")
            if not ends.has_more:
                break
        return emitted

    def sweep(self, poll: Poll, until_s: float) -> int:
        """From time to time, remove what no event announces: old history, lost workers, old lineage; how many."""
        if self._clock() - self._swept_s < SWEEP_S:
            return 0
        self._swept_s = self._clock()
        self._sweep_order = self._sweep_order or self.store.run(tasks.known_tasks())
        if self._sweep_order:
            self.backlog.setdefault(self._sweep_order.pop())
        removed = len(self.store.run(fleet.worker_gone()))
        while time.monotonic() < until_s:
            step = self.store.run(lineage_events.trim())
            removed += step
            if step < lineage_events.TRIM_BATCH:
                break
        return removed

    def waiting(self) -> int:
        """How many runs are paused now, so that more than those are read."""
        return self._turns.waiting("rescue ")

    def _one(self, job: str, about: str, do: Callable[[], int]) -> int:
        """One part of a job: an error is recorded, and the part paused; an outage is raised on."""
        name = f"{job} {about}"
        if not self._turns.may(name):
            return 0
        try:
            done = int(do())
        except StoreUnavailable:
            self._turns.failed(name, patient=True)
            raise
        except Exception as error:
            self._turns.failed(name)
            self.troubles.note(job, about, error)
            return 0
        self._turns.passed(name)
        self.troubles.clear(job, about)
        return done

    def _rescue(self, run_id: UUID, value: bytes) -> bool:
        record, task, why = None, None, ""
        try:
            record = decode_record(value) if value else None
            task = self.store.run(self._catalog.task(record.definition)) if record else None
        except Unreadable as error:
            why = f"; not tried again: {error}"
            log.error("run.unreadable", run_id=str(run_id), error=str(error))
        ended = self.store.run(ops.rescue(run_id, record, task, why))
        if ended.verdict != "ended":
            return False
        if record is not None:
            log.warning("run.rescued", run_id=str(run_id), task=record.task, worker=record.worker, reason=ended.state)
            if self.emitter is not None and not record.external:
                self._emit(self.emitter, run_id)
        return True

    def _compact(self, run_id: UUID) -> bool:
        return self.store.run(logs.compact_block(run_id))

    def _prune(self, name: str, until_s: float) -> int:
        task = self.store.run(tasks.bounds(name))
        after_number: int | None = 0
        steps = 0
        while after_number is not None and time.monotonic() < until_s:
            after_number = self.store.run(ops.prune(name, task, after_number))
            steps += 1
        if after_number is None:
            del self.backlog[name]
        return steps

    def _emit(self, emitter: Emitter, run_id: UUID) -> None:
        record = self.store.run(runs.record(run_id))
        if record is not None and record.reason in (Reason.CRASHED, Reason.STOPPED):
            emitter.emit(run_id, record)
