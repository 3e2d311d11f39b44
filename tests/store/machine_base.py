"""What every step of the state machine uses: the store, the model beside it, and what must hold after each step."""

import random
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec
import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from shared import ids, ops
from shared.errors import Conflict, Invalid, RunfleetError
from shared.ops import maintenance
from shared.runs import Record
from shared.settings import Settings
from shared.store import creation
from shared.store.creation import Create
from shared.store.redis.call import Call
from shared.store.tasks import Entry
from shared.tasks import Param
from tests.store.consistency import Value, check_store, records
from tests.store.harness import SECOND, StoreHarness
from tests.store.model import Model
from tests.store.model_lives import ModelPlan, ModelRun

T = TypeVar("T")
LIMITS = {"db": 2}
TASKS: dict[str, dict[str, Any]] = {
    "plain": {"retry_attempts": 4, "retry_delay_ms": (0,), "priority": 3},
    "queued": {"max_concurrent": 1, "max_queued": 2, "retry_attempts": 1, "retry_delay_ms": (2000,), "queue": "q"},
    "skipping": {"max_concurrent": 1, "on_overlap": "skip", "replicas": 2, "retry_attempts": 2},
    "killing": {"max_concurrent": 2, "on_overlap": "kill", "limits": ("db",)},
    "sharing": {"limits": ("db",), "replicas": 2, "on_interrupt": "rerun"},
    "ticking": {"cron": ("* * * * *",), "max_concurrent": 1, "retry_attempts": 1, "retry_delay_ms": (0,)},
    "before": {"replicas": 2, "retry_attempts": 1, "retry_delay_ms": (0,), "limits": ("db",)},
    "beside": {"priority": 9},
    "after": {"depends_on": ("before", "beside"), "max_concurrent": 1, "on_overlap": "skip"},
    "last": {"depends_on": ("after",), "retry_attempts": 1, "retry_delay_ms": (0,)},
    "outside": {"run": None, "external": True, "max_concurrent": 2, "heartbeat_timeout_ms": 20_000},
}
TASKS = {name: {"params": {"blob": Param()}, **one} for name, one in TASKS.items()}
NEEDED = {"after": ("before", "beside"), "last": ("after", "before", "beside")}
OURS = sorted(set(TASKS) - set(NEEDED) - {"outside", "before", "beside"})
WORKERS = ("w1", "w2")
MINUTE = 60 * SECOND
STATE = (
    "task",
    "status",
    "reason",
    "exit_code",
    "message",
    "number",
    "attempt",
    "crashes",
    "stop_request",
    "worker",
    "token",
)
SAME = (*STATE, "params", "labels")
"""What model and record call by the same name."""

names = st.sampled_from(OURS)
all_names = st.sampled_from(sorted(TASKS))
workers = st.sampled_from(WORKERS)
picks = st.integers(0, 99)


class Sure(StoreHarness):
    """A desk whose scripts never fail: one that meets what cannot be (and is a script at all) is a failed test."""

    def _make(self, calls: Sequence[Call[Any]]) -> list[Any]:
        try:
            return super()._make(calls)
        except RunfleetError as error:
            if type(error) is RunfleetError and "ompil" not in str(error):
                raise AssertionError(f"a script failed: {error}") from error
            raise


class Held(NamedTuple):
    """What a worker believes it has (it may be wrong by now), and the record as it was claimed."""

    id: UUID
    token: int
    worker: str
    record: Record


