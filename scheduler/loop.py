"""
The rounds of the scheduler: one poll, then the jobs in order.

The poll takes or keeps the leadership and returns all facts in one round trip, so an idle fleet costs about two
commands a second. Between rounds the leader waits for its wake-up list, to which a delayed run or a change of the
catalog adds. A job that fails does not delay the others: the failure is recorded, and the job is retried after a pause.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from scheduler import jobs
from scheduler.cron_heap import ON_TIME_US, STALE, CronHeap
from scheduler.jobs import Jobs
from scheduler.outages import Outages
from scheduler.queues import UnusedQueues
from scheduler.stored_clock import StoredClock
from scheduler.troubles import SHOWN, Troubles, Turns
from shared import ops
from shared.clock import SECOND_US
from shared.errors import Misconfigured, RunfleetError, StoreFull, StoreUnavailable
from shared.lineage.emitter import Emitter
from shared.store import leadership, preflight, tasks
from shared.store.health import Health
from shared.store.redis.call import Call, Key
from shared.store.redis.server_info import eviction_policy
from shared.store.redis.sync_store import Store
from shared.telemetry import get_logger

log = get_logger("scheduler")

ROUND_S: Final = 1.0
"""Maximum time between two polls."""

BLUNT_S: Final = 0.1
"""Redis notices up to this much too late that a blocking command's time is over; the last bit is waited for here."""

JOB_S: Final = 0.3
"""Longest time that one job of a round may take, so that the leadership is renewed in time."""

JOB_PAUSE_S: Final = 2.0
"""The longest pause of a job that fails as a whole."""

CHECK_S: Final = 60.0
"""How often the leader compares its timetable with the catalog, and says how it is."""

FULL_S: Final = 5.0
"""So long after Redis was full, what frees memory comes before what needs some."""

UNAVAILABLE: Final = "Redis was away"
FULL: Final = "Redis was full"
"""Why ticks were missed, as in the message of a skipped run."""

Job = Callable[[leadership.Poll, float], int]
"""Gets the measured time when it has to leave the rest for the next round; answers how much it did."""


