"""A store with a clock in hand: every script is told the time, and a whole story fits in a few lines."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import redis

from shared import ops
from shared.errors import RunfleetError
from shared.runs import Reason, Record, Run
from shared.settings import Settings
from shared.store import fleet, logs, open_async_store, runs, tasks
from shared.store.log_record import StoredLine
from shared.store.redis.async_store import AsyncStore
from shared.store.redis.call import Call, Drive, Operation
from shared.store.redis.scripts import Script
from shared.store.redis.sync_store import Store
from shared.store.runs import Claimed, Ended, Facts, Retry, Wanted
from shared.store.tasks import Entry
from shared.tasks import Task, define
from tests.store.transition_check import check_changes, states, writes

T = TypeVar("T")
SECOND = 1_000_000
START = 1_700_000_000 * SECOND
LEASE = 6 * SECOND


class StoreHarness(Store):
    """A store whose scripts take ``now`` for the time. The short methods do what their names say, at that time."""

    def __init__(self, settings: Settings, now: int = START) -> None:
        super().__init__(settings)
        self.now = now
        self.catalog = ops.Catalog()
        self._turns = count(1)
        self._observer = Store(settings)  # so that what looks at runs is no round trip of this one
        self.is_alone = True  # False: other stores change runs at the same time, so no change can be put down to a call
        self._tasks: dict[str, Task] = {}
        self._limits: dict[str, int] = {}

    def _make(self, calls: Sequence[Call[Any]]) -> list[Any]:
        with self._checked(calls):
            return super()._make([self._stamped(call) for call in calls])

    def settle(self, calls: Sequence[Call[Any]]) -> list[Any]:
        with self._checked(calls):
            return super().settle([self._stamped(call) for call in calls])

    @contextmanager
    def _checked(self, calls: Sequence[Call[Any]]) -> Iterator[None]:
        """Fails when runs change otherwise than the table of transitions and the scripts' headers say."""
        scripts = [call.what.name for call in calls if isinstance(call.what, Script) and writes(call.what)]
        if not scripts or not self.is_alone:
            yield
            return
        before = states(self._observer)
        yield
        after = states(self._observer)
        if before is not None and after is not None:
            check_changes(before, after, scripts)

    def close(self) -> None:
        self._observer.close()
        super().close()

    def pass_s(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)

    def task(self, name: str = "a", *, limits: dict[str, int] | None = None, **settings: Any) -> Entry:
        """Define a task (and shared limits) beside those there are."""
        self._limits |= limits or {}
        settings.setdefault("run", "true")
        if limits:
            settings["limits"] = tuple(limits)
        self._tasks[name] = Task(name=name, **settings)
        self.apply()
        return self.entry(name)

    def tasks(self, settings: Mapping[str, Mapping[str, Any]], limits: dict[str, int]) -> None:
        """Define several tasks at once, beside those there are."""
        self._tasks |= {name: Task(name=name, **{"run": "true", **one}) for name, one in settings.items()}
        self.apply(limits)

    def remove(self, name: str) -> None:
        del self._tasks[name]
        self.apply()

    def apply(self, limits: dict[str, int] | None = None) -> None:
        self._limits |= limits or {}
        self.run(tasks.apply([(task, define(task)) for task in self._tasks.values()], limits=self._limits))

    def entry(self, name: str) -> Entry:
        found = self.run(tasks.entry(name))
        assert found is not None
        return found

    def trigger(self, name: str = "a", **request: Any) -> Run:
        return self.run(ops.trigger(self.catalog, name, ops.Request(**request))).run

    def claim(self, worker: str = "w", *queues: str, slot: str = "0", turn: str = "") -> Claimed | None:
        return self.run(runs.claim(self.wanted(worker, *queues, slot=slot, turn=turn)))

    def claimed(self, worker: str = "w", *queues: str) -> Claimed:
        found = self.claim(worker, *queues)
        assert found is not None, "nothing waits"
        return found

    def wanted(self, worker: str = "w", *queues: str, slot: str = "0", turn: str = "") -> Wanted:
        return Wanted(worker, slot, turn or f"turn{next(self._turns)}", LEASE, queues or ("default",))

    def started(self, name: str = "a", **request: Any) -> Claimed:
        """Trigger a task and claim what waits first."""
        self.trigger(name, **request)
        return self.claimed()

    def end(
        self,
        held: Claimed,
        reason: Reason = Reason.SUCCESS,
        exit_code: int = 0,
        *,
        retry: Retry | None = None,
        wanted: Wanted | None = None,
        facts: Facts | None = None,
        message: str = "",
    ) -> Ended:
        call = runs.end(held.id, held.record.token, reason, exit_code, message, retry=retry, wanted=wanted, facts=facts)
        return self.run(call)

    def fail(self, held: Claimed, entry: Entry) -> Ended:
        """End as failed, with the retry that the task owes."""
        return self.end(held, Reason.FAILED, 1, retry=self.owed(held, entry, Reason.FAILED, 1))

    def owed(self, held: Claimed, entry: Entry, reason: Reason, exit_code: int = 1) -> Retry | None:
        return ops.next_attempt(held.id, self.record(held.id), entry.task, reason, exit_code)

    def heartbeat(self, *held: Claimed, worker: str = "w") -> list[Any]:
        about = fleet.About(
            host="h", pid=1, version="1", queues=("default",), slots=4, started_us=self.now, broker=f"broker-{worker}"
        )
        return self.run(fleet.heartbeat(worker, [(one.id, one.record.token) for one in held], about))[2]

    def rescue(self, run_id: UUID, entry: Entry | None = None) -> Ended:
        return self.run(ops.rescue(run_id, self.record(run_id), entry.task if entry else None))

    def append(self, held: Claimed, first: int, *texts: str, first_kept: int = 0) -> str:
        lines = [StoredLine(first + n, self.now, 0, text, False) for n, text in enumerate(texts)]
        kept = sum(len(text) for text in texts)
        return self.run(logs.append(held.id, held.record.token, lines, first_kept=first_kept, kept_bytes=kept))

    def record(self, run_id: UUID) -> Record:
        found = self.run(runs.record(run_id))
        assert found is not None, f"there is no run {run_id}"
        return found

    def get(self, run_id: UUID) -> Run:
        found = self.run(runs.get(run_id))
        assert found is not None, f"there is no run {run_id}"
        return found

    def state(self, run_id: UUID) -> str:
        """``pending``, ``running``, an end reason, or ``absent``."""
        found = self.run(runs.record(run_id))
        return (found.reason or found.status) if found else "absent"

    def refusal(self, call: Call[Any] | Operation[Any]) -> RunfleetError | None:
        """The error a call raises, or None."""
        try:
            self.run(call)
        except RunfleetError as error:
            return error
        return None

    def _stamped(self, call: Call[T]) -> Call[T]:
        if isinstance(call.what, Script) and call.args and call.args[0] == "":
            return replace(call, args=(self.now, *call.args[1:]))
        return call


def driven(
    store: Store,
    operation: Operation[T],
    before: Callable[[Sequence[Call[Any]]], None] = lambda calls: None,
    after: Callable[[Sequence[Call[Any]]], None] = lambda calls: None,
) -> T:
    """
    The result of *operation* when *before* and *after* are called with what it asks for in each round trip; what
    *before* raises is what the round trip raises.
    """
    drive = Drive(operation)
    while not drive.is_over:
        asked = drive.calls
        try:
            before(asked)
        except Exception as error:
            drive.fail(error)
            continue
        answers = store._make(asked)
        after(asked)
        drive.answer(answers)
    return drive.result


def with_async_store(settings: Settings, use: Callable[[AsyncStore], Coroutine[Any, Any, None]]) -> None:
    """Run *use* on a store for asyncio, in a loop of its own."""

    async def main() -> None:
        store = open_async_store(settings)
        try:
            async with asyncio.timeout(20):
                await use(store)
        finally:
            await store.close()

    asyncio.run(main())


@contextmanager
def out_of_memory(redis_url: str) -> Iterator[None]:
    """Redis has no memory for anything new."""
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)
