"""A scheduler with something to do in each of its jobs, and a store that can be made to fail at any call."""

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
from tests.store.harness import SECOND, StoreHarness

T = TypeVar("T")

PAIR = ("bad", "good")
"""Of everything there are two: faults of single parts are planted in the first."""


class OddError(Exception):
    """An error that nobody foresaw."""


def name_of(call: Call[Any]) -> str:
    """The script's name, or the command."""
    return call.what.name if isinstance(call.what, Script) else call.what


class FailingStore(StoreHarness):
    """A store whose calls fail where ``fault`` says so; ``asked`` are the names of all that were made."""

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

    def emit(self, run_id: UUID, _record: Record) -> None:
        if run_id == self.deaf_to:
            raise OddError("deaf")
        self.told.append(run_id)


class PairedWork:
    """
    A leader with all kinds of work, each in a pair. Its clock is the store's.

    For each of ``PAIR``: a due tick (task ``tick-…``), a delayed run that is due (``later-…``), a run whose worker was
    lost (``lost-…``), history beyond its bounds (``past-…``), a log that was left behind (``log-…``), and a run that
    ended without a worker (``told-…``). Beside them there is a worker that was silent for a minute.
    """

    def __init__(self, harness: FailingStore) -> None:
        self.harness = harness
        self.listener = Listener()
        self.loop = Loop(harness, "s", emitter=cast(Emitter, self.listener), clock=lambda: harness.now / SECOND)
        self.lost: dict[str, UUID] = {}
        self.logs: dict[str, UUID] = {}
        self.told: dict[str, UUID] = {}
        self.loop.tick()
        harness.heartbeat(worker="gone")
        for which in PAIR:
            self._prepare(which)
        self._pass(90)
        for which in PAIR:
            held = harness.started(f"lost-{which}")
            self.lost[which] = held.id
            self.told[which] = harness.trigger(f"told-{which}").id
            harness.run(ops.stop(str(self.told[which])))
        self._pass(11)

    def _prepare(self, which: str) -> None:
        harness = self.harness
        harness.task(f"tick-{which}", cron=("* * * * *",), external=False)
        for name in ("later", "lost", "log", "told"):
            harness.task(f"{name}-{which}")
        harness.task(f"past-{which}", keep_runs=1)
        for _ in range(3):
            harness.end(harness.started(f"past-{which}"))
        held = harness.started(f"log-{which}")
        harness.append(held, 0, "one", "two")
        harness.end(held, Reason.SUCCESS)
        self.logs[which] = held.id
        harness.trigger(f"later-{which}", delay_ms=95_000)

    def _pass(self, seconds: int) -> None:
        for _ in range(seconds):
            self.harness.pass_s(1)
            self.harness.heartbeat(worker="alive")

    def undone(self) -> set[str]:
        """What is not done yet, as ``<job> <which>``."""
        harness, found = self.harness, set()
        fault, harness.fault = harness.fault, lambda call: None
        left: list[Any] = harness.run(Call("ZRANGE", (Key("compact"), 0, -1), list))
        due: list[Any] = harness.run(Call("ZRANGE", (Key("due"), 0, -1), list))
        for which in PAIR:
            totals = harness.run(tasks.counts([f"tick-{which}", f"past-{which}"]))
            later = harness.run(runs.find(f"later-{which}#1")).id
            states = {
                "fire": totals[f"tick-{which}"].total > 0,
                "prune": totals[f"past-{which}"].total == 1,
                "enqueue_due": later.bytes not in due,
                "rescue": harness.get(self.lost[which]).end_reason == Reason.CRASHED,
                "compact": self.logs[which].bytes not in left,
                "emit": self.told[which] in self.listener.told,
            }
            found |= {f"{job} {which}" for job, done in states.items() if not done}
        if "gone" in [worker.id for worker in harness.run(fleet.workers())]:
            found.add("workers")
        harness.fault = fault
        return found

    def tick_until_done(self, rounds: int = 70) -> set[str]:
        """Go on for so many seconds at most; what is not done then."""
        for _ in range(rounds):
            if not self.undone():
                break
            self._pass(1)
            self.loop.tick()
        return self.undone()
