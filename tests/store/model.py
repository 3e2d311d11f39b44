"""
What the store should do, in plain Python: the model that the state machine holds the scripts against.

It keeps runs in dictionaries, has no indexes and never loses anything. Every method is told the time and answers what
the call it stands for should answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from shared.store.creation import Create
from shared.store.fleet import GAP_US, LEASE_US
from shared.store.runs import Retry


@dataclass
class ModelRun:
    """A run as far as the model cares."""

    id: UUID
    task: str
    queue: str
    priority: int
    execution: UUID
    replica: int
    number: int
    created: int
    due: int
    attempt: int = 0
    crashes: int = 0
    retry_of: str = ""
    tick: int = 0
    status: str = "pending"
    reason: str = ""
    worker: str = ""
    token: int = 0
    wish: str = ""
    lease: int = 0
    ended: int = 0
    lines: int = 0

    @property
    def state(self) -> str:
        return self.reason or self.status


@dataclass
class ModelExecution:
    """An execution while it lives."""

    id: UUID
    task: str
    gates: list[tuple[str, int]]
    overlap: str
    max_queued: int
    state: str = "delayed"
    runs: list[UUID] = field(default_factory=list)


@dataclass
class Gate:
    """Who went through and who waits, in order of arrival."""

    live: list[UUID] = field(default_factory=list)
    wait: list[UUID] = field(default_factory=list)


class Model:
    """The whole store."""

    def __init__(self, limits: dict[str, int]) -> None:
        self.limits = limits
        self.runs: dict[UUID, ModelRun] = {}
        self.executions: dict[UUID, ModelExecution] = {}
        self.gates: defaultdict[str, Gate] = defaultdict(Gate)
        self.queues: defaultdict[str, list[tuple[int, int, UUID]]] = defaultdict(list)
        self.paused_queues: set[str] = set()
        self.due: set[UUID] = set()
        self.numbers: defaultdict[str, int] = defaultdict(int)
        self.keys: dict[str, tuple[UUID, str]] = {}
        self.ticks: dict[str, int] = {}
        self.paused: set[str] = set()
        self.contact_at: int | None = None
        self.hold = 0
        self._arrivals = 0

    # Making

    def create(self, what: Create, now: int) -> str:
        first, task = what.ids[0], what.template.task
        if what.idem and what.idem in self.keys:
            run, digest = self.keys[what.idem]
            if digest != what.digest:
                return "mismatch"
            return "repeated" if run in self.runs else "deleted"
        if first in self.runs:
            return "exists"
        if what.tick_us:
            if self.ticks.get(task, 0) >= what.tick_us:
                return "stale"
            self.ticks[task] = what.tick_us
            if task in self.paused:
                return "paused"
        due = now + what.delay_us if what.delay_us else what.template.due_us
        refusal: str = what.refuse
        verdict = ""
        execution = ModelExecution(first, task, what.gates, what.overlap, what.max_queued)
        if not refusal and due <= now:
            verdict = self.decide(execution)
            refusal = verdict if verdict.startswith("skipped") else ""
        ids = what.ids[:1] if refusal else what.ids
        for replica, run_id in enumerate(ids):
            self.numbers[task] += 1
            self.runs[run_id] = ModelRun(
                id=run_id,
                task=task,
                queue=what.template.queue,
                priority=what.template.priority,
                execution=first,
                replica=replica,
                number=self.numbers[task],
                created=now,
                due=due,
                tick=what.template.tick_us,
            )
        if what.idem:
            self.keys[what.idem] = (first, what.digest)
        if refusal:
            skipped = self.runs[first]
            skipped.status, skipped.reason, skipped.ended = "ended", "skipped", now
            return "created"
        execution.runs = list(ids)
        self.executions[first] = execution
        if due > now:
            self.due.update(ids)
        elif verdict == "wait":
            self.wait(execution, now)
        else:
            self.start(execution, now)
        return "created"

    def decide(self, execution: ModelExecution) -> str:
        gates = [(name, self.gates[name]) for name, _ in execution.gates]
        full = [name for (name, gate) in gates if len(gate.live) >= self.most(execution, name) or gate.wait]
        own = f"task:{execution.task}"
        if not full:
            return ""
        if own in full and execution.overlap == "skip":
            return "skipped"
        if own in full and execution.overlap == "queue" and len(self.gates[own].wait) >= execution.max_queued:
            return "skipped"
        return "wait"

    def most(self, execution: ModelExecution, name: str) -> int:
        own = dict(execution.gates)[name]
        return own or self.limits[name.removeprefix("limit:")]

    def wait(self, execution: ModelExecution, now: int) -> None:
        execution.state = "waiting"
        for name, _ in execution.gates:
            self.gates[name].wait.append(execution.id)
        own = f"task:{execution.task}"
        if execution.overlap != "kill" or own not in dict(execution.gates):
            return
        live, waiting = list(self.gates[own].live), list(self.gates[own].wait)
        excess = len(live) + len(waiting) - self.most(execution, own)
        older = waiting[: max(0, min(excess - len(live), len(waiting) - 1))]
        for each in [*reversed(older), *live[: max(0, excess)]]:
            self.stop_execution(each, "stop", now)

    def start(self, execution: ModelExecution, now: int) -> None:
        execution.state = "started"
        for name, _ in execution.gates:
            gate = self.gates[name]
            if execution.id in gate.wait:
                gate.wait.remove(execution.id)
            gate.live.append(execution.id)
        for run_id in execution.runs:
            if run_id in self.runs and self.runs[run_id].status == "pending":
                self.offer(self.runs[run_id], now)

    def offer(self, run: ModelRun, now: int) -> None:
        if run.due > now:
            self.due.add(run.id)
        else:
            self._arrivals += 1
            self.queues[run.queue].append((9 - run.priority, self._arrivals, run.id))
            self.queues[run.queue].sort()

    def admit(self, name: str, now: int) -> None:
        while self.gates[name].wait:
            execution = self.executions[self.gates[name].wait[0]]
            for each, _ in execution.gates:
                gate = self.gates[each]
                if len(gate.live) >= self.most(execution, each) or gate.wait[0] != execution.id:
                    return
            self.start(execution, now)
            for each, _ in execution.gates:
                if each != name:
                    self.admit(each, now)

    def release(self, now: int, batch: int) -> int:
        ready = sorted((run.due, run.id.bytes) for run in map(self.runs.__getitem__, self.due) if run.due <= now)
        for _, raw in ready[:batch]:
            run = self.runs[UUID(bytes=raw)]
            if run.id not in self.due:
                continue
            self.due.discard(run.id)
            execution = self.executions[run.execution]
            if execution.state == "started":
                self.offer(run, now)
                continue
            self.due.difference_update(execution.runs)
            verdict = self.decide(execution)
            if verdict == "wait":
                self.wait(execution, now)
            elif verdict:
                for each in [self.runs[one] for one in execution.runs if one in self.runs]:
                    if each.status == "pending":
                        self.finish(each, "skipped", now)
                        self.leave(each, now)
            else:
                self.start(execution, now)
        return min(len(ready), batch)

    # Working

    def claim(self, worker: str, queues: Sequence[str], now: int) -> ModelRun | None:
        for queue in queues:
            if queue not in self.paused_queues and self.queues[queue]:
                run = self.runs[self.queues[queue].pop(0)[2]]
                run.status, run.worker, run.lease = "running", worker, now + LEASE_US
                return run
        return None

    def beat(self, run_id: UUID, token: int, now: int) -> str:
        run = self.runs.get(run_id)
        if run is None or run.status != "running" or run.token != token:
            return "lost"
        run.lease = now + LEASE_US
        return run.wish

    def append(self, run_id: UUID, token: int, first: int, count: int) -> str:
        run = self.runs.get(run_id)
        if run is None or run.status != "running" or run.token != token:
            return "lost"
        if run.lines > first:
            return "again"
        run.lines = first + count
        return "stored"

    def end(self, run_id: UUID, token: int, reason: str, retry: Retry | None, now: int) -> tuple[str, str]:
        run = self.runs.get(run_id)
        if run is None:
            return "refused", "gone"
        if run.status != "running" or run.token != token:
            same = run.token == token and run.reason == reason
            return ("again" if same else "refused"), run.state
        wished = bool(run.wish)
        self.finish(run, reason, now)
        if retry is not None and not wished:
            self.retry(run, retry, now)
        self.leave(run, now)
        return "ended", reason

    def retry(self, run: ModelRun, retry: Retry, now: int) -> None:
        self.numbers[run.task] += 1
        following = ModelRun(
            id=retry.id,
            task=run.task,
            queue=run.queue,
            priority=run.priority,
            execution=run.execution,
            replica=run.replica,
            number=self.numbers[run.task],
            created=now,
            due=now + retry.delay_us,
            attempt=retry.attempt,
            crashes=retry.crashes,
            retry_of=retry.retry_of,
            tick=run.tick,
        )
        self.runs[retry.id] = following
        self.executions[run.execution].runs.append(retry.id)
        self.offer(following, now)

    # Ending

    def finish(self, run: ModelRun, reason: str, now: int) -> None:
        self.queues[run.queue] = [entry for entry in self.queues[run.queue] if entry[2] != run.id]
        self.due.discard(run.id)
        run.status, run.reason, run.ended = "ended", reason, now

    def leave(self, run: ModelRun, now: int) -> None:
        execution = self.executions[run.execution]
        if any(self.runs[each].status != "ended" for each in execution.runs if each in self.runs):
            return
        del self.executions[execution.id]
        for name, _ in execution.gates:
            for line in (self.gates[name].live, self.gates[name].wait):
                if execution.id in line:
                    line.remove(execution.id)
        for name, _ in execution.gates:
            self.admit(name, now)

    def stop(self, run_id: UUID, wish: str, now: int) -> str:
        run = self.runs.get(run_id)
        if run is None:
            return "gone"
        if run.status == "pending":
            self.finish(run, "stopped", now)
            self.leave(run, now)
            return "stopped"
        if run.status == "ended":
            return "ended"
        if run.wish != "kill":
            run.wish = wish
        return "asked"

    def stop_execution(self, execution: UUID, wish: str, now: int) -> None:
        for run_id in reversed(self.executions[execution].runs):
            self.stop(run_id, wish, now)

    def stop_task(self, task: str, now: int) -> int:
        mine = sorted((run for run in self.runs.values() if run.task == task), key=lambda run: run.number)
        live = [run for status in ("running", "pending") for run in mine if run.status == status]
        stopped = 0
        for run in reversed(live):
            if run.wish != "stop" and self.stop(run.id, "stop", now) != "ended":
                stopped += 1
        return stopped

    def contact(self, now: int) -> None:
        if self.contact_at is not None and now - self.contact_at > GAP_US:
            self.hold = now + LEASE_US
        self.contact_at = now

    def expired(self, now: int) -> set[UUID]:
        over = {run.id for run in self.runs.values() if run.status == "running" and run.lease <= now}
        return over if self.hold <= now else set()

    def rescue(self, run_id: UUID, retry: Retry | None, now: int) -> tuple[str, str]:
        run = self.runs.get(run_id)
        if run is None:
            return "refused", "gone"
        if run.status != "running" or run.lease > now:
            return "refused", run.state
        if self.hold > now:
            return "refused", "held"
        if run.wish:
            self.finish(run, "stopped", now)
        else:
            self.finish(run, "crashed", now)
            if retry is not None:
                self.retry(run, retry, now)
        self.leave(run, now)
        return "ended", run.state

    # Forgetting

    def forget(self, task: str, keep: int, keep_us: int, now: int) -> int:
        ended = [run for run in self.runs.values() if run.task == task and run.status == "ended"]
        ended.sort(key=lambda run: run.number)
        total, forgotten = len(ended), 0
        for run in ended:
            if total - forgotten <= keep and run.ended > now - keep_us:
                break
            del self.runs[run.id]
            forgotten += 1
        return forgotten
