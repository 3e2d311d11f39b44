"""Starts the process of a command, in its own session and with its limits; errors are sentences."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import stat

TYPE_CHECKING = False  # importing typing for it would cost memory
if TYPE_CHECKING:
    from typing import Any

    from worker.spawner.run import Run

TO_DEFAULT = sorted(set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP})
"""Signals that a new process handles by default, whatever is ignored here."""


def start_command(request: dict[str, Any], run: Run) -> int:
    """Start ``request["argv"]`` in a new session; the server's ``Start`` for commands."""
    env = {_bytes(key): _bytes(value) for key, value in request["env"].items()}
    argv = [_bytes(word) for word in request["argv"]]
    enter_directory(request["cwd"])
    if run.is_withdrawn():  # which may take long on a network file system
        raise OSError(errno.ECANCELED, "the start was withdrawn")
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
                file, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=TO_DEFAULT
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
    """Whether the request needs something that only code between fork and exec can set."""
    return any(request.get(name) for name in ("nice", "address_space_limit", "cpu_limit_s", "user"))


def apply_limits(request: dict[str, Any]) -> None:
    """In the new process: niceness and rlimits of *request*. Raises OSError with a sentence."""
    nice, memory, cpu_s = request.get("nice"), request.get("address_space_limit"), request.get("cpu_limit_s")
    if nice:
        try:
            os.nice(nice)
        except OSError as error:
            raise OSError(error.errno, f"cannot set nice = {nice}: {error.strerror}") from None
    for name, limit, word in (("RLIMIT_AS", memory, "address_space_limit"), ("RLIMIT_CPU", cpu_s, "cpu_limit")):
        if not limit:
            continue
        try:
            # The hard CPU limit is one second more: SIGXCPU explains the end, SIGKILL ends programs that ignore it.
            resource.setrlimit(getattr(resource, name), (limit, limit + 1 if name == "RLIMIT_CPU" else limit))
        except (OSError, ValueError) as error:
            raise OSError(getattr(error, "errno", 0) or errno.EINVAL, f"cannot set {word} = {limit}: {error}") from None


def become(user: tuple[str, int, int, list[int]], fds: list[int]) -> None:
    """
    In the new process: switch to *user* (name, user id, group id, all groups) for good. Raises OSError with a sentence.

    The pipes *fds* are given to the user, who could not open ``/dev/stdout`` otherwise.
    """
    name, uid, gid, groups = user
    for fd in fds:
        with contextlib.suppress(OSError):
            os.fchown(fd, uid, gid)
    try:
        if os.getuid() == uid == os.geteuid() and os.getgid() == gid:
            return
        os.setgroups(groups)
        if hasattr(os, "setresuid"):
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        else:
            os.setgid(gid)
            os.setuid(uid)
    except OSError as error:
        raise OSError(error.errno, f"cannot become the user {name!r}: {error.strerror}") from None


def own_peak() -> int:
    """The largest resident set of this process since its last exec, in kilobytes; 0 if unknown."""
    with contextlib.suppress(OSError):
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1])
    return 0


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
        if request.get("user"):
            become(request["user"], [1, 2])
        for resettable in TO_DEFAULT:
            with contextlib.suppress(OSError):
                signal.signal(resettable, signal.SIG_DFL)
        os.execve(file, argv, env)
    except BaseException as error:
        sentence = getattr(error, "strerror", None) or str(error)
        os.write(trouble_write, f"{getattr(error, 'errno', 0) or 0} {sentence}".encode())
    finally:
        os._exit(127)


def _find_program(name: bytes, path: bytes) -> bytes:
    """The file that a shell would execute: *name* itself if it has a slash, else the first executable in *path*."""
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


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
