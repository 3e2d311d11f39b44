"""
The launcher: starts the worker processes, replaces those that die or hang, and stops them.

Dramatiq's own command does not fit: it dies at once on a second SIGTERM, which some platforms send to every process,
and the death of one child stops all others. This one imports nothing heavy, restarts with a back-off, and, being a
subreaper, kills what a dead spawner left behind.
"""

import contextlib
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import FrameType
from typing import Final

from shared.isolation import command, isolated
from shared.settings import Settings
from shared.signals import SIGNALS, ignore_signals
from shared.startup import begin
from shared.telemetry import get_logger
from worker import temp_folder
from worker.adopted_processes import AdoptedProcesses
from worker.parent_watch import ALIVE_FD, LAUNCHER_FD
from worker.spawner.process_group import become_subreaper

log = get_logger("worker")

QUICK_S: Final = 5.0
"""A worker process that lived shorter than this is restarted after a pause."""

PAUSE_S: Final = 0.2
MOST_PAUSE_S: Final = 30.0
"""The first and the longest pause before a worker process is started again."""

CHECK_S: Final = 0.5
"""How often it checks for orphans of a dead spawner: a worker that waits for Redis may be slow to exit."""

NOT_STARTED_S: Final = 5.0
"""The longest pause when the machine lacks a resource, which may be there again soon."""

FORWARD_S: Final = 1.5
"""Later signals of the same kind are passed on at most this often."""

HUNG_S: Final = 45.0
"""A worker process without a sign of life for so long, beyond what Redis may take to answer, is killed."""

MOST_LEFT: Final = 100
"""Folders that could not be removed and are tried again; the oldest beyond that are left to the next worker."""

ASLEEP_S: Final = 5.0
"""When this process itself did nothing for so long, it was suspended, perhaps with the worker processes."""

MISCONFIGURED: Final = 2
"""Exit code of a worker process that cannot start until its configuration changes, and of the launcher then."""


@dataclass(slots=True)
class ChildProcess:
    """
    A worker process. It writes to ``alive_fd`` as a sign of life, last at measured time ``alive_s``; the name of its
    temporary folder contains ``mark``.
    """

    process: subprocess.Popen[bytes]
    mark: str
    started_s: float
    alive_fd: int
    alive_s: float


def serve(settings: Settings) -> int:
    """Run the launcher; its exit code."""
    begin(settings, log)
    if sys.platform != "linux":
        log.warning("orphans.undetected", platform=sys.platform)
    code = Launcher(settings).run()
    ignore_signals()
    return code


