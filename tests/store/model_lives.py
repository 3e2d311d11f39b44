"""
How runs and executions live in the model: what waits where, what starts, and what an end lets go on.

Here is what the scripts share (``lua/lib``); what each call does of it is in ``model.py``. Order matters as it does
there: of two executions that wait at the same gates the one that is let through first has the lower number.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from shared.store.creation import Planned
from shared.store.runs import Retry

TOOK_ITS_PLACE = "stopped: a newer trigger of {} took its place"
MILD = {"skipped": 1, "stopped": 2}
"""Of several reasons why a plan did not succeed the worst is told; all others are worse than these."""


@dataclass
class ModelRun:
    """A run as far as the model cares. ``lease`` is 0 when it has none."""

    id: UUID
    task: str
    queue: str
    priority: int
    execution: UUID
    replica: int
    number: int
    created: int
    due: int
    external: bool = False
    step: int = -1
    needs: int = 0
    attempt: int = 0
    crashes: int = 0
    retry_of: str = ""
    tick: int = 0
    status: str = "pending"
    reason: str = ""
    exit_code: int = 0
    message: str = ""
    worker: str = ""
    token: int = 0
    stop_request: str = ""
    lease: int = 0
    started: int = 0
    ended: int = 0
    lines: int = 0
    params: str = ""
    labels: str = ""

    @property
    def state(self) -> str:
        return self.reason or self.status

    @property
    def name(self) -> str:
        return f"{self.task}#{self.number}"


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
class ModelPlan:
    """What an execution of several runs does one after another; kept as long as any of its runs."""

    task: str
    created: int
    steps: Sequence[Planned]
    at: int = 0
    version: int = 1
    started: int = 0
    over: int = 0
    is_stopped: bool = False
    reason: str = ""
    failure: str = ""

    @property
    def needed(self) -> set[int]:
        return {need for step in self.steps for need in step.needs}

    @property
    def groups(self) -> int:
        return 1 + max(step.group for step in self.steps)


@dataclass
class ModelLimit:
    """Who went through and who waits, in order of arrival."""

    live: list[UUID] = field(default_factory=list)
    wait: list[UUID] = field(default_factory=list)


@dataclass
class SlotLease:
    """Slots of limits that somebody outside holds for a while."""

    until: int
    slots: int
    gates: list[str]


class Lives:
    """All that lives in the store, and the rules by which it goes on."""

    def __init__(self, limits: dict[str, int]) -> None:
        self.limits = limits
        self.runs: dict[UUID, ModelRun] = {}
        self.executions: dict[UUID, ModelExecution] = {}
        self.plans: dict[UUID, ModelPlan] = {}
        self.gates: defaultdict[str, ModelLimit] = defaultdict(ModelLimit)
        self.slot_leases: dict[UUID, SlotLease] = {}
        self.queues: defaultdict[str, list[tuple[int, int, UUID]]] = defaultdict(list)
        self.due: set[UUID] = set()
        self.numbers: defaultdict[str, int] = defaultdict(int)
        self._arrivals = 0

    # Waiting and starting

    def most(self, gates: Sequence[tuple[str, int]], name: str) -> int:
        return dict(gates)[name] or self.limits[name.removeprefix("shared:")]

    def taken(self, name: str) -> int:
        slots = sum(lease.slots for lease in self.slot_leases.values() if name in lease.gates)
        return len(self.gates[name].live) + slots

    def decide(self, execution: ModelExecution) -> str:
        """What the overlap rule says: "" (it may start), ``wait``, or the sentence of a refusal."""
        gates = [name for name, _ in execution.gates]
        full = [name for name in gates if self.is_full(execution, name) or self.gates[name].wait]
        own = f"task:{execution.task}"
        if not full:
            return ""
        if own in full and execution.overlap == "skip":
            oldest = [*self.gates[own].live, *self.gates[own].wait][:1]
            return f"skipped: {self.in_the_way(oldest, execution.task)} was still running"
        waiting = len(self.gates[own].wait)
        if own in full and execution.overlap == "queue" and waiting >= execution.max_queued:
            return (
                f"skipped: {waiting} executions of {execution.task} were waiting already"
                f" (max_queued = {execution.max_queued})"
            )
        return "wait"

    def is_full(self, execution: ModelExecution, name: str) -> bool:
        return self.taken(name) >= self.most(execution.gates, name)

    def in_the_way(self, oldest: list[UUID], task: str) -> str:
        first = self.runs.get(oldest[0]) if oldest else None
        if first is None:
            return task
        started = self.executions[first.execution].task
        if first.task == started and first.status != "ended":
            return first.name
        return f"the execution of {started} that began with {first.name}"

    def wait(self, execution: ModelExecution, now: int) -> None:
        execution.state = "waiting"
        for name, _ in execution.gates:
            self.gates[name].wait.append(execution.id)
        own = f"task:{execution.task}"
        if execution.overlap != "kill" or own not in dict(execution.gates):
            return
        live, waiting = list(self.gates[own].live), list(self.gates[own].wait)
        excess = len(live) + len(waiting) - self.most(execution.gates, own)
        live = [x for x in live if self.executions[x].task == execution.task]
        waiting = [x for x in waiting if self.executions[x].task == execution.task and x != execution.id]
        older = waiting[: max(0, excess - len(live))]
        for each in [*reversed(older), *live[: max(0, excess)]]:
            self.stop_execution(each, "stop", TOOK_ITS_PLACE.format(execution.task), now)

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

    def offer(self, run: ModelRun, now: int, *, first: bool = False) -> None:
        """Let a run wait for a worker, or until it is due; ``first``: before all others of its priority."""
        if run.due > now:
            self.due.add(run.id)
        elif not run.external:
            self._arrivals += 1
            self.queues[run.queue].append((9 - run.priority, 0 if first else self._arrivals, run.id))
            self.queues[run.queue].sort()

    def admit(self, name: str, now: int) -> None:
        while self.gates[name].wait:
            execution = self.executions[self.gates[name].wait[0]]
            for each, _ in execution.gates:
                if self.is_full(execution, each) or self.gates[each].wait[0] != execution.id:
                    return
            self.start(execution, now)
            for each, _ in execution.gates:
                if each != name:
                    self.admit(each, now)

    # Ending

    def bump(self, run: ModelRun) -> None:
        if run.step >= 0:
            plan = self.plans[run.execution]
            plan.version += 1
            plan.started = plan.started or (run.started if run.status == "running" else 0)

    def finish(self, run: ModelRun, reason: str, exit_code: int, message: str, now: int, at: int = 0) -> None:
        self.queues[run.queue] = [entry for entry in self.queues[run.queue] if entry[2] != run.id]
        self.due.discard(run.id)
        run.status, run.reason, run.lease, run.ended = "ended", reason, 0, at or now
        run.exit_code, run.message = exit_code, message
        self.bump(run)

    def leave(self, run: ModelRun, now: int, *, is_owed: bool = False) -> None:
        """One run of an execution is over; ``is_owed``: it is not how its replica ends, a retry was made."""
        execution = self.executions[run.execution]
        if run.step >= 0 and not is_owed:
            self.settle(self.plans[run.execution], run)
        if self.is_live(execution) or self.advance(execution, now):
            return
        del self.executions[execution.id]
        if execution.id in self.plans:
            self.plans[execution.id].over = now
        for name, _ in execution.gates:
            for line in (self.gates[name].live, self.gates[name].wait):
                if execution.id in line:
                    line.remove(execution.id)
        for name, _ in execution.gates:
            self.admit(name, now)

    def is_live(self, execution: ModelExecution) -> bool:
        return any(self.runs[each].status != "ended" for each in execution.runs if each in self.runs)

    def settle(self, plan: ModelPlan, run: ModelRun) -> None:
        if run.reason == "success":
            return
        if not plan.reason or MILD.get(plan.reason, 3) < MILD.get(run.reason, 3):
            plan.reason, plan.failure = run.reason, f"{run.name} ended as {run.reason}"

    def advance(self, execution: ModelExecution, now: int) -> bool:
        """Make the next group of a plan, or say of all later steps why they never run; whether something runs."""
        plan = self.plans.get(execution.id)
        if plan is None or plan.at + 1 >= plan.groups:
            return False
        why = f"skipped: {plan.failure}" if plan.reason else ""
        why = why or ("skipped: the execution was stopped" if plan.is_stopped else "")
        for group in range(plan.at + 1, plan.groups if why else plan.at + 2):
            for number, step in enumerate(plan.steps):
                if step.group == group:
                    self.make_step(execution, number, step, why, now)
        plan.version += 1
        plan.at = plan.groups - 1 if why else plan.at + 1
        if why and not plan.reason:
            plan.reason, plan.failure = "stopped", "it was stopped"
        return not why

    def make_step(self, execution: ModelExecution, number: int, step: Planned, why: str, now: int) -> None:
        ids = [_id_for(execution.id, number, replica, now) for replica in range(1 if why else step.count)]
        for run in self.make(execution, ids, step, number, now, 0):
            if why:
                run.status, run.reason, run.exit_code, run.message, run.ended = "ended", "skipped", -1, why, now
            else:
                self.offer(run, now)

    def make(
        self, execution: ModelExecution, ids: Sequence[UUID], step: Planned, number: int, now: int, due: int
    ) -> list[ModelRun]:
        """Make runs of one step; *number* is its place in the plan, -1 without one."""
        template, made = step.template, []
        for replica, run_id in enumerate(ids):
            self.numbers[template.task] += 1
            run = ModelRun(
                id=run_id,
                task=template.task,
                queue=template.queue,
                priority=template.priority,
                execution=execution.id,
                replica=replica,
                number=self.numbers[template.task],
                created=now,
                due=due,
                external=bool(template.external),
                step=number,
                needs=template.needs,
                tick=template.tick_us,
                params=template.params,
                labels=template.labels,
            )
            self.runs[run_id] = run
            execution.runs.append(run_id)
            made.append(run)
        return made

    def retry(self, run: ModelRun, retry: Retry | None, now: int) -> bool:
        """Make the attempt that follows, unless what it was handed is lost; whether the run is owed one."""
        if retry is None or (run.needs and run.execution not in self.plans):
            return False
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
            external=run.external,
            step=run.step,
            needs=run.needs,
            attempt=retry.attempt,
            crashes=retry.crashes,
            retry_of=retry.retry_of,
            tick=run.tick,
            params=run.params,
            labels=run.labels,
        )
        self.runs[retry.id] = following
        self.executions[run.execution].runs.append(retry.id)
        self.offer(following, now)
        return True

    # Stopping

    def stop_run(self, run: ModelRun, stop_request: str, message: str, now: int) -> bool:
        """Wish a run to stop; whether it was live. Nobody here hears of the wish for one that others execute."""
        if run.status == "ended":
            return False
        is_unheard = run.external and (stop_request == "kill" or not run.lease)
        if run.status == "pending" or is_unheard:
            self.finish(run, "stopped", -1 if run.status == "pending" else -2, message, now)
            self.leave(run, now)
        elif run.stop_request not in ("kill", stop_request):
            run.stop_request, run.message = stop_request, message
            self.bump(run)
        return True

    def stop_execution(self, execution: UUID, stop_request: str, message: str, now: int) -> None:
        plan = self.plans.get(execution)
        if plan is not None and not plan.is_stopped:
            plan.is_stopped = True
            plan.version += 1
        for run_id in [*reversed(self.executions[execution].runs)]:
            if run_id in self.runs:
                self.stop_run(self.runs[run_id], stop_request, message, now)


def _id_for(execution: UUID, step: int, replica: int, now: int) -> UUID:
    """The id that the script gives to a run of a later group (``lua/lib/plan.lua``)."""
    tail = hashlib.sha1(execution.bytes + f"{step}:{replica}".encode(), usedforsecurity=False).digest()[:8]
    low = now % 1000 * 4
    head = (now // 1000).to_bytes(6, "big") + bytes([112 + low // 256, low % 256, 128 + tail[0] % 64])
    return UUID(bytes=head + tail[1:])
