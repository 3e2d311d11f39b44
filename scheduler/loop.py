"""
What a round of the scheduler is: one look at everything, then the chores in order.

The look (``pulse``) keeps or takes the leadership and brings all facts in one round trip, so an idle fleet costs
about two commands a second. Between rounds the scheduler waits for its wake-up list, on which whoever delays a run
or changes the catalog leaves a note.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from scheduler import chores
from scheduler.chores import Definitions, Timetable
from shared.clock import SECOND_US
from shared.errors import RunfleetError, StoreUnavailable
from shared.lineage.emitter import Emitter
from shared.store import boot, fleet, tasks
from shared.store.call import Call, Key
from shared.store.threads import Store
from shared.tasks import Task
from shared.telemetry import get_logger

log = get_logger("scheduler")

ROUND_S: Final = 1.0
"""Longest time between two looks."""

BLUNT_S: Final = 0.1
"""Redis notices up to this much too late that a blocking command's time is over; the last bit is waited for here."""

CHORE_S: Final = 0.3
"""Longest time that one chore of a round may take."""

SWEEP_S: Final = 30.0
"""How often one more task's history is looked at for its age, whether or not anything ended in it."""


class Loop:
    """One scheduler. ``stop`` may be called from a signal handler or another thread."""

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        on_wiped: Callable[[], None] = lambda: None,
        on_leading: Callable[[], None] = lambda: None,
        emitter: Emitter | None = None,
    ) -> None:
        self.name = name
        self.leads = False
        self._leader = ""
        self._instance = ""
        self._on_wiped = on_wiped
        self._on_leading = on_leading
        self._emitter = emitter
        self._store = store
        self._timetable = Timetable()
        self._definitions = Definitions()
        self.stopping = threading.Event()
        self._next_due_us: int | None = None
        self._clock_offset_us = 0
        self._swept_s = time.monotonic()
        self._sweep_order: list[str] = []
        self._backlog: set[str] = set()
        self._away_since_s: float | None = None

    def stop(self) -> None:
        """End after the chore under way."""
        self.stopping.set()

    def run(self) -> None:
        """Go round until ``stop``; Redis may come and go. Raises Misconfigured when it is there and unfit for use."""
        known = False
        while not self.stopping.is_set():
            try:
                if not known:
                    policy = self._store.run(boot.check())
                    known = True
                    if policy:
                        log.warning("store.evicts", policy=policy)
                self.tick()
                self._back()
                self._wait()
            except StoreUnavailable as error:
                self._away(error)
                self.stopping.wait(0.5)
        self._resign()

    def tick(self) -> int:
        """One round: how much was done. Raises StoreUnavailable."""
        pulse = self._store.do(fleet.pulse(self.name, chores.RESCUE_BATCH))
        self._clock_offset_us = pulse.now_us - time.time_ns() // 1000
        self._note_leadership(pulse)
        self._note_wipe(pulse)
        if not pulse.token:
            return 0
        done = 0
        for chore in (self._fire, self._release, self._ring, self._rescue, self._tell, self._forget):
            try:
                done += chore(pulse)
            except StoreUnavailable:
                raise
            except RunfleetError:
                log.exception("scheduler.chore_failed", chore=chore.__name__.strip("_"))
        return done

    def _fire(self, pulse: fleet.Pulse) -> int:
        self._timetable.refresh(self._store, pulse.catalog)
        return self._timetable.fire(self._store, pulse.now_us, self._until_s())

    def _release(self, pulse: fleet.Pulse) -> int:
        self._next_due_us = pulse.next_due_us
        if pulse.next_due_us is None or pulse.next_due_us > pulse.now_us:
            return 0
        count, self._next_due_us = chores.release(self._store, self._until_s())
        return count

    def _ring(self, pulse: fleet.Pulse) -> int:
        return chores.ring_again(self._store, pulse)

    def _rescue(self, pulse: fleet.Pulse) -> int:
        return chores.rescue(self._store, self._definitions, pulse, self._emitter)

    def _tell(self, pulse: fleet.Pulse) -> int:
        return chores.tell(self._store, self._emitter, self._until_s())

    def _forget(self, pulse: fleet.Pulse) -> int:
        if pulse.dirty:
            names: list[str] = self._store.do(tasks.dirty(20))
            self._backlog.update(names)
        now_s = time.monotonic()
        if now_s - self._swept_s >= SWEEP_S:
            self._swept_s = now_s
            self._sweep_order = self._sweep_order or self._store.do(tasks.known_tasks())
            if self._sweep_order:
                self._backlog.add(self._sweep_order.pop())
            chores.forget_workers(self._store)
            chores.forget_events(self._store, self._until_s())
        done = chores.forget(self._store, self._backlog, self._bounds, self._until_s())
        if pulse.uncompacted:
            done += chores.compact(self._store, pulse.now_us)
        return done

    def _bounds(self, name: str) -> Task:
        """The task as defined now; a removed one keeps the defaults' history."""
        entry = self._store.run(tasks.entry(name))
        return entry.task if entry is not None else Task(name=name)

    def _until_s(self) -> float:
        """When a chore has to leave the rest for the next round, so that the leadership is renewed in time."""
        return time.monotonic() + CHORE_S

    def _wait(self) -> None:
        """Wait for a wake-up, the next tick, the next due run, or the end of the round."""
        now_us = time.time_ns() // 1000 + self._clock_offset_us
        if self.leads and self._backlog:
            return
        moments = [self._timetable.next_us(), self._next_due_us] if self.leads else []
        waits = [(moment - now_us) / SECOND_US for moment in moments if moment is not None]
        seconds = min([ROUND_S, *waits])
        if seconds <= 0 or self.stopping.is_set():
            return
        if seconds <= BLUNT_S:
            self.stopping.wait(seconds)
            return
        patience_s = seconds if seconds == ROUND_S else seconds - BLUNT_S
        self._store.block(Call("BLPOP", (Key("wake:scheduler"), max(patience_s, 0.005)), bool), patience_s)

    def _note_leadership(self, pulse: fleet.Pulse) -> None:
        self.leads = bool(pulse.token)
        if pulse.leader == self._leader:
            return
        self._leader = pulse.leader
        if self.leads:
            self._timetable.version = chores.STALE  # what was read before may have been acted upon by another
            log.info("scheduler.leading", scheduler=self.name, fence=pulse.token)
            self._on_leading()
        else:
            log.info("scheduler.standby", scheduler=self.name, leader=pulse.leader)

    def _note_wipe(self, pulse: fleet.Pulse) -> None:
        """A store that has forgotten everything gets its tasks back; what their schedules owed is forgotten with it."""
        if not pulse.token:
            return
        wiped, self._instance = bool(self._instance) and pulse.instance != self._instance, pulse.instance
        if wiped:
            log.warning("store.wiped")
            self._on_wiped()
            self._timetable.version = chores.STALE

    def _resign(self) -> None:
        try:
            self._store.do(fleet.resign(self.name))
        except StoreUnavailable:
            log.warning("store.away", during="resigning")
        log.info("scheduler.stopped", scheduler=self.name)

    def _away(self, error: StoreUnavailable) -> None:
        if self._away_since_s is None:
            self._away_since_s = time.monotonic()
            log.warning("store.away", error=str(error))

    def _back(self) -> None:
        if self._away_since_s is not None:
            log.info("store.back", away_s=round(time.monotonic() - self._away_since_s, 1))
            self._away_since_s = None
