"""
The keeper: a lean, single-threaded process that starts, watches and buries the processes of one worker process.

It is executed by path (``python -I -S keeper.py``), imports nothing but the standard library and must run on any
Python from 3.9 on, because ``child.py`` builds the warm interpreters on the same loop. The worker's side of the
conversation is ``process.py``.

Why a process of its own: starting a process from a big, threaded one is slow, and a leftover could not be traced. The
keeper is the *subreaper* of all it starts, so what a run leaves behind comes back to it, whatever session it fled to.
It ends at the end of file of its one socket, that is when the worker is gone for whatever reason, and takes everything
with it.

::

    worker                                     keeper
      │ socket: one byte + [control, stdout, stderr] ▸
      │ control: length + JSON request ──────────▸ │ starts it in a session of its own
      │ ◂──────────────────── {"pid": 71} or {"error": …}
      │ control: one byte per signal ─────────────▸│ to the process group, never after the end; 0 says "go on"
      │ ◂───────── {"exit": 0, "signal": null, …}  │ after the last leftover of the run is gone
      │ control closed before that ───────────────▸│ kills the group
"""

from __future__ import annotations

import array
import contextlib
import errno
import json
import os
import select
import signal
import socket
import stat
import struct
import sys
import time

TYPE_CHECKING = False  # importing typing for it would cost memory
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Start = Callable[[dict[str, Any], "Run"], int]
    """Starts what a request asks for; answers its pid. Raises OSError whose ``strerror`` is a sentence for people."""

try:
    import resource as resource
except ImportError:  # a platform without rlimits: a request that asks for them is refused in words
    resource = None  # type: ignore[assignment]

LENGTH = struct.Struct("!I")
LEFTOVER_WAIT_S = 1.0
"""How long the end of a run waits for its killed leftovers to be gone; one stuck in the kernel must not hold it up."""

_PR_SET_CHILD_SUBREAPER = 36
_POLL_LEFTOVERS_MS = 20
_FDS_MAX = 4
_SPACE = socket.CMSG_SPACE(_FDS_MAX * array.array("i").itemsize)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_TO_DEFAULT = sorted(set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP})


class Run:
    """One request and the process made for it. ``pid`` is 0 before the start, ``end`` is set once it was reaped."""

    def __init__(self, control: socket.socket, fds: list[int]) -> None:
        self.control = control
        self.fds = fds
        self.inbox = b""
        self.pid = 0
        self.run_id = ""
        self.serves = False
        self.end: dict[str, object] = {}
        self.report_by = 0.0
        self.silence_s = 0.0
        self.heard_at = 0.0


