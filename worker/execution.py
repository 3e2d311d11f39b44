"""
One run, from its claim to its end: prepare → spawn → watch → judge → end.

Each step is short and may fail; whatever happens, the run ends with a reason, or somebody else has decided about it.
Only ``end`` writes; it is repeated until it was accepted or refused, however long Redis is away.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from shared import ops
from shared.clock import SECOND_US
from shared.errors import RunfleetError, StoreUnavailable
from shared.runs import NOTHING_RAN, Reason
from shared.store import bells, executions, runs
from shared.store.call import Call
from shared.store.runs import Claimed, Ended, Facts, Wanted
from shared.tasks import Task
from shared.telemetry import get_logger
from worker import environment
from worker.callables import CallRequest
from worker.environment import Unprepared
from worker.judging import Verdict, judge
from worker.leases import FROZEN_S, SURE_S, Held, Wish
from worker.outputs import collect
from worker.poke import Poke
from worker.process import Child, Exit, Launch, SpawnFailed, Unanswered
from worker.tapes import Tape
from worker.watching import Watch
from worker.workshop import Workshop

log = get_logger("worker")
T = TypeVar("T")

BROKEN_S: Final = 0.1
"""How long to wait for the keeper's death when something looks like it."""


class Lost(Exception):
    """The run was given to somebody else, or nobody could say that it was not."""


