"""Reports the end of a run until it is accepted or refused, however long Redis is unavailable; then wakes and logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

import msgspec

from shared import backoff, ops
from shared.clock import SECOND_US
from shared.errors import RunfleetError, StoreUnavailable
from shared.runs import Reason, Record
from shared.store import runs, wakeups
from shared.store.redis.call import Call
from shared.store.runs import Ended, Facts, Retry, Wanted
from shared.tasks import Task
from shared.telemetry import get_logger
from worker.execution.results import collect

if TYPE_CHECKING:
    from worker.execution.context import WorkerContext
    from worker.execution.verdict import Verdict
    from worker.logs.masking import Mask
    from worker.logs.shipper import LogBuffer
    from worker.processes.handle import Exit

log = get_logger("worker")

BROKEN_S: Final = 0.1
"""How long to wait for the spawner's death when its sockets broke."""

UNREMARKABLE: Final = frozenset({Reason.SUCCESS, Reason.STOPPED, Reason.SKIPPED})
"""Ends that need no attention; all others are logged as warnings."""


class Ending:
    """
    The end of one run, as its thread reports it.

    ``task``, ``log_buffer`` and ``exit_`` are None when the run did not get that far. *is_lost* returns whether the
    lease was lost; *restore* writes the run back to a store that has lost its data, and returns whether it is there
    again.
    """

    def __init__(
        self,
        context: WorkerContext,
        run_id: UUID,
        record: Record,
        *,
        task: Task | None,
        log_buffer: LogBuffer | None,
        exit_: Exit | None,
        mask: Mask,
        output_file: str,
        claimed_s: float,
        is_lost: Callable[[], bool],
        restore: Callable[[], bool],
        mark_alive: Callable[[], None],
    ) -> None:
        self.asked_next_s = 0.0
        """Measured time at which the next run was first asked for, together with the end of this one; 0: it was not."""
        self.is_unanswered = False
        """Whether the next run may have been claimed by a call whose answer was lost: the claim has to be repeated."""
        self._context, self._run_id, self._record = context, run_id, record
        self._task, self._log_buffer, self._exit, self._mask = task, log_buffer, exit_, mask
        self._output_file, self._claimed_s = output_file, claimed_s
        self._is_lost, self._restore, self._mark_alive = is_lost, restore, mark_alive

    def report(self, verdict: Verdict, wanted: Wanted | None) -> Ended | None:
        """
        Report the end until it is accepted or refused, claiming the next run for *wanted*. None: the lease was lost.

        The end is reported even if its outputs, log or retry fail.
        """
        message = self._mask.text(verdict.message).encode("utf-8", "replace").decode()
        verdict = verdict._replace(message=message)
        facts, retry = self._facts(), self._retry(verdict)
        transition: Literal["end", "interrupt"] = "interrupt" if verdict.interrupted else "end"

        def end(wanted: Wanted | None, *, bare: bool = False) -> Call[Ended]:
            return runs.end(
                self._run_id,
                self._record.token,
                verdict.reason,
                verdict.exit_code,
                verdict.message,
                facts=None if bare else facts,
                retry=retry,
                wanted=wanted,
                transition=transition,
            )

        was_lost = self._exit is not None and self._exit.lost
        if self._context.refusal or (was_lost and self._context.spawner.ends_within(BROKEN_S)):
            wanted = None
        ended = self._repeat(end, wanted)
        if ended is None:
            return None
        try:
            self._follow_up(ended, verdict, facts, end(None))
        except Exception:  # the end is on record, and the next run is claimed
            self._log_broken("after its end")
        return ended

    def _repeat(self, end: Callable[..., Call[Ended]], wanted: Wanted | None) -> Ended | None:
        """Repeat the call that *end* returns until it is accepted or refused. None: the lease was lost."""
        call = end(wanted)
        self.asked_next_s = time.monotonic() if wanted is not None else 0.0
        pauses_s = backoff.pauses_s()
        while True:
            self._mark_alive()
            try:
                self.is_unanswered = wanted is not None
                *appended, ended = self._context.store.settle([*self._last_lines(), call])
                if isinstance(ended, RunfleetError):
                    raise ended
                self._settle(appended)
                if ended.state != "gone" or not self._restore():
                    assert isinstance(ended, Ended)
                    self.is_unanswered = False  # not before: if anything above fails, the caller never gets this answer
                    return ended
            except StoreUnavailable:
                if self._is_lost():
                    return None
                time.sleep(next(pauses_s))  # Redis is unavailable: nothing is lost as long as this thread waits
            except Exception:
                self._log_broken("reporting its end")
                if self._is_lost() or self._context.draining.is_over:
                    return None
                call = end(wanted, bare=True)  # if the rest cannot be sent, its reason can
                time.sleep(next(pauses_s))

    def _last_lines(self) -> list[Call[Any]]:
        """The calls that store the rest of the log; none on failure, because the end must not fail with it."""
        log_buffer = self._log_buffer
        try:
            return log_buffer.final() if log_buffer is not None else []
        except Exception:
            self._log_broken("storing its log")
            return []

    def _settle(self, appended: list[Any]) -> None:
        log_buffer = self._log_buffer
        if log_buffer is not None:
            try:
                with log_buffer.sending:
                    log_buffer.settle(appended)
            except Exception:
                self._log_broken("storing its log")

    def _follow_up(self, ended: Ended, verdict: Verdict, facts: Facts, replay: Call[Ended]) -> None:
        """After an accepted end: wake queues, compact the log, emit lineage, and log."""
        log_buffer, record = self._log_buffer, self._record
        if ended.ready:
            self._wake_queues(ended.ready)
        if log_buffer is not None and log_buffer.dropped:
            log.warning("run.lines_dropped", run_id=str(self._run_id), task=record.task, lines=log_buffer.dropped)
        if log_buffer is not None and facts.log_lines and ended.verdict != "refused":
            self._context.log_shipper.compact_soon(self._run_id)
        if ended.verdict == "refused":
            log.warning("run.lost", run_id=str(self._run_id), task=record.task, state=ended.state)
            return
        self._context.end_replay.add(replay)
        self._emit(verdict, self._task)
        facts_of_end: dict[str, object] = {
            "run_id": str(self._run_id),
            "task": record.task,
            "number": record.number,
            "reason": str(verdict.reason),
            "exit_code": verdict.exit_code,
        }
        if verdict.reason in UNREMARKABLE:
            log.info("run.ended", **facts_of_end)
        else:
            log.warning("run.ended", **facts_of_end, message=verdict.message)

    def _retry(self, verdict: Verdict) -> Retry | None:
        """The retry that this end requires, if any."""
        try:
            return ops.next_attempt(
                self._run_id,
                self._record,
                self._task,
                verdict.reason,
                verdict.exit_code,
                interrupted=self._task.on_interrupt if verdict.interrupted and self._task is not None else None,
            )
        except Exception:
            self._log_broken("planning its retry")
            return None

    def _emit(self, verdict: Verdict, task: Task | None) -> None:
        """Emit lineage. The end time is the start plus this host's measured duration, whatever its clock shows."""
        if self._context.emitter is not None:
            end_us = self._record.start_us + int((time.monotonic() - self._claimed_s) * SECOND_US)
            self._context.emitter.ended(
                self._run_id, self._record, verdict.reason, verdict.exit_code, verdict.message, end_us, task
            )

    def _facts(self) -> Facts:
        """The facts of the end; without outputs when they cannot be collected."""
        exit_, log_buffer = self._exit, self._log_buffer
        outputs = ""
        try:
            found = collect(
                self._output_file, exit_, self._mask, log_buffer.system if log_buffer is not None else _ignore
            )
            outputs = msgspec.json.encode(found).decode() if found else ""
        except Exception as error:
            self._log_broken("collecting its outputs")
            if log_buffer is not None:
                log_buffer.system(f"its outputs were left out: {describe(error)}")
        try:
            if log_buffer is not None:
                log_buffer.finish()
        except Exception:
            self._log_broken("finishing its log")
        return Facts(
            outputs=outputs,
            log_bytes=log_buffer.line_buffer.bytes if log_buffer else 0,
            log_lines=log_buffer.line_buffer.produced if log_buffer else 0,
            log_truncated=1 if log_buffer and log_buffer.truncated else 0,
            log_first=log_buffer.line_buffer.first_kept if log_buffer else 0,
            peak_memory=exit_.peak_memory_bytes if exit_ else 0,
            cpu_ms=exit_.cpu_time_ms if exit_ else 0,
        )

    def _log_broken(self, doing: str) -> None:
        log.exception("run.broken", run_id=str(self._run_id), task=self._record.task, doing=doing)

    def _wake_queues(self, ready: Mapping[str, int]) -> None:
        try:
            self._context.store.run(wakeups.wake_queues(ready))
        except RunfleetError:
            log.debug("wakeup.failed", queues=list(ready))  # the scheduler wakes them again


def describe(error: Exception) -> str:
    """An error in one sentence of bounded length."""
    return f"{type(error).__name__}: {error}"[:500]


def _ignore(_: str) -> None:
    """There is no log to write it to: nothing was started."""