class Loop:
    """Serves one socket until its end of file: accepts requests, starts them, passes signals on, reports ends."""

    def __init__(self, server: socket.socket, start: Start) -> None:
        self._server = server
        self._start = start
        self._hearing: dict[int, Run] = {}
        self._running: dict[int, Run] = {}
        self._ending: list[Run] = []
        self._strict: set[Run] = set()
        self._suspects: dict[int, set[int]] = {}
        self._own_id = os.environ.get("RUNFLEET_RUN_ID", "")
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._own_fds = [server.fileno(), self._wake_read, self._wake_write]
        self._children_fd = -1
        with contextlib.suppress(OSError):
            self._children_fd = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY)
            self._own_fds.append(self._children_fd)
        self._poller = select.poll()
        self._poller.register(server.fileno(), select.POLLIN)
        self._poller.register(self._wake_read, select.POLLIN)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
            # A handler that does nothing, because an ignored signal would stay ignored in what we start.
            signal.signal(number, _nothing)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        become_subreaper()

    def serve(self) -> None:
        """Returns at the end of file of the server socket, when every descendant is dead."""
        while True:
            for fd, _ in self._poller.poll(self._patience_ms()):
                if fd == self._wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(fd, 4096)
                elif fd == self._server.fileno():
                    if not self._accept():
                        self._end_everything()
                        return
                elif fd in self._hearing:
                    self._hear(self._hearing[fd])
            if self._strict:
                self._kill_abandoned()
            self._reap()

    def take(self, run: Run, request: dict[str, Any]) -> None:
        """Start a request that was read by other means than the loop."""
        self._hear_from(run)
        self._launch(run, request)

    def forget(self, *, but: Run) -> None:
        """In a fork of this process: default signals, nothing of the loop left open (ends would be missed)."""
        signal.set_wakeup_fd(-1)
        for number in _TO_DEFAULT:
            with contextlib.suppress(OSError):
                if signal.getsignal(number) is not signal.SIG_DFL:
                    signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for fd in self._own_fds:
            os.close(fd)
        for run in [*self._hearing.values(), *self._ending, *self._running.values()]:
            if run is not but:
                _close(run)

    def _patience_ms(self) -> float | None:
        if self._ending:
            return _POLL_LEFTOVERS_MS
        if not self._strict:
            return None
        soonest = min(run.heard_at + run.silence_s for run in self._strict)
        return max(0.0, soonest - time.monotonic()) * 1000 + 1

    def _kill_abandoned(self) -> None:
        """
        Kill strict runs whose worker has been silent: frozen, it can't, and somebody else is about to get the run.
        """
        now = time.monotonic()
        for run in [run for run in self._strict if now > run.heard_at + run.silence_s]:
            self._strict.discard(run)
            run.end["abandoned"] = True
            kill_group(run.pid, signal.SIGKILL)

    def _accept(self) -> bool:
        fds = receive_descriptors(self._server, socket.MSG_DONTWAIT)
        if fds is None:
            return False
        if fds:
            run = Run(socket.socket(fileno=fds[0]), fds[1:])
            self._hear_from(run)
            self._hear(run)
        return True

    def _hear_from(self, run: Run) -> None:
        self._hearing[run.control.fileno()] = run
        self._poller.register(run.control.fileno(), select.POLLIN)

    def _hear(self, run: Run) -> None:
        try:
            data = run.control.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._stop_hearing(run)
            if run.pid in self._running:
                kill_group(run.pid, signal.SIGKILL)
            elif not run.pid:
                _close(run)
        elif run.pid:
            self._pass_on(run, data)
        else:
            run.inbox += data
            body, rest = split_message(run.inbox)
            if body is not None:
                run.inbox = b""
                self._launch(run, json.loads(body))
                self._pass_on(run, rest)

    def _pass_on(self, run: Run, signals: bytes) -> None:
        run.heard_at = time.monotonic()
        if run.pid in self._running:
            for number in signals:
                if number:
                    kill_group(run.pid, number)

    def _launch(self, run: Run, request: dict[str, Any]) -> None:
        run.serves = len(run.fds) > 2
        try:
            run.run_id = request["run_id"]
            run.silence_s = request.get("silence_s") or 0.0
            run.pid = self._start(request, run)
        except Exception as error:  # whatever a request is like, the loop outlives it
            sentence = getattr(error, "strerror", None) or f"cannot start it: {error}"
            send(run.control, {"error": sentence, "errno": getattr(error, "errno", 0) or 0})
            self._stop_hearing(run)
            _close(run)
            return
        for fd in run.fds:
            os.close(fd)
        run.fds = []
        self._running[run.pid] = run
        if run.silence_s:
            run.heard_at = time.monotonic()
            self._strict.add(run)
        send(run.control, {"pid": run.pid})

    def _stop_hearing(self, run: Run) -> None:
        if self._hearing.pop(run.control.fileno(), None) is not None:
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
            self._suspects.pop(pid, None)
            run = self._running.pop(pid, None)
            if run is None:
                continue
            # Right after the reaping, in the same thread: numbers are given out in a circle, ours cannot be back yet.
            kill_group(pid, signal.SIGKILL)
            self._strict.discard(run)
            run.end.update(_describe_end(status, usage))
            run.report_by = time.monotonic() + LEFTOVER_WAIT_S
            self._ending.append(run)
        if died or self._ending:
            held = self._kill_leftovers()
            now = time.monotonic()
            for run in self._ending[:]:
                if run.pid not in held or now > run.report_by:
                    self._ending.remove(run)
                    send(run.control, run.end)
                    self._stop_hearing(run)
                    _close(run)

    def _kill_leftovers(self) -> set[int]:
        """
        Kill what ended runs left behind; answers the pids of the ended runs that still have something dying.

        What a run leaves becomes our child, and a child we didn't start is a leftover of somebody: of the run whose
        session it is in or whose id its environment names; else, having hidden both, of one of the runs that lived when
        it was first seen, and it dies with the last of these.
        """
        strangers = self._children() - self._running.keys()
        if not strangers:
            return set()
        held = set()
        ending = {run.pid: run for run in self._ending}
        by_id = {run.run_id: run.pid for run in self._ending}
        living_ids = {run.run_id for run in self._running.values()}
        for pid in strangers:
            try:
                session = os.getsid(pid)
            except OSError:
                continue
            if session in self._running:
                continue
            owner = session if session in ending else 0
            if not owner:
                run_id = _run_id_of(pid)
                if run_id == self._own_id:
                    run_id = ""  # a fork that never called exec still shows the environment of this process
                elif run_id in living_ids:
                    continue
                if run_id:
                    owner = by_id.get(run_id, 0)
                else:
                    suspects = self._suspects.setdefault(
                        pid, {run.pid for run in [*self._running.values(), *self._ending] if not run.serves}
                    )
                    if suspects & self._running.keys():
                        continue
                    owner = next(iter(suspects & ending.keys()), 0)
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            held.add(owner)
        return held

    def _children(self) -> set[int]:
        """Our children, dead ones not yet reaped included. Without /proc those we started: none is adopted."""
        if self._children_fd < 0:
            return set(self._running)
        text, offset = b"", 0
        while True:
            chunk = os.pread(self._children_fd, 65536, offset)
            if not chunk:
                return {int(word) for word in text.split()}
            text += chunk
            offset += len(chunk)

    def _end_everything(self) -> None:
        for pid in self._running:
            kill_group(pid, signal.SIGKILL)
        while True:
            for pid in self._children():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            try:
                os.wait()  # the children of what died are ours when this returns: look again
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return


