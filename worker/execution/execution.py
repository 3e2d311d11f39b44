"""
The execution of one run, from its claim to its end: prepare → spawn → monitor → judge → end.

If a step fails, the run ends with a reason, unless its lease was lost. Only the end writes to the store
(``ending.py``); it is repeated until it is accepted or refused, however long Redis is unavailable.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from shared import backoff, ops, params
from shared.errors import RunfleetError, StoreUnavailable
from shared.retry import POISON_CRASHES
from shared.runs import FATE_UNKNOWN, NOTHING_RAN, Reason
from shared.store import executions, runs
from shared.store.runs import Claimed, Ended, Wanted
from shared.tasks import Task
from shared.telemetry import get_logger
from worker.execution import environment, users
from worker.execution.context import Unverified, WorkerContext
from worker.execution.ending import BROKEN_S, Ending, describe
from worker.execution.environment import Unprepared
from worker.execution.give_back import delay_s, give_back
from worker.execution.monitor import Monitor
from worker.execution.verdict import Verdict, judge
from worker.heartbeat import FROZEN_S, SURE_S, Lease, StopRequest
from worker.processes.handle import CallRequest, Exit, Launch, ProcessHandle, SpawnFailed, StartedLate, Unanswered

if TYPE_CHECKING:
    from worker.execution.wakeup import Wakeup
    from worker.logs.shipper import LogBuffer

log = get_logger("worker")
T = TypeVar("T")


class LeaseLost(Exception):
    """The lease has expired, or could not be confirmed: another worker may have the run."""


class NotStarted(Exception):
    """Nothing was started, through no fault of the run: it is given back. ``crashes`` is as in ``give_back``."""

    def __init__(self, why: str, crashes: int = 0) -> None:
        super().__init__(why)
        self.crashes = crashes


class SpawnerDied(Exception):
    """It is unknown whether the process was started, because the spawner died."""


class Execution:
    """
    One run, executed by one thread. Other threads may call ``request_stop`` and ``wake``.

    *asked_s* is the measured time at which the claim was first sent: the lease may be as old as that.
    """

    def __init__(
        self, context: WorkerContext, claimed: Claimed, wakeup: Wakeup, asked_s: float, mark_alive: Callable[[], None]
    ) -> None:
        self.run_id, self.record = claimed.id, claimed.record
        self._claimed_s = time.monotonic()
        self._context = context
        self._wakeup = wakeup
        self._mark_alive = mark_alive
        self._stop_requests: deque[StopRequest] = deque()
        self._output_file = f"{context.folder}/{claimed.id}.out"
        self._mask = context.known_secrets.mask()
        self._lease = Lease(claimed.id, claimed.record.token, self.request_stop, self.restore, asked_s)
        self._task: Task | None = None
        self._log_buffer: LogBuffer | None = None
        self._exit: Exit | None = None
        self._may_run = False
        self._ending: Ending | None = None
        self._is_unanswered = False

    @property
    def asked_next_s(self) -> float:
        """As in ``Ending``; 0 before that."""
        return self._ending.asked_next_s if self._ending is not None else 0.0

    @property
    def is_unanswered(self) -> bool:
        """Whether the next run may have been claimed by a call whose answer was lost: the claim has to be repeated."""
        return self._is_unanswered or (self._ending is not None and self._ending.is_unanswered)

    def request_stop(self, request: StopRequest) -> None:
        """Stop this run: a stop was requested, or its lease was lost."""
        self._stop_requests.append(request)
        self._wakeup.set()

    def wake(self) -> None:
        """Make the thread that monitors the process check whether to stop it."""
        self._wakeup.set()

    def restore(self) -> bool:
        """Write this run back to a store that has lost its data; whether it is there again."""
        try:
            gates = ops.gates(self._context.task(self.record))
            return self._context.store.run(runs.restore(self.run_id, self.record, gates)) != "refused"
        except RunfleetError:
            return False

    def perform(self, wanted: Wanted | None) -> Ended | None:
        """
        Execute the run and end it, claiming the next one for *wanted* in the same step.

        None: its lease was lost, or it was given back because nothing was started. Any other
        error ends the run with a reason.
        """
        log.debug("run.claimed", run_id=str(self.run_id), task=self.record.task, attempt=self.record.attempt)
        self._context.heartbeat.hold(self._lease)
        try:
            try:
                verdict = self._execute()
            except LeaseLost:
                log.warning("run.lost", run_id=str(self.run_id), task=self.record.task)
                return None
            except NotStarted as error:
                return self._give_back(error, wanted)
            except (Unprepared, SpawnFailed) as error:
                verdict = Verdict(Reason.FAILED, NOTHING_RAN, str(error))
            except SpawnerDied as error:
                verdict = Verdict(Reason.CRASHED, NOTHING_RAN, str(error))
            except StartedLate as error:
                verdict = Verdict(Reason.CRASHED, FATE_UNKNOWN, f"crashed: {error}")
            except Exception as error:
                log.exception("run.broken", run_id=str(self.run_id), task=self.record.task, number=self.record.number)
                code = FATE_UNKNOWN if self._may_run else NOTHING_RAN
                verdict = Verdict(Reason.CRASHED, code, f"crashed: its worker failed: {describe(error)}")
            return self._end(verdict, wanted)
        finally:
            self._context.heartbeat.release(self.run_id)
            if self._log_buffer is not None:
                self._context.log_shipper.remove(self._log_buffer)

    def end_as_crashed(self, error: Exception) -> Ended | None:
        """End it as crashed after an unexpected error; a run that has ended is not changed."""
        message = f"crashed: its worker failed: {describe(error)}".encode("utf-8", "replace").decode()
        call = runs.end(self.run_id, self.record.token, Reason.CRASHED, FATE_UNKNOWN, message)
        try:
            ended = self._retry_while_unavailable(lambda: self._context.store.run(call))
        except Exception:
            log.exception("run.broken", run_id=str(self.run_id), task=self.record.task, doing="ending it anyhow")
            return None
        self._is_unanswered = True  # the failed call may have taken effect
        return ended if ended.verdict == "refused" else None

    def _execute(self) -> Verdict:
        """Prepare, spawn, monitor, judge. Raises LeaseLost, NotStarted, Unprepared and SpawnFailed: no process ran."""
        task = self._task = self._retry_while_unavailable(lambda: self._context.task(self.record))
        if self._context.emitter is not None:
            self._context.emitter.emit(self.run_id, self.record)
        try:
            child = self._start(task)
        except SpawnFailed as error:
            spawner = self._context.spawner
            if (
                self._context.spawner.ends_within(BROKEN_S if isinstance(error, Unanswered) else 0.0)
                and not spawner.was_killed
            ):
                raise SpawnerDied("crashed: its worker's spawner process died") from None
            if not self._context.fitness.is_at_fault(error, task):
                raise
            raise NotStarted(str(error), crashes=1) from None
        try:
            assert self._log_buffer is not None
            monitor = Monitor(
                task,
                child,
                self._log_buffer,
                lease=self._lease,
                stop_requests=self._stop_requests,
                wakeup=self._wakeup,
                draining=self._context.draining,
                mark_alive=self._mark_alive,
            )
            self._exit = monitor.until_end()
        finally:
            child.close()
        if monitor.cause == "lost":
            raise LeaseLost
        return judge(task, self._exit, monitor.cause, monitor.stderr_tail)

    def _give_back(self, error: NotStarted, wanted: Wanted | None) -> Ended | None:
        """Give the run back, so that another worker can start it; end it as crashed when several could not."""
        crashes = self.record.crashes + error.crashes
        if error.crashes and crashes >= POISON_CRASHES:
            message = f"crashed: not started by {crashes} workers in a row; the last reason: {error}"
            return self._end(Verdict(Reason.CRASHED, NOTHING_RAN, message), wanted)
        self._context.fitness.check()
        wait_s = 0.0 if self._context.refusal else delay_s(self.record)
        give_back(
            self._context, self.run_id, self.record, self._mask.text(str(error)), delay_s=wait_s, crashes=error.crashes
        )
        return None

    def _start(self, task: Task) -> ProcessHandle:
        """Prepare and spawn. Raises Unprepared and SpawnFailed."""
        values = environment.parameters(task, self.record)
        user = users.account(task, self._context.settings.run_users)
        env, secrets = environment.compose(
            task,
            self.run_id,
            self.record,
            values,
            self._output_file,
            self._context.inherited,
            self._withheld(),
            self._inputs(),
            user.variables if user is not None else {},
        )
        self._context.known_secrets.add(environment.sources(task), secrets)
        # A secret parameter belongs to this run alone, so it is masked in this run only.
        self._mask = self._context.known_secrets.mask(secrets | params.secrets(task, values))
        cwd = str(Path(self._context.spawner.cwd, task.working_dir)) if task.working_dir else None
        limits: dict[str, Any] = {
            "cwd": cwd,
            "umask": task.umask,
            "nice": task.nice,
            "memory_limit": task.memory_limit,
            "address_space_limit": task.address_space_limit,
            "user": user.ids if user is not None else None,
            "cpu_limit_s": task.cpu_limit_s,
            "heartbeat_timeout_s": FROZEN_S if task.strict_lease else None,
            "env": env,
            "run_id": str(self.run_id),
        }
        with contextlib.suppress(FileExistsError):
            self._context.folder.mkdir(0o700)  # a cleaner of temporary files may have removed it
        if user is not None:
            users.make_output(self._output_file, user)
        self._confirm_lease()
        child: ProcessHandle
        if task.call is not None:
            request = CallRequest(call=task.call, kwargs=values, isolate=task.isolate, python=task.python, **limits)
            child = self._context.interpreters.spawn(request)
        elif task.run is not None:
            child = self._context.spawner.spawn(Launch(argv=environment.arguments(task, values), **limits))
        else:
            raise Unprepared(f"task {task.name} is external: workers never execute it")
        try:
            self._may_run = True
            child.started()
            self._log_buffer = self._context.log_shipper.add(
                self.run_id, self.record, self._claimed_s, task, self._mask
            )
        except SpawnFailed:
            self._may_run = False
            raise
        except BaseException:
            child.close()
            raise
        return child

    def _confirm_lease(self) -> None:
        """
        Wait for a renewal of an old lease: a worker that was suspended since the claim must not start a run that
        another worker may have by now. Raises LeaseLost and NotStarted.
        """
        while time.monotonic() - self._lease.renewed_s > SURE_S:
            self._check_may_start()
            self._mark_alive()
            time.sleep(0.05)
        self._check_may_start()

    def _withheld(self) -> frozenset[str]:
        """The variables that other tasks use as secrets. Raises LeaseLost and NotStarted while they are unknown."""
        self._retry_while_unavailable(self._context.known_secrets.refresh)
        return self._context.known_secrets.variables

    def _check_may_start(self) -> None:
        """Raises LeaseLost when the lease was lost, NotStarted when the run must not start any more."""
        if "lost" in self._stop_requests:
            raise LeaseLost
        if self._stop_requests:
            raise NotStarted("asked to stop before it was started")  # giving it back ends it
        if self._context.draining.begun:
            raise NotStarted("its worker was shut down before it started")

    def _retry_while_unavailable(self, ask: Callable[[], T]) -> T:
        """The result of *ask*, retried while Redis is unavailable. Raises LeaseLost and NotStarted."""
        pauses_s = backoff.pauses_s()
        while True:
            self._mark_alive()
            try:
                return ask()
            except Unverified as error:
                raise NotStarted(str(error)) from None
            except StoreUnavailable:
                self._check_may_start()
                time.sleep(next(pauses_s))  # nothing has been started yet

    def _inputs(self) -> list[tuple[str, dict[str, Any]]]:
        """The outputs of the steps that this one depends on. Raises LeaseLost and NotStarted."""
        if not self.record.needs:
            return []
        execution = UUID(self.record.execution) if self.record.execution else self.run_id
        call = executions.inputs(execution, self.record.step)
        return self._retry_while_unavailable(lambda: self._context.store.run(call))

    def _end(self, verdict: Verdict, wanted: Wanted | None) -> Ended | None:
        """Report the end, claiming the next run for *wanted* with it. None: the lease was lost."""
        self._ending = Ending(
            self._context,
            self.run_id,
            self.record,
            task=self._task,
            log_buffer=self._log_buffer,
            exit_=self._exit,
            mask=self._mask,
            output_file=self._output_file,
            claimed_s=self._claimed_s,
            is_lost=lambda: "lost" in self._stop_requests,
            restore=self.restore,
            mark_alive=self._mark_alive,
        )
        return self._ending.report(verdict, wanted)
