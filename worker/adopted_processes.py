"""
Children of a launcher that it did not start, and which of them it may kill.

The orphans of a dead spawner become children of the launcher, which is a subreaper: they are runs, and are killed. But
a shell that became the launcher by ``exec`` may have started other processes before, and the first process of a
container adopts every orphan in it: those are left alone.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from typing import Final

RUN_ID: Final = b"RUNFLEET_RUN_ID="
LEAVE_S: Final = 2.0
SPAWNER: Final = b"/worker/spawner\0"


class AdoptedProcesses:
    """The children of this process except its worker processes. Created before the first of these is started."""

    def __init__(self) -> None:
        self._foreign = _descendants()
        self._foreign_sessions = {session for session in map(_session, self._foreign) if session}
        self._own_session = os.getsid(0)
        self._is_first = os.getpid() == 1

    def forget(self, pid: int) -> None:
        """Forget a reaped child: its pid may be reused."""
        self._foreign.discard(pid)

    def kill(self, workers: Iterable[int]) -> int:
        """
        Kill the processes of a dead spawner, and the spawner of a dead worker; returns how many there were.

        They are reaped like any other child.
        """
        killed = 0
        for pid in _children(os.getpid()) - set(workers) - self._foreign:
            if self._is_foreign(pid):
                continue
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            killed += 1
        return killed

    def kill_all(self) -> None:
        """
        Kill adopted processes until there are none: orphans of a killed one become our children. Takes at most two
        seconds.
        """
        end_s = time.monotonic() + LEAVE_S
        while True:
            with contextlib.suppress(ChildProcessError):
                while pid := os.waitpid(-1, os.WNOHANG)[0]:
                    self.forget(pid)
            if not self.kill(()) or time.monotonic() > end_s:
                return
            time.sleep(0.01)

    def _is_foreign(self, pid: int) -> bool:
        session = _session(pid)
        if session and (session == self._own_session or session in self._foreign_sessions):
            self._foreign.add(pid)  # the spawner and every run lead sessions of their own
            return True
        # In a container any orphan is our child, so ours are known by a mark; elsewhere all descend from us. It is read
        # each time, because a process that is about to become another program shows none for a moment.
        return self._is_first and not _is_marked(pid)


def _is_marked(pid: int) -> bool:
    """Whether it is a spawner or was started for a run."""
    for file, mark in (("cmdline", SPAWNER), ("environ", RUN_ID)):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/{file}", "rb") as content:
            if mark in content.read():
                return True
    return False


def _session(pid: int) -> int:
    """The session of a process; 0 when it is gone."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _descendants() -> set[int]:
    found: set[int] = set()
    new = _children(os.getpid())
    while new:
        found |= new
        new = {child for pid in new for child in _children(pid)} - found
    return found


def _children(pid: int) -> set[int]:
    """Process ids of its children; empty where the kernel does not list them."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return {int(word) for word in file.read().split()}
    except OSError:
        return set()
