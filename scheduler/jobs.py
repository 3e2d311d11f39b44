"""
What a leading scheduler has to do beside its ticks, one function a job.

Each takes what it needs and says how much it did. Each may be done twice, by two schedulers, or half: what it
changes, it changes by a script that checks the state it found. One bad run, task or log holds up no other: it is noted,
left alone for a while, and tried again after_number the others.
"""

from __future__ import annotations

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
from shared.store import creation, fleet, logs, records, runs, tasks, wakeups
from shared.store.dialects import lineage_events
from shared.store.leadership import Poll
from shared.store.redis.sync_store import Store
from shared.tasks import Definition, Task
from shared.telemetry import get_logger

log = get_logger("scheduler")

RELEASE_BATCH: Final = 500
RESCUE_BATCH: Final = 100
COMPACT_BATCH: Final = 20
UNTOLD_BATCH: Final = 1000
LEFT_BEHIND_US: Final = 10 * SECOND_US
"""A log that its worker has not compacted for so long after the end is compacted here."""


class Definitions:
    """Definitions by hash, which never change; kept in memory up to a bound."""

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._known: dict[str, Definition] = {}

    def task(self, store: Store, hash_: str) -> Task | None:
        """The task of a definition, None when the store does not have it. Raises Unreadable."""
        if hash_ not in self._known:
            found = store.run(tasks.definition(hash_))
            if found is None:
                return None
            if len(self._known) >= self._most:
                self._known.clear()
            self._known[hash_] = found
        return self._known[hash_].task()


