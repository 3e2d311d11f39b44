"""
The state machine: its steps are what API, scheduler and workers do, and what goes wrong.

Single random steps rarely meet, so steps have preconditions, and there are compound ones: a busy second, a pause past
the lease, a crash loop. How good it is at finding faults is what ``mutants.py`` measures.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared import ids, ops
from shared.errors import Conflict, Invalid, Refused, RunfleetError
from shared.ops.making import template_of
from shared.runs import Reason, Record
from shared.settings import Settings
from shared.store import creation, fleet, logs, retention, runs, tasks
from shared.store.call import Call
from shared.store.creation import Create
from shared.store.loglines import StoredLine
from shared.store.runs import Retry
from shared.store.tasks import Entry
from tests.store.checking import Value, check_store, records, snapshot
from tests.store.desk import SECOND, START, Desk
from tests.store.model import Model, ModelRun

T = TypeVar("T")
LIMITS = {"db": 2}
TASKS: dict[str, dict[str, Any]] = {
    "plain": {"retry_attempts": 4, "retry_delay_ms": (0,), "priority": 3},
    "queued": {"max_concurrent": 1, "max_queued": 2, "retry_attempts": 1, "retry_delay_ms": (2000,), "queue": "q"},
    "skipping": {"max_concurrent": 1, "on_overlap": "skip", "replicas": 2, "retry_attempts": 2},
    "killing": {"max_concurrent": 2, "on_overlap": "kill", "limits": ("db",)},
    "sharing": {"limits": ("db",), "replicas": 2, "on_interrupt": "rerun"},
    "ticking": {"cron": ("* * * * *",), "max_concurrent": 1, "retry_attempts": 1, "retry_delay_ms": (0,)},
}
WORKERS = ("w1", "w2")
MINUTE = 60 * SECOND

names = st.sampled_from(sorted(TASKS))
workers = st.sampled_from(WORKERS)
picks = st.integers(0, 99)
reasons = st.sampled_from([Reason.SUCCESS, Reason.FAILED, Reason.FAILED, Reason.TIMEOUT, Reason.STOPPED])


class Sure(Desk):
    """A desk whose scripts never fail: one that meets what cannot be (and is a script at all) is a failed test."""

    def do(self, call: Call[T]) -> T:
        try:
            return super().do(call)
        except RunfleetError as error:
            if type(error) is RunfleetError and "ompil" not in str(error):
                raise AssertionError(f"a script failed: {error}") from error
            raise


class Held(NamedTuple):
    """What a worker believes it has; it may be wrong by now."""

    id: UUID
    token: int
    worker: str


def budget(histories: int, steps: int = 50, *, shrink: bool = True) -> settings:
    """How long to look; deterministic unless RUNFLEET_TEST_RANDOM is set."""
    return settings(
        max_examples=histories,
        stateful_step_count=steps,
        derandomize="RUNFLEET_TEST_RANDOM" not in os.environ,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


def machine(valkey_url: str) -> type[Machine]:
    """The machine on that server."""
    return type("Machine", (Machine,), {"valkey_url": valkey_url})


class Machine(RuleBasedStateMachine):
    """One history."""

    valkey_url: str

    def __init__(self) -> None:
        super().__init__()
        valkey_url = self.valkey_url
        with redis.Redis.from_url(valkey_url) as client:
            client.flushall()
        self.desk = Sure(Settings(redis_url=valkey_url, key_prefix="{machine}"))
        for name, task in TASKS.items():
            self.desk.task(name, **task)
        self.desk.apply(LIMITS)
        self.entries: dict[str, Entry] = {name: self.desk.entry(name) for name in TASKS}
        self.model = Model(LIMITS)
        self.model.ticks["ticking"] = START
        self.held: list[Held] = []
        self.tokens: set[int] = set()
        self.history: list[tuple[UUID, Call[Any]]] = []
        self.final: dict[bytes, Record] = {}
        self.fired: set[int] = set()

    def teardown(self) -> None:
        self.desk.close()

    @property
    def now(self) -> int:
        return self.desk.now

    # The API

    @rule(name=names, delay=st.sampled_from([0, 0, 0, 1500]), priority=st.sampled_from([None, None, 0, 9]))
    def trigger(self, name: str, delay: int, priority: int | None) -> None:
        self.create(ops.creation(self.entries[name], ops.Request(delay_ms=delay, priority=priority), self.now))

    @rule(name=st.sampled_from(["queued", "killing", "skipping"]))
    def trigger_thrice(self, name: str) -> None:
        for _ in range(3):
            self.trigger(name, 0, None)

    @rule(name=names, key=st.sampled_from(["k1", "k2"]), digest=st.sampled_from(["d1", "d1", "d2"]))
    def trigger_with_a_key(self, name: str, key: str, digest: str) -> None:
        request = ops.Request(idempotency_key=key, body_digest=digest)
        self.create(ops.creation(self.entries[name], request, self.now))

    def create(self, what: Create) -> str:
        expected = self.model.create(what, self.now)
        call = creation.create(what)
        try:
            created = self.desk.do(call)
        except Invalid:
            assert expected == "mismatch"
            return expected
        except Conflict:
            assert expected == "deleted"
            return expected
        assert created.verdict == expected
        if expected == "repeated":
            assert created.run is not None
            assert created.run.id == self.model.keys[what.idem][0]
        if expected == "created":
            self.history.append((what.ids[0], call))
        return expected

    @precondition(lambda self: self.model.runs)
    @rule(pick=picks, wish=st.sampled_from(["stop", "kill"]))
    def stop_one(self, pick: int, wish: Any) -> None:
        run = self.any_run(pick, lambda run: run.status != "ended") or self.any_run(pick)
        assert run is not None
        expected = self.model.stop(run.id, wish, self.now)
        try:
            verdict = self.desk.do(runs.stop(run.id, wish, "stopped"))[0]
        except Refused:
            verdict = "ended"
        assert verdict == expected

    @rule(name=names)
    def stop_all(self, name: str) -> None:
        expected = self.model.stop_task(name, self.now)
        assert self.desk.do(runs.stop_all(name, None, "stop", "stopped"))[0] == expected

    @precondition(lambda self: self.model.executions)
    @rule(pick=picks)
    def stop_execution(self, pick: int) -> None:
        live = sorted(self.model.executions)
        chosen = live[pick % len(live)]
        self.model.stop_execution(chosen, "stop", self.now)
        self.desk.do(runs.stop_all("", chosen, "stop", "stopped"))

    @precondition(lambda self: self.ended())
    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        ended = self.ended()
        chosen = ended[pick % len(ended)]
        del self.model.runs[chosen.id]
        self.desk.run(ops.delete(str(chosen.id)))

    @precondition(lambda self: any(run.status != "ended" for run in self.model.runs.values()))
    @rule(pick=picks)
    def delete_live(self, pick: int) -> None:
        run = self.any_run(pick, lambda run: run.status != "ended")
        assert run is not None
        try:
            self.desk.run(ops.delete(str(run.id)))
        except Conflict:
            return
        raise AssertionError("a live run was deleted")

    @precondition(lambda self: self.ended())
    @rule(pick=picks)
    def rerun(self, pick: int) -> None:
        ended = self.ended()
        like = ended[pick % len(ended)]
        count = len({run.replica for run in self.model.runs.values() if run.execution == like.execution})
        self.create(ops.creation(self.entries[like.task], ops.Request(replicas=count), self.now))

    @rule(queue=st.sampled_from(["default", "q"]))
    def pause_a_queue(self, queue: str) -> None:
        paused = queue not in self.model.paused_queues
        self.model.paused_queues ^= {queue}
        self.desk.do(fleet.pause_queue(queue, paused))

    # The scheduler

    @rule(scheduler=st.sampled_from(["s1", "s2"]))
    def pulse(self, scheduler: str) -> None:
        self.model.contact(self.now)
        pulse = self.desk.do(fleet.pulse(scheduler))
        if pulse.token:
            assert {run_id for run_id, _ in pulse.expired} == self.model.expired(self.now)
            assert pulse.next_due_us == min((self.model.runs[one].due for one in self.model.due), default=None)
            waiting = {q: len(line) for q, line in self.model.queues.items() if line}
            assert pulse.waiting == {q: n for q, n in waiting.items() if q not in self.model.paused_queues}
            for run_id, value in pulse.expired:
                self.rescue(run_id, runs.decode_record(value))

    @precondition(lambda self: any(run.status == "running" for run in self.model.runs.values()))
    @rule(pick=picks)
    def rescue_too_early_or_not(self, pick: int) -> None:
        run = self.any_run(pick, lambda run: run.status == "running")
        assert run is not None
        self.rescue(run.id, self.desk.record(run.id))

    def rescue(self, run_id: UUID, record: Record) -> None:
        task = self.entries[record.task].task
        retry = ops.next_attempt(run_id, record, task, Reason.CRASHED, -2)
        expected = self.model.rescue(run_id, retry, self.now)
        call = runs.rescue(run_id, "crashed", retry)
        ended = self.desk.do(call)
        assert (ended.verdict, ended.state) == expected
        if ended.verdict == "ended":
            self.history.append((run_id, call))

    @rule(batch=st.sampled_from([1, 2, 500]))
    def release(self, batch: int) -> None:
        expected = self.model.release(self.now, batch)
        assert self.desk.do(runs.release(batch))[0] == expected

    @precondition(lambda self: self.model.due)
    @rule(batch=st.sampled_from([1, 500]))
    def wait_until_the_next_is_due(self, batch: int) -> None:
        self.desk.now = max(self.now, min(self.model.runs[one].due for one in self.model.due))
        self.release(batch)

    @rule(ticks=st.integers(0, 2), refuse=st.booleans())
    def fire(self, ticks: int, refuse: bool) -> None:
        tick = START + (self.now - START) // MINUTE * MINUTE + ticks * MINUTE - MINUTE
        entry = self.entries["ticking"]
        what = Create(
            ids=[ids.tick_id(entry.name, tick, 0)],
            template=template_of(entry, ops.Request(triggered_by="cron"), {}, tick),
            gates=ops.gates(entry.task),
            tick_us=tick,
            refuse="skipped: missed" if refuse else "",
        )
        if self.create(what) == "created":
            assert tick not in self.fired, "a tick fired twice"
            self.fired.add(tick)

    @rule()
    def pause_or_resume_the_schedule(self) -> None:
        paused = "ticking" not in self.model.paused
        self.model.paused ^= {"ticking"}
        if not paused:
            self.model.ticks["ticking"] = self.now
        self.desk.do(tasks.pause("ticking", paused))

    @rule(name=names, keep=st.integers(0, 3), keep_s=st.sampled_from([5, 1000, 1000]))
    def forget(self, name: str, keep: int, keep_s: int) -> None:
        expected = self.model.forget(name, keep, keep_s * SECOND, self.now)
        assert self.desk.do(retention.forget(name, keep, keep_s * SECOND)).runs == expected

    @precondition(lambda self: any(run.lines for run in self.ended()))
    @rule(pick=picks)
    def compact(self, pick: int) -> None:
        run = self.any_run(pick, lambda run: run.status == "ended" and run.lines > 0)
        assert run is not None
        before = self.desk.run(logs.window(run.id, 0, 100))
        self.desk.run(logs.compact(run.id))
        assert self.desk.run(logs.window(run.id, 0, 100)) == before

    # The workers

    @rule(worker=workers, both=st.booleans(), repeated=st.booleans())
    def claim(self, worker: str, both: bool, repeated: bool) -> None:
        wanted = self.desk.wanted(worker, *(("q", "default") if both else ("default",)))
        expected = self.model.claim(worker, wanted.queues, self.now)
        held = self.desk.do(runs.claim(wanted))
        if repeated and held is not None:
            again = self.desk.do(runs.claim(wanted))
            assert again is not None
            assert again.id == held.id
        self.took(held, expected, worker)

    def took(self, held: runs.Claimed | None, expected: ModelRun | None, worker: str) -> None:
        assert (held.id if held else None) == (expected.id if expected else None)
        if held is not None and expected is not None:
            assert held.record.token not in self.tokens, "a fencing token was given twice"
            self.tokens.add(held.record.token)
            expected.token = held.record.token
            self.held.append(Held(held.id, held.record.token, worker))

    @precondition(lambda self: self.held)
    @rule(worker=workers)
    def beat(self, worker: str) -> None:
        mine = [held for held in self.held if held.worker == worker]
        self.model.contact(self.now)
        expected = [self.model.beat(held.id, held.token, self.now) for held in mine]
        assert self.desk.do(fleet.beat(worker, [(held.id, held.token) for held in mine], None))[2] == expected
        self.held = [
            held
            for held in self.held
            if held not in mine or self.model.runs.get(held.id) is not None  # it gives up what is gone
        ]

    @precondition(lambda self: self.held)
    @rule(pick=picks, count=st.integers(1, 3))
    def append(self, pick: int, count: int) -> None:
        held = self.held[pick % len(self.held)]
        run = self.model.runs.get(held.id)
        first = run.lines if run else 0
        expected = self.model.append(held.id, held.token, first, count)
        lines = [StoredLine(first + n, self.now, 0, f"line {first + n}", False) for n in range(count)]
        call = logs.append(held.id, held.token, lines, first_kept=0, kept_bytes=(first + count) * 6)
        assert self.desk.do(call) == expected
        assert self.desk.do(call) == ("again" if expected == "stored" else expected)
        self.history.append((held.id, call))

    @precondition(lambda self: self.held)
    @rule(pick=picks, reason=reasons, going_on=st.booleans(), once=st.booleans())
    def end(self, pick: int, reason: Reason, going_on: bool, once: bool) -> None:
        held = self.held[pick % len(self.held)]
        if once:
            self.held.remove(held)
        self.finish(held, reason, self.owed(held, reason), going_on)

    @precondition(lambda self: self.held)
    @rule(pick=picks)
    def fail(self, pick: int) -> None:
        self.end(pick, Reason.FAILED, False, True)

    @precondition(lambda self: self.held)
    @rule(pick=picks)
    def interrupt(self, pick: int) -> None:
        held = self.held.pop(pick % len(self.held))
        run = self.model.runs.get(held.id)
        policy = self.entries[run.task].task.on_interrupt if run else "end"
        self.finish(held, Reason.CRASHED, self.owed(held, Reason.CRASHED, policy), False, "interrupt")

    def owed(self, held: Held, reason: Reason, interrupted: Any = None) -> Retry | None:
        record = self.desk.do(runs.record(held.id))
        if record is None:
            return None
        task = self.entries[record.task].task
        return ops.next_attempt(held.id, record, task, reason, 1, interrupted=interrupted)

    def finish(self, held: Held, reason: Reason, retry: Retry | None, going_on: bool, move: Any = "end") -> None:
        wanted = self.desk.wanted(held.worker, "q", "default") if going_on else None
        expected = self.model.end(held.id, held.token, reason, retry, self.now)
        goes_on = wanted is not None and expected[0] != "refused"
        following = self.model.claim(held.worker, ("q", "default"), self.now) if goes_on else None
        ended = self.desk.do(runs.end(held.id, held.token, reason, 1, "", retry=retry, wanted=wanted, move=move))
        assert (ended.verdict, ended.state) == expected
        self.took(ended.claimed, following, held.worker)
        if ended.verdict == "ended":
            self.history.append((held.id, runs.end(held.id, held.token, reason, 1, "", retry=retry, move=move)))

    @precondition(lambda self: self.held)
    @rule(pick=picks, wish=st.sampled_from(["stop", "kill"]))
    def a_wish_meets_an_end(self, pick: int, wish: Any) -> None:
        held = self.held[pick % len(self.held)]
        retry = self.owed(held, Reason.FAILED)
        for each in (wish, "stop"):
            self.model.stop(held.id, each, self.now)
            self.desk.settle([runs.stop(held.id, each, "stopped")])
        self.finish(held, Reason.FAILED, retry, False)

    # What goes wrong

    @precondition(lambda self: any(run.status == "running" for run in self.model.runs.values()))
    @rule(pick=picks)
    def a_stranger_meddles(self, pick: int) -> None:
        run = self.any_run(pick, lambda run: run.status == "running")
        assert run is not None
        token = run.token - 1
        before = snapshot(self.desk)
        self.model.contact(self.now)
        assert self.desk.do(fleet.beat("stranger", [(run.id, token)], None))[2] == ["lost"]
        if self.model.hold == int(before[b"hold"].content if b"hold" in before else 0):
            line = StoredLine(run.lines, self.now, 0, "strange", False)
            assert self.desk.do(logs.append(run.id, token, [line], first_kept=0, kept_bytes=1)) == "lost"
            assert self.desk.do(runs.end(run.id, token, Reason.SUCCESS, 0, "")).verdict == "refused"
            assert snapshot(self.desk) == before

    @precondition(lambda self: self.history)
    @rule(pick=picks)
    def a_call_is_delivered_again(self, pick: int) -> None:
        about, call = self.history[-1 - pick % min(len(self.history), 10)]
        if about not in self.model.runs:
            return  # nobody repeats a call for as long as a run is kept
        before = snapshot(self.desk)
        self.desk.do(call)
        assert snapshot(self.desk) == before, "a repeated call changed something"

    @rule(tenths=st.integers(1, 30))
    def time_passes(self, tenths: int) -> None:
        self.desk.now += tenths * SECOND // 10

    @rule(seconds=st.sampled_from([3, 5, 7, 20, 90]))
    def nobody_reaches_redis(self, seconds: int) -> None:
        self.desk.now += seconds * SECOND
        self.pulse("s1")
        for run in list(self.model.runs.values()):
            if run.status == "running":
                self.rescue(run.id, self.desk.record(run.id))

    @precondition(lambda self: self.held)
    @rule(silent=workers, seconds=st.integers(5, 8))
    def a_worker_pauses_past_its_lease(self, silent: str, seconds: int) -> None:
        for _ in range(seconds):
            self.desk.now += SECOND
            for worker in WORKERS:
                if worker != silent:
                    self.beat(worker)
            self.pulse("s1")

    @rule(name=names, worker=workers)
    def a_busy_second(self, name: str, worker: str) -> None:
        self.trigger(name, 0, None)
        self.claim(worker, True, False)
        self.claim(worker, True, True)
        self.beat(worker)
        if self.held:
            self.append(-1, 2)
            self.end(0, Reason.SUCCESS, True, True)
        self.desk.now += SECOND
        self.pulse("s2")

    @rule(name=names, busy=st.booleans(), stopped=st.booleans(), batch=st.sampled_from([1, 500]))
    def a_delayed_trigger_comes_due(self, name: str, busy: bool, stopped: bool, batch: int) -> None:
        self.trigger(name, 1500, None)
        if busy:
            self.trigger(name, 0, None)
        self.release(500)  # too early
        if stopped:
            self.stop_all(name)
        self.desk.now += 2 * SECOND
        self.release(batch)

    @rule(worker=workers)
    def a_crash_loop(self, worker: str) -> None:
        self.trigger("plain", 0, 9)
        for _ in range(3):
            self.claim(worker, False, False)
            self.a_worker_pauses_past_its_lease(worker, 7)

    # What must hold after each step

    @invariant()
    def holds(self) -> None:
        everything = check_store(self.desk)
        stored = records(everything)
        self.agrees_with_the_model(everything, stored)
        self.ended_is_final(stored)
        self.chains_have_no_gaps(stored)
        self.never_more_than_allowed(stored)
        self.a_tick_makes_one_run(stored)

    def agrees_with_the_model(self, everything: dict[bytes, Value], stored: dict[bytes, Record]) -> None:
        model = self.model
        assert {
            UUID(bytes=one): (
                r.status,
                r.reason,
                r.number,
                r.attempt,
                r.wish,
                r.worker,
                r.token,
                r.retry_of,
                r.log_lines,
            )
            for one, r in stored.items()
        } == {
            one: (m.status, m.reason, m.number, m.attempt, m.wish, m.worker, m.token, m.retry_of, m.lines)
            for one, m in model.runs.items()
        }
        for queue in ("default", "q"):
            assert _in_order(everything, f"queue:{queue}") == [one for _, _, one in model.queues[queue]]
        for name, gate in model.gates.items():
            assert _in_order(everything, f"gate:{name}:live") == gate.live
            assert _in_order(everything, f"gate:{name}:wait") == gate.wait
        leases = {one: run.lease for one, run in model.runs.items() if run.status == "running"}
        found = everything[b"leases"].content if b"leases" in everything else {}
        assert {UUID(bytes=one): int(until) for one, until in found.items()} == leases
        assert int(everything[b"hold"].content if b"hold" in everything else 0) == model.hold
        assert int(everything[b"ticks"].content[b"ticking"]) == model.ticks["ticking"]

    def ended_is_final(self, stored: dict[bytes, Record]) -> None:
        for run, record in stored.items():
            if record.status == "ended":
                assert self.final.setdefault(run, record) == record, "an ended run changed"
            else:
                assert run not in self.final, "an ended run came back"

    def chains_have_no_gaps(self, stored: dict[bytes, Record]) -> None:
        for run, record in stored.items():
            parent = stored.get(UUID(record.retry_of).bytes) if record.retry_of else None
            if parent is not None:
                assert parent.status == "ended"
                assert parent.reason not in ("success", "stopped", "skipped")
                assert record.attempt - parent.attempt == 1 - (record.reruns - parent.reruns)
            children = [one for one, r in stored.items() if r.retry_of == str(UUID(bytes=run))]
            assert len(children) <= 1, "a run was tried again twice"
            assert record.attempt <= self.entries[record.task].task.retry_attempts
            assert record.crashes < 3

    def never_more_than_allowed(self, stored: dict[bytes, Record]) -> None:
        running: dict[str, set[str]] = {}
        for run, record in stored.items():
            if record.status == "running":
                for gate, _ in ops.gates(self.entries[record.task].task):
                    running.setdefault(gate, set()).add(record.execution or str(UUID(bytes=run)))
        for gate, executions in running.items():
            kind, _, name = gate.partition(":")
            most = LIMITS[name] if kind == "limit" else TASKS[name]["max_concurrent"]
            assert len(executions) <= most, f"{len(executions)} executions at {gate}"

    def a_tick_makes_one_run(self, stored: dict[bytes, Record]) -> None:
        made = [(r.task, r.tick_us, r.replica_index) for r in stored.values() if r.tick_us and not r.attempt]
        assert len(set(made)) == len(made)

    def any_run(self, pick: int, wanted: Callable[[ModelRun], bool] = lambda run: True) -> ModelRun | None:
        found = [run for run in self.model.runs.values() if wanted(run)]
        return found[pick % len(found)] if found else None

    def ended(self) -> list[ModelRun]:
        return [run for run in self.model.runs.values() if run.status == "ended"]


def _in_order(everything: dict[bytes, Value], key: str) -> list[UUID]:
    members = everything[key.encode()].content if key.encode() in everything else {}
    return [UUID(bytes=one) for one in sorted(members, key=lambda one: (members[one], one))]