def start_command(request: dict[str, Any], run: Run) -> int:
    """Start ``request["argv"]`` in a new session; the loop's ``Start`` for commands."""
    env = {_bytes(key): _bytes(value) for key, value in request["env"].items()}
    argv = [_bytes(word) for word in request["argv"]]
    enter_directory(request["cwd"])
    umask = request.get("umask")
    before = os.umask(umask) if umask is not None else None
    try:
        file = _find_program(argv[0], env.get(b"PATH", b"/usr/local/bin:/usr/bin:/bin"))
        try:
            if needs_fork(request):
                return _fork_command(request, file, argv, env, run)
            actions: list[tuple[int, int, str, int, int] | tuple[int, int, int]] = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
            ]
            # Our own descriptors fill the numbers up to 3, so no target is another one's source.
            actions += [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(run.fds, 1)]
            return os.posix_spawn(
                file, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_TO_DEFAULT
            )
        except OSError as error:
            raise OSError(error.errno, _explain(error, file)) from None
    finally:
        if before is not None:
            os.umask(before)
        os.chdir("/")


def enter_directory(path: str) -> None:
    """Make *path* the working directory. Raises OSError with a sentence that names it."""
    try:
        os.chdir(path)
    except OSError as error:
        raise OSError(error.errno, f"cannot enter the working directory {path!r}: {error.strerror}") from None


def needs_fork(request: dict[str, Any]) -> bool:
    """Whether the request asks for something that only code between fork and exec can set."""
    return bool(request.get("nice") or request.get("memory_limit") or request.get("cpu_limit_s"))


def apply_limits(request: dict[str, Any]) -> None:
    """In the new process: niceness and rlimits of *request*. Raises OSError with a sentence."""
    nice, memory, cpu_s = request.get("nice"), request.get("memory_limit"), request.get("cpu_limit_s")
    if nice:
        try:
            os.nice(nice)
        except OSError as error:
            raise OSError(error.errno, f"cannot set nice = {nice}: {error.strerror}") from None
    for name, limit, word in (("RLIMIT_AS", memory, "memory_limit"), ("RLIMIT_CPU", cpu_s, "cpu_limit")):
        if not limit:
            continue
        try:
            # One second more as the hard limit of CPU: SIGXCPU says what happened, SIGKILL is for those who ignore it.
            resource.setrlimit(getattr(resource, name), (limit, limit + 1 if name == "RLIMIT_CPU" else limit))
        except (OSError, ValueError, AttributeError) as error:
            raise OSError(getattr(error, "errno", 0) or errno.EINVAL, f"cannot set {word} = {limit}: {error}") from None


def _fork_command(request: dict[str, Any], file: bytes, argv: list[bytes], env: dict[bytes, bytes], run: Run) -> int:
    trouble_read, trouble_write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(trouble_write)
        with open(trouble_read, "rb") as pipe:
            trouble = pipe.read()
        if trouble:
            os.waitpid(pid, 0)
            number, _, sentence = trouble.decode("utf-8", "replace").partition(" ")
            raise OSError(int(number), sentence)
        return pid
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        for target, fd in enumerate(run.fds, 1):
            os.dup2(fd, target)
        apply_limits(request)
        for resettable in _TO_DEFAULT:
            with contextlib.suppress(OSError):
                signal.signal(resettable, signal.SIG_DFL)
        os.execve(file, argv, env)
    except BaseException as error:
        sentence = getattr(error, "strerror", None) or str(error)
        os.write(trouble_write, f"{getattr(error, 'errno', 0) or 0} {sentence}".encode())
    finally:
        os._exit(127)


