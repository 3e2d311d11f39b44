"""Steps of the state machine that the API and the scheduler make."""

from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from shared import ids, ops
from shared.errors import Conflict, Refused
from shared.ops.new_execution import template_of
from shared.runs import Reason, Record
from shared.store import fleet, leadership, logs, records, retention, runs, stops, tasks
from shared.store.creation import Create
from tests.store.harness import SECOND, START
from tests.store.machine_base import MINUTE, NEEDED, Base, all_names, names, picks


class Callers(Base):
    """What people, other programs and schedulers do."""

    # The API

    @rule(name=names, delay=st.sampled_from([0, 0, 0, 1500]), priority=st.sampled_from([None, None, 0, 9]))
    def trigger(self, name: str, delay: int, priority: int | None) -> None:
        self.create(self.creation(name, ops.Request(delay_ms=delay, priority=priority)))

    @rule(name=st.sampled_from(sorted(NEEDED)), delay=st.sampled_from([0, 0, 1500]))
    def trigger_a_plan(self, name: str, delay: int) -> None:
        self.trigger(name, delay, None)

    @rule(name=st.sampled_from(["queued", "killing", "skipping"]))
    def trigger_thrice(self, name: str) -> None:
        for _ in range(3):
            self.trigger(name, 0, None)

    @rule(name=names, key=st.sampled_from(["k1", "k2"]), digest=st.sampled_from(["d1", "d1", "d2"]))
    def trigger_with_a_key(self, name: str, key: str, digest: str) -> None:
        self.create(self.creation(name, ops.Request(idempotency_key=key, body_digest=digest)))

    @precondition(lambda self: self.model.runs)
    @rule(pick=picks, stop_request=st.sampled_from(["stop", "kill"]))
    def stop_one(self, pick: int, stop_request: Any) -> None:
        run = self.any_run(pick, lambda run: run.status != "ended") or self.any_run(pick)
        assert run is not None
        message = f"asked to {stop_request}"
        expected = self.model.stop(run.id, stop_request, message, self.now)
        try:
            verdict = self.harness.run(stops.stop(run.id, stop_request, message))[0]
        except Refused:
            verdict = "ended"
        assert verdict == expected

    @rule(name=all_names)
    def stop_all(self, name: str) -> None:
        expected = self.model.stop_task(name, "all stopped", self.now)
        assert self.harness.run(stops.stop_all(name, None, "stop", "all stopped"))[0] == expected

    @precondition(lambda self: self.model.executions)
    @rule(pick=picks)
    def stop_execution(self, pick: int) -> None:
        live = sorted(self.model.executions)
        chosen = live[pick % len(live)]
        self.model.stop_execution(chosen, "stop", "it was stopped", self.now)
        self.harness.run(stops.stop_all("", chosen, "stop", "it was stopped"))

    @precondition(lambda self: self.ended())
    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        ended = self.ended()
        chosen = ended[pick % len(ended)]
        is_needed = self.model.is_needed(chosen)
        try:
            self.harness.run(ops.delete(str(chosen.id)))
        except Conflict:
            assert is_needed
            return
        assert not is_needed
        self.model.drop(chosen)

    @precondition(lambda self: any(run.status != "ended" for run in self.model.runs.values()))
    @rule(pick=picks)
    def delete_live(self, pick: int) -> None:
        run = self.any_run(pick, lambda run: run.status != "ended")
        assert run is not None
        try:
            self.harness.run(ops.delete(str(run.id)))
        except Conflict:
            return
        raise AssertionError("a live run was deleted")

    @precondition(lambda self: self.ended())
    @rule(pick=picks)
    def rerun(self, pick: int) -> None:
        ended = self.ended()
        like = ended[pick % len(ended)]
        alike = [run for run in self.model.runs.values() if (run.execution, run.task) == (like.execution, like.task)]
        self.create(self.creation(like.task, ops.Request(replicas=len({run.replica for run in alike}))))

    @rule(queue=st.sampled_from(["default", "q"]))
    def pause_a_queue(self, queue: str) -> None:
        paused = queue not in self.model.paused_queues
        self.model.paused_queues ^= {queue}
        self.harness.run(fleet.pause_queue(queue, paused))

    # The scheduler

    @rule(scheduler=st.sampled_from(["s1", "s2"]))
    def poll(self, scheduler: str) -> None:
        self.model.contact(self.now)
        poll = self.harness.run(leadership.poll(scheduler))
        if poll.token:
            assert {run_id for run_id, _ in poll.expired} == self.model.expired(self.now)
            assert poll.next_due_us == self.model.next_due()
            waiting = {q: len(line) for q, line in self.model.queues.items() if line}
            assert poll.waiting == {q: n for q, n in waiting.items() if q not in self.model.paused_queues}
            for run_id, value in poll.expired:
                self.rescue(run_id, records.decode_record(value))

    @precondition(lambda self: any(run.status == "running" for run in self.model.runs.values()))
    @rule(pick=picks)
    def rescue_too_early_or_not(self, pick: int) -> None:
        run = self.any_run(pick, lambda run: run.status == "running")
        assert run is not None
        self.rescue(run.id, self.harness.record(run.id))

    def rescue(self, run_id: UUID, record: Record) -> None:
        task = self.entries[record.task].task
        retry = ops.next_attempt(run_id, record, task, Reason.CRASHED, -2)
        expected = self.model.rescue(run_id, f"{record.worker} was lost", retry, self.now)
        call = runs.rescue(run_id, f"{record.worker} was lost", retry)
        ended = self.harness.run(call)
        assert (ended.verdict, ended.state) == expected
        if ended.verdict == "ended":
            self.history.append((run_id, call))

    @rule(batch=st.sampled_from([1, 2, 500]))
    def enqueue_due(self, batch: int) -> None:
        expected = self.model.enqueue_due(self.now, batch)
        assert self.harness.run(runs.enqueue_due(batch))[0] == expected

    @precondition(lambda self: self.model.due)
    @rule(batch=st.sampled_from([1, 500]))
    def wait_until_the_next_is_due(self, batch: int) -> None:
        self.harness.now = max(self.now, min(self.model.runs[one].due for one in self.model.due))
        self.enqueue_due(batch)

    @rule(ticks=st.integers(0, 1), refuse=st.booleans())
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
        self.harness.run(tasks.pause("ticking", paused))

    @rule(name=all_names, keep=st.integers(0, 3), keep_s=st.sampled_from([5, 1000, 1000]))
    def prune(self, name: str, keep: int, keep_s: int) -> None:
        expected = self.model.prune(name, keep, keep_s * SECOND, self.now)
        assert self.harness.run(retention.prune(name, keep, keep_s * SECOND, 1000)).runs == expected

    @precondition(lambda self: any(run.lines for run in self.ended()))
    @rule(pick=picks)
    def compact(self, pick: int) -> None:
        run = self.any_run(pick, lambda run: run.status == "ended" and run.lines > 0)
        assert run is not None
        before = self.harness.run(logs.window(run.id, 0, 100))
        self.harness.run(logs.compact(run.id))
        assert self.harness.run(logs.window(run.id, 0, 100)) == before
