"""
The worker's side of a process: ask the keeper to start it, read its end, signal it.

A ``Child`` is polled by one execution thread; all its descriptors are non-blocking. Nothing here waits for the end of a
process: the watch loop of ``execution.py`` does, in ``poll`` over ``control_fd``, ``stdout_fd`` and ``stderr_fd``.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from shared.errors import Misconfigured, RunfleetError
from worker.keeper import LENGTH, kill_group, split_message

KEEPER_FILE: Final = Path(__file__).with_name("keeper.py")
START_TIMEOUT_S: Final = 10.0
"""How long a start may take; the keeper starts hundreds a second, so a longer wait means that it is not there."""

SIGNALLED: Final = 128
"""Added to a signal's number to make an exit code, as shells do."""


class SpawnFailed(RunfleetError):
    """Nothing was started; the message is a sentence that names the command and says why. ``errno`` is 0 if unknown."""

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class Unanswered(SpawnFailed):
    """Nobody took the request: the other side is gone, or one of both has no descriptors left."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """
    What to start. ``env`` is the whole environment, nothing is inherited; ``cwd`` None is the worker's own.

    ``argv[0]`` is looked up in the ``PATH`` of ``env``. ``memory_limit`` is in bytes of address space, ``cpu_limit_s``
    in seconds of CPU; None is no limit. ``run_id`` must be ``env["RUNFLEET_RUN_ID"]``: leftovers are known by it.
    ``silence_s``: the process is killed when ``signal(0)`` was not heard for so long; None is never.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    run_id: str
    cwd: str | None = None
    umask: int | None = None
    nice: int = 0
    memory_limit: int | None = None
    cpu_limit_s: int | None = None
    silence_s: float | None = None


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a process ended.

    ``code`` is 0 to 255, or 128 + n when signal n killed it (then ``signal`` is n, else None). ``peak_memory_bytes`` is
    the largest resident set (on Linux never below the keeper's, some 10 MB: the kernel counts the moment before exec);
    ``result`` is the JSON of what a callable returned, None for commands and failures. ``lost``: the keeper or
    template died first and nobody saw the end, or it ended this one because the worker was silent for ``silence_s``;
    the other fields mean nothing then.
    """

    code: int
    signal: int | None = None
    peak_memory_bytes: int = 0
    cpu_time_ms: int = 0
    result: bytes | None = None
    lost: bool = False


LOST: Final = Exit(code=-2, lost=True)


class Child(Protocol):
    """The handle of one started process, command or callable. Used by one thread."""

    @property
    def pid(self) -> int:
        """Its process id, 0 until ``started`` returned. Of a callable it may change once, when its fork exists."""

    @property
    def control_fd(self) -> int:
        """Readable when ``read_exit`` is worth calling."""

    @property
    def stdout_fd(self) -> int:
        """Read end of its standard output, non-blocking."""

    @property
    def stderr_fd(self) -> int:
        """Read end of its standard error, non-blocking."""

    def started(self, timeout_s: float = START_TIMEOUT_S) -> int:
        """Wait until it runs; its pid. Raises SpawnFailed, and is closed then."""

    def read_exit(self) -> Exit | None:
        """Its end, as soon as that and the death of its leftovers are known; the same one ever after. Never waits."""

    def signal(self, number: int) -> None:
        """
        Send a signal to its process group. Does nothing once it ended, so that no recycled pid is hit.

        0 reaches nobody but tells that the worker is there, for who was started with ``silence_s``.
        """

    def kill(self) -> None:
        """``signal(SIGKILL)``."""

    def close(self) -> None:
        """Close the descriptors. Kills what still runs. May be called twice."""


class Channel:
    """One request's control socket and pipes, and the messages that came back so far."""

    def __init__(self, control: socket.socket, stdout_fd: int, stderr_fd: int) -> None:
        self._control = control
        self.control_fd = control.fileno()
        self.stdout_fd = stdout_fd
        self.stderr_fd = stderr_fd
        self.said: dict[str, Any] = {}
        """All messages merged: ``pid``, ``error``, ``errno``, ``importing``, ``result``, ``exit``, ``signal``, …"""
        self.silent = False
        """Whether the other side closed; ``said`` is final then."""
        self._inbox = b""
        self._closed = False

    def listen(self) -> None:
        """Read what is there into ``said``."""
        while not (self.silent or self._closed):
            try:
                data = self._control.recv(65536)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            self.silent = not data
            self._inbox += data
            while True:
                body, self._inbox = split_message(self._inbox)
                if body is None:
                    break
                self.said.update(json.loads(body))
            if "exit" in self.said or len(data) < 65536:
                return

    def wait(self, timeout_s: float) -> bool:
        """Wait until something can be read, then ``listen``. False when nothing came in time."""
        poller = select.poll()
        poller.register(self.control_fd, select.POLLIN)
        if not self._closed and poller.poll(max(0.0, timeout_s) * 1000):
            self.listen()
            return True
        return False

    def send_signal(self, number: int) -> None:
        """Ask the other side, which knows whether the process still is, to signal its group."""
        if not self._closed and number >= 0:
            with contextlib.suppress(OSError):
                self._control.send(bytes((number,)))

    def exit(self) -> Exit | None:
        """The end if it was told; None else."""
        if "exit" not in self.said:
            return None
        if "abandoned" in self.said:
            return LOST
        number = self.said.get("signal")
        code = self.said["exit"]
        result = self.said.get("result")
        return Exit(
            code=SIGNALLED + number if number is not None else code,
            signal=number,
            peak_memory_bytes=self.said.get("peak_memory_bytes", 0),
            cpu_time_ms=self.said.get("cpu_time_ms", 0),
            result=result.encode() if result is not None and code == 0 else None,
        )

    def hang_up(self) -> None:
        """Tell the other side that nobody waits for this any more; it kills what it started."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the descriptors, and so hang up. May be called twice."""
        if not self._closed:
            self._closed = True
            self._control.close()
            os.close(self.stdout_fd)
            os.close(self.stderr_fd)


class Door:
    """A socket on which a keeper or a template takes requests. Thread-safe."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._closed = False

    def request(self, body: Mapping[str, object], passed: Sequence[int] = ()) -> Channel:
        """
        Hand over a request with new pipes and, after them, the *passed* descriptors.

        Raises Unanswered when nobody is behind the door any more, or this process has no descriptors left.
        """
        encoded = json.dumps(body).encode()
        message = memoryview(LENGTH.pack(len(encoded)) + encoded)
        with contextlib.ExitStack() as on_failure, contextlib.ExitStack() as ours_no_more:
            try:
                control, theirs = socket.socketpair()
                on_failure.callback(control.close)
                ours_no_more.callback(theirs.close)
                readers, writers = [], []
                for _ in range(2):
                    reader, writer = os.pipe()
                    on_failure.callback(os.close, reader)
                    ours_no_more.callback(os.close, writer)
                    os.set_blocking(reader, False)
                    readers.append(reader)
                    writers.append(writer)
                control.setblocking(False)
                try:
                    sent = control.send(message)  # mostly all of it, and there before the descriptors are
                except BlockingIOError:
                    sent = 0
                fds = array.array("i", [theirs.fileno(), *writers, *passed])
                with self._lock:
                    if self._closed:
                        raise BrokenPipeError
                    self._server.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
                if sent < len(message):
                    control.settimeout(START_TIMEOUT_S)
                    control.sendall(message[sent:])
                    control.setblocking(False)
            except OSError as error:
                raise Unanswered(
                    f"cannot hand over the request to start a process: {error}", error.errno or 0
                ) from error
            on_failure.pop_all()
            return Channel(control, readers[0], readers[1])

    def close(self) -> None:
        """Let the other side see the end of file, upon which it kills what it started and ends."""
        with self._lock:
            self._closed = True
            self._server.close()


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
