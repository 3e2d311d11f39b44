"""Steps of the state machine that others make: they report runs that they execute, and lease slots of limits."""

from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from shared import ids, ops
from shared.runs import Reason
from shared.store import limits, runs
from tests.store.harness import SECOND
from tests.store.machine_base import Base, picks

reported = st.sampled_from([Reason.SUCCESS, Reason.FAILED, Reason.STOPPED, Reason.SKIPPED])


class Outside(Base):
    """What is executed elsewhere."""

    @rule(delay=st.sampled_from([0, 0, 0, 1500]))
    def trigger_outside(self, delay: int) -> None:
        self.create(self.creation("outside", ops.Request(delay_ms=delay)))

    @precondition(lambda self: any(run.external for run in self.model.runs.values()))
    @rule(pick=picks, ago_s=st.sampled_from([0, 0, 2, 30]), is_leased=st.booleans(), late=st.booleans())
    def report_a_start(self, pick: int, ago_s: int, is_leased: bool, late: bool) -> None:
        told = {"lease_us": 20 * SECOND if is_leased else 0, "late_start": late, "backdated": late}
        self.report(self.outside(pick), "running", at_us=self.now - ago_s * SECOND if ago_s else 0, **told)

    @precondition(lambda self: any(run.external for run in self.model.runs.values()))
    @rule(pick=picks, reason=reported, ago_s=st.sampled_from([0, 0, 1, 30]))
    def report_an_end(self, pick: int, reason: Reason, ago_s: int) -> None:
        run_id = self.outside(pick)
        if reason is Reason.SKIPPED and self.model.runs[run_id].status != "pending":
            reason = Reason.FAILED
        at_us = self.now - ago_s * SECOND if ago_s else 0
        self.report(run_id, "ended", reason=reason, exit_code=7, message="as reported", at_us=at_us)

    @rule()
    def a_report_on_what_is_ours_is_refused(self) -> None:
        run = self.any_run(0, lambda run: not run.external)
        if run is not None:
            self.report(run.id, "running")

    def outside(self, pick: int) -> UUID:
        run = self.any_run(pick, lambda run: run.external and run.status != "ended")
        run = run if run and pick % 4 else self.any_run(pick, lambda run: run.external)
        assert run is not None
        return run.id

    def report(self, run_id: UUID, target: Any, **details: Any) -> None:
        expected = self.model.report(run_id, target, self.now, **details)
        call = runs.report(run_id, target, **details)
        found = self.harness.run(call)
        assert (found.verdict, found.state) == expected
        if target == "ended" and found.verdict == "changed":
            self.history.append((run_id, call))

    # Slots

    @rule(slots=st.sampled_from([1, 1, 2, 3]), lasts_s=st.sampled_from([5, 60]))
    def lease_slots(self, slots: int, lasts_s: int) -> None:
        lease = ids.new_id(self.now)
        for _ in range(2):  # the answer to the first was lost
            expected = self.model.take(lease, ["db", "unknown"], slots, lasts_s * SECOND, self.now)
            call = limits.take(lease, ["db", "unknown"], slots, lasts_s * SECOND, b"{}")
            assert self.harness.run(call).verdict == expected

    @precondition(lambda self: self.model.slot_leases)
    @rule(pick=picks, is_over=st.booleans())
    def renew_slots_or_give_them_back(self, pick: int, is_over: bool) -> None:
        lease = sorted(self.model.slot_leases)[pick % len(self.model.slot_leases)]
        if is_over:
            expected = self.model.give(lease, self.now)
            assert self.harness.run(limits.give(lease)).verdict == expected
        else:
            expected = self.model.renew(lease, 10 * SECOND, self.now)
            assert self.harness.run(limits.renew(lease, 10 * SECOND)).verdict == expected
