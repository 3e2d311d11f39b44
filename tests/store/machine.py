"""
The state machine: its steps are what API, scheduler, workers and others do, and what goes wrong.

Single random steps rarely meet, so steps have preconditions, and there are compound ones: a busy second, a pause past
the lease, a crash loop. How good it is at finding faults is what ``mutants.py`` measures.
"""

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from shared.runs import Reason
from shared.store import fleet, logs, runs
from shared.store.log_record import StoredLine
from shared.store.redis.call import Call
from tests.store.consistency import snapshot
from tests.store.harness import SECOND
from tests.store.machine_base import LIMITS, NEEDED, WORKERS, names, picks, workers
from tests.store.machine_callers import Callers
from tests.store.machine_external import Outside
from tests.store.machine_workers import Workers
from tests.store.model import Model


def play(valkey_url: str, histories: int, *, seed_: int | None = None, shrink: bool = True) -> None:
    """
    Play random histories on that server: always the same without *seed_*, with one those of that seed.

    What fails is played again in ever smaller histories, unless *shrink* is false.
    """
    machine: type[Machine] = type("Machine", (Machine,), {"valkey_url": valkey_url})
    if seed_ is not None:
        machine = seed(seed_)(machine)
    budget = settings(
        max_examples=histories,
        stateful_step_count=50,
        derandomize=seed_ is None,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(machine, settings=budget)


class Machine(Callers, Workers, Outside):
    """One history, in which anything may happen."""

    @precondition(lambda self: any(run.status == "running" for run in self.model.runs.values()))
    @rule(pick=picks)
    def a_stranger_meddles(self, pick: int) -> None:
        run = self.any_run(pick, lambda run: run.status == "running")
        assert run is not None
        token = run.token - 1
        before = snapshot(self.harness)
        self.model.contact(self.now)
        assert self.harness.run(fleet.heartbeat("stranger", [(run.id, token)], None))[2] == ["lost"]
        if self.model.hold == int(before[b"rescue-hold"].content if b"rescue-hold" in before else 0):
            line = StoredLine(run.lines, self.now, 0, "strange", False)
            assert self.harness.run(logs.append(run.id, token, [line], first_kept=0, kept_bytes=1)) == "lost"
            assert self.harness.run(runs.end(run.id, token, Reason.SUCCESS, 0, "")).verdict == "refused"
            assert snapshot(self.harness) == before

    @precondition(lambda self: self.history)
    @rule(pick=picks)
    def a_call_is_delivered_again(self, pick: int) -> None:
        about, call = self.history[-1 - pick % min(len(self.history), 10)]
        if about not in self.model.runs:
            return  # nobody repeats a call for as long as a run is kept
        before = snapshot(self.harness)
        self.harness.run(call)
        assert snapshot(self.harness) == before, "a repeated call changed something"

    @precondition(lambda self: self.model.runs)
    @rule(is_applied_first=st.booleans())
    def redis_is_wiped(self, is_applied_first: bool) -> None:
        """Workers write back what they hold, as far as it was theirs to the end; of the rest nothing is left."""
        before, held = self.model, []
        for one in self.held:
            run = before.runs.get(one.id)
            if run is not None and run.status == "running" and run.token == one.token:
                held.append((one, run, before.executions[run.execution]))
        held.sort(key=lambda each: (each[0].token // 4096, each[0].id.bytes))
        self.harness.run(Call("FLUSHALL", (), bool))
        self.begin(Model(LIMITS))
        if is_applied_first:
            self.harness.apply()
        for one, run, execution in held:
            self.model.restore(run, execution.gates, execution.task, self.now)
            call = runs.restore(one.id, one.record, execution.gates)
            assert self.harness.run(call) == "restored"
            assert self.harness.run(call) == "there"
            self.held.append(one)
            self.tokens.add(one.token)
        if not is_applied_first:
            self.harness.apply()

    @rule(tenths=st.integers(1, 30))
    def time_passes(self, tenths: int) -> None:
        self.harness.now += tenths * SECOND // 10

    @rule(seconds=st.sampled_from([3, 5, 7, 20, 90]))
    def nobody_reaches_redis(self, seconds: int) -> None:
        self.harness.now += seconds * SECOND
        self.poll("s1")
        for run in list(self.model.runs.values()):
            if run.status == "running":
                self.rescue(run.id, self.harness.record(run.id))

    @precondition(lambda self: self.held)
    @rule(silent=workers, seconds=st.integers(5, 8))
    def a_worker_pauses_past_its_lease(self, silent: str, seconds: int) -> None:
        for _ in range(seconds):
            self.harness.now += SECOND
            for worker in WORKERS:
                if worker != silent:
                    self.heartbeat(worker)
            self.poll("s1")

    @rule(name=names, worker=workers)
    def a_busy_second(self, name: str, worker: str) -> None:
        self.trigger(name, 0, None)
        self.claim(worker, True, False)
        self.claim(worker, True, True)
        self.heartbeat(worker)
        if self.held:
            self.append(-1, 2)
            self.end(0, Reason.SUCCESS, 0, True, True)
        self.harness.now += SECOND
        self.poll("s2")

    @rule(name=st.sampled_from(sorted(NEEDED)), worker=workers, failures=st.integers(0, 3))
    def a_plan_runs(self, name: str, worker: str, failures: int) -> None:
        self.trigger(name, 0, None)
        for _ in range(4):
            self.claim(worker, False, False)
            self.claim(worker, False, False)
            for _ in range(min(2, len(self.held))):
                self.end(-1, Reason.FAILED if failures == 1 else Reason.SUCCESS, 1, False, True)
                failures -= 1

    @rule(name=names, busy=st.booleans(), stopped=st.booleans(), batch=st.sampled_from([1, 500]))
    def a_delayed_trigger_comes_due(self, name: str, busy: bool, stopped: bool, batch: int) -> None:
        self.trigger(name, 1500, None)
        if busy:
            self.trigger(name, 0, None)
        self.enqueue_due(500)  # too early
        if stopped:
            self.stop_all(name)
        self.harness.now += 2 * SECOND
        self.enqueue_due(batch)

    @rule(worker=workers)
    def a_crash_loop(self, worker: str) -> None:
        self.trigger("plain", 0, 9)
        for _ in range(3):
            self.claim(worker, False, False)
            self.a_worker_pauses_past_its_lease(worker, 7)
