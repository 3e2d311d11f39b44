"""The keeper as the worker knows it, and the commands that it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shared.errors import Misconfigured
from worker.channel import Channel, Door
from worker.family import kill_group
from worker.process import LOST, START_TIMEOUT_S, Exit, Launch, SpawnFailed, Unanswered

KEEPER_FILE: Final = Path(__file__).with_name("keeper.py")


class Command:
    """A process that the keeper started: the ``Child`` of a command."""

    def __init__(self, channel: Channel, name: str) -> None:
        self._channel = channel
        self._name = name
        self._exit: Exit | None = None
        self.pid = 0
        self.control_fd = channel.control_fd
        self.stdout_fd = channel.stdout_fd
        self.stderr_fd = channel.stderr_fd

    def started(self, timeout_s: float = START_TIMEOUT_S) -> int:
        try:
            return self._started(timeout_s)
        except SpawnFailed:
            self.close()
            raise

    def _started(self, timeout_s: float) -> int:
        said = self._channel.said
        deadline = time.monotonic() + timeout_s
        while not self.pid:
            if "pid" in said:
                self.pid = said["pid"]
            elif "error" in said:
                raise SpawnFailed(said["error"], said.get("errno", 0))
            elif self._channel.silent:
                raise Unanswered(
                    f"cannot start {self._name!r}: the keeper is gone or has no descriptors left (ulimit -n)"
                )
            elif not self._channel.wait(deadline - time.monotonic()):
                raise SpawnFailed(f"cannot start {self._name!r}: the keeper did not answer for {timeout_s:g} s")
        return self.pid

    def read_exit(self) -> Exit | None:
        if self._exit is None:
            self._channel.listen()
            self._exit = self._channel.exit()
            if self._exit is None and self._channel.silent:
                self._exit = LOST
                with contextlib.suppress(OSError):
                    if self.pid and os.getsid(self.pid) == self.pid:  # the keeper can't do it any more
                        kill_group(self.pid, signal.SIGKILL)
        return self._exit

    def signal(self, number: int) -> None:
        if self._exit is None:
            self._channel.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def wait(self, timeout_s: float) -> None:
        """Wait until ``read_exit`` is worth calling again, at most so long."""
        self._channel.wait(timeout_s)

    def close(self) -> None:
        self._channel.close()


class Keeper:
    """The keeper process of this worker process. Thread-safe; start it before there are threads."""

    def __init__(self, process: subprocess.Popen[bytes], door: Door) -> None:
        self._process = process
        self._door = door

    @classmethod
    def start(cls) -> Keeper:
        """Start one; it lives until ``close`` or until this process is gone. Raises Misconfigured if it can't."""
        ours, theirs = socket.socketpair()
        loader = {key: os.environ[key] for key in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if key in os.environ}
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", str(KEEPER_FILE)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd="/",
                env=loader,
                start_new_session=True,
            )
        ours.settimeout(START_TIMEOUT_S)
        with contextlib.suppress(OSError):
            if ours.recv(1):
                ours.settimeout(None)
                return cls(process, Door(ours))
        ours.close()
        process.kill()
        process.wait()
        raise Misconfigured(f"the keeper did not start: {sys.executable} {KEEPER_FILE} ended or said nothing")

    @property
    def pid(self) -> int:
        """The process id of the keeper."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the keeper still runs. Without it nothing can be started: the worker process should end."""
        return self._process.poll() is None

    def is_gone(self, patience_s: float) -> bool:
        """Whether the keeper has ended, or does in that time: its sockets break a moment before it counts as dead."""
        if patience_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)
        return not self.is_alive()

    def spawn(self, launch: Launch, passed: Sequence[int] = ()) -> Command:
        """
        Ask for a process; ``started`` of the answer tells whether it came to be.

        *passed* is at most one descriptor, the process finds it as number 3. Raises SpawnFailed if the keeper is gone.
        """
        body = {field: getattr(launch, field) for field in launch.__struct_fields__}
        body["cwd"] = launch.cwd or os.getcwd()
        return Command(self._door.request(body, passed), launch.argv[0] if launch.argv else "")

    def close(self) -> None:
        """Kill every process that was started here, and the keeper. Waits up to 5 s for that."""
        self._door.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
