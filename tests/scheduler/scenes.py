"""A scheduler with something to do in each of its jobs, and a store that can be made to fail at any call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

from scheduler.loop import Loop
from shared import ops
from shared.lineage.emitter import Emitter
from shared.runs import Reason, Record
from shared.settings import Settings
from shared.store import fleet, runs, tasks
from shared.store.redis.call import Call, Key
from shared.store.redis.scripts import Script
from tests.store.desk import SECOND, Desk

T = TypeVar("T")

PAIR = ("bad", "good")
"""Of everything there are two: faults of single parts are planted in the first."""


class OddError(Exception):
    """An error that nobody foresaw."""


def name_of(call: Call[Any]) -> str:
    """The script's name, or the command."""
    return call.what.name if isinstance(call.what, Script) else call.what


class Faulty(Desk):
    """A desk whose calls fail where ``fault`` says so; ``asked`` are the names of all that were made."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.fault: Callable[[Call[Any]], Exception | None] = lambda call: None
        self.asked: list[str] = []

    def _make(self, calls: Sequence[Call[Any]]) -> list[Any]:
        for call in calls:
            self._meet(call)
        return super()._make(calls)

    def _meet(self, call: Call[Any]) -> None:
        self.asked.append(name_of(call))
        error = self.fault(call)
        if error is not None:
            raise error


class Listener:
    """Stands for the emitter: what it was told of."""

    def __init__(self) -> None:
        self.told: list[UUID] = []
        self.deaf_to: UUID | None = None

    def tell(self, run_id: UUID, _record: Record) -> None:
        if run_id == self.deaf_to:
            raise OddError("deaf")
        self.told.append(run_id)


class Scene:
    """
    A leader with all kinds of work, each in a pair. Its clock is the desk's.

    For each of ``PAIR``: a due tick (task ``tick-…``), a delayed run that is due (``later-…``), a run whose worker was
    lost (``lost-…``), history beyond its bounds (``past-…``), a log that was left behind (``log-…``), and a run that
    ended without a worker (``told-…``). Beside them there is a worker that was silent for a minute.
    """

    def __init__(self, desk: Faulty) -> None:
        self.desk = desk
        self.listener = Listener()
        self.loop = Loop(desk, "s", emitter=cast(Emitter, self.listener), clock=lambda: desk.now / SECOND)
        self.lost: dict[str, UUID] = {}
        self.logs: dict[str, UUID] = {}
        self.told: dict[str, UUID] = {}
        self.loop.tick()
        desk.beat(worker="gone")
        for which in PAIR:
            self._prepare(which)
        self._pass(90)
        for which in PAIR:
            held = desk.started(f"lost-{which}")
            self.lost[which] = held.id
            self.told[which] = desk.trigger(f"told-{which}").id
            desk.run(ops.stop(str(self.told[which])))
        self._pass(11)

    def _prepare(self, which: str) -> None:
        desk = self.desk
        desk.task(f"tick-{which}", cron=("* * * * *",), external=False)
        for name in ("later", "lost", "log", "told"):
            desk.task(f"{name}-{which}")
        desk.task(f"past-{which}", keep_runs=1)
        for _ in range(3):
            desk.end(desk.started(f"past-{which}"))
        held = desk.started(f"log-{which}")
        desk.append(held, 0, "one", "two")
        desk.end(held, Reason.SUCCESS)
        self.logs[which] = held.id
        desk.trigger(f"later-{which}", delay_ms=95_000)

    def _pass(self, seconds: int) -> None:
        for _ in range(seconds):
            self.desk.pass_s(1)
            self.desk.beat(worker="alive")

    def undone(self) -> set[str]:
        """What is not done yet, as ``<job> <which>``."""
        desk, found = self.desk, set()
        fault, desk.fault = desk.fault, lambda call: None
        left: list[Any] = desk.run(Call("ZRANGE", (Key("compact"), 0, -1), list))
        due: list[Any] = desk.run(Call("ZRANGE", (Key("due"), 0, -1), list))
        for which in PAIR:
            totals = desk.run(tasks.counts([f"tick-{which}", f"past-{which}"]))
            later = desk.run(runs.find(f"later-{which}#1")).id
            states = {
                "fire": totals[f"tick-{which}"].total > 0,
                "forget": totals[f"past-{which}"].total == 1,
                "release": later.bytes not in due,
                "rescue": desk.get(self.lost[which]).end_reason == Reason.CRASHED,
                "compact": self.logs[which].bytes not in left,
                "tell": self.told[which] in self.listener.told,
            }
            found |= {f"{job} {which}" for job, done in states.items() if not done}
        if "gone" in [worker.id for worker in desk.run(fleet.workers())]:
            found.add("workers")
        desk.fault = fault
        return found

    def tick_until_done(self, rounds: int = 70) -> set[str]:
        """Go on for so many seconds at most; what is not done then."""
        for _ in range(rounds):
            if not self.undone():
                break
            self._pass(1)
            self.loop.tick()
        return self.undone()
