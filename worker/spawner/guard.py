"""
The guard of a run with ``strict_lease``: a process that kills the run when worker and spawner are frozen.

The spawner forwards each heartbeat of the worker. A guard that gets none for too long kills the run's process group,
and exits.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal

LATER_S = 0.1
"""How much longer than the spawner a guard waits, because only the spawner can report why it killed a run."""

_HEARTBEAT, _OVER = b"!", b"."
_FDS_MAX = 65536


class Guard:
    """The handle of the guard of the run whose process group *pid* leads. Raises OSError."""

    def __init__(self, pid: int, heartbeat_timeout_s: float) -> None:
        reader, self._writer = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(self._writer)
            raise
        if not self.pid:
            try:
                _watch(reader, pid, heartbeat_timeout_s + LATER_S)
            finally:
                os._exit(0)
        os.close(reader)
        os.set_blocking(self._writer, False)

    def heartbeat(self) -> None:
        """Forward a heartbeat of the worker."""
        with contextlib.suppress(OSError):
            os.write(self._writer, _HEARTBEAT)

    def close(self) -> None:
        """End the guard, because the run is over and its pid may be reused."""
        with contextlib.suppress(OSError):
            os.write(self._writer, _OVER)
        self.forget()

    def forget(self) -> None:
        """In a fork: close the pipe and leave the guard to the process that started it."""
        os.close(self._writer)


def _watch(reader: int, pid: int, heartbeat_timeout_s: float) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    reader = os.dup2(reader, 3) if reader != 3 else reader
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(4, _FDS_MAX)  # the pipes of all other runs, too
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    while poller.poll(heartbeat_timeout_s * 1000):
        data = os.read(reader, 4096)
        if _OVER in data:
            return
        if not data:  # the spawner is dead
            break
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
