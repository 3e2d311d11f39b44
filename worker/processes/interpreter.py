"""
The handle of a warm interpreter: a process of the spawner that has imported a module and makes calls to it.

It takes requests on its own socket; its code is ``worker/spawner/interpreter.py``. ``callables.py`` chooses the
interpreter for a call.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.processes.client import SpawnerClient
from worker.processes.handle import CallRequest, Exit, Launch, SpawnFailed

if TYPE_CHECKING:
    from worker.processes.commands import CommandProcess, Spawner

INTERPRETER_FILE: Final = Path(__file__).parents[1] / "spawner" / "interpreter.py"
FATAL: Final = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
"""Signals after which an interpreter is not used again."""

_names = itertools.count(1)


class Interpreter:
    """One warm interpreter. ``busy`` counts its current runs, ``served`` all of them."""

    def __init__(self, request: CallRequest, module: str) -> None:
        self.isolate = request.isolate
        self.busy = 0
        self.served = 0
        self.idle_since_s = time.monotonic()
        self.ready = False
        """Whether it is known to have imported its module."""
        self.retired = False
        """Whether it must not be used again."""
        self.pid = 0
        self.client: SpawnerClient
        self._process: CommandProcess | None = None
        self._begun = threading.Event()
        self._failure: SpawnFailed | None = None
        self._lock = threading.Lock()
        self._closed = False
        name = f"interpreter-{os.getpid()}-{next(_names)}"
        self._python = request.python or sys.executable
        self._launch = Launch(
            argv=(self._python, str(INTERPRETER_FILE), "fork" if request.isolate else "stay", module),
            env={**lasting(request.env), "RUNFLEET_RUN_ID": name},
            run_id=name,
            cwd=request.cwd,
            nice=0 if request.isolate else request.nice,
            memory_limit=None if request.isolate else request.memory_limit,
            address_space_limit=None if request.isolate else request.address_space_limit,
            user=request.user,
        )

    def start(self, spawner: Spawner) -> None:
        """
        Start it, which may take long: hold no other lock. Raises SpawnFailed with a sentence that names the interpreter
        or the directory.
        """
        try:
            self._start(spawner)
        except BaseException as error:
            failed = error if isinstance(error, SpawnFailed) else SpawnFailed(f"cannot start it: {error}")
            self._failure, self.retired = failed, True
            raise
        finally:
            self._begun.set()

    def _start(self, spawner: Spawner) -> None:
        ours, theirs = socket.socketpair()
        self.client = SpawnerClient(ours)
        try:
            with theirs:
                process = spawner.spawn(self._launch, (theirs.fileno(),))
        except SpawnFailed:
            self.client.close()
            raise
        self._process = process
        try:
            self.pid = process.started()
        except BaseException:
            self.close()
            raise

    def wait_started(self) -> None:
        """Wait for the thread that starts it. Raises SpawnFailed when that failed."""
        self._begun.wait()
        if self._failure is not None:
            raise SpawnFailed(str(self._failure), self._failure.errno)

    def read_exit(self) -> Exit | None:
        """The exit of the interpreter itself, None while it is running."""
        with self._lock:
            return self._process.read_exit() if self._process is not None and self._begun.is_set() else None

    def wait_exit(self, timeout_s: float) -> Exit | None:
        """Its exit, after a short wait: the spawner reports it right after the sockets broke."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            process = self._process
            if process is None:
                return None
            while (ended := process.read_exit()) is None and time.monotonic() < deadline:
                process.wait(deadline - time.monotonic())
            return ended

    def signal(self, number: int) -> None:
        """Signal the process group of the interpreter and all that it started."""
        self.retired = self.retired or number in FATAL
        with self._lock:
            if self._process is not None:
                self._process.signal(number)

    def stderr_tail(self) -> str:
        """Why it exited before its first call, by its last line of standard error."""
        text = b""
        with contextlib.suppress(OSError):
            text = os.read(self._process.stderr_fd, 65536) if self._process is not None else b""
        lines = text.decode("utf-8", "replace").strip().splitlines()
        return f"the interpreter {self._python!r} ended at its start: {lines[-1] if lines else 'it printed nothing'}"

    def close(self) -> None:
        """Kill it and all it runs."""
        with self._lock:
            if not self._closed and self._process is not None:
                self._closed = True
                self.client.close()
                self._process.close()


def lasting(env: Mapping[str, str]) -> dict[str, str]:
    """The part of a run's environment that is the same for all runs of its task."""
    return {key: value for key, value in env.items() if key[:9] != "RUNFLEET_" and key != "TRACEPARENT"}
