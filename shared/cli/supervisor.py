"""
Keeps the child processes of ``runfleet up`` running, and ends all of them.

One thread, one loop (``step``): pass on what children print, collect those that ended, start again those that should
live. Children lead sessions of their own, so that Ctrl-C in the terminal reaches only the supervisor, which then ends
them in order. A process of its own (``orphan_guard.py``) does the same if the supervisor is killed: each child tells it
its process id itself, before it becomes its program, so there is no instant at which a child is unknown.
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
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import IO, Final

from shared.cli.processes import lean
from shared.printable import printable

ANNOUNCE: Final = 'echo "+ $0 $$" >&0; exec "$@" </dev/null'
"""Shell: tell the orphan guard (standard input is the way to it) our order and process id, then become the program."""

FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0
STEADY_S: Final = 30.0
"""A child that lived this long starts its next back-off from the beginning."""

SAME_WISH_S: Final = 0.5
"""Two signals closer than this are one wish: `make` and the terminal both deliver a Ctrl-C or a kill."""

LINE_MAX: Final = 64 * 1024

LOOK_AGAIN_S: Final = 1.0
"""When there is no orphan guard, how soon another one is tried."""

CANNOT_START: Final = 126
"""The code of a child that lives once and could not be started; shells give the same."""


class Child:
    """
    One process to keep. ``order``: those with lower numbers are ended first. ``lives``: it is started again.
    ``spared``: a second Ctrl-C does not kill it (the store: it only writes its file and is gone). ``reads_again``: a
    SIGHUP is passed on to it.
    """

    def __init__(
        self,
        name: str,
        argv: list[str],
        env: Mapping[str, str],
        *,
        order: int = 0,
        lives: bool = True,
        spared: bool = False,
        reads_again: bool = False,
    ) -> None:
        self.name = name
        self.argv = argv
        self.env = env
        self.order = order
        self.lives = lives
        self.spared = spared
        self.reads_again = reads_again
        self.process: subprocess.Popen[bytes] | None = None
        self.code: int | None = None
        self.started_s = 0.0
        self.due_s: float | None = None
        self.failures = 0
        self.rest = b""

    @property
    def is_running(self) -> bool:
        """Whether it runs, as far as was collected."""
        return self.process is not None

    def signal(self, number: int, *, group: bool = False) -> None:
        """Signal the process, or its whole group."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-self.process.pid if group else self.process.pid, number)

    def delay_s(self, lived_s: float) -> float:
        """Seconds to wait before it is started again after it lived *lived_s*; doubles while it keeps dying."""
        self.failures = 1 if lived_s >= STEADY_S else self.failures + 1
        return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(self.failures - 1, 10)))


