"""A heap of the catalog's schedules by their next due time; fires due ticks."""

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from scheduler.troubles import LONGEST_S, Pauses, Troubles
from shared import ops
from shared.clock import SECOND_US
from shared.errors import DefinitionChanged, StoreFull, StoreUnavailable
from shared.schedules import Schedule, jitter_us, parse
from shared.schedules.overdue import OVERDUE_US
from shared.store import tasks
from shared.store.redis.sync_store import Store
from shared.store.tasks import Entry, Standing
from shared.telemetry import get_logger

log = get_logger("scheduler")

ON_TIME_US: Final = 12 * SECOND_US
"""A tick this late was not missed: a leader may have been lost and its successor needs a moment."""

EXACT_US: Final = 2 * SECOND_US
"""With ``catch_up = 0`` a tick that is later is not run any more, however wide the window is."""

AHEAD_US: Final = 10 * SECOND_US
"""No tick so far in the future was seen to: the clock of Redis went back since (``lua/create.lua`` knows it too)."""

STALE: Final = -1
"""The version of a heap that has to be read again."""

NEVER: Final = 1 << 62
"""The next check of a schedule without further ticks."""

PORTION: Final = 1000
"""Ticks of one schedule that are fired at one look; the rest at the next."""


def unknown(_first_us: int, _last_us: int) -> str:
    """Why ticks were missed, when the reason is not known."""
    return "no scheduler was leading"


class Owed(NamedTuple):
    """
    The ticks that a schedule owes, oldest first, each with when it was due.

    ``missed`` ticks, from ``first_us`` to ``last_us``, came too late to be fired; 0 when there are none.
    """

    ticks: list[tuple[int, int]]
    missed: int
    first_us: int
    last_us: int