class Jobs:
    """What the jobs share: the store, what failed, and whose turn it is."""

    def __init__(
        self,
        store: Store,
        troubles: Troubles,
        emitter: Emitter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.troubles = troubles
        self.emitter = emitter
        self.backlog: dict[str, None] = {}
        self._definitions = Definitions()
        self._told_to = ""
        self._turns = Turns(clock)

    def release(self, until_s: float) -> tuple[int, int | None]:
        """
        Let delayed runs whose time has come into their queues: how many, and when the next one is due (None: none).
        """
        total = 0
        while True:
            released = self.store.run(ops.enqueue_due(RELEASE_BATCH))
            for run_id in released.failed:
                self.troubles.note("release", str(run_id), Unreadable("it cannot be let into its queue"))
            total += released.looked_at
            if released.looked_at < RELEASE_BATCH or time.monotonic() > until_s:
                return total, released.next_due_us

    def make(self, poll: Poll, until_s: float) -> int:
        """Make the runs that were too many for the step that made their execution's first ones; how many steps."""
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
        """Go on with stops of large executions that others began, or left; how many steps."""
        steps = 0
        if poll.stopping:
            for execution_id in self.store.run(runs.stopping(20 + self._turns.waiting("stop "), poll.now_us)):
                if time.monotonic() > until_s:
                    break
                steps += self._one("stop", str(execution_id), partial(self._stop, execution_id, until_s))
        return steps

    def _stop(self, execution_id: UUID, until_s: float) -> int:
        return self.store.run(ops.stop_rest(execution_id, lambda: time.monotonic() < until_s))

    def ring_again(self, poll: Poll) -> int:
        """Ring for queues in which runs wait, in case a wake-up was lost; how many queues."""
        if poll.waiting:
            self.store.run(wakeups.wake_queues(poll.waiting))
        return len(poll.waiting)

    def rescue(self, poll: Poll, until_s: float) -> int:
        """End the runs whose lease is over, and tell the emitter of those that a worker had; how many."""
        rescued = 0
        for run_id, value in poll.expired:
            if time.monotonic() > until_s:
                break
            rescued += self._one("rescue", str(run_id), partial(self._rescue, run_id, value))
        return rescued

    def forget(self, bounds: Callable[[str], Task], until_s: float) -> int:
        """
        Forget what of the backlog's tasks' history is beyond their bounds; how many steps.

        A task that is done leaves the backlog; what time does not allow stays in it for the next round.
        """
        steps = 0
        for name in [name for name in self.backlog if self._turns.may(f"forget {name}")]:
            if time.monotonic() > until_s:
                break
            del self.backlog[name]  # and to the end of it, unless it gets done
            self.backlog[name] = None
            steps += self._one("forget", name, partial(self._forget, name, bounds, until_s))
        return steps

    def is_ready(self) -> bool:
        """Whether the backlog has a task that need not be left alone."""
        return any(self._turns.may(f"forget {name}") for name in self.backlog)

    def compact(self, now_us: int, until_s: float) -> int:
        """Compress logs that a worker left after_number, a block at a time; how many blocks."""
        blocks = 0
        batch = COMPACT_BATCH + self._turns.waiting("compact ")
        for run_id in self.store.run(logs.compacting(batch, now_us - LEFT_BEHIND_US)):
            while time.monotonic() < until_s and self._one("compact", str(run_id), partial(self._compact, run_id)):
                blocks += 1
        return blocks

    def tell(self, until_s: float) -> int:
        """
        Tell the emitter of runs of ours that ended without a worker, which tells of all others; how many.

        What was done meanwhile by a leader without lineage, or in more than 10 000 events, is not made up for.
        """
        told = 0
        while self.emitter is not None and time.monotonic() < until_s:
            untold = self.store.run(lineage_events.unreported_ends(UNTOLD_BATCH, self._told_to))
            for run_id, record in untold.runs:
                try:
                    self.emitter.tell(run_id, record)
                except Exception as error:
                    self.troubles.note("tell", str(run_id), error)
            self._told_to = untold.place  # noted in the store with the next look: what is lost now is told again
            told += len(untold.runs)
            if untold.missed:
                log.warning("lineage.missed")
            if not untold.has_more:
                break
        return told

    def forget_events(self, until_s: float) -> int:
        """Forget lineage events that are too old; how many."""
        forgotten = 0
        while time.monotonic() < until_s:
            step = self.store.run(lineage_events.trim())
            forgotten += step
            if step < lineage_events.TRIM_BATCH:
                break
        return forgotten

    def forget_workers(self) -> int:
        """Forget worker processes that have been silent for a minute; how many."""
        return len(self.store.run(fleet.worker_gone()))

    def waiting(self) -> int:
        """How many runs are left alone for now, so that more than those are to be looked at."""
        return self._turns.waiting("rescue ")

    def _one(self, job: str, about: str, do: Callable[[], int]) -> int:
        """One part of a job: whatever it raises is noted, and it is left alone for a while; an outage is raised on."""
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
            record = records.decode_record(value) if value else None
            task = self._definitions.task(self.store, record.definition) if record else None
        except Unreadable as error:
            why = f"; not tried again: {error}"
            log.error("run.unreadable", run_id=str(run_id), error=str(error))
        ended = self.store.run(ops.rescue(run_id, record, task, why))
        if ended.verdict != "ended":
            return False
        if record is not None:
            log.warning("run.rescued", run_id=str(run_id), task=record.task, worker=record.worker, reason=ended.state)
            if self.emitter is not None and not record.external:
                self._tell(self.emitter, run_id)
        return True

    def _compact(self, run_id: UUID) -> bool:
        return self.store.run(logs.compact_block(run_id))

    def _forget(self, name: str, bounds: Callable[[str], Task], until_s: float) -> int:
        task = bounds(name)
        after_number: int | None = 0
        steps = 0
        while after_number is not None and time.monotonic() < until_s:
            after_number = self.store.run(ops.prune(name, task, after_number))
            steps += 1
        if after_number is None:
            del self.backlog[name]
        return steps

    def _tell(self, emitter: Emitter, run_id: UUID) -> None:
        record = self.store.run(runs.record(run_id))
        if record is not None and record.reason in (Reason.CRASHED, Reason.STOPPED):
            emitter.tell(run_id, record)
