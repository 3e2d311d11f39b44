"""
The pool of warm interpreters for ``call`` tasks, and the handle of a call.

The key of an interpreter (``interpreter.py``) is everything that its code may see at import time: Python, module,
directory and environment, without the variables of a single run (``RUNFLEET_…`` and ``TRACEPARENT``). A change of any
of these starts a new one; changed code alone needs a restart of the worker.
"""

from __future__ import annotations

import signal
import threading
import time
from typing import Final, NoReturn

from worker.processes.client import ProcessChannel
from worker.processes.commands import Spawner
from worker.processes.handle import (
    LOST,
    SIGNALLED,
    START_TIMEOUT_S,
    CallRequest,
    Exit,
    Limits,
    SpawnFailed,
    StartedLate,
    Unanswered,
)
from worker.processes.interpreter import FATAL, Interpreter, lasting

CALLS_MAX: Final = 1000
"""A warm interpreter with ``isolate = false`` is replaced after so many runs."""

IDLE_MAX: Final = 16
IDLE_MAX_S: Final = 600.0

KILL_WAIT_S: Final = 5.0
"""How long a warm interpreter may take to kill one of its runs; it is killed if it does not, being suspended."""


class CallableProcess:
    """The ``ProcessHandle`` of a call."""

    def __init__(self, interpreters: InterpreterPool, request: CallRequest) -> None:
        self._interpreters = interpreters
        self._request = request
        self._exit: Exit | None = None
        self._closed = False
        self._killed_s = 0.0
        self._interpreter, self._channel, self._first = interpreters.acquire(request)
        self._use_channel()

    def _use_channel(self) -> None:
        self.pid = self._interpreter.pid
        self.control_fd = self._channel.control_fd
        self.stdout_fd = self._channel.stdout_fd
        self.stderr_fd = self._channel.stderr_fd

    def started(self, timeout_s: float = START_TIMEOUT_S) -> int:
        """
        Wait until it runs; its pid. Raises SpawnFailed, which also closes the handle.

        Does not wait for an import in progress: the pid is then that of the interpreter.
        """
        try:
            return self._started(timeout_s)
        except SpawnFailed:
            self.close()
            raise

    def _started(self, timeout_s: float) -> int:
        messages = self._channel.messages
        deadline = time.monotonic() + timeout_s
        while self._exit is None and "pid" not in messages and (self._first or self._interpreter.ready):
            if self._channel.peer_closed:
                if self._first:
                    self._interpreter.wait_exit(2.0)
                    raise SpawnFailed(self._interpreter.stderr_tail())
                # It exited between two runs; this run has not begun.
                self._channel.close()
                self._interpreter.retired = True
                self._interpreters.release(self._interpreter)
                self._closed = True
                self._interpreter, self._channel, self._first = self._interpreters.acquire(self._request)
                self._closed = False
                self._use_channel()
                messages = self._channel.messages
            elif not self._channel.wait(deadline - time.monotonic()):
                if self._first:
                    break  # it is still starting: it can already be signalled and read
                self._withdraw(f"the warm interpreter of {self._request.call!r} did not answer for {timeout_s:g} s")
        self._apply_messages()
        return self.pid

    def _withdraw(self, why: str) -> NoReturn:
        """
        Ensure that the call is never started: the interpreter confirms it or is killed. Raises Unanswered, or
        StartedLate.
        """
        messages, end_s = self._channel.messages, time.monotonic() + START_TIMEOUT_S / 2
        self._channel.withdraw()
        while not self._channel.peer_closed and "pid" not in messages and time.monotonic() < end_s:
            self._channel.wait(end_s - time.monotonic())
        if not self._channel.peer_closed:
            self._interpreter.signal(signal.SIGKILL)
            self._interpreter.wait_exit(START_TIMEOUT_S)
            self._channel.receive()
        self._channel.receive()
        if "pid" in messages:
            raise StartedLate(f"{why}; it was started then, and killed")
        raise Unanswered(why)

    def read_exit(self) -> Exit | None:
        if self._exit is None:
            self._channel.receive()
            self._apply_messages()
            self._exit = self._channel.exit()
            if self._exit is None and self._channel.peer_closed:
                # The interpreter died. If it was making the call or the import, its exit is that of the run.
                own = self._first or not self._request.isolate
                ended = self._interpreter.wait_exit(2.0) if own and not self._has_fork() else None
                self._interpreter.retired = True
                self._exit = ended or LOST
            elif self._exit is None and self._killed_s and time.monotonic() > self._killed_s + KILL_WAIT_S:
                self._interpreter.signal(signal.SIGKILL)
        return self._exit

    def signal(self, number: int) -> None:
        if self._exit is not None:
            return
        self._channel.receive()
        self._apply_messages()
        if self._channel.exit() is not None:
            return
        if self._has_fork():
            if number == signal.SIGKILL:
                self._killed_s = self._killed_s or time.monotonic()
                self._interpreter.signal(signal.SIGCONT)  # the run may have suspended it
            self._channel.send_signal(number)
        elif self._first or not self._request.isolate:
            self._interpreter.signal(number)
        elif number in FATAL:
            # It is importing for another run: there is nothing to signal yet, and the call must not begin.
            self._channel.disconnect()
            self._exit = Exit(code=SIGNALLED + number, signal=int(number))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._channel.receive()
            self._apply_messages()
            if not self._request.isolate and self._channel.exit() is None:
                self._interpreter.retired = True
            self._channel.close()
            self._interpreters.release(self._interpreter)

    def _has_fork(self) -> bool:
        return (
            self._request.isolate and self._channel.messages.get("pid", self._interpreter.pid) != self._interpreter.pid
        )

    def _apply_messages(self) -> None:
        messages = self._channel.messages
        self.pid = messages.get("pid", self.pid)
        if self._has_fork() or (not self._request.isolate and "exit" in messages):
            self._interpreter.ready = True
        if self._channel.violated:
            # Any message about a fork may be false. Other calls in this interpreter run the same code.
            self._interpreter.signal(signal.SIGKILL)
        if "last" in messages:
            self._interpreter.retired = True


