"""A processor: a thread that claims a run, executes it, and claims the next one in the step that ends it."""

import time
from collections.abc import Callable
from typing import Final

from shared.errors import StoreUnavailable, Unreadable
from shared.store import fleet, runs
from shared.store.runs import Claimed, Wanted
from shared.telemetry import get_logger
from worker.execution.context import WorkerContext
from worker.execution.execution import Execution
from worker.execution.give_back import give_back
from worker.execution.wakeup import Wakeup

log = get_logger("worker")

AGAIN_S: Final = 0.2
"""How long to wait before a claim is repeated that Redis did not answer."""

REFUSED_S: Final = 2.0
"""The same for a claim that Redis refused or whose answer is unreadable: a quick retry would fail too."""


class Processor:
    """One thread that executes runs. It numbers its claims, each with its own turn."""

    def __init__(self, context: WorkerContext, worker: str, name: str, queues: tuple[str, ...]) -> None:
        self._context, self._worker, self._name = context, worker, name
        self._queues = list(queues)
        self._turn = 0
        self._unanswered: Wanted | None = None
        """A claim whose answer was lost: it has to be repeated with the same turn."""
        self._claimed: Claimed | None = None
        """The claimed run that no execution has taken over yet."""
        self._wakeup = Wakeup()
        self.execution: Execution | None = None
        self.busy = False
        """Whether it has a run, claims one, or is about to."""
        self.alive_s = time.monotonic()
        """Measured time of its last sign of life; it waits for nothing longer than the limit of these."""

    def run_until_empty(self, on_more: Callable[[int], None]) -> None:
        """
        Claim and execute until no run waits. ``on_more(waiting)`` is called with the number of further runs.

        A worker that is draining or unfit claims nothing; it gives back a run that it has claimed already.
        """
        self.alive_s = time.monotonic()
        self.busy = True
        try:
            self._run_until_empty(on_more)
        except Exception as error:
            log.exception("worker.processor_failed", doing="executing runs")
            claimed, self._claimed = self._claimed, None
            if claimed is not None:
                why = f"its worker could not begin it: {error}"
                give_back(self._context, claimed.id, claimed.record, why, crashes=1)
        finally:
            self.busy = False

    def _run_until_empty(self, on_more: Callable[[int], None]) -> None:
        asked_s, claimed = self._claim()
        while claimed is not None:
            if why := self._context.refusal:
                self._claimed = None
                give_back(self._context, claimed.id, claimed.record, why)
                asked_s, claimed = self._claim()
                continue
            if claimed.waiting:
                try:
                    on_more(claimed.waiting)
                except Exception:  # any error: the run is claimed
                    log.exception("worker.processor_failed", doing="waking other threads")
            asked_s, claimed = self._execute(claimed, asked_s)

    def _execute(self, claimed: Claimed, asked_s: float) -> tuple[float, Claimed | None]:
        """Execute a run; returns the next run if one was claimed, and when that claim was first sent."""
        wanted = self._wanted()
        self.execution = execution = Execution(self._context, claimed, self._wakeup, asked_s, self._mark_alive)
        self._claimed = None  # the execution is responsible now
        try:
            ended = execution.perform(wanted)
        except Exception as error:
            log.exception("worker.processor_failed", doing="executing a run", run_id=str(claimed.id))
            ended = execution.end_as_crashed(error)
        finally:
            self.execution = None
            if execution.is_unanswered:
                self._unanswered = wanted
        if ended is not None and ended.unreadable:
            self._log_unreadable(ended.unreadable)
        elif ended is not None and (ended.claimed is not None or ended.verdict != "refused"):
            self._claimed = ended.claimed
            return execution.asked_next_s, ended.claimed
        return self._claim()  # a run that was lost or given back claims no other

    def _mark_alive(self) -> None:
        self.alive_s = time.monotonic()

    def _claim(self) -> tuple[float, Claimed | None]:
        """When the claim was sent, and a run; None when none waits, or when this worker claims nothing."""
        asked_s = time.monotonic()
        wanted = self._unanswered
        if wanted is None:
            if self._context.refusal:
                return asked_s, None
            wanted = self._unanswered = self._wanted()
        logged = False
        while True:
            self._mark_alive()
            try:
                claimed = self._context.store.run(runs.claim(wanted))
            except StoreUnavailable:
                # The claim may have succeeded and its answer lost: the same turn returns the same run.
                wait_s = AGAIN_S
            except Unreadable as error:
                self._log_unreadable(str(error))
                self._unanswered = None
                if self._context.refusal:
                    return asked_s, None
                asked_s, wait_s = time.monotonic(), 0.0
                wanted = self._unanswered = self._wanted()
            except Exception:
                if not logged:
                    log.exception("worker.claim_failed")
                logged, wait_s = True, REFUSED_S
            else:
                self._unanswered, self._claimed = None, claimed
                return asked_s, claimed
            time.sleep(wait_s)
            if self._context.draining.is_over:
                return asked_s, None

    def _log_unreadable(self, why: str) -> None:
        """Log a run that cannot be read; the scheduler ends it when its lease expires."""
        log.error("run.unreadable", worker=self._worker, error=why)

    def _wanted(self) -> Wanted:
        self._turn += 1
        self._queues.append(self._queues.pop(0))
        return Wanted(self._worker, self._name, str(self._turn), fleet.LEASE_US, tuple(self._queues))
