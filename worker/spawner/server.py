"""The server of the spawner, and of a warm interpreter that forks: takes requests, forwards signals, reports exits."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time

TYPE_CHECKING = False  # importing typing for it would cost memory
if TYPE_CHECKING:
    import resource
    from collections.abc import Callable
    from typing import Any

    from worker.spawner import guard, memory, orphans, process_group, protocol, spawn
    from worker.spawner.run import Run

    Start = Callable[[dict[str, Any], "Run"], int]
    """Starts what a request asks for; answers its pid. Raises OSError whose ``strerror`` is a sentence for people."""
else:
    import guard
    import memory
    import orphans
    import process_group
    import protocol
    import spawn
    from run import Run

MEMORY_CHECK_S = 0.25
"""How often the memory of runs with a limit is measured; less often when that takes long."""

LEFTOVER_WAIT_S = 1.0
"""How long the end of a run waits for its killed orphans to be gone; one may be stuck in the kernel."""

_POLL_LEFTOVERS_MS = 20


class SpawnServer:
    """
    Serves one socket until its end of file: accepts requests, starts processes, forwards signals, reports exits.

    *executes*: its processes call exec, so their memory is not this process's.
    """

    def __init__(self, server: socket.socket, start: Start, *, executes: bool = False) -> None:
        self._server = server
        self._start = start
        self._registered: dict[int, Run] = {}
        self._running: dict[int, Run] = {}
        self._ending: list[Run] = []
        self._strict: set[Run] = set()
        self._executes = executes
        self._limited: set[Run] = set()
        self._check_memory_at = 0.0
        self._peak_kb, self._peak_until = 0, 0.0
        self._orphans = orphans.Orphans()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._own_fds = [server.fileno(), self._wake_read, self._wake_write]
        if self._orphans.fd >= 0:
            self._own_fds.append(self._orphans.fd)
        self._poller = select.poll()
        self._poller.register(server.fileno(), select.POLLIN)
        self._poller.register(self._wake_read, select.POLLIN)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
            # A handler that does nothing, because an ignored signal would stay ignored in what we start.
            signal.signal(number, _nothing)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        process_group.become_subreaper()

    def serve(self) -> None:
        """Returns at the end of file of the server socket, when every descendant is dead."""
        while True:
            for fd, _ in self._poller.poll(self._timeout_ms()):
                if fd == self._wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(fd, 4096)
                elif fd == self._server.fileno():
                    if not self._accept():
                        self._end_everything()
                        return
                elif fd in self._registered:
                    self._read(self._registered[fd])
            if self._strict:
                self._kill_abandoned()
            if self._limited and time.monotonic() >= self._check_memory_at:
                self._kill_over_memory_limit()
            self._reap()

    def take(self, run: Run, request: dict[str, Any]) -> None:
        """Start a request that was received outside the loop."""
        self._register(run)
        self._launch(run, request)

    def forget(self, *, but: Run) -> None:
        """
        In a fork of this process: restore default signals, and close the loop's descriptors (or ends would be missed).
        """
        signal.set_wakeup_fd(-1)
        for number in spawn.TO_DEFAULT:
            with contextlib.suppress(OSError):
                if signal.getsignal(number) is not signal.SIG_DFL:
                    signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for fd in self._own_fds:
            os.close(fd)
        for run in {*self._registered.values(), *self._ending, *self._running.values()}:
            if run.guard is not None:
                run.guard.forget()
            if run is not but:
                run.close()

    def _timeout_ms(self) -> float | None:
        if self._ending:
            return _POLL_LEFTOVERS_MS
        if not self._strict and not self._limited:
            return None
        soonest = min(
            [run.heartbeat_at + run.heartbeat_timeout_s for run in self._strict]
            + [self._check_memory_at] * bool(self._limited)
        )
        return max(0.0, soonest - time.monotonic()) * 1000 + 1

    def _kill_abandoned(self) -> None:
        """
        Kill runs with a heartbeat timeout whose worker sends none: a frozen worker cannot, and another may get the run.
        """
        now = time.monotonic()
        for run in [run for run in self._strict if now > run.heartbeat_at + run.heartbeat_timeout_s]:
            self._strict.discard(run)
            run.end["abandoned"] = True
            process_group.kill_group(run.pid, signal.SIGKILL)

    def _kill_over_memory_limit(self) -> None:
        """Kill runs whose processes together exceed their memory limit."""
        began = time.monotonic()
        adopted = self._orphans.by_run(self._running)
        for run in list(self._limited):
            pids = memory.tree([run.pid, *adopted.get(run.pid, ())])
            used = memory.used(pids, run.memory_limit)
            if used > run.memory_limit:
                self._limited.discard(run)
                run.end["memory_used"] = used
                process_group.kill_group(run.pid, signal.SIGKILL)
                for pid in pids:
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)
        now = time.monotonic()
        self._check_memory_at = now + max(MEMORY_CHECK_S, 10 * (now - began))

    def _accept(self) -> bool:
        fds = protocol.receive_descriptors(self._server, socket.MSG_DONTWAIT)
        if fds is None:
            return False
        if fds:
            run = Run(fds)
            self._register(run)
            self._read(run)
        return True

    def _register(self, run: Run) -> None:
        self._registered[run.control.fileno()] = run
        self._poller.register(run.control.fileno(), select.POLLIN)

    def _read(self, run: Run) -> None:
        try:
            data = run.control.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._unregister(run)
            if run.pid in self._running:
                process_group.kill_group(run.pid, signal.SIGKILL)
            elif not run.pid:
                run.close()
        elif run.pid:
            self._forward_signals(run, data)
        else:
            run.inbox += data
            body, rest = protocol.split_message(run.inbox)
            if body is not None:
                run.inbox = b""
                self._launch(run, json.loads(body))
                self._forward_signals(run, rest)

    def _forward_signals(self, run: Run, signals: bytes) -> None:
        run.heartbeat_at = time.monotonic()
        if run.guard is not None:
            run.guard.heartbeat()
        if run.pid in self._running:
            for number in signals:
                if number:
                    process_group.kill_group(run.pid, number)

    def _launch(self, run: Run, request: dict[str, Any]) -> None:
        if run.is_withdrawn() or request.get("ping"):
            self._finish(run, {"pong": True})
            return
        run.serves = len(run.fds) > 2
        try:
            run.run_id = request["run_id"]
            run.heartbeat_timeout_s = request.get("heartbeat_timeout_s") or 0.0
            run.memory_limit = request.get("memory_limit") or 0
            run.pid = self._start(request, run)
        except Exception as error:  # no request may end the loop
            sentence = getattr(error, "strerror", None) or f"cannot start it: {error}"
            self._finish(run, {"error": sentence, "errno": getattr(error, "errno", 0) or 0})
            return
        run.close_fds()
        self._running[run.pid] = run
        if run.heartbeat_timeout_s:
            run.heartbeat_at = time.monotonic()
            self._strict.add(run)
            with contextlib.suppress(OSError):  # no process can be started: then this one watches alone
                run.guard = guard.Guard(run.pid, run.heartbeat_timeout_s)
                self._orphans.guards.add(run.guard.pid)
        if run.memory_limit:
            self._limited.add(run)
        if self._executes:  # a fork sends it itself, or its value could end up inside this message
            protocol.send(run.control, {"pid": run.pid})

    def _finish(self, run: Run, message: dict[str, object]) -> None:
        """Send the last message about a run, and close it."""
        protocol.send(run.control, message)
        self._unregister(run)
        run.close()

    def _unregister(self, run: Run) -> None:
        if self._registered.pop(run.control.fileno(), None) is not None:
            self._poller.unregister(run.control.fileno())

    def _reap(self) -> None:
        died = False
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            died = True
            self._orphans.forget(pid)
            self._orphans.guards.discard(pid)
            run = self._running.pop(pid, None)
            if run is None:
                continue
            # Right after the reaping, in the same thread: pids are assigned in a circle, so this one is not reused yet.
            process_group.kill_group(pid, signal.SIGKILL)
            self._strict.discard(run)
            self._limited.discard(run)
            if run.guard is not None:
                run.guard.close()
                run.guard = None
            run.end.update(_describe_end(status, usage))
            if self._executes and usage.ru_maxrss <= self._own_peak() + 1024:
                # The kernel counts the moment before exec, in which it was as large as this process.
                run.end["peak_memory_bytes"] = 0
            if "memory_used" in run.end:
                run.end["peak_memory_bytes"] = run.end["memory_used"]
            run.report_by = time.monotonic() + LEFTOVER_WAIT_S
            self._ending.append(run)
        if died or self._ending:
            held = self._orphans.kill(self._running, self._ending)
            now = time.monotonic()
            for run in self._ending[:]:
                if run.pid not in held or now > run.report_by:
                    self._ending.remove(run)
                    self._finish(run, run.end)

    def _own_peak(self) -> int:
        """As ``spawn.own_peak``, read at most once a second: many runs may end in one."""
        now = time.monotonic()
        if now >= self._peak_until:
            self._peak_kb, self._peak_until = spawn.own_peak(), now + 1.0
        return self._peak_kb

    def _end_everything(self) -> None:
        for pid in self._running:
            process_group.kill_group(pid, signal.SIGKILL)
        while True:
            for pid in self._orphans.children(self._running):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            try:
                os.wait()  # children of the killed are ours when this returns: look again
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return


def _describe_end(status: int, usage: resource.struct_rusage) -> dict[str, object]:
    code = os.waitstatus_to_exitcode(status)
    return {
        "exit": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "peak_memory_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "cpu_time_ms": round((usage.ru_utime + usage.ru_stime) * 1000),
    }


def _nothing(_number: int, _frame: object) -> None:
    pass