class InterpreterPool:
    """All warm interpreters of a worker process. Thread-safe."""

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner
        self._lock = threading.Lock()
        self._known: dict[object, list[Interpreter]] = {}

    def spawn(self, request: CallRequest) -> CallableProcess:
        """Request a call; ``started`` waits for it. Raises SpawnFailed if no interpreter can be started."""
        return CallableProcess(self, request)

    def acquire(self, request: CallRequest) -> tuple[Interpreter, ProcessChannel, bool]:
        """Send *request* to an interpreter; returns it, the channel, and whether the request is its first."""
        module, _, function = request.call.partition(":")
        if not module or not function:
            raise SpawnFailed(f'call = {request.call!r}: write "module:function"')
        body = {name: getattr(request, name) for name in Limits.__struct_fields__}
        body |= {"function": function, "kwargs": request.kwargs}
        while True:
            with self._lock:
                interpreter = self._find(request, module)
                first = interpreter.served == 0
                interpreter.served += 1
                interpreter.busy += 1
            has_started = False
            try:
                if first:
                    interpreter.start(self._spawner)
                else:
                    interpreter.wait_started()
                has_started = True
                return interpreter, interpreter.client.request(body), first
            except BaseException as error:
                why = error
                if first and has_started and interpreter.wait_exit(2.0) is not None:
                    why = SpawnFailed(interpreter.stderr_tail())  # before it is released, and so closed
                interpreter.retired = True
                self.release(interpreter)
                if first or not isinstance(error, SpawnFailed):
                    raise why from None

    def release(self, interpreter: Interpreter) -> None:
        """Finish a request made by ``acquire``."""
        with self._lock:
            interpreter.busy -= 1
            interpreter.idle_since_s = time.monotonic()
            if interpreter.retired or interpreter.served >= CALLS_MAX:
                self._retire()

    def close(self) -> None:
        """Kill all interpreters and their runs."""
        with self._lock:
            for interpreters in self._known.values():
                for interpreter in interpreters:
                    interpreter.close()
            self._known.clear()

    def _find(self, request: CallRequest, module: str) -> Interpreter:
        key = _key(request, module)
        for interpreter in self._known.get(key, ()):
            free = interpreter.isolate or (not interpreter.busy and interpreter.served < CALLS_MAX)
            if free and not interpreter.retired:
                if interpreter.read_exit() is None:
                    return interpreter
                interpreter.retired = True
        self._retire()
        interpreter = Interpreter(request, module)
        self._known.setdefault(key, []).append(interpreter)
        return interpreter

    def _retire(self) -> None:
        """Close interpreters that are retired, worn out, idle for long, or the longest idle beyond ``IDLE_MAX``."""
        oldest_s = time.monotonic() - IDLE_MAX_S
        idle = [one for several in self._known.values() for one in several if not one.busy]
        idle.sort(key=lambda one: one.idle_since_s, reverse=True)
        for place, one in enumerate(idle):
            worn = not one.isolate and one.served >= CALLS_MAX
            if one.retired or worn or place >= IDLE_MAX or one.idle_since_s < oldest_s:
                one.close()
                one.retired = True
        for key in [
            key for key, several in self._known.items() if any(one.retired and not one.busy for one in several)
        ]:
            left = [one for one in self._known.pop(key) if not one.retired or one.busy]
            if left:
                self._known[key] = left


def _key(request: CallRequest, module: str) -> object:
    env = frozenset(lasting(request.env).items())
    shared = (request.isolate, request.python, module, request.cwd, request.user, env)
    return shared if request.isolate else (*shared, request.nice, request.memory_limit, request.address_space_limit)
