"""Steps of the state machine that workers make, also those that were believed dead."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from shared import ops
from shared.runs import Reason
from shared.store import fleet, logs, runs, stops
from shared.store.log_record import StoredLine
from shared.store.runs import Retry
from tests.store.machine_base import Base, Held, picks, workers
from tests.store.model_lives import ModelRun

reasons = st.sampled_from([*[Reason.SUCCESS, Reason.FAILED] * 2, Reason.TIMEOUT, Reason.STOPPED])
codes = st.sampled_from([0, 1, 143])


class Workers(Base):
    """What workers do with the runs that they hold, or believe to hold."""

    @rule(worker=workers, both=st.booleans(), repeated=st.booleans())
    def claim(self, worker: str, both: bool, repeated: bool) -> None:
        wanted = self.harness.wanted(worker, *(("q", "default") if both else ("default",)))
        expected = self.model.claim(worker, wanted.queues, self.now)
        held = self.harness.run(runs.claim(wanted))
        if repeated and held is not None:
            again = self.harness.run(runs.claim(wanted))
            assert again is not None
            assert again.id == held.id
        self.took(held, expected, worker)

    def took(self, held: runs.Claimed | None, expected: ModelRun | None, worker: str) -> None:
        assert (held.id if held else None) == (expected.id if expected else None)
        if held is not None and expected is not None:
            assert held.record.token not in self.tokens, "a fencing token was given twice"
            assert (held.record.params, held.record.labels) == (expected.params, expected.labels)
            self.tokens.add(held.record.token)
            expected.token = held.record.token
            self.held.append(Held(held.id, held.record.token, worker, held.record))

    @precondition(lambda self: self.held)
    @rule(worker=workers)
    def heartbeat(self, worker: str) -> None:
        mine = [held for held in self.held if held.worker == worker]
        self.model.contact(self.now)
        expected = [self.model.heartbeat(held.id, held.token, self.now) for held in mine]
        assert self.harness.run(fleet.heartbeat(worker, [(held.id, held.token) for held in mine], None))[2] == expected
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
        assert self.harness.run(call) == expected
        assert self.harness.run(call) == ("already_stored" if expected == "stored" else expected)
        self.history.append((held.id, call))

    @precondition(lambda self: self.held)
    @rule(pick=picks, reason=reasons, code=codes, going_on=st.booleans(), once=st.booleans())
    def end(self, pick: int, reason: Reason, code: int, going_on: bool, once: bool) -> None:
        held = self.held[pick % len(self.held)]
        if once:
            self.held.remove(held)
        self.finish(held, reason, self.owed(held, reason), going_on, code=code)

    @precondition(lambda self: self.held)
    @rule(pick=picks)
    def fail(self, pick: int) -> None:
        self.end(pick, Reason.FAILED, 1, False, True)

    @precondition(lambda self: self.held)
    @rule(pick=picks)
    def interrupt(self, pick: int) -> None:
        held = self.held.pop(pick % len(self.held))
        run = self.model.runs.get(held.id)
        policy = self.entries[run.task].task.on_interrupt if run else "end"
        self.finish(held, Reason.CRASHED, self.owed(held, Reason.CRASHED, policy), False, "interrupt")

    @precondition(lambda self: self.held)
    @rule(pick=picks, delay_us=st.sampled_from([0, 0, 1_500_000]), crashes=st.integers(0, 1), once=st.booleans())
    def give_back(self, pick: int, delay_us: int, crashes: int, once: bool) -> None:
        held = self.held[pick % len(self.held)]
        if once:
            self.held.remove(held)
        run = self.model.runs.get(held.id)
        if run is not None and run.lines:
            return  # it did something already
        expected = self.model.give_back(held.id, held.token, "not started", delay_us, crashes, self.now)
        call = runs.give_back(held.id, held.token, "not started", delay_us=delay_us, crashes=crashes)
        given = self.harness.run(call)
        assert (given.verdict, given.state) == expected
        self.history.append((held.id, call))

    @precondition(lambda self: self.held)
    @rule(pick=picks, worker=workers)
    def a_run_is_given_back_claimed_again_and_given_back_by_who_had_it(self, pick: int, worker: str) -> None:
        pick %= len(self.held)
        self.give_back(pick, 0, 0, False)
        self.claim(worker, True, False)
        self.give_back(pick, 0, 1, False)
        self.heartbeat(worker)

    def owed(self, held: Held, reason: Reason, interrupted: Any = None) -> Retry | None:
        record = self.harness.run(runs.record(held.id))
        if record is None:
            return None
        task = self.entries[record.task].task
        return ops.next_attempt(held.id, record, task, reason, 1, interrupted=interrupted)

    def finish(
        self, held: Held, reason: Reason, retry: Retry | None, going_on: bool, transition: Any = "end", *, code: int = 1
    ) -> None:
        said = f"ended with {code}"
        wanted = self.harness.wanted(held.worker, "q", "default") if going_on else None
        expected = self.model.end(held.id, held.token, reason, code, said, retry, self.now)
        goes_on = wanted is not None and expected[0] != "refused"
        following = self.model.claim(held.worker, ("q", "default"), self.now) if goes_on else None
        ended = self.harness.run(
            runs.end(held.id, held.token, reason, code, said, retry=retry, wanted=wanted, transition=transition)
        )
        assert (ended.verdict, ended.state) == expected
        self.took(ended.claimed, following, held.worker)
        if ended.verdict == "ended":
            self.history.append(
                (held.id, runs.end(held.id, held.token, reason, code, said, retry=retry, transition=transition))
            )

    @precondition(lambda self: self.held)
    @rule(pick=picks, stop_request=st.sampled_from(["stop", "kill"]))
    def a_wish_meets_an_end(self, pick: int, stop_request: Any) -> None:
        held = self.held[pick % len(self.held)]
        retry = self.owed(held, Reason.FAILED)
        for each in (stop_request, "stop"):
            self.model.stop(held.id, each, f"asked to {each}", self.now)
            self.harness.settle([stops.stop(held.id, each, f"asked to {each}")])
        self.finish(held, Reason.FAILED, retry, False)
