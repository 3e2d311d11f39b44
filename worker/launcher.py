"""
Starts the worker processes, keeps as many as asked for, and takes them down.

The ``dramatiq`` command does not fit: it dies at once on a second SIGTERM, which some platforms send to every
process, and one child's death stops all the others. This one is lean (it imports nothing heavy), restarts what dies
with a back-off, and, being a subreaper, kills what a lost keeper left behind.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import Final

from shared.isolation import isolated
from shared.settings import Settings
from shared.signals import SIGNALS, be_deaf
from shared.startup import begin
from shared.telemetry import get_logger
from worker.family import become_subreaper
from worker.lifeline import LAUNCHER_FD

log = get_logger("worker")

QUICK_S: Final = 5.0
"""A worker process that lived shorter than this is restarted after a pause."""

LOOK_S: Final = 0.5
"""How often it looks for what a lost keeper left behind: a worker that waits for Redis may be slow to leave."""

FORWARD_S: Final = 1.5
"""Later signals of the same kind are passed on at most this often."""


def serve(settings: Settings) -> int:
    """Run the launcher; its exit code."""
    begin(settings, log)
    code = Launcher(settings).run()
    be_deaf()
    return code


class Launcher:
    """Runs ``settings.worker_processes`` worker processes until told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._children: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
        self._pause_s = 0.0
        self._start_at_s = 0.0
        self._stopping = False
        self._signalled_s = 0.0
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._life_out, self._life_in = os.pipe()  # breaks when this process is gone, however it went

    def run(self) -> int:
        """Serve; the exit code, 0 after a drain."""
        become_subreaper()
        signal.set_wakeup_fd(self._wake_in)
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        while not self._stopping or self._children:
            if not self._stopping:
                self._fill_up()
            self._wait()
            self._reap()
            self._kill_strangers()
        return 0

    def _fill_up(self) -> None:
        while self._lacks_one() and time.monotonic() >= self._start_at_s:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "worker", "--process"],
                env=isolated(os.environ) | {LAUNCHER_FD: str(self._life_out)},
                pass_fds=(self._life_out,),
                start_new_session=False,
            )
            self._children[process.pid] = (process, time.monotonic())
            if self._stopping:  # told so while this one was being started: the handler did not know it yet
                process.send_signal(signal.SIGTERM)

    def _lacks_one(self) -> bool:
        return not self._stopping and len(self._children) < self._settings.worker_processes

    def _wait(self) -> None:
        seconds = max(0.0, self._start_at_s - time.monotonic()) if self._lacks_one() else LOOK_S
        select.select([self._wake_out], [], [], min(seconds, LOOK_S))
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
            ended = self._children.pop(pid, None)
            if ended is None:
                continue
            process, started_s = ended
            process.returncode = os.waitstatus_to_exitcode(status)
            if self._stopping:
                continue
            lived_s = time.monotonic() - started_s
            self._pause_s = min(max(0.2, self._pause_s * 2), 30.0) if lived_s < QUICK_S else 0.0
            self._start_at_s = time.monotonic() + self._pause_s
            log.warning("worker.restarted", pid=pid, exit_code=process.returncode, pause_s=self._pause_s)

    def _kill_strangers(self) -> None:
        """
        Kill what is a child of ours and no worker process: a keeper whose worker is gone, and what that left behind.
        """
        end_s = time.monotonic() + 2.0
        while time.monotonic() < end_s:
            strangers = _children_of_ours() - set(self._children)
            if not strangers:
                return
            for pid in strangers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for pid in strangers:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        now_s = time.monotonic()
        if now_s - self._signalled_s < FORWARD_S:
            return
        self._signalled_s = now_s
        for pid in list(self._children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def _children_of_ours() -> set[int]:
    """Process ids of this process's children; empty where the kernel does not tell."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return {int(pid) for pid in file.read().split()}
    except OSError:
        return set()