class Loop:
    """
    One scheduler. ``stop`` may be called from a signal handler or another thread.

    It calls *on_leading* when it begins to lead and *on_wiped* when the store was wiped; neither may block.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        on_wiped: Callable[[], None] = lambda: None,
        on_leading: Callable[[], None] = lambda: None,
        emitter: Emitter | None = None,
        window_us: int = ON_TIME_US,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.leads = False
        self.stopping = threading.Event()
        self.troubles = Troubles(clock)
        self._leader = ("", 0)
        self._store = store
        self._outages = Outages()
        catalog = ops.Catalog()
        self._cron_heap = CronHeap(self.troubles, catalog=catalog, window_us=window_us, why=self._outages.why)
        self._jobs = Jobs(store, catalog, self.troubles, emitter, clock)
        self._unused = UnusedQueues(store, clock)
        self._turns = Turns(clock, JOB_PAUSE_S)
        self._time = clock
        self._on_wiped = on_wiped
        self._on_leading = on_leading
        self._instance = ""
        self._overwritten_keys: set[str] = set()
        self._behind: dict[str, None] = {}
        self._full_until_s = 0.0
        self._clock = StoredClock(clock)
        self._checked_s = 0.0
        self._repaired = 0
        self._policy = ""
        self._health = b""
        self._said = (b"", 0.0)

    def stop(self) -> None:
        """Stop after the current job."""
        self.stopping.set()

    def run(self) -> None:
        """
        Run rounds until ``stop``, also through outages of Redis. Raises Misconfigured when Redis is unfit for use.
        """
        is_known = False
        while not self.stopping.is_set():
            try:
                if not is_known:
                    policy = self._store.run(preflight.check())
                    is_known, self._policy = True, policy
                    if policy:
                        log.warning("store.evicts", policy=policy)
                self.tick()
                self._outages.ended(UNAVAILABLE, self._clock.seen_us)
                self._wait()
                if self.troubles.clear("round"):
                    log.info("scheduler.recovered")
            except StoreUnavailable:
                self._outages.began(UNAVAILABLE, self._clock.seen_us)
                self.stopping.wait(0.5)
            except Misconfigured:
                raise
            except Exception as error:
                self.troubles.note("round", "", error)
                self.stopping.wait(ROUND_S)
        self._resign()

    def tick(self) -> int:
        """One round: how much was done. Raises StoreUnavailable."""
        batch = jobs.RESCUE_BATCH + self._jobs.waiting()
        self._clock.before()
        poll = self._store.run(leadership.poll(self.name, batch, self._health))
        self._health = b""
        self._note_clock(poll)
        if poll.reset_keys:
            log.error("store.keys_reset", keys=", ".join(poll.reset_keys))
        for name in self._overwritten_keys.difference(poll.overwritten_keys):
            self.troubles.clear("look", name)
        self._overwritten_keys = set(poll.overwritten_keys)
        for name in poll.overwritten_keys:
            self.troubles.note("look", name, RunfleetError(f"key {name} holds something that Runfleet did not write"))
        self._note_leadership(poll)
        self._note_wipe(poll)
        if not poll.token:
            return 0
        done = 0
        for name, job in self._order():
            if not self._turns.may(name):
                continue
            try:
                done += job(poll, time.monotonic() + JOB_S)
            except StoreUnavailable as error:
                if not isinstance(error, StoreFull):
                    self._behind.pop(name, None)
                    self._behind[name] = None  # should the job be the cause, the others come first in the next round
                    raise
                self._full_until_s = self._time() + FULL_S
                self._outages.began(FULL, poll.now_us)
                self._turns.failed(name)
                self.troubles.note(name, "", error)
            except Misconfigured:
                raise
            except Exception as error:
                self._turns.failed(name)
                self.troubles.note(name, "", error)
            else:
                self._behind.pop(name, None)
                self._turns.passed(name)
                self.troubles.clear(name)
        self._describe(poll)
        return done

    def _order(self) -> list[tuple[str, Job]]:
        """The jobs of this round: first what must be on time, or what frees memory while Redis is full."""
        jobs = self._jobs
        urgent: list[tuple[str, Job]] = [
            ("fire", self._fire),
            ("enqueue_due", jobs.enqueue_due),
            ("make", jobs.make),
            ("stop", jobs.stop),
            ("wake", jobs.wake_queues),
        ]
        freeing: list[tuple[str, Job]] = [("rescue", jobs.rescue), ("prune", jobs.prune), ("compact", jobs.compact)]
        rest: list[tuple[str, Job]] = [
            ("emit", jobs.emit),
            ("sweep", jobs.sweep),
            ("check", self._check),
            ("queues", self._drop_queues),
        ]
        is_full = self._time() < self._full_until_s
        ordered = [*freeing, *urgent, *rest] if is_full else [*urgent, *freeing, *rest]
        behind = list(self._behind)
        return sorted(ordered, key=lambda job: behind.index(job[0]) if job[0] in behind else -1)

    def _fire(self, poll: leadership.Poll, until_s: float) -> int:
        try:
            self._cron_heap.refresh(self._store, poll.catalog, poll.now_us)
            self.troubles.clear("refresh")
        except StoreUnavailable:
            raise
        except Exception as error:  # the known catalog keeps firing: the store refuses old definitions
            self.troubles.note("refresh", "", error)
        fired = self._cron_heap.fire(self._store, poll.now_us, until_s)
        if fired:
            self._outages.ended(FULL, poll.now_us)
        return fired

    def _drop_queues(self, poll: leadership.Poll, until_s: float) -> int:
        return self._unused.drop(until_s)

    def _check(self, poll: leadership.Poll, until_s: float) -> int:
        """Once a minute: compare the heap with the catalog. If they differ, the catalog is read again."""
        if self._time() - self._checked_s < CHECK_S:
            return 0
        self._look_at_policy()
        standing = self._store.run(tasks.standing())
        different = self._cron_heap.differences(standing, poll.now_us)
        self._checked_s = self._time()
        if different:
            self._repaired += len(different)
            self._cron_heap.version = STALE
            log.error("schedule.repaired", tasks=", ".join(different[:SHOWN]), count=len(different))
        return len(different)

    def _look_at_policy(self) -> None:
        """Check the eviction policy, which may change while the fleet runs: Redis would then evict keys silently."""
        policy = self._store.run(eviction_policy())
        if policy != self._policy and policy.startswith(("allkeys-", "volatile-")):
            log.warning("store.evicts", policy=policy)
        if policy.startswith("allkeys-"):
            why = "Redis may drop any key when its memory is short"
            why = f"{why} (maxmemory-policy is {policy}): {preflight.EVICTION_CURE}"
            self.troubles.note("redis", "", Misconfigured(why))
        else:
            self.troubles.clear("redis")
        self._policy = policy

    def _describe(self, poll: leadership.Poll) -> None:
        """Update the health that the next poll stores."""
        overdue = self._cron_heap.overdue(poll.now_us)
        unreadable = sorted(self._cron_heap.unreadable)
        health = Health(
            schedules=len(self._cron_heap),
            overdue=len(overdue),
            overdue_tasks=overdue[:SHOWN],
            unreadable=len(unreadable),
            unreadable_tasks=unreadable[:SHOWN],
            failing=self.troubles.current(),
            failures=self.troubles.failures,
            repaired=self._repaired,
        )
        packed, (said, said_s) = health.packed(), self._said
        if packed != said or self._time() - said_s >= CHECK_S:
            self._health, self._said = packed, (packed, self._time())

    def _wait(self) -> None:
        """Wait for a wake-up, the next tick, the next due run, or the end of the round."""
        if not self.leads:
            self._block("wake:standby", ROUND_S)  # only the leader may wait on the leader's list
            return
        if self._jobs.is_ready() and self._turns.may("prune"):
            return
        now_us = self._clock.now_us()
        moments = [self._cron_heap.next_us()] if self._turns.may("fire") else []
        moments += [self._jobs.next_due_us] if self._turns.may("enqueue_due") else []
        seconds = min([ROUND_S, *((moment - now_us) / SECOND_US for moment in moments if moment is not None)])
        if seconds <= 0 or self.stopping.is_set():
            return
        if seconds <= BLUNT_S:
            self.stopping.wait(seconds)
            return
        self._block("wake:scheduler", seconds if seconds == ROUND_S else seconds - BLUNT_S)

    def _block(self, key: str, seconds: float) -> None:
        self._store.block(Call("BLPOP", (Key(key), max(seconds, 0.005)), bool), seconds)

    def _note_clock(self, poll: leadership.Poll) -> None:
        before_us = self._clock.seen_us
        stepped_us = self._clock.after(poll.now_us)
        if stepped_us:
            log.warning("clock.stepped", seconds=round(stepped_us / SECOND_US, 1))
            self._cron_heap.version = STALE
        if stepped_us > 0:
            self._outages.was("Redis's clock jumped ahead", before_us, poll.now_us)
        elif (
            self.leads
            and before_us
            and not self._outages.is_under_way(UNAVAILABLE)
            and poll.now_us - before_us > leadership.LEADERSHIP_US
        ):
            self._outages.was("no scheduler was leading", before_us, poll.now_us)  # this one was frozen

    def _note_leadership(self, poll: leadership.Poll) -> None:
        self.leads = bool(poll.token)
        # Compare its token too: another scheduler may have led in between while this one slept.
        if (poll.leader, poll.token) == self._leader:
            return
        self._leader = (poll.leader, poll.token)
        if self.leads:
            self._cron_heap.version = STALE  # another leader may have changed what was read before
            self._outages.led_from(poll.now_us)
            log.info("scheduler.leading", scheduler=self.name, fence=poll.token)
            self._on_leading()
        else:
            log.info("scheduler.standby", scheduler=self.name, leader=poll.leader)

    def _note_wipe(self, poll: leadership.Poll) -> None:
        """
        Have the tasks written back to a wiped store; the ticks that their schedules owed are lost.

        Standbys know the store's id too: the leader may be lost at that very moment.
        """
        if self._instance and poll.store_id != self._instance:
            log.warning("store.wiped")
            self._cron_heap.version = STALE
            self._on_wiped()
        self._instance = poll.store_id

    def _resign(self) -> None:
        try:
            self._store.run(leadership.resign(self.name))
        except StoreUnavailable:
            pass  # the store has said so; the leadership lapses
        except Exception as error:
            self.troubles.note("resign", "", error)
        log.info("scheduler.stopped", scheduler=self.name)