class Supervisor:
    """The loop. Use as a context: signals are taken over at entry; at exit nothing it started runs any more."""

    def __init__(self, *, grace_s: float, lock_fd: int, out: IO[str]) -> None:
        self.children: list[Child] = []
        self.wishes = 0
        self._wished_s = 0.0
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
            self._handlers[number] = signal.signal(number, self._hear)
        self._handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        self._try_to_watch()
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
        """Start *child* and keep it from now on."""
        if child not in self.children:
            self.children.append(child)
        child.started_s = time.monotonic()
        child.due_s = None
        child.code = None
        try:
            child.process = self._spawn(child)
        except OSError as error:  # no process or descriptor to be had now: that of others must not end the fleet
            self._wait_to_start(child, f"could not be started ({error.strerror or error})", lived_s=0.0)

    def _spawn(self, child: Child) -> subprocess.Popen[bytes]:
        """Raises OSError, and nothing was started then."""
        if not self._is_watched():
            self._watch()
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
        """Say how *child* ended, and have it started again after a pause if it is one that lives."""
        if not child.lives:
            child.code = CANNOT_START if child.code is None else child.code
            self.say(f"{child.name} {ended}")
            return
        delay_s = child.delay_s(lived_s)
        child.due_s = time.monotonic() + delay_s
        self.say(f"{child.name} {ended}; starting it again in {delay_s:g} s")

    def until(self, is_so: Callable[[], bool], *, timeout_s: float | None = None, every_s: float = 0.1) -> bool:
        """Run the loop until *is_so* (asked every *every_s* and after what happens), a wish to end, or *timeout_s*."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.wishes:
            if is_so():
                return True
            if deadline is not None and time.monotonic() > deadline:
                return False
            self.step(every_s)
        return False

    def step(self, patience_s: float) -> None:
        """One round: wait up to *patience_s* for something to happen, then do what there is to do."""
        now = time.monotonic()
        dues = [child.due_s for child in self.children if child.due_s is not None]
        if not self._is_watched():
            dues.append(now + LOOK_AGAIN_S)
        for key, _ in self._selector.select(max(0.0, min([patience_s, *(due - now for due in dues)]))):
            if isinstance(key.data, Child):
                self._pass_on(key.data)
            else:
                self._listen()
        if self._hangups:
            self._hangups = 0
            for child in self.children:
                if child.reads_again:
                    child.signal(signal.SIGHUP)
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self._collect(child)
        if not self._is_watched() and not self._is_ending:
            self._try_to_watch()
        for child in self.children:
            if child.due_s is not None and child.due_s <= time.monotonic() and not self._is_ending:
                self.start(child)

    def drain(self) -> bool:
        """End all children in order; True when none had to be killed. A further signal kills what still runs."""
        self._is_ending = True
        heard = self.wishes
        was_clean = True
        for order in sorted({child.order for child in self.children}):
            group = [child for child in self.children if child.order == order]
            for child in group:
                child.due_s = None
                child.signal(signal.SIGTERM)
            deadline = time.monotonic() + self._grace_s
            while any(child.is_running for child in group):
                is_hurried, is_late = self.wishes > max(heard, 1), time.monotonic() > deadline
                for child in group:
                    if child.is_running and (is_late or (is_hurried and not child.spared)):
                        was_clean = False
                        child.signal(signal.SIGKILL, group=True)
                self.step(0.2)
        return was_clean

    def say(self, text: str, name: str = "up") -> None:
        """Print *text* line by line, each with *name* before it; as it is, to be copied, when *name* is ""."""
        prefix = f"{name:<9} | " if name else ""
        if prefix and self._colours:
            colour = {"up": 1, "api": 36, "scheduler": 35, "worker": 32}.get(name, 33)
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        said = "".join(f"{prefix}{line}\n" for line in printable(text, colours=True).split("\n"))
        try:
            try:
                self._out.write(said)
            except UnicodeEncodeError:  # a terminal or locale that knows ASCII only
                self._out.write(said.encode("ascii", "backslashreplace").decode())
            self._out.flush()
        except (OSError, ValueError):
            pass  # a terminal or pipe that is gone must not stop the fleet, nor its draining

    def _hear(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP and not (self._has_terminal and not _has_terminal()):
            self._hangups += 1  # sent by somebody; a terminal that is gone means to end
            return
        now = time.monotonic()
        if not self.wishes or now - self._wished_s > SAME_WISH_S:
            self.wishes += 1
            self._wished_s = now

    def _listen(self) -> None:
        try:
            while self._wake.recv(512):
                pass
        except BlockingIOError:
            pass

    def _pass_on(self, child: Child) -> bool:
        """Print what the child printed; False when there will be no more."""
        assert child.process is not None
        assert child.process.stdout is not None
        try:
            data = os.read(child.process.stdout.fileno(), LINE_MAX)
        except BlockingIOError:
            return True
        if not data:
            self._selector.unregister(child.process.stdout)
            return False
        *lines, child.rest = (child.rest + data).split(b"\n")
        if len(child.rest) > LINE_MAX:
            lines, child.rest = [*lines, child.rest], b""
        if lines:
            self.say(b"\n".join(lines).decode(errors="replace"), child.name)
        return True

    def _collect(self, child: Child) -> None:
        process = child.process
        assert process is not None
        pipe = process.stdout
        assert pipe is not None
        if pipe in self._selector.get_map():
            for _ in range(64):  # what it said last; a grandchild that holds the pipe and talks on is cut off
                if not self._pass_on(child) or not _has_more(pipe):
                    break
            if pipe in self._selector.get_map():
                self._selector.unregister(pipe)
        pipe.close()
        if child.rest:
            self.say(child.rest.decode(errors="replace"), child.name)
            child.rest = b""
        child.code = process.returncode
        child.process = None
        self._tell_orphan_guard(f"- {process.pid}\n")
        if child.lives and not self._is_ending:
            self._wait_to_start(child, how_it_ended(child.code), lived_s=time.monotonic() - child.started_s)

    def _is_watched(self) -> bool:
        return self._orphan_guard is not None and self._orphan_guard.poll() is None

    def _try_to_watch(self) -> None:
        try:
            self._watch()
        except OSError as error:
            self.say(
                f"no orphan guard could be started ({error.strerror or error}); trying again in {LOOK_AGAIN_S:g} s"
            )

    def _watch(self) -> None:
        """Start an orphan guard and tell it who lives."""
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
                self._tell_orphan_guard(f"+ {child.order} {child.process.pid}\n")

    def _tell_orphan_guard(self, line: str) -> None:
        if self._orphan_guard is not None and self._orphan_guard.stdin is not None:
            with contextlib.suppress(OSError):  # it is gone; the next step starts another one and tells it everything
                self._orphan_guard.stdin.write(line.encode())


def _has_terminal() -> bool:
    """Whether this process has a terminal that still is there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def how_it_ended(code: int) -> str:
    """An exit code of ``Popen`` in words."""
    if code < 0:
        known = -code in set(signal.Signals)
        return f"was killed by {signal.Signals(-code).name}" if known else f"was killed by signal {-code}"
    return f"ended with exit code {code}"


def _has_more(pipe: IO[bytes]) -> bool:
    with selectors.PollSelector() as selector:  # takes no descriptor, of which there may be none left
        selector.register(pipe, selectors.EVENT_READ)
        return bool(selector.select(0))
