"""
One run, from its claim to its end: prepare → spawn → watch → judge → end.

Each step is short and may fail; whatever happens, the run ends with a reason, or somebody else has decided about it.
Only ``end`` writes; it is repeated until it was accepted or refused, however long Redis is away.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
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
from worker.judging import Cause, Verdict, judge, stronger
from worker.ladder import Ladder
from worker.leases import FRESH_S, FROZEN_S, STRICT_S, SURE_S, Held, Wish
from worker.output import Stream
from worker.outputs import collect
from worker.process import Child, Exit, Launch, SpawnFailed, Unanswered
from worker.tapes import Tape
from worker.workshop import Workshop

log = get_logger("worker")

READ_BYTES: Final = 256 * 1024
DRAIN_PIPES_S: Final = 0.5
"""How long a pipe that a stranger holds open is still read after the process ended and its tree was killed."""

LAST_WORDS: Final = 4096

BROKEN_S: Final = 0.1
"""How long to wait for the keeper's death when something looks like it."""


class Poke:
    """
    Wakes a thread that waits in ``poll``. Thread-safe.

    It lives as long as its thread's slot: one made for each run could be written to after its number belongs to another
    descriptor. A ring that comes late makes the next run look around once for nothing.
    """

    def __init__(self) -> None:
        self.fd, self._in = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._in, False)

    def ring(self) -> None:
        """Make ``fd`` readable."""
        with contextlib.suppress(BlockingIOError):  # it is, already
            os.write(self._in, b"!")

    def heed(self) -> None:
        """Make ``fd`` quiet again."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)


class Lost(Exception):
    """Before anything was started the run was given to somebody else, or nobody could say that it was not."""


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
        self._cause: Cause | None = None
        self._output_file = f"{shop.folder}/{claimed.id}.out"
        self._last_words = b""
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
                try:
                    exit_ = self._watch(task, child, tape)
                finally:
                    child.close()
            except (Unprepared, SpawnFailed) as error:
                verdict = Verdict(Reason.FAILED, NOTHING_RAN, str(error))
                if self._is_broken(BROKEN_S if isinstance(error, Unanswered) else 0.0):
                    verdict = Verdict(
                        Reason.CRASHED, NOTHING_RAN, "crashed: its worker could not start anything any more"
                    )
            except Lost:
                self._cause = "lost"
            else:
                verdict = judge(task, exit_, self._cause, self._last_words)
            if self._cause == "lost":
                log.warning("run.lost", run_id=str(self.run_id), task=self.record.task)
                return None
            return self._end(task, verdict, exit_, tape, wanted)
        finally:
            self._shop.leases.let_go(self.run_id)
            if tape is not None:
                self._shop.tapes.remove(tape)

    def _start(self, task: Task) -> tuple[Child, Tape]:
        """Prepare and spawn. Raises Unprepared and SpawnFailed."""
        values = environment.decode_params(self.record)
        env, secrets = environment.compose(
            task, self.run_id, self.record, values, self._output_file, self._shop.environ, self._inputs()
        )
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
        tape = self._shop.tapes.add(self.run_id, self.record, self._claimed_s, task, secrets)
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

    def _inputs(self) -> list[tuple[str, dict[str, Any]]]:
        """What the steps that this one depends on hand on; waits while Redis is away. Raises Lost."""
        execution = UUID(self.record.execution) if self.record.execution else self.run_id
        wait_s = 0.1
        while self.record.needs:
            try:
                return self._shop.store.do(executions.inputs(execution, self.record.step))
            except StoreUnavailable:
                if "lost" in self._wishes or self._shop.draining.begun:
                    raise Lost from None
                time.sleep(wait_s)  # nothing runs yet that could be lost
                wait_s = min(wait_s * 2, 2.0)
        return []

    def _watch(self, task: Task, child: Child, tape: Tape) -> Exit:
        """Read what the process prints until it ended; make it end when it is to. Raises SpawnFailed."""
        try:
            child.started()
        except SpawnFailed:
            self._shop.tapes.remove(tape)
            raise
        ladder = Ladder(_signal_number(task.stop_signal), task.graceful_stop_ms / 1000)
        begun_s = time.monotonic()
        deadline_s = begun_s + task.timeout_ms / 1000 if task.timeout_ms is not None else None
        poller = select.poll()
        open_pipes: dict[int, Stream] = {child.stdout_fd: "stdout", child.stderr_fd: "stderr"}
        for fd in (*open_pipes, child.control_fd, self._poke.fd):
            poller.register(fd, select.POLLIN)
        told_s = 0.0
        while True:
            exit_ = child.read_exit()
            if exit_ is not None:  # before anything else: what it became by itself is its result
                break
            now_s = time.monotonic()
            if task.strict_lease and told_s != self._held.renewed_s > now_s - FRESH_S:
                told_s = self._held.renewed_s
                child.signal(0)  # should this process freeze, the keeper ends the run in its place
            self._look_around(task, ladder, tape, deadline_s, now_s)
            signal_due = ladder.due(now_s)
            if signal_due:
                child.signal(signal_due)
            for fd, _ in poller.poll(self._patience_ms(task, ladder, deadline_s, now_s)):
                if fd in open_pipes:
                    if not self._read(fd, open_pipes[fd], tape):
                        poller.unregister(fd)
                        del open_pipes[fd]
                elif fd == self._poke.fd:
                    self._poke.heed()
        self._read_rest(open_pipes, tape)
        return exit_

    def _look_around(self, task: Task, ladder: Ladder, tape: Tape, deadline_s: float | None, now_s: float) -> None:
        """Find out whether the process is to end, and why."""
        while self._wishes:
            wish = self._wishes.popleft()
            if wish == "lost":
                self._make_end("lost", ladder, now_s, 0.0)
            else:
                self._make_end("stop", ladder, now_s, 0.0 if wish == "kill" else None)
        if task.strict_lease and self._held.is_stale(now_s):
            self._make_end("lost", ladder, now_s, 0.0)
        if deadline_s is not None and now_s >= deadline_s:
            self._make_end("timeout", ladder, now_s, None)
        if tape.overflowed:
            self._make_end("overflow", ladder, now_s, None)
        until_s = self._shop.draining.until_s
        if until_s is not None:
            graceful_s = min(task.graceful_stop_ms / 1000, max(0.0, until_s - now_s - 1.0))
            if now_s >= until_s - task.graceful_stop_ms / 1000 - 1.0:
                self._make_end("shutdown", ladder, now_s, graceful_s)

    def _make_end(self, cause: Cause, ladder: Ladder, now_s: float, graceful_s: float | None) -> None:
        if self._cause == cause and graceful_s is None:
            return
        self._cause = stronger(self._cause, cause)
        ladder.begin(now_s, graceful_s)

    def _patience_ms(self, task: Task, ladder: Ladder, deadline_s: float | None, now_s: float) -> float | None:
        until_s = self._shop.draining.until_s
        waits = [ladder.wait_s(now_s)]
        if deadline_s is not None and self._cause is None:
            waits.append(deadline_s - now_s)
        if until_s is not None and self._cause is None:
            waits.append(until_s - task.graceful_stop_ms / 1000 - 1.0 - now_s)
        if task.strict_lease and self._cause != "lost":
            waits.append(min(0.5, self._held.renewed_s + STRICT_S - now_s + 0.01))
        soonest = min((wait for wait in waits if wait is not None), default=None)
        return None if soonest is None else max(0.0, soonest) * 1000 + 1

    def _read(self, fd: int, stream: Stream, tape: Tape) -> bool:
        """Take in what a pipe holds; False at its end."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        if stream == "stderr":
            self._last_words = (self._last_words + data)[-LAST_WORDS:]
        tape.feed(stream, data)
        return True

    def _read_rest(self, open_pipes: dict[int, Stream], tape: Tape) -> None:
        """What is still in the pipes; one that a process outside the tree holds open is let go after a moment."""
        end_s = time.monotonic() + DRAIN_PIPES_S
        while True:
            for fd, stream in list(open_pipes.items()):
                if not self._read(fd, stream, tape):
                    del open_pipes[fd]
            left_s = end_s - time.monotonic()
            if not open_pipes or left_s <= 0:
                return
            poller = select.poll()  # and not `select`, which takes no descriptor beyond 1023
            for fd in open_pipes:
                poller.register(fd, select.POLLIN)
            poller.poll(left_s * 1000)

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
                if self._cause == "lost" or (self._wishes and "lost" in self._wishes):
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
        outputs = collect(self._output_file, exit_, tape)
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


def _signal_number(name: str) -> int:
    return int(getattr(signal, name, signal.SIGTERM))
