"""
What the store should do, in plain Python: the model that the state machine holds the scripts against.

It keeps runs in dictionaries, has no indexes and never loses anything. Every method is told the time and answers what
the call it stands for should answer.
"""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from shared.runs import TRANSITIONS, Reason
from shared.store.creation import Create, Planned
from shared.store.fleet import LEASE_US
from shared.store.leadership import GAP_US
from shared.store.runs import Retry
from tests.store.model_lives import Lives, ModelExecution, ModelPlan, ModelRun, SlotLease

AHEAD_US = 10_000_000
"""A cursor further ahead is of a time before the clock went back."""

LOST = "stopped as asked; its worker was lost before it could say so"


class Model(Lives):
    """The whole store."""

    def __init__(self, limits: dict[str, int]) -> None:
        super().__init__(limits)
        self.paused_queues: set[str] = set()
        self.keys: dict[str, tuple[UUID, str]] = {}
        self.ticks: dict[str, int] = {}
        self.paused: set[str] = set()
        self.contact_at: int | None = None
        self.hold = 0

    # Making

    def create(self, what: Create, now: int) -> str:
        first, task = what.ids[0], what.template.task
        if what.idempotency_key and what.idempotency_key in self.keys:
            run, digest = self.keys[what.idempotency_key]
            if digest != what.digest:
                return "mismatch"
            return "repeated" if run in self.runs else "deleted"
        if first in self.runs:
            return "exists"
        if what.tick_us:
            if what.tick_us <= self.ticks.get(task, 0) <= now + AHEAD_US:
                return "stale"
            self.ticks[task] = what.tick_us
            if task in self.paused:
                return "paused"
        due = now + what.delay_us if what.delay_us else what.template.due_us
        verdict = what.refuse
        execution = ModelExecution(first, task, what.gates, what.overlap, what.max_queued)
        if not verdict and due <= now:
            verdict = self.decide(execution)
        is_refused = verdict not in ("", "wait")
        alone = Planned(what.template, len(what.ids), (), 0)
        steps = [alone] if is_refused else list(what.plan) or [alone]
        has_plan = not is_refused and (bool(what.plan) or len(what.ids) > 1)
        if has_plan:
            self.plans[first] = ModelPlan(task, now, steps)
        left = list(what.ids[:1] if is_refused else what.ids)
        for number, step in enumerate(steps):
            if step.group == 0:
                ids, left = left[: step.count], left[step.count :]
                self.make(execution, ids, step, number if has_plan else -1, now, due)
        if what.idempotency_key:
            self.keys[what.idempotency_key] = (first, what.digest)
        if is_refused:
            skipped = self.runs[first]
            skipped.status, skipped.reason, skipped.ended = "ended", "skipped", now
            skipped.exit_code, skipped.message = -1, verdict
            return "created"
        self.executions[first] = execution
        if due > now:
            self.due.update(execution.runs)
        elif verdict == "wait":
            self.wait(execution, now)
        else:
            self.start(execution, now)
        return "created"

    def enqueue_due(self, now: int, batch: int) -> int:
        self.end_lapsed_leases(now)
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
                        self.finish(each, "skipped", -1, verdict, now)
                        self.leave(each, now)
            else:
                self.start(execution, now)
        return min(len(ready), batch)

    # Working

    def claim(self, worker: str, queues: Sequence[str], now: int) -> ModelRun | None:
        for queue in queues:
            if queue not in self.paused_queues and self.queues[queue]:
                run = self.runs[self.queues[queue].pop(0)[2]]
                run.status, run.worker, run.lease, run.started, run.message = "running", worker, now + LEASE_US, now, ""
                self.bump(run)
                return run
        return None

    def give_back(
        self, run_id: UUID, token: int, message: str, delay_us: int, crashes: int, now: int
    ) -> tuple[str, str]:
        run = self.runs.get(run_id)
        if run is None:
            return "refused", "gone"
        if run.status != "running" or run.token != token:
            return "refused", run.state
        if run.stop_request:
            self.finish(run, "stopped", -1, run.message, now)
            self.leave(run, now)
            return "stopped", run.state
        run.status, run.started, run.worker, run.token, run.lease, run.message = "pending", 0, "", 0, 0, message
        run.due = now + delay_us if delay_us else run.due
        run.crashes += crashes
        self.bump(run)
        self.offer(run, now, first=True)
        return "given_back", run.state

    def heartbeat(self, run_id: UUID, token: int, now: int) -> str:
        run = self.runs.get(run_id)
        if run is None or run.status != "running" or run.token != token:
            return "lost"
        run.lease = now + LEASE_US
        return run.stop_request

    def append(self, run_id: UUID, token: int, first: int, count: int) -> str:
        run = self.runs.get(run_id)
        if run is None or run.status != "running" or run.token != token:
            return "lost"
        if run.lines > first:
            return "already_stored"
        run.lines = first + count
        return "stored"

    def end(
        self, run_id: UUID, token: int, reason: str, exit_code: int, message: str, retry: Retry | None, now: int
    ) -> tuple[str, str]:
        run = self.runs.get(run_id)
        if run is None:
            return "refused", "gone"
        if run.status != "running" or run.token != token:
            same = run.token == token and run.reason == reason
            return ("already_ended" if same else "refused"), run.state
        self.end_now(run, reason, exit_code, message, retry, now)
        return "ended", reason

    def end_now(
        self, run: ModelRun, reason: str, exit_code: int, message: str, retry: Retry | None, now: int, at: int = 0
    ) -> None:
        is_wished = bool(run.stop_request)
        if reason == "stopped" and is_wished:
            message = run.message  # that of whoever wished it
        self.finish(run, reason, exit_code, message, now, at)
        is_owed = not is_wished and self.retry(run, retry, now)
        self.leave(run, now, is_owed=is_owed)

    def report(
        self,
        run_id: UUID,
        target: str,
        now: int,
        *,
        reason: Reason | None = None,
        exit_code: int = 0,
        message: str = "",
        at_us: int = 0,
        lease_us: int = 0,
        retry: Retry | None = None,
        late_start: bool = False,
        backdated: bool = False,
    ) -> tuple[str, str]:
        run = self.runs.get(run_id)
        if run is None:
            return "gone", "gone"
        if not run.external:
            return "refused", "owned"
        rows = [row for row in TRANSITIONS["report"] if row.target == target]
        is_allowed = any(row.source == run.status and (target == "running" or reason in row.reasons) for row in rows)
        was, verdict = run.status, "changed"
        execution = self.executions.get(run.execution)
        is_held = execution is not None and (
            execution.state == "waiting" or (execution.state == "delayed" and execution.gates != [])
        )
        if is_allowed and was == "pending" and target == "running" and (is_held or run.due > now):
            return "refused", "waiting"
        at = min(now, max(1 if backdated else run.created, at_us or now))
        if is_allowed and target == "running":
            self.due.discard(run.id)
            run.status, run.started = "running", at
            self.bump(run)
        elif is_allowed:
            self.end_now(run, str(reason), exit_code, message, retry, now, max(at, run.started))
        elif was == target and reason in (None, run.reason or None):
            verdict = "same"
            if was == "running" and at_us:
                run.started = min(run.started, at)
        elif was == "ended" and target == "running" and late_start:
            verdict, at = "same", min(at, run.ended)
            if not run.started or (backdated and at < run.started):
                run.started = at
        else:
            return "refused", run.state
        if run.status == "running" and lease_us:
            run.lease = now + lease_us
        return verdict, run.state

    # Stopping

    def stop(self, run_id: UUID, stop_request: str, message: str, now: int) -> str:
        run = self.runs.get(run_id)
        if run is None:
            return "gone"
        if not self.stop_run(run, stop_request, message, now):
            return "ended"
        return "stopped" if run.status == "ended" else "asked"

    def stop_task(self, task: str, message: str, now: int) -> int:
        mine = sorted((run for run in self.runs.values() if run.task == task), key=lambda run: run.number)
        live = [run for status in ("running", "pending") for run in mine if run.status == status]
        return sum(
            run.stop_request not in ("stop", "kill") and self.stop_run(run, "stop", message, now)
            for run in reversed(live)
        )

    def contact(self, now: int) -> None:
        if self.contact_at is not None and now - self.contact_at > GAP_US:
            self.hold = now + LEASE_US
        self.contact_at = now

    def expired(self, now: int) -> set[UUID]:
        over = {run.id for run in self.runs.values() if run.status == "running" and 0 < run.lease <= now}
        return over if self.hold <= now else set()

    def rescue(self, run_id: UUID, message: str, retry: Retry | None, now: int) -> tuple[str, str]:
        run = self.runs.get(run_id)
        if run is None:
            return "refused", "gone"
        if run.status != "running" or not run.lease or run.lease > now:
            return "refused", run.state
        if self.hold > now:
            return "refused", "held"
        if run.stop_request:
            self.finish(run, "stopped", -2, LOST, now)
            self.leave(run, now)
        else:
            self.finish(run, "crashed", -2, message, now)
            self.leave(run, now, is_owed=self.retry(run, retry, now))
        return "ended", run.state

    # Slots that are leased

    def take(self, lease: UUID, limits: Sequence[str], slots: int, lasts_us: int, now: int) -> str:
        self.end_lapsed_leases(now)
        if lease in self.slot_leases:
            return "taken"
        known = [name for name in limits if name in self.limits]
        for name in known:
            if slots > self.limits[name]:
                return "exceeds_limit"
            gate = f"shared:{name}"
            if self.taken(gate) + slots > self.limits[name] or self.gates[gate].wait:
                return "full"
        self.slot_leases[lease] = SlotLease(now + lasts_us, slots, [f"shared:{name}" for name in known])
        return "taken"

    def renew(self, lease: UUID, lasts_us: int, now: int) -> str:
        self.end_lapsed_leases(now)
        if lease not in self.slot_leases:
            return "gone"
        self.slot_leases[lease].until = now + lasts_us
        return "renewed"

    def give(self, lease: UUID, now: int) -> str:
        self.end_lapsed_leases(now)
        return self.end_lease(lease, now)

    def end_lease(self, lease: UUID, now: int) -> str:
        gone = self.slot_leases.pop(lease, None)
        if gone is None:
            return "gone"
        for name in gone.gates:
            self.admit(name, now)
        return "given"

    def end_lapsed_leases(self, now: int) -> None:
        lapsed = [(one.until, lease.bytes) for lease, one in self.slot_leases.items() if one.until <= now]
        for _, raw in sorted(lapsed):
            self.end_lease(UUID(bytes=raw), now)

    def next_due(self) -> int | None:
        due = [self.runs[one].due for one in self.due]
        return min([*due, *(lease.until for lease in self.slot_leases.values())], default=None)

    # Losing and forgetting

    def restore(self, run: ModelRun, gates: list[tuple[str, int]], target: str, now: int) -> None:
        """A run that its worker still executes is written back, as it was when it was claimed, into an empty store."""
        run.stop_request, run.message, run.lines, run.lease = "", "", 0, now + LEASE_US
        run.step = run.step if run.execution in self.plans else -1
        self.runs[run.id] = run
        self.numbers[run.task] = max(self.numbers[run.task], run.number)
        execution = self.executions.get(run.execution)
        if execution is None:
            execution = ModelExecution(run.execution, target, gates, "queue", 0, "started")
            self.executions[run.execution] = execution
            for name, _ in gates:
                self.gates[name].live.append(execution.id)
        execution.runs.append(run.id)

    def is_needed(self, run: ModelRun) -> bool:
        """Whether an execution that lives may still have to hand on what this run put out."""
        plan = self.plans.get(run.execution)
        return plan is not None and run.execution in self.executions and run.step in plan.needed

    def drop(self, run: ModelRun) -> None:
        del self.runs[run.id]
        if not any(one.execution == run.execution for one in self.runs.values()):
            self.plans.pop(run.execution, None)

    def prune(self, task: str, keep: int, keep_us: int, now: int) -> int:
        ended = [run for run in self.runs.values() if run.task == task and run.status == "ended"]
        ended.sort(key=lambda run: run.number)
        left = Counter(run.reason for run in ended)
        within: set[str] = set()
        forgotten = 0
        for run in ended:
            if left[run.reason] <= keep and run.ended > now - keep_us:
                within.add(run.reason)
            left[run.reason] -= run.reason not in within
            if run.reason not in within and not self.is_needed(run):
                self.drop(run)
                forgotten += 1
        return forgotten
