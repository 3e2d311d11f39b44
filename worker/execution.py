"""
One run, from its claim to its end: prepare → spawn → watch → judge → end.

Each step is short and may fail; whatever happens, the run ends with a reason, or somebody else has decided about it.
Only ``end`` writes; it is repeated until it was accepted or refused, however long Redis is away.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

import msgspec

from shared import ops, params
from shared.clock import SECOND_US
from shared.errors import RunfleetError, StoreUnavailable
from shared.retry import POISON_CRASHES
from shared.runs import FATE_UNKNOWN, NOTHING_RAN, Reason
from shared.store import bells, executions, runs
from shared.store.call import Call
from shared.store.runs import Claimed, Ended, Facts, Retry, Wanted
from shared.tasks import Task
from shared.telemetry import get_logger
from worker import environment, users
from worker.callables import CallRequest
from worker.environment import Unprepared
from worker.giving_back import delay_s, give_back
from worker.judging import Verdict, judge
from worker.leases import FROZEN_S, SURE_S, Held, Wish
from worker.outputs import collect
from worker.poke import Poke
from worker.process import Child, Exit, Launch, SpawnFailed, StartedLate, Unanswered
from worker.tapes import Tape
from worker.watching import Watch
from worker.workshop import Unverified, Workshop

log = get_logger("worker")
T = TypeVar("T")

BROKEN_S: Final = 0.1
"""How long to wait for the keeper's death when something looks like it."""

UNREMARKABLE: Final = frozenset({Reason.SUCCESS, Reason.STOPPED, Reason.SKIPPED})
"""Ends that nobody needs to look at; all others are logged as warnings."""


class Lost(Exception):
    """The run was given to somebody else, or nobody could say that it was not."""


class NotHere(Exception):
    """Nothing was started, and not because of the run: it is given back. ``crashes`` counts as in ``give_back``."""

    def __init__(self, why: str, crashes: int = 0) -> None:
        super().__init__(why)
        self.crashes = crashes


class Broken(Exception):
    """Nobody knows what became of it, because the keeper is gone."""