class Execution:
    """
    One run in the hands of one thread. ``tell`` and ``look`` may be called from other threads.

    *asked_s* is the measured time at which it was first asked for: its lease may be no younger than that.
    """

    def __init__(self, shop: Workshop, claimed: Claimed, poke: Poke, asked_s: float) -> None:
        self.run_id, self.record = claimed.id, claimed.record
        self.asked_next_s = 0.0
        """Measured time at which the next run was first asked for, together with the end of this one."""
        self._claimed_s = time.monotonic()
        self._shop = shop
        self._poke = poke
        self._wishes: deque[Wish] = deque()
        self._output_file = f"{shop.folder}/{claimed.id}.out"
        self._mask = shop.private.mask()
        self._held = Held(claimed.id, claimed.record.token, self.tell, self.restore, asked_s)

    def tell(self, wish: Wish) -> None:
        """Somebody wishes this run to stop, or it is no longer ours."""
        self._wishes.append(wish)
        self._poke.ring()

    def look(self) -> None:
        """Make the watching thread look around."""
        self._poke.ring()

    def restore(self) -> bool:
        """The store has forgotten everything: write this run back; whether it is there again."""
        try:
            gates = ops.gates(self._shop.task(self.record))
            return self._shop.store.do(runs.restore(self.run_id, self.record, gates)) != "refused"
        except RunfleetError:
            return False

    def perform(self, wanted: Wanted | None) -> Ended | None:
        """
        Execute the run and end it, claiming the next one for *wanted* in the same step.

        None: the run was lost to somebody else before its end.
        """
        log.debug("run.claimed", run_id=str(self.run_id), task=self.record.task, attempt=self.record.attempt)
        self._shop.leases.hold(self._held)
        if self._shop.emitter is not None:
            self._shop.emitter.tell(self.run_id, self.record)
        task: Task | None = None
        exit_, tape = None, None
        try:
            try:
                task = self._shop.task(self.record)
                child, tape = self._start(task)
                watch = self._watch_over(task, child, tape)
                try:
                    exit_ = watch.until_end()
                except SpawnFailed:
                    self._shop.tapes.remove(tape)
                    raise
                finally:
                    child.close()
                if watch.cause == "lost":
                    raise Lost
            except (Unprepared, SpawnFailed) as error:
                verdict = Verdict(Reason.FAILED, NOTHING_RAN, str(error))
                if self._is_broken(BROKEN_S if isinstance(error, Unanswered) else 0.0):
                    verdict = Verdict(
                        Reason.CRASHED, NOTHING_RAN, "crashed: its worker could not start anything any more"
                    )
            except Lost:
                log.warning("run.lost", run_id=str(self.run_id), task=self.record.task)
                return None
            else:
                verdict = judge(task, exit_, watch.cause, watch.last_words)
            return self._end(task, verdict._replace(message=self._mask.text(verdict.message)), exit_, tape, wanted)
        finally:
            self._shop.leases.let_go(self.run_id)
            if tape is not None:
                self._shop.tapes.remove(tape)

    def _watch_over(self, task: Task, child: Child, tape: Tape) -> Watch:
        return Watch(
            task,
            child,
            tape,
            held=self._held,
            wishes=self._wishes,
            poke=self._poke,
            draining=self._shop.draining,
        )

    def _start(self, task: Task) -> tuple[Child, Tape]:
        """Prepare and spawn. Raises Unprepared and SpawnFailed."""
        values = environment.decode_params(self.record)
        env, secrets = environment.compose(
            task,
            self.run_id,
            self.record,
            values,
            self._output_file,
            self._shop.inherited,
            self._withheld(),
            self._inputs(),
        )
        self._shop.private.know(environment.sources(task), secrets)
        self._mask = self._shop.private.mask(secrets)
        cwd = str(Path(task.working_dir).absolute()) if task.working_dir else None
        limits: dict[str, Any] = {
            "cwd": cwd,
            "umask": task.umask,
            "nice": task.nice,
            "memory_limit": task.memory_limit,
            "cpu_limit_s": task.cpu_limit_s,
            "silence_s": FROZEN_S if task.strict_lease else None,
            "env": env,
            "run_id": str(self.run_id),
        }
        self._be_sure()
        child: Child
        if task.call is not None:
            request = CallRequest(call=task.call, kwargs=values, isolate=task.isolate, python=task.python, **limits)
            child = self._shop.templates.spawn(request)
        elif task.run is not None:
            child = self._shop.keeper.spawn(Launch(argv=environment.arguments(task, values), **limits))
        else:
            raise Unprepared(f"task {task.name} is external: nobody here executes it")
        tape = self._shop.tapes.add(self.run_id, self.record, self._claimed_s, task, self._mask)
        return child, tape

    def _be_sure(self) -> None:
        """
        Wait for word of the lease when it was not heard of for a while: whoever slept since the claim starts nothing
        that is another's by now. Raises Lost.
        """
        while time.monotonic() - self._held.renewed_s > SURE_S:
            if "lost" in self._wishes or self._shop.draining.begun:
                raise Lost
            time.sleep(0.05)

    def _withheld(self) -> frozenset[str]:
        """The variables that other tasks make secrets of; waits while Redis never said. Raises Lost."""
        self._patiently(self._shop.private.refresh)
        return self._shop.private.variables

    def _inputs(self) -> list[tuple[str, dict[str, Any]]]:
        """What the steps that this one depends on hand on; waits while Redis is away. Raises Lost."""
        if not self.record.needs:
            return []
        execution = UUID(self.record.execution) if self.record.execution else self.run_id
        return self._patiently(lambda: self._shop.store.do(executions.inputs(execution, self.record.step)))

    def _patiently(self, ask: Callable[[], T]) -> T:
        """What *ask* gives, asked again while Redis is away: nothing runs yet that could be lost. Raises Lost."""
        wait_s = 0.1
        while True:
            try:
                return ask()
            except StoreUnavailable:
                if "lost" in self._wishes or self._shop.draining.begun:
                    raise Lost from None
                time.sleep(wait_s)
                wait_s = min(wait_s * 2, 2.0)

    def _end(
        self, task: Task | None, verdict: Verdict, exit_: Exit | None, tape: Tape | None, wanted: Wanted | None
    ) -> Ended | None:
        """Report the end until it is accepted or refused."""
        facts = self._facts(exit_, tape)
        retry = ops.next_attempt(
            self.run_id,
            self.record,
            task,
            verdict.reason,
            verdict.exit_code,
            interrupted=task.on_interrupt if verdict.interrupted and task is not None else None,
        )

        def end(wanted: Wanted | None) -> Call[Ended]:
            return runs.end(
                self.run_id,
                self.record.token,
                verdict.reason,
                verdict.exit_code,
                verdict.message,
                facts=facts,
                retry=retry,
                wanted=wanted,
                move="interrupt" if verdict.interrupted else "end",
            )

        was_lost = exit_ is not None and exit_.lost
        is_leaving = self._shop.draining.begun or self._is_broken(BROKEN_S if was_lost else 0.0)
        call = end(None if is_leaving else wanted)
        self.asked_next_s = time.monotonic()
        wait_s = 0.1
        while True:
            try:
                *appended, ended = self._shop.store.settle([*(tape.final() if tape else []), call])
                if isinstance(ended, RunfleetError):
                    raise ended
                if tape is not None:
                    with tape.sending:
                        tape.settle(appended)
                if ended.state != "gone" or not self.restore():
                    break
            except StoreUnavailable:
                if "lost" in self._wishes:
                    return None
                time.sleep(wait_s)  # Redis is away: nothing is lost as long as this thread waits
                wait_s = min(wait_s * 2, 2.0)
        assert isinstance(ended, Ended)
        if ended.ready:
            self._ring(ended.ready)
        if tape is not None and tape.unstored:
            log.warning("log.unstored", run_id=str(self.run_id), task=self.record.task, lines=tape.unstored)
        if tape is not None and facts.log_lines and ended.verdict != "refused":
            self._shop.tapes.compact_soon(self.run_id)
        if ended.verdict == "refused":
            log.warning("run.lost", run_id=str(self.run_id), task=self.record.task, state=ended.state)
        else:
            self._shop.recent.add(end(None))
            self._tell(verdict, task)
            log.info(
                "run.ended",
                run_id=str(self.run_id),
                task=self.record.task,
                reason=str(verdict.reason),
                exit_code=verdict.exit_code,
            )
        return ended

    def _tell(self, verdict: Verdict, task: Task | None) -> None:
        """Tell of the end, if anybody is to hear. It was by this host's clock as long after the start as it is now."""
        if self._shop.emitter is not None:
            end_us = self.record.start_us + int((time.monotonic() - self._claimed_s) * SECOND_US)
            self._shop.emitter.ended(
                self.run_id, self.record, verdict.reason, verdict.exit_code, verdict.message, end_us, task
            )

    def _is_broken(self, patience_s: float) -> bool:
        """Whether nothing can be started here any more. What is claimed then is only spoiled, and at a great pace."""
        return self._shop.keeper.is_gone(patience_s)

    def _facts(self, exit_: Exit | None, tape: Tape | None) -> Facts:
        outputs = collect(self._output_file, exit_, self._mask, tape.system if tape is not None else _say_nothing)
        if tape is not None:
            tape.finish()
        return Facts(
            outputs=msgspec.json.encode(outputs).decode() if outputs else "",
            log_bytes=tape.kept_bytes if tape else 0,
            log_lines=tape.lines if tape else 0,
            log_truncated=1 if tape and tape.truncated else 0,
            log_first=tape.first_kept if tape else 0,
            peak_memory=exit_.peak_memory_bytes if exit_ else 0,
            cpu_ms=exit_.cpu_time_ms if exit_ else 0,
        )

    def _ring(self, ready: Mapping[str, int]) -> None:
        try:
            self._shop.store.do(bells.ring(ready))
        except RunfleetError:
            log.debug("bell.lost", queues=list(ready))  # the scheduler rings again


def _say_nothing(_: str) -> None:
    """There is no log to say it in: nothing was started."""