def _find_program(name: bytes, path: bytes) -> bytes:
    """What exec of the shell would find: *name* itself if it has a slash, else the first executable in *path*."""
    if b"/" in name:
        return name
    for folder in path.split(b":"):
        file = os.path.join(folder or b".", name)
        if os.access(file, os.X_OK) and stat.S_ISREG(os.stat(file).st_mode):
            return file
    where = path.decode("utf-8", "replace")
    raise OSError(errno.ENOENT, f"cannot start {_text(name)!r}: no such program in PATH ({where})")


def _explain(error: OSError, file: bytes) -> str:
    name, number = _text(file), error.errno
    if (error.strerror or "").startswith("cannot "):
        return error.strerror or ""
    if not number:
        return f"cannot start {name!r}: {error.strerror or error}"
    why = os.strerror(number)
    if number == errno.ENOENT and os.path.exists(file):
        why = "the interpreter that its first line names does not exist"
    elif number == errno.EACCES:
        if os.path.isdir(file):
            why = "it is a directory"
        elif os.path.isfile(file) and not os.access(file, os.X_OK):
            why = f"it is not executable (chmod +x {name})"
    elif number == errno.ENOEXEC:
        why = "it is neither a program of this machine nor a script whose first line names one (#!)"
    elif number == errno.EAGAIN:
        why = f"{why}: the limit of processes is reached"
    return f"cannot start {name!r}: {why}"


def receive_descriptors(server: socket.socket, flags: int = 0) -> list[int] | None:
    """
    The control socket, pipes and more of the next request; None at the end of file, [] when there is none (now).

    A request whose descriptors exceed this process's limit is dropped: its worker sees the control socket closed.
    """
    try:
        data, ancillary, received, _ = server.recvmsg(1, _SPACE, _CLOEXEC | flags)
    except BlockingIOError:
        return []
    except ConnectionError:
        return None
    fds = array.array("i")
    for _level, _kind, payload in ancillary:
        fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    if not _CLOEXEC:
        for fd in fds:
            os.set_inheritable(fd, False)
    if data and (len(fds) < 3 or received & socket.MSG_CTRUNC):
        for fd in fds:
            os.close(fd)
        return []
    return list(fds) if data else None


def send(control: socket.socket, message: dict[str, object]) -> None:
    """One message to the worker; a worker that is gone does not hear it."""
    body = json.dumps(message).encode()
    with contextlib.suppress(OSError):
        control.sendall(LENGTH.pack(len(body)) + body)


def split_message(data: bytes) -> tuple[bytes | None, bytes]:
    """The first whole message in *data* (None: not there yet) and what follows it."""
    if len(data) < LENGTH.size:
        return None, data
    end = LENGTH.size + LENGTH.unpack_from(data)[0]
    return (data[LENGTH.size : end], data[end:]) if len(data) >= end else (None, data)


def kill_group(pid: int, number: int) -> None:
    """Signal the process group that *pid* leads, if there is (still) one. Never our own, never everybody's."""
    if pid > 1 and pid != os.getpgrp():
        with contextlib.suppress(OSError):
            os.killpg(pid, number)


def become_subreaper() -> None:
    """Adopt the orphans of our descendants (Linux; elsewhere, or without ctypes, they go to init as always)."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (ImportError, OSError, AttributeError, TypeError):
        pass


def _describe_end(status: int, usage: resource.struct_rusage) -> dict[str, object]:
    code = os.waitstatus_to_exitcode(status)
    return {
        "exit": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "peak_memory_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "cpu_time_ms": round((usage.ru_utime + usage.ru_stime) * 1000),
    }


def _run_id_of(pid: int) -> str:
    """The run named in the environment a process was started with; "" if none, or if it cannot be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
    except OSError:
        return ""
    for entry in environ.split(b"\0"):
        if entry.startswith(b"RUNFLEET_RUN_ID="):
            return _text(entry[16:])
    return ""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _close(run: Run) -> None:
    for fd in run.fds:
        os.close(fd)
    run.fds = []
    run.control.close()


def _nothing(_number: int, _frame: object) -> None:
    pass


if __name__ == "__main__":
    worker = socket.socket(fileno=0)
    loop = Loop(worker, start_command)
    worker.sendall(b"+")  # now no signal ends it any more
    loop.serve()