class Execution:
    """
    One run in the hands of one thread. ``tell`` and ``look`` may be called from other threads.

    *asked_s* is the measured time at which it was first asked for: its lease may be no younger than that.
    """

    def __init__(
        self, shop: Workshop, claimed: Claimed, poke: Poke, asked_s: float, is_alive: Callable[[], None]
    ) -> None:
        self.run_id, self.record = claimed.id, claimed.record
        self.asked_next_s = 0.0
        """Measured time at which the next run was first asked for, together with the end of this one; 0: it was not."""
        self.is_unanswered = False
        """Whether the next run may have been claimed without anybody having heard: its turn has to be repeated."""
        self._claimed_s = time.monotonic()
        self._shop = shop
        self._poke = poke
        self._is_alive = is_alive
        self._wishes: deque[Wish] = deque()
        self._output_file = f"{shop.folder}/{claimed.id}.out"
        self._mask = shop.private.mask()
        self._held = Held(claimed.id, claimed.record.token, self.tell, self.restore, asked_s)
        self._task: Task | None = None
        self._tape: Tape | None = None
        self._exit: Exit | None = None
        self._may_run = False

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

        None: it was lost to somebody else before its end, or given back because nothing of it was started. Whatever
        goes wrong here becomes its end, with the reason.
        """
        log.debug("run.claimed", run_id=str(self.run_id), task=self.record.task, attempt=self.record.attempt)
        self._shop.leases.hold(self._held)
        try:
            try:
                verdict = self._execute()
            except Lost:
                log.warning("run.lost", run_id=str(self.run_id), task=self.record.task)
                return None
            except NotHere as error:
                return self._not_here(error, wanted)
            except (Unprepared, SpawnFailed) as error:
                verdict = Verdict(Reason.FAILED, NOTHING_RAN, str(error))
            except Broken as error:
                verdict = Verdict(Reason.CRASHED, NOTHING_RAN, str(error))
            except StartedLate as error:
                verdict = Verdict(Reason.CRASHED, FATE_UNKNOWN, f"crashed: {error}")
            except Exception as error:
                log.exception("run.broken", run_id=str(self.run_id), task=self.record.task, number=self.record.number)
                code = FATE_UNKNOWN if self._may_run else NOTHING_RAN
                verdict = Verdict(Reason.CRASHED, code, f"crashed: its worker failed: {_name(error)}")
            return self._end(verdict, wanted)
        finally:
            self._shop.leases.let_go(self.run_id)
            if self._tape is not None:
                self._shop.tapes.remove(self._tape)

    def end_anyhow(self, error: Exception) -> Ended | None:
        """End it as crashed when even its end could not be reported; one that has ended stays as it is."""
        message = f"crashed: its worker failed: {_name(error)}".encode("utf-8", "replace").decode()
        call = runs.end(self.run_id, self.record.token, Reason.CRASHED, FATE_UNKNOWN, message)
        try:
            ended = self._patiently(lambda: self._shop.store.do(call))
        except Exception:
            log.exception("run.broken", run_id=str(self.run_id), task=self.record.task, doing="ending it anyhow")
            return None
        self.is_unanswered = True  # nobody knows whether the call that failed had been made
        return ended if ended.verdict == "refused" else None

    def _execute(self) -> Verdict:
        """Prepare, spawn, watch and judge. Raises Lost, NotHere, Unprepared and SpawnFailed; nothing ran then."""
        task = self._task = self._patiently(lambda: self._shop.task(self.record))
        if self._shop.emitter is not None:
            self._shop.emitter.tell(self.run_id, self.record)
        try:
            child = self._start(task)
        except SpawnFailed as error:
            keeper = self._shop.keeper
            if self._is_broken(BROKEN_S if isinstance(error, Unanswered) else 0.0) and not keeper.given_up:
                raise Broken("crashed: its worker could not start anything any more") from None
            if not self._shop.fitness.is_at_fault(error, task):
                raise
            raise NotHere(str(error), crashes=1) from None
        try:
            assert self._tape is not None
            watch = self._watch_over(task, child, self._tape)
            self._exit = watch.until_end()
        finally:
            child.close()
        if watch.cause == "lost":
            raise Lost
        return judge(task, self._exit, watch.cause, watch.last_words)

    def _not_here(self, error: NotHere, wanted: Wanted | None) -> Ended | None:
        """This worker cannot execute it: another one may, unless several have failed to already."""
        crashes = self.record.crashes + error.crashes
        if error.crashes and crashes >= POISON_CRASHES:
            message = f"crashed: not started by {crashes} workers in a row; the last one said: {error}"
            return self._end(Verdict(Reason.CRASHED, NOTHING_RAN, message), wanted)
        self._shop.fitness.look()
        wait_s = 0.0 if self._shop.refusal else delay_s(self.record)
        give_back(
            self._shop, self.run_id, self.record, self._mask.text(str(error)), delay_s=wait_s, crashes=error.crashes
        )
        return None

    def _watch_over(self, task: Task, child: Child, tape: Tape) -> Watch:
        return Watch(
            task,
            child,
            tape,
            held=self._held,
            wishes=self._wishes,
            poke=self._poke,
            draining=self._shop.draining,
            is_alive=self._is_alive,
        )

    def _start(self, task: Task) -> Child:
        """Prepare and spawn. Raises Unprepared and SpawnFailed."""
        values = environment.parameters(task, self.record)
        user = users.account(task, self._shop.settings.run_users)
        env, secrets = environment.compose(
            task,
            self.run_id,
            self.record,
            values,
            self._output_file,
            self._shop.inherited,
            self._withheld(),
            self._inputs(),
            user.variables if user is not None else {},
        )
        self._shop.private.know(environment.sources(task), secrets)
        # A secret parameter is the run's alone: what other runs get does not have it, and it is forgotten with the run.
        self._mask = self._shop.private.mask(secrets | params.secrets(task, values))
        cwd = str(Path(self._shop.keeper.cwd, task.working_dir)) if task.working_dir else None
        limits: dict[str, Any] = {
            "cwd": cwd,
            "umask": task.umask,
            "nice": task.nice,
            "memory_limit": task.memory_limit,
            "address_space_limit": task.address_space_limit,
            "user": user.ids if user is not None else None,
            "cpu_limit_s": task.cpu_limit_s,
            "silence_s": FROZEN_S if task.strict_lease else None,
            "env": env,
            "run_id": str(self.run_id),
        }
        with contextlib.suppress(FileExistsError):
            self._shop.folder.mkdir(0o700)  # something that clears away old files took it
        if user is not None:
            users.make_output(self._output_file, user)
        self._be_sure()
        child: Child
        if task.call is not None:
            request = CallRequest(call=task.call, kwargs=values, isolate=task.isolate, python=task.python, **limits)
            child = self._shop.templates.spawn(request)
        elif task.run is not None:
            child = self._shop.keeper.spawn(Launch(argv=environment.arguments(task, values), **limits))
        else:
            raise Unprepared(f"task {task.name} is external: nobody here executes it")
        try:
            self._may_run = True
            child.started()
            self._tape = self._shop.tapes.add(self.run_id, self.record, self._claimed_s, task, self._mask)
        except SpawnFailed:
            self._may_run = False
            raise
        except BaseException:
            child.close()
            raise
        return child

    def _be_sure(self) -> None:
        """
        Wait for word of the lease when it was not heard of for a while: whoever slept since the claim starts nothing
        that is another's by now. Raises Lost and NotHere.
        """
        while time.monotonic() - self._held.renewed_s > SURE_S:
            self._see_whether_to_start()
            self._is_alive()
            time.sleep(0.05)
        self._see_whether_to_start()

    def _withheld(self) -> frozenset[str]:
        """The variables that other tasks make secrets of; waits while Redis never said. Raises Lost and NotHere."""
        self._patiently(self._shop.private.refresh)
        return self._shop.private.variables

    def _see_whether_to_start(self) -> None:
        """Raises Lost when the run is another's, NotHere when it is not to be started any more."""
        if "lost" in self._wishes:
            raise Lost
        if self._wishes:
            raise NotHere("asked to stop before it was started")  # giving it back ends it
        if self._shop.draining.begun:
            raise NotHere("its worker was shut down before it started")

    def _patiently(self, ask: Callable[[], T]) -> T:
        """What *ask* answers; while Redis is away it is asked again. Raises Lost and NotHere."""
        wait_s = 0.1
        while True:
            self._is_alive()
            try:
                return ask()
            except Unverified as error:
                raise NotHere(str(error)) from None
            except StoreUnavailable:
                self._see_whether_to_start()
                time.sleep(wait_s)  # nothing runs yet that could be lost
                wait_s = min(wait_s * 2, 2.0)

    def _inputs(self) -> list[tuple[str, dict[str, Any]]]:
        """What the steps that this one depends on hand on; waits while Redis is away. Raises Lost and NotHere."""
        if not self.record.needs:
            return []
        execution = UUID(self.record.execution) if self.record.execution else self.run_id
        call = executions.inputs(execution, self.record.step)
        return self._patiently(lambda: self._shop.store.do(call))

    def _end(self, verdict: Verdict, wanted: Wanted | None) -> Ended | None:
        """
        Report the end until it is accepted or refused. None: it is another's.

        Whatever goes wrong with what belongs to it, the end itself is reported.
        """
        message = self._mask.text(verdict.message).encode("utf-8", "replace").decode()
        verdict = verdict._replace(message=message)
        facts, retry = self._facts(), self._retry(verdict)
        move: Literal["end", "interrupt"] = "interrupt" if verdict.interrupted else "end"

        def end(wanted: Wanted | None, *, bare: bool = False) -> Call[Ended]:
            return runs.end(
                self.run_id,
                self.record.token,
                verdict.reason,
                verdict.exit_code,
                verdict.message,
                facts=None if bare else facts,
                retry=retry,
                wanted=wanted,
                move=move,
            )

        was_lost = self._exit is not None and self._exit.lost
        if self._shop.refusal or self._is_broken(BROKEN_S if was_lost else 0.0):
            wanted = None
        ended = self._report(end, wanted)
        if ended is None:
            return None
        try:
            self._follow_up(ended, verdict, facts, end(None))
        except Exception:  # the end is on record, and the next run is claimed
            log.exception("run.broken", run_id=str(self.run_id), task=self.record.task, doing="after its end")
        return ended

    def _report(self, end: Callable[..., Call[Ended]], wanted: Wanted | None) -> Ended | None:
        """Make the call that *end* gives until it is accepted or refused. None: the run is another's."""
        call = end(wanted)
        self.asked_next_s = time.monotonic() if wanted is not None else 0.0
        wait_s = 0.1
        while True:
            self._is_alive()
            try:
                self.is_unanswered = wanted is not None
                *appended, ended = self._shop.store.settle([*self._last_lines(), call])
                if isinstance(ended, RunfleetError):
                    raise ended
                self._settle(appended)
                if ended.state != "gone" or not self.restore():
                    assert isinstance(ended, Ended)
                    self.is_unanswered = False  # not before: whatever fails above, the caller never sees this answer
                    return ended
            except StoreUnavailable:
                if "lost" in self._wishes:
                    return None
                time.sleep(wait_s)  # Redis is away: nothing is lost as long as this thread waits
                wait_s = min(wait_s * 2, 2.0)
            except Exception:
                log.exception("run.broken", run_id=str(self.run_id), task=self.record.task, doing="reporting its end")
                if "lost" in self._wishes or self._shop.draining.is_over:
                    return None
                call = end(wanted, bare=True)  # whatever of it cannot be sent, its reason can
                time.sleep(wait_s)
                wait_s = min(wait_s * 2, 2.0)

    def _last_lines(self) -> list[Call[Any]]:
        """The calls that store what is left of the log; none when that fails, because the end must not."""
        tape = self._tape
        try:
            return tape.final() if tape is not None else []
        except Exception:
            log.exception("run.broken", run_id=str(self.run_id), task=self.record.task, doing="storing its log")
            return []

    def _settle(self, appended: list[Any]) -> None:
        tape = self._tape
        if tape is not None:
            try:
                with tape.sending:
                    tape.settle(appended)
            except Exception:
                log.exception("run.broken", run_id=str(self.run_id), task=self.record.task, doing="storing its log")

    def _follow_up(self, ended: Ended, verdict: Verdict, facts: Facts, again: Call[Ended]) -> None:
        """Tell all who are to know of an end that is on record."""
        tape, record = self._tape, self.record
        if ended.ready:
            self._ring(ended.ready)
        if tape is not None and tape.unstored:
            log.warning("log.unstored", run_id=str(self.run_id), task=record.task, lines=tape.unstored)
        if tape is not None and facts.log_lines and ended.verdict != "refused":
            self._shop.tapes.compact_soon(self.run_id)
        if ended.verdict == "refused":
            log.warning("run.lost", run_id=str(self.run_id), task=record.task, state=ended.state)
            return
        self._shop.recent.add(again)
        self._tell(verdict, self._task)
        facts_of_end: dict[str, object] = {
            "run_id": str(self.run_id),
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
        """The attempt that this end owes."""
        try:
            return ops.next_attempt(
                self.run_id,
                self.record,
                self._task,
                verdict.reason,
                verdict.exit_code,
                interrupted=self._task.on_interrupt if verdict.interrupted and self._task is not None else None,
            )
        except Exception:
            log.exception("run.broken", run_id=str(self.run_id), task=self.record.task, doing="planning its retry")
            return None

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

    def _facts(self) -> Facts:
        """What is known of the run; without its outputs when they cannot be had."""
        exit_, tape = self._exit, self._tape
        outputs = ""
        try:
            found = collect(self._output_file, exit_, self._mask, tape.system if tape is not None else _say_nothing)
            outputs = msgspec.json.encode(found).decode() if found else ""
        except Exception as error:
            log.exception("run.broken", run_id=str(self.run_id), task=self.record.task, doing="collecting its outputs")
            if tape is not None:
                tape.system(f"its outputs were left out: {_name(error)}")
        try:
            if tape is not None:
                tape.finish()
        except Exception:
            log.exception("run.broken", run_id=str(self.run_id), task=self.record.task, doing="finishing its log")
        return Facts(
            outputs=outputs,
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


def _name(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