class CronHeap:
    """
    The schedules of the catalog, and a heap of when each has to be checked next.

    Kept in memory and read again when the catalog's version changes; the truth about fired ticks is the store's cursor.
    Whatever error firing a tick raises, its schedule stays here: it is retried, after a pause that grows.
    """

    def __init__(
        self,
        troubles: Troubles | None = None,
        *,
        catalog: ops.Catalog | None = None,
        window_us: int = ON_TIME_US,
        why: Callable[[int, int], str] = unknown,
    ) -> None:
        self.version = STALE
        self.unreadable: dict[str, str] = {}
        self._troubles = troubles or Troubles()
        self._window_us = window_us
        self._why = why
        self._known = catalog or ops.Catalog()
        self._entries: dict[str, Entry] = {}
        self._schedules: dict[str, Schedule] = {}
        self._cursors: dict[str, int] = {}
        self._due: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self._pauses = Pauses()
        self._heap: list[tuple[int, str]] = []
        self._is_unsure = False

    def __len__(self) -> int:
        return len(self._schedules)

    def refresh(self, store: Store, version: int, now_us: int | None = None) -> int:
        """
        Read the catalog if its version has changed; how many schedules there are.

        A cursor later than *now_us* is replaced by now: the clock of Redis went back.
        """
        if version == self.version:
            if self._is_unsure:
                self._read_cursors(store, now_us)
            return len(self._schedules)
        catalog = store.run(tasks.catalog())
        cursors = store.run(tasks.cursors())
        entries = {entry.name: entry for entry in catalog.entries if entry.task.cron and not entry.paused}
        unreadable = {name: why for name, why in catalog.unreadable.items() if name in cursors}
        schedules: dict[str, Schedule] = {}
        for name, entry in entries.items():
            try:
                schedule = parse(list(entry.task.cron), entry.task.timezone)
                schedule.next_after(cursors.get(name, 0))
                schedules[name] = schedule
            except Exception as error:  # a zone that is missing here, an expression of a newer release
                unreadable[name] = str(error)
        for name in unreadable.keys() - self.unreadable.keys():
            log.error("schedule.unreadable", task=name, error=unreadable[name])
        self.unreadable, self._entries, self._schedules = unreadable, entries, schedules
        self._held = {}
        self._pauses.keep(schedules.keys())
        self._begin(cursors, now_us)
        self.version = version
        return len(schedules)

    def _read_cursors(self, store: Store, now_us: int | None) -> None:
        """Read the cursors again: a call was not answered, so its effect is not known here."""
        self._begin(store.run(tasks.cursors()), now_us)

    def _begin(self, cursors: dict[str, int], now_us: int | None) -> None:
        """Schedule a check of each schedule for ticks after its cursor."""
        ahead = [name for name in self._schedules if now_us is not None and cursors.get(name, 0) > now_us + AHEAD_US]
        if ahead and now_us is not None:
            log.warning("schedule.ahead", tasks=len(ahead), first=ahead[0])
            cursors |= dict.fromkeys(ahead, now_us)
        self._cursors, self._due, self._is_unsure = cursors, {}, False
        self._heap = [(self._next_look(name), name) for name in self._schedules]
        heapq.heapify(self._heap)

    def next_us(self) -> int | None:
        """When the next tick is to be fired, jitter included; None when none ever is."""
        return self._heap[0][0] if self._heap and self._heap[0][0] < NEVER else None

    def fire(self, store: Store, now_us: int, until_s: float) -> int:
        """
        Create the executions of all due ticks; how many were created here.

        Ticks that are not fired by measured time *until_s* are left for the next round. Raises StoreUnavailable and
        StoreFull; any other error of a schedule is recorded and does not delay the others.
        """
        fired = 0
        while self._heap and self._heap[0][0] <= now_us and time.monotonic() < until_s:
            name = self._heap[0][1]
            pause_s = 0.0
            try:
                made, has_moved = self._fire(store, name, now_us, until_s)
                fired += made
                if not has_moved:
                    pause_s = 1.0  # nothing was owed after all: don't check again at once
                self._pauses.passed(name)
                self._troubles.clear("fire", name)
            except StoreFull:
                raise
            except StoreUnavailable:
                self._is_unsure = True  # the tick may have been handled, and the answer lost
                pause_s = self._pauses.failed(name, patient=True)
                raise
            except DefinitionChanged as error:
                self.version = STALE  # the task file was applied meanwhile; the next round reads the catalog again
                pause_s = self._pauses.failed(name, patient=True)
                if pause_s:
                    self._troubles.note("fire", name, error)
            except Exception as error:
                pause_s = self._pauses.failed(name)
                self._troubles.note("fire", name, error)
            finally:
                heapq.heapreplace(self._heap, (self._look_again(name, now_us, pause_s), name))
            if self.version == STALE:
                break
        return fired

    def overdue(self, now_us: int) -> list[str]:
        """The schedules that have owed a tick for longer than a working leader would allow, sorted."""
        late_us = now_us - OVERDUE_US
        if not self._heap or (self._heap[0][0] > late_us and not len(self._pauses)):
            return []
        return sorted(name for name, due in self._due.items() if due <= late_us)

    def differences(self, standing: Standing, now_us: int) -> list[str]:
        """The names of schedules that differ between the store and this heap; [] while the catalog is changing."""
        if standing.before != self.version or standing.after != self.version:
            return []
        wanted = {name: row for name, row in standing.rows.items() if row.scheduled and not row.paused}
        looked_at = {name for _, name in self._heap}
        different = {name for name in wanted.keys() | self._schedules.keys() if not self._stands(name, wanted)}
        for name, row in wanted.items():
            if name not in self._schedules:
                continue
            cursor, here = (_cut(cursors.get(name, 0), now_us) for cursors in (standing.cursors, self._cursors))
            if row.hash != self._entries[name].definition.hash or name not in looked_at or cursor != here:
                different.add(name)
        return sorted(different)

    def _stands(self, name: str, wanted: dict[str, tasks.Row]) -> bool:
        return name in self.unreadable or (name in wanted) == (name in self._schedules)

    def _fire(self, store: Store, name: str, now_us: int, until_s: float) -> tuple[int, bool]:
        """How many executions were made, and whether the schedule's cursor moved."""
        entry, began = self._entries[name], self._cursors.setdefault(name, now_us)
        owed = self._owed(entry, began, now_us)
        fired = 0
        if owed.missed:
            why = self._why(owed.first_us, owed.last_us)
            miss = ops.miss(entry, owed.first_us, owed.last_us, owed.missed, why, after_us=began)
            verdict = store.run(miss)
            if verdict == "stale":
                self._is_unsure = True  # some were handled after all: count again
                return 0, False
            if verdict == "created":
                log.warning("schedule.missed", task=name, missed=owed.missed, catch_up=len(owed.ticks), why=why)
            self._cursors[name] = owed.last_us
        for tick, due in owed.ticks:
            if store.run(ops.fire(self._known, entry, tick)):
                fired += 1
                log.info("schedule.fired", task=name, tick_us=tick, late_ms=(now_us - tick) // 1000)
            self._cursors[name], self._held[name] = tick, due
            if time.monotonic() > until_s:
                break
        return fired, self._cursors[name] != began

    def _owed(self, entry: Entry, after: int, now_us: int) -> Owed:
        """
        The ticks that *entry*'s schedule owes after its cursor.

        Ticks are due in order: one delayed by its jitter delays those after it, or the cursor would skip it. So missed
        ticks come first, then those to fire, then those that are still delayed.
        """
        schedule, jitter_ms = self._schedules[entry.name], entry.task.jitter_ms
        catch_up = entry.task.catch_up
        missed_us = now_us - (self._window_us if catch_up else min(self._window_us, EXACT_US)) - 1
        surely_us = missed_us - jitter_ms * 1000  # up to here they are missed, however long their jitter was
        missed, newest = 0, deque[tuple[int, int]](maxlen=catch_up + 1)
        if surely_us > after:
            missed = schedule.count_between(after, surely_us)
            newest.extend((tick, tick) for tick in schedule.latest(surely_us, after, catch_up + 1))
        on_time: list[tuple[int, int]] = []
        due = self._held.get(entry.name, 0)
        for tick in self._ticks(schedule, max(after, surely_us), now_us):
            due = max(due, tick + jitter_us(entry.name, tick, jitter_ms))
            if due <= missed_us:
                missed += 1
                newest.append((tick, due))
            elif due <= now_us and len(on_time) < PORTION:
                on_time.append((tick, due))
            else:
                break
        if missed <= catch_up:
            return Owed([*newest, *on_time], 0, 0, 0)
        last, _ = newest.popleft()
        return Owed([*newest, *on_time], missed - catch_up, schedule.next_after(after) or last, last)

    def _ticks(self, schedule: Schedule, after_us: int, until_us: int) -> Iterator[int]:
        """The ticks in ``(after_us, until_us]``, oldest first, in portions."""
        while ticks := schedule.earliest(after_us, until_us, PORTION):
            yield from ticks
            after_us = ticks[-1]

    def _look_again(self, name: str, now_us: int, pause_s: float) -> int:
        """When to check a schedule that was just checked, not before a pause. Never raises: it would be lost."""
        try:
            return max(self._next_look(name), now_us + round(pause_s * SECOND_US))
        except Exception as error:
            self._troubles.note("fire", name, error)
            return now_us + round(LONGEST_S * SECOND_US)

    def _next_look(self, name: str) -> int:
        """When the next tick is due, jitter included; ``NEVER`` when none comes."""
        if name not in self._cursors:
            return 0  # its cursor was lost: it begins now
        tick = self._schedules[name].next_after(self._cursors[name])
        if tick is None:
            self._due.pop(name, None)
            return NEVER
        self._due[name] = tick + jitter_us(name, tick, self._entries[name].task.jitter_ms)
        return self._due[name]


def _cut(cursor: int, now_us: int) -> int:
    """A cursor; now, if the cursor is later because the clock went back."""
    return now_us if cursor > now_us + AHEAD_US else cursor
