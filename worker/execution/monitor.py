"""
The monitor of a run's process: reads its output, and stops it when there is a reason to.

Reasons are a request to stop, a lease that is over, its timeout, too much output, and a worker that shuts down.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from shared.tasks import Task
from worker.execution.stop_sequence import StopSequence
from worker.execution.verdict import Cause, stronger
from worker.heartbeat import FRESH_S, STRICT_S, Lease, StopRequest

if TYPE_CHECKING:
    from worker.drain import DrainState
    from worker.execution.wakeup import Wakeup
    from worker.logs.line_buffer import Stream
    from worker.logs.shipper import LogBuffer
    from worker.processes.handle import Exit, ProcessHandle

READ_BYTES: Final = 256 * 1024
CHECK_S: Final = 5.0
"""How often it checks when nothing happens, so that this thread is known to be alive."""

DRAIN_PIPES_S: Final = 0.5
"""How long a pipe is still read that another process holds open after the run's processes are dead."""

STDERR_TAIL_BYTES: Final = 4096


class Monitor:
    """Watches one process, in one thread. Other threads add to *stop_requests* and then set *wakeup*."""

    def __init__(
        self,
        task: Task,
        child: ProcessHandle,
        log_buffer: LogBuffer,
        *,
        lease: Lease,
        stop_requests: deque[StopRequest],
        wakeup: Wakeup,
        draining: DrainState,
        mark_alive: Callable[[], None],
    ) -> None:
        self.cause: Cause | None = None
        """Why it was stopped; None when it was not."""
        self.stderr_tail = b""
        """The end of what it wrote to its standard error."""
        self._task, self._child, self._log_buffer = task, child, log_buffer
        self._lease, self._stop_requests, self._wakeup, self._draining = lease, stop_requests, wakeup, draining
        self._mark_alive = mark_alive
        self._stop_sequence = StopSequence(_signal_number(task.stop_signal), task.graceful_stop_ms / 1000)
        self._deadline_s: float | None = None

    def until_end(self) -> Exit:
        """Read the output of the started process until it ends; stop it when there is a reason to."""
        task, child = self._task, self._child
        if task.timeout_ms is not None:
            self._deadline_s = time.monotonic() + task.timeout_ms / 1000
        poller = select.poll()
        open_pipes: dict[int, Stream] = {child.stdout_fd: "stdout", child.stderr_fd: "stderr"}
        for fd in (*open_pipes, child.control_fd, self._wakeup.fd):
            poller.register(fd, select.POLLIN)
        forwarded_s = 0.0
        exit_ = child.read_exit()
        while exit_ is None:
            self._mark_alive()
            now_s = time.monotonic()
            if task.strict_lease and forwarded_s != self._lease.renewed_s > now_s - FRESH_S:
                forwarded_s = self._lease.renewed_s
                child.signal(0)  # should this worker freeze, the spawner kills the run instead
            self._check_stop_reasons(now_s)
            signal_due = self._stop_sequence.due(now_s)
            if signal_due:
                child.signal(signal_due)
            readable = [fd for fd, _ in poller.poll(self._timeout_ms(now_s))]
            if self.cause is not None or not readable or any(fd not in open_pipes for fd in readable):
                exit_ = child.read_exit()  # before reading a stop request: how it ended by itself is its result
            for fd in readable:
                if fd in open_pipes:
                    if not self._read(fd, open_pipes[fd]):
                        poller.unregister(fd)
                        del open_pipes[fd]
                elif fd == self._wakeup.fd:
                    self._wakeup.clear()
        self._read_rest(open_pipes)
        return exit_

    def _check_stop_reasons(self, now_s: float) -> None:
        """Begin to stop the process if there is a reason to."""
        task = self._task
        while self._stop_requests:
            request = self._stop_requests.popleft()
            if request == "lost":
                self._stop("lost", now_s, 0.0)
            else:
                self._stop("stop", now_s, 0.0 if request == "kill" else None)
        if task.strict_lease and self._lease.is_stale(now_s):
            self._stop("lost", now_s, 0.0)
        if self._deadline_s is not None and now_s >= self._deadline_s:
            self._stop("timeout", now_s, None)
        if self._log_buffer.line_buffer.overflowed:
            self._stop("overflow", now_s, None)
        graceful_s = task.graceful_stop_ms / 1000
        stop_from_s = self._draining.stop_from_s(graceful_s)
        if stop_from_s is not None and now_s >= stop_from_s:
            self._stop("shutdown", now_s, self._draining.graceful_s(graceful_s, now_s))

    def _stop(self, cause: Cause, now_s: float, graceful_s: float | None) -> None:
        if self.cause == cause and graceful_s is None:
            return
        self.cause = stronger(self.cause, cause)
        self._stop_sequence.begin(now_s, graceful_s)

    def _timeout_ms(self, now_s: float) -> float:
        task = self._task
        stop_from_s = self._draining.stop_from_s(task.graceful_stop_ms / 1000)
        waits = [self._stop_sequence.wait_s(now_s), CHECK_S]
        if self._deadline_s is not None and self.cause is None:
            waits.append(self._deadline_s - now_s)
        if stop_from_s is not None and self.cause is None:
            waits.append(stop_from_s - now_s)
        if task.strict_lease and self.cause != "lost":
            waits.append(min(0.5, self._lease.renewed_s + STRICT_S - now_s + 0.01))
        return max(0.0, min(wait for wait in waits if wait is not None)) * 1000 + 1

    def _read(self, fd: int, stream: Stream) -> bool:
        """Read what is in a pipe; False at its end."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        if stream == "stderr":
            self.stderr_tail = (self.stderr_tail + data)[-STDERR_TAIL_BYTES:]
        self._log_buffer.feed(stream, data)
        return True

    def _read_rest(self, open_pipes: dict[int, Stream]) -> None:
        """Read the rest of the pipes; one that another process holds open is abandoned after a moment."""
        end_s = time.monotonic() + DRAIN_PIPES_S
        while True:
            for fd, stream in list(open_pipes.items()):
                if not self._read(fd, stream):
                    del open_pipes[fd]
            left_s = end_s - time.monotonic()
            if not open_pipes or left_s <= 0:
                return
            poller = select.poll()  # not `select`, which cannot handle descriptors beyond 1023
            for fd in open_pipes:
                poller.register(fd, select.POLLIN)
            poller.poll(left_s * 1000)


def _signal_number(name: str) -> int:
    return int(getattr(signal, name, signal.SIGTERM))
