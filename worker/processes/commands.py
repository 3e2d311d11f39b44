"""The worker's handle of its spawner, and the handles of commands that the spawner starts."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shared.errors import Misconfigured
from worker.processes.client import ProcessChannel, SpawnerClient
from worker.processes.handle import LOST, START_TIMEOUT_S, Exit, Launch, SpawnFailed, StartedLate, Unanswered
from worker.spawner.process_group import kill_group

GONE: Final = "the spawner is gone or has no descriptors left (ulimit -n)"
UNRESPONSIVE_S: Final = 3.0
"""After so long without an answer of the spawner, processes are signalled directly."""

SPAWNER: Final = Path(__file__).parents[1] / "spawner"


class CommandProcess:
    """The ``ProcessHandle`` of a command."""

    def __init__(self, channel: ProcessChannel, name: str, spawner: Spawner) -> None:
        self._channel = channel
        self._name = name
        self._spawner = spawner
        self._exit: Exit | None = None
        self._is_killed = False
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
        messages = self._channel.messages
        withdraw_at_s = time.monotonic() + timeout_s
        withdrawn = False
        while not self.pid:
            if "pid" in messages and withdrawn:
                raise StartedLate(f"{self._name!r} was started after {timeout_s:g} s only, and killed")
            if "pid" in messages:
                self.pid = messages["pid"]
            elif "error" in messages and not withdrawn:
                raise SpawnFailed(messages["error"], messages.get("errno", 0))
            elif "error" in messages or self._channel.peer_closed:
                why = f"the spawner did not answer for {timeout_s:g} s" if withdrawn else GONE
                raise Unanswered(f"cannot start {self._name!r}: {why}")
            elif not self._channel.wait(max(withdraw_at_s - time.monotonic(), 0.0) if not withdrawn else 1.0):
                # It may be about to start it: only its answer, or its exit, rules that out.
                withdrawn = True
                self._channel.withdraw()
        return self.pid

    def read_exit(self) -> Exit | None:
        if self._exit is None:
            self._channel.receive()
            self._exit = self._channel.exit()
            if self._exit is None and self._channel.peer_closed:
                self._exit = LOST
                self._signal_directly(signal.SIGKILL)  # the spawner can no longer do it
            elif self._exit is None and self._is_killed and self._spawner.unresponsive_s > UNRESPONSIVE_S:
                self._signal_directly(signal.SIGKILL)  # it hung before it received that
        return self._exit

    def signal(self, number: int) -> None:
        if self._exit is None:
            self._is_killed = self._is_killed or number == signal.SIGKILL
            self._channel.send_signal(number)
            if (
                number and self._spawner.unresponsive_s > UNRESPONSIVE_S
            ):  # it reaps no process either: the pid is still its own
                self._signal_directly(number)

    def _signal_directly(self, number: int) -> None:
        with contextlib.suppress(OSError):
            if self.pid and os.getsid(self.pid) == self.pid:
                kill_group(self.pid, number)

    def wait(self, timeout_s: float) -> None:
        """Wait until ``read_exit`` is worth calling again, at most this long."""
        self._channel.wait(timeout_s)

    def close(self) -> None:
        self._channel.close()


class Spawner:
    """The spawner process of this worker process. Thread-safe; start it before there are threads."""

    def __init__(self, process: subprocess.Popen[bytes], client: SpawnerClient) -> None:
        self._process = process
        self._client = client
        self._ping: ProcessChannel | None = None
        self._pinged_s = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        threading.Thread(target=self._wait, name="spawner", daemon=True).start()
        self.cwd = _working_directory()
        """The directory in which this process was started; it may be gone by now."""
        self.was_killed = False
        """Whether it was killed because it did not answer."""

    @classmethod
    def start(cls, folder: Path | None = None) -> Spawner:
        """
        Start a spawner; it lives until ``close`` or until this process dies, and then removes *folder*.

        Raises Misconfigured if it does not start.
        """
        ours, theirs = socket.socketpair()
        loader = {key: os.environ[key] for key in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if key in os.environ}
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", str(SPAWNER), *([str(folder)] if folder else [])],
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
                return cls(process, SpawnerClient(ours))
        ours.close()
        process.kill()
        process.wait()
        raise Misconfigured(f"the spawner did not start: {sys.executable} {SPAWNER} ended or did not answer")

    @property
    def pid(self) -> int:
        """The process id of the spawner."""
        return self._process.pid

    @property
    def unresponsive_s(self) -> float:
        """For how long it has not answered, in seconds; 0 when it owes no answer."""
        return time.monotonic() - self._pinged_s if self._ping is not None else 0.0

    def ping(self) -> None:
        """Send a ping, or read the answer to the last one, without waiting; see ``unresponsive_s``."""
        with self._lock:
            if self._ping is None:
                self._pinged_s = time.monotonic()
                with contextlib.suppress(SpawnFailed):
                    self._ping = self._client.request({"run_id": "", "ping": True})
            else:
                self._ping.receive()
                if self._ping.messages or self._ping.peer_closed:
                    self._ping.close()
                    self._ping = None

    def resume(self) -> bool:
        """
        Resume it if something, such as a run of the same user, has suspended it (SIGSTOP); whether it was suspended.
        """
        with contextlib.suppress(OSError):
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                if file.read().rpartition(b")")[2].split()[0] != b"T":
                    return False
            if self.is_alive():
                self._process.send_signal(signal.SIGCONT)
                return True
        return False

    def kill(self) -> None:
        """Kill it because it does not answer. Its runs are lost; pending requests are never started."""
        self.was_killed = True
        self._process.kill()

    def is_alive(self) -> bool:
        """Whether the spawner still runs. Without it nothing can be started: the worker process should exit."""
        return not self._ended.is_set()

    def ends_within(self, seconds: float) -> bool:
        """Whether the spawner has ended, or does in that time: its sockets break a moment before it counts as dead."""
        return self._ended.wait(seconds)

    def spawn(self, launch: Launch, passed: Sequence[int] = ()) -> CommandProcess:
        """
        Request a process; ``started`` waits for it.

        *passed* is at most one descriptor, number 3 of the process. Raises SpawnFailed if the spawner is gone.
        """
        body = {field: getattr(launch, field) for field in launch.__struct_fields__}
        body["cwd"] = launch.cwd or self.cwd
        return CommandProcess(self._client.request(body, passed), launch.argv[0] if launch.argv else "", self)

    def close(self) -> None:
        """Kill the spawner and every process that it started. Waits up to 5 s for that."""
        self._client.close()
        with self._lock:
            if self._ping is not None:
                self._ping.close()
                self._ping = None
        if not self._ended.wait(5):
            self._process.kill()
            self._ended.wait()

    def _wait(self) -> None:
        """Wait for the end of the spawner, in a thread: every run checks at least twice whether the spawner lives."""
        self._process.wait()
        self._ended.set()


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return os.environ.get("PWD", "") or "/nonexistent"