class Base(RuleBasedStateMachine):
    """One history: the store, the model, what workers hold, and what was seen."""

    valkey_url: str

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(ids, "_last", 0)  # so that a history that is played again has the same ids
        self.patch.setattr(ids, "os", SimpleNamespace(urandom=random.Random(0).randbytes))
        self.patch.setattr(maintenance, "time", SimpleNamespace(time_ns=lambda: self.now * 1000))
        with redis.Redis.from_url(self.valkey_url) as client:
            client.flushall()
        self.harness = Sure(Settings(redis_url=self.valkey_url, key_prefix="{machine}"))
        self.harness.tasks(TASKS, LIMITS)
        self.entries: dict[str, Entry] = {name: self.harness.entry(name) for name in TASKS}
        self.begin(Model(LIMITS))

    def begin(self, model: Model) -> None:
        """Nothing has happened yet, or nothing is known of it any more."""
        self.model = model
        self.model.ticks["ticking"] = self.now
        self.held: list[Held] = []
        self.tokens: set[int] = set()
        self.history: list[tuple[UUID, Call[Any]]] = []
        self.final: dict[bytes, Record] = {}
        self.fired: set[int] = set()

    def teardown(self) -> None:
        self.harness.close()
        self.patch.undo()

    @property
    def now(self) -> int:
        return self.harness.now

    # What steps are made of

    def creation(self, name: str, request: ops.Request) -> Create:
        if len(self.model.runs) % 2:  # of every other one there are texts that are kept once
            large = f"{len(self.model.runs)} " * 200
            request = msgspec.structs.replace(request, params={"blob": large}, labels={"about": large})
        needed = {each: self.entries[each] for each in NEEDED.get(name, ())}
        return ops.creation(self.entries[name], request, self.now, needed=needed)

    def create(self, what: Create) -> str:
        expected = self.model.create(what, self.now)
        call = creation.create(what)
        try:
            created = self.harness.run(call)
        except Invalid:
            assert expected == "mismatch"
            return expected
        except Conflict:
            assert expected == "deleted"
            return expected
        assert created.verdict == expected
        if expected == "repeated":
            assert created.run is not None
            assert created.run.id == self.model.keys[what.idempotency_key][0]
        if expected == "created":
            self.history.append((what.ids[0], call))
        return expected

    def any_run(self, pick: int, wanted: Callable[[ModelRun], bool] = lambda run: True) -> ModelRun | None:
        found = [run for run in self.model.runs.values() if wanted(run)]
        return found[pick % len(found)] if found else None

    def ended(self) -> list[ModelRun]:
        return [run for run in self.model.runs.values() if run.status == "ended"]

    # What must hold after each step

    @invariant()
    def holds(self) -> None:
        everything = check_store(self.harness)
        stored = records(everything)
        self.runs_agree(stored)
        self.places_agree(everything)
        self.plans_agree(everything)
        self.ended_is_final(stored)
        self.chains_have_no_gaps(stored)
        self.never_more_than_allowed(stored)
        self.a_tick_makes_one_run(stored)

    def runs_agree(self, stored: dict[bytes, Record]) -> None:
        found = {UUID(bytes=one): _of_record(record) for one, record in stored.items()}
        wanted = {one: _of_model(run) for one, run in self.model.runs.items()}
        if found != wanted:
            differ = [one for one in found.keys() | wanted.keys() if found.get(one) != wanted.get(one)]
            raise AssertionError("\n".join(f"{one}\n  is {found.get(one)}\n not {wanted.get(one)}" for one in differ))

    def places_agree(self, everything: dict[bytes, Value]) -> None:
        model = self.model
        for queue in ("default", "q"):
            assert _in_order(everything, f"queue:{queue}") == [one for _, _, one in model.queues[queue]]
        for name, gate in model.gates.items():
            assert _in_order(everything, f"limit:{name}:holders") == gate.live
            assert _in_order(everything, f"limit:{name}:waiters") == gate.wait
        for limit in LIMITS:
            gate_name = f"shared:{limit}"
            taken = len(_of(everything, f"slots:{gate_name}")) + len(model.gates[gate_name].live)
            assert taken == model.taken(gate_name)
        leases = {one: run.lease for one, run in model.runs.items() if run.status == "running" and run.lease}
        assert {UUID(bytes=one): int(until) for one, until in _of(everything, "leases").items()} == leases
        slots = {lease: one.until for lease, one in model.slot_leases.items()}
        assert {UUID(bytes=one): int(until) for one, until in _of(everything, "slot-leases").items()} == slots
        assert int(_of(everything, "rescue-hold") or 0) == model.hold
        assert int(_of(everything, "ticks")[b"ticking"]) == model.ticks["ticking"]

    def plans_agree(self, everything: dict[bytes, Value]) -> None:
        plans = {key[5:]: value.content for key, value in everything.items() if key.startswith(b"plan:")}
        found = {UUID(bytes=one): _of_plan(plan) for one, plan in plans.items()}
        assert found == {one: _of_model_plan(plan) for one, plan in self.model.plans.items()}

    def ended_is_final(self, stored: dict[bytes, Record]) -> None:
        for run, record in stored.items():
            if record.external:
                continue  # of a start that is heard of late its end knows nothing
            if record.status == "ended":
                assert self.final.setdefault(run, record) == record, "an ended run changed"
            else:
                assert run not in self.final, "an ended run came back"

    def chains_have_no_gaps(self, stored: dict[bytes, Record]) -> None:
        parents = [record.retry_of for record in stored.values() if record.retry_of]
        assert len(set(parents)) == len(parents), "a run was tried again twice"
        for record in stored.values():
            parent = stored.get(UUID(record.retry_of).bytes) if record.retry_of else None
            if parent is not None:
                assert parent.status == "ended"
                assert parent.reason not in ("success", "stopped", "skipped")
                assert record.attempt - parent.attempt == 1 - (record.reruns - parent.reruns)
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
            most = LIMITS[name] if kind == "shared" else TASKS[name]["max_concurrent"]
            slots = sum(lease.slots for lease in self.model.slot_leases.values() if gate in lease.gates)
            assert len(executions) + slots <= most, f"{len(executions)} executions and {slots} slots at {gate}"

    def a_tick_makes_one_run(self, stored: dict[bytes, Record]) -> None:
        made = [(r.task, r.tick_us, r.replica_index) for r in stored.values() if r.tick_us and not r.attempt]
        assert len(set(made)) == len(made)


def _of_record(r: Record) -> dict[str, Any]:
    times = {"created": r.created_us, "due": r.due_us, "started": r.start_us, "ended": r.end_us}
    rest = {"retry_of": r.retry_of, "lines": r.log_lines, "step": r.step}
    return {name: getattr(r, name) for name in SAME} | times | rest


def _of_model(run: ModelRun) -> dict[str, Any]:
    rest = ("created", "due", "started", "ended", "retry_of", "lines", "step")
    return {name: getattr(run, name) for name in (*SAME, *rest)}


def _of_plan(plan: dict[bytes, bytes]) -> dict[str, Any]:
    words = {name: plan.get(name.encode(), b"").decode() for name in ("task", "reason", "failure", "desired")}
    names = ("created", "at", "version", "start", "over", "steps", "groups")
    numbers = {name: int(plan.get(name.encode(), 0)) for name in names}
    return words | numbers


def _of_model_plan(plan: ModelPlan) -> dict[str, Any]:
    words = {"task": plan.task, "reason": plan.reason, "failure": plan.failure}
    desired = {"desired": "stopped" if plan.is_stopped else ""}
    times = {"created": plan.created, "start": plan.started, "over": plan.over}
    counts = {"at": plan.at, "version": plan.version, "steps": len(plan.steps), "groups": plan.groups}
    return words | desired | times | counts


def _of(everything: dict[bytes, Value], key: str) -> Any:
    return everything[key.encode()].content if key.encode() in everything else {}


def _in_order(everything: dict[bytes, Value], key: str) -> list[UUID]:
    members = _of(everything, key)
    return [UUID(bytes=one) for one in sorted(members, key=lambda one: (members[one], one))]
