"""
The supervisor of ``runfleet up``: restarts child processes that end, and ends all of them at the end.

One thread runs one loop (``step``): it forwards the output of children, collects those that ended and restarts those
that should run. Children lead sessions of their own, so that Ctrl-C in the terminal reaches only the supervisor, which
then ends them in order. If the supervisor is killed, a separate process (``orphan_guard.py``) does so: each child
reports its process id to it before it executes its program, so there is no instant at which a child is unknown.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import IO, Final

from shared.cli.child import CANNOT_START, Child, how_it_ended
from shared.cli.processes import lean
from shared.printable import printable

ANNOUNCE: Final = 'echo "+ $0 $$" >&0; exec "$@" </dev/null'
"""Shell: report order and process id to the orphan guard (standard input leads to it), then execute the program."""

SAME_REQUEST_S: Final = 0.5
"""Two signals closer than this count as one: `make` and the terminal both deliver a Ctrl-C or a kill."""

LINE_MAX: Final = 64 * 1024

GUARD_RETRY_S: Final = 1.0
"""How soon a missing orphan guard is started again."""


class Supervisor:
    """The loop. A context manager: it handles signals from entry to exit, and leaves no process running."""

    def __init__(self, *, grace_s: float, lock_fd: int, out: IO[str]) -> None:
        self.children: list[Child] = []
        self.stop_requests = 0
        self._last_request_s = 0.0
        self._grace_s = grace_s
        self._lock_fd = lock_fd
        self._out = out
        self._is_ending = False
        self._selector = selectors.DefaultSelector()
        self._orphan_guard: subprocess.Popen[bytes] | None = None
        self._colours = out.isatty()
        self._handlers: dict[int, object] = {}
        self._hangups = 0
        self._has_terminal = _has_terminal() and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN  # not under nohup

    def __enter__(self) -> Supervisor:
        self._wake, wake = socket.socketpair()
        self._wake.setblocking(False)
        wake.setblocking(False)
        self._wake_in = wake
        self._selector.register(self._wake, selectors.EVENT_READ)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, self._on_signal)
        self._handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        self._try_to_start_guard()
        return self

    def __exit__(self, *_: object) -> None:
        self.drain()
        if self._orphan_guard is not None and self._orphan_guard.stdin is not None:
            self._orphan_guard.stdin.close()
            self._orphan_guard.wait()
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal gave us
        self._selector.close()
        self._wake.close()
        self._wake_in.close()

    def start(self, child: Child) -> None:
        """Start *child*, and restart it from now on."""
        if child not in self.children:
            self.children.append(child)
        child.started_s = time.monotonic()
        child.due_s = None
        child.code = None
        try:
            child.process = self._spawn(child)
        except OSError as error:  # no process or descriptor is free: that must not end the fleet
            self._wait_to_start(child, f"could not be started ({error.strerror or error})", lived_s=0.0)

    def _spawn(self, child: Child) -> subprocess.Popen[bytes]:
        """Start the process. Raises OSError when it was not started."""
        if not self._has_guard():
            self._start_guard()
        assert self._orphan_guard is not None
        process = subprocess.Popen(
            ["/bin/sh", "-c", ANNOUNCE, str(child.order), *child.argv],
            stdin=self._orphan_guard.stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(child.env),
            start_new_session=True,
        )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, child)
        return process

    def _wait_to_start(self, child: Child, ended: str, *, lived_s: float) -> None:
        """Print how *child* ended, and schedule its restart if it restarts."""
        if not child.restarts:
            child.code = CANNOT_START if child.code is None else child.code
            self.say(f"{child.name} {ended}")
            return
        delay_s = child.delay_s(lived_s)
        child.due_s = time.monotonic() + delay_s
        self.say(f"{child.name} {ended}; restarting it in {delay_s:g} s")

    def until(self, is_so: Callable[[], bool], *, timeout_s: float | None = None, every_s: float = 0.1) -> bool:
        """Run the loop until *is_so* (tested every *every_s* and after events), a request to stop, or *timeout_s*."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.stop_requests:
            if is_so():
                return True
            if deadline is not None and time.monotonic() > deadline:
                return False
            self.step(every_s)
        return False

    def step(self, patience_s: float) -> None:
        """One round: wait up to *patience_s* for an event, then handle what happened."""
        now = time.monotonic()
        dues = [child.due_s for child in self.children if child.due_s is not None]
        if not self._has_guard():
            dues.append(now + GUARD_RETRY_S)
        for key, _ in self._selector.select(max(0.0, min([patience_s, *(due - now for due in dues)]))):
            if isinstance(key.data, Child):
                self._forward(key.data)
            else:
                self._drain_wakeups()
        if self._hangups:
            self._hangups = 0
            for child in self.children:
                if child.reloads:
                    child.signal(signal.SIGHUP)
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self._collect(child)
        if not self._has_guard() and not self._is_ending:
            self._try_to_start_guard()
        for child in self.children:
            if child.due_s is not None and child.due_s <= time.monotonic() and not self._is_ending:
                self.start(child)

    def drain(self) -> bool:
        """End all children in order; True when none had to be killed. A further signal kills what still runs."""
        self._is_ending = True
        requests_before = self.stop_requests
        was_clean = True
        for order in sorted({child.order for child in self.children}):
            group = [child for child in self.children if child.order == order]
            for child in group:
                child.due_s = None
                child.signal(signal.SIGTERM)
            deadline = time.monotonic() + self._grace_s
            while any(child.is_running for child in group):
                is_hurried, is_late = self.stop_requests > max(requests_before, 1), time.monotonic() > deadline
                for child in group:
                    if child.is_running and (is_late or (is_hurried and not child.spared)):
                        was_clean = False
                        child.signal(signal.SIGKILL, group=True)
                self.step(0.2)
        return was_clean

    def say(self, text: str, name: str = "up") -> None:
        """Print *text*, with *name* before each line unless that is "" (then the lines can be copied)."""
        prefix = f"{name:<9} | " if name else ""
        if prefix and self._colours:
            colour = {"up": 1, "api": 36, "scheduler": 35, "worker": 32}.get(name, 33)
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        lines = "".join(f"{prefix}{line}\n" for line in printable(text, colours=True).split("\n"))
        try:
            try:
                self._out.write(lines)
            except UnicodeEncodeError:  # an ASCII terminal or locale
                self._out.write(lines.encode("ascii", "backslashreplace").decode())
            self._out.flush()
        except (OSError, ValueError):
            pass  # a closed terminal or pipe must not stop the fleet, or its draining

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP and not (self._has_terminal and not _has_terminal()):
            self._hangups += 1  # sent by a command; a closed terminal means to stop
            return
        now = time.monotonic()
        if not self.stop_requests or now - self._last_request_s > SAME_REQUEST_S:
            self.stop_requests += 1
            self._last_request_s = now

    def _drain_wakeups(self) -> None:
        try:
            while self._wake.recv(512):
                pass
        except BlockingIOError:
            pass

    def _forward(self, child: Child) -> bool:
        """Print the child's output so far; False at its end."""
        assert child.process is not None
        assert child.process.stdout is not None
        try:
            data = os.read(child.process.stdout.fileno(), LINE_MAX)
        except BlockingIOError:
            return True
        if not data:
            self._selector.unregister(child.process.stdout)
            return False
        *lines, child.unfinished_line = (child.unfinished_line + data).split(b"\n")
        if len(child.unfinished_line) > LINE_MAX:
            lines, child.unfinished_line = [*lines, child.unfinished_line], b""
        if lines:
            self.say(b"\n".join(lines).decode(errors="replace"), child.name)
        return True

    def _collect(self, child: Child) -> None:
        process = child.process
        assert process is not None
        pipe = process.stdout
        assert pipe is not None
        if pipe in self._selector.get_map():
            for _ in range(64):  # its last output; a grandchild that holds the pipe and keeps printing is cut off
                if not self._forward(child) or not _has_more(pipe):
                    break
            if pipe in self._selector.get_map():
                self._selector.unregister(pipe)
        pipe.close()
        if child.unfinished_line:
            self.say(child.unfinished_line.decode(errors="replace"), child.name)
            child.unfinished_line = b""
        child.code = process.returncode
        child.process = None
        self._report_to_guard(f"- {process.pid}\n")
        if child.restarts and not self._is_ending:
            self._wait_to_start(child, how_it_ended(child.code), lived_s=time.monotonic() - child.started_s)

    def _has_guard(self) -> bool:
        return self._orphan_guard is not None and self._orphan_guard.poll() is None

    def _try_to_start_guard(self) -> None:
        try:
            self._start_guard()
        except OSError as error:
            self.say(
                f"no orphan guard could be started ({error.strerror or error}); trying again in {GUARD_RETRY_S:g} s"
            )

    def _start_guard(self) -> None:
        """Start an orphan guard, and report the running children to it."""
        if self._orphan_guard is not None and self._orphan_guard.stdin is not None:
            self._orphan_guard.stdin.close()
        self._orphan_guard = None
        self._orphan_guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("orphan_guard.py")), str(self._grace_s)],
            stdin=subprocess.PIPE,
            env=lean(os.environ),
            bufsize=0,
            start_new_session=True,
            pass_fds=(self._lock_fd,) if self._lock_fd >= 0 else (),
        )
        for child in self.children:
            if child.process is not None:
                self._report_to_guard(f"+ {child.order} {child.process.pid}\n")

    def _report_to_guard(self, line: str) -> None:
        if self._orphan_guard is not None and self._orphan_guard.stdin is not None:
            with contextlib.suppress(OSError):  # it is gone; the next step starts another one, with all children
                self._orphan_guard.stdin.write(line.encode())


def _has_terminal() -> bool:
    """Whether this process has a terminal that is still open."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _has_more(pipe: IO[bytes]) -> bool:
    with selectors.PollSelector() as selector:  # needs no descriptor; there may be none left
        selector.register(pipe, selectors.EVENT_READ)
        return bool(selector.select(0))