class Launcher:
    """Runs ``settings.worker_processes`` worker processes until stopped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hung_s = HUNG_S + 3 * settings.redis_timeout_s
        self._children: dict[int, ChildProcess] = {}
        self._adopted = AdoptedProcesses()
        self._leftover_marks: list[str] = []
        """Marks of folders that dead worker processes may have left."""
        self._pause_s = 0.0
        self._start_at_s = 0.0
        self._stopping = False
        self._code = 0
        self._signalled_s = 0.0
        self._checked_s = time.monotonic()
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._life_out, self._life_in = os.pipe()  # breaks when this process is gone, however it ended

    def run(self) -> int:
        """Serve; the exit code: 0 after a drain, 2 when no worker process can start in this environment."""
        become_subreaper()
        signal.set_wakeup_fd(self._wake_in)
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        while not self._stopping or self._children:
            try:
                if not self._stopping:
                    self._fill_up()
                self._wait()
                self._reap()
                self._kill_hanging()
                self._adopted.kill(set(self._children))
                self._remove_folders()
            except Exception:  # any error: the worker processes would end with this one
                log.exception("worker.launcher_failed")
                time.sleep(CHECK_S)
        try:
            self._adopted.kill_all()
            self._remove_folders()
        except Exception:
            log.exception("worker.launcher_failed")
        return self._code

    def _fill_up(self) -> None:
        while self._lacks_one() and time.monotonic() >= self._start_at_s:
            try:
                self._start()
            except (OSError, MemoryError, subprocess.SubprocessError) as error:
                self._back_off(NOT_STARTED_S)
                log.error("worker.not_started", error=str(error), pause_s=self._pause_s)

    def _start(self) -> None:
        alive_out, alive_in = os.pipe()
        mark = secrets.token_hex(4)
        variables = {LAUNCHER_FD: str(self._life_out), ALIVE_FD: str(alive_in), temp_folder.MARK: mark}
        try:
            os.set_blocking(alive_out, False)
            os.set_blocking(alive_in, False)
            process = subprocess.Popen(
                command("worker", "--process"),
                env=isolated(os.environ) | variables,
                pass_fds=(self._life_out, alive_in),
                start_new_session=False,
            )
        except BaseException:
            os.close(alive_out)
            raise
        finally:
            os.close(alive_in)
        now_s = time.monotonic()
        self._children[process.pid] = ChildProcess(process, mark, now_s, alive_out, now_s)
        if self._stopping:  # a signal arrived while this process was being started: the handler did not know it yet
            process.send_signal(signal.SIGTERM)

    def _lacks_one(self) -> bool:
        return not self._stopping and len(self._children) < self._settings.worker_processes

    def _wait(self) -> None:
        seconds = max(0.0, self._start_at_s - time.monotonic()) if self._lacks_one() else CHECK_S
        poller = select.poll()
        poller.register(self._wake_out, select.POLLIN)
        poller.poll(min(seconds, CHECK_S) * 1000 + 1)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_out, 4096)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._adopted.forget(pid)
            ended = self._children.pop(pid, None)
            if ended is None:
                continue
            os.close(ended.alive_fd)
            self._leftover_marks.append(ended.mark)
            ended.process.returncode = os.waitstatus_to_exitcode(status)
            if not self._stopping:
                self._replace(ended)

    def _remove_folders(self) -> None:
        """
        Remove folders of worker processes that were killed with their spawners; one still in use is retried later.
        """
        self._leftover_marks = [mark for mark in self._leftover_marks if not temp_folder.remove(mark)][-MOST_LEFT:]

    def _replace(self, ended: ChildProcess) -> None:
        """Handle the exit of a worker process that nobody stopped: replace it, or give up."""
        pid, code = ended.process.pid, ended.process.returncode
        now_s = time.monotonic()
        if code == MISCONFIGURED and not any(now_s - one.started_s >= QUICK_S for one in self._children.values()):
            # It has logged the cause, and another one would fail in the same way; no other process is left.
            self._code = MISCONFIGURED
            self._stop()
            return
        if code == MISCONFIGURED:
            self._pause_s = MOST_PAUSE_S
            self._start_at_s = now_s + self._pause_s
        elif now_s - ended.started_s < QUICK_S:
            self._back_off()
        else:
            self._pause_s = self._start_at_s = 0.0
        log.warning("worker.restarted", pid=pid, exit_code=code, pause_s=self._pause_s)

    def _back_off(self, most_s: float = MOST_PAUSE_S) -> None:
        self._pause_s = min(max(PAUSE_S, self._pause_s * 2), most_s)
        self._start_at_s = time.monotonic() + self._pause_s

    def _kill_hanging(self) -> None:
        """Kill worker processes that give no sign of life; they are then replaced."""
        now_s = time.monotonic()
        asleep = now_s - self._checked_s > ASLEEP_S
        self._checked_s = now_s
        for pid, child in self._children.items():
            with contextlib.suppress(BlockingIOError):
                if os.read(child.alive_fd, 4096):
                    child.alive_s = now_s
            if asleep:
                child.alive_s = now_s
            if now_s - child.alive_s > self._hung_s:
                log.error("worker.hanging", pid=pid, silent_s=round(now_s - child.alive_s))
                child.alive_s = now_s
                child.process.kill()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self._stopping and now_s - self._signalled_s < FORWARD_S:
            return
        self._stop()

    def _stop(self) -> None:
        self._stopping = True
        self._signalled_s = time.monotonic()
        for pid in list(self._children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
