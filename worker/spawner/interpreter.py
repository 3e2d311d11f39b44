"""
The warm interpreter: imports the module of a ``call`` task once, then serves its runs.

Executed by path, by the interpreter that the task names, in the task's own environment and directory:
``python interpreter.py fork|stay <module>``, with the socket it serves as descriptor 3. It hides those neighbours that
it imports from the task's code. The worker's side is ``worker.processes.interpreter``.

``fork``: every run is a fork in a session of its own, started and watched by the spawner's server.
``stay``: this process itself makes one call after another; threads, processes and changed modules of a call stay until
the process is replaced.

A changed module is imported when the worker restarts, or when the key of this process changes
(``worker.processes.callables``).
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import socket
import sys
import time

if sys.version_info < (3, 9):  # noqa: UP036  # this file is read by other interpreters than ours
    sys.exit("a call needs Python 3.9 or later, this is " + sys.version.split()[0])

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from worker.spawner import protocol, server, spawn
    from worker.spawner.run import Run
else:
    _here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if folder != _here]
    sys.path.insert(0, _here)
    import protocol
    import server
    import spawn
    from run import Run

    del sys.path[0]
    for _name in ("process_group", "guard", "orphans", "server", "memory", "spawn", "protocol", "run"):
        del sys.modules[_name]  # the task's own module of that name must be found

SERVER_FD = 3
RESULT_MAX = 1_000_000
"""Most bytes of JSON that a returned value may have: within a message, where quotes are escaped, at most twice that."""

DEPTH_MAX = 100
"""How deep lists and objects of a returned value may be nested."""


def main() -> None:
    mode, module = sys.argv[1:]
    listener = socket.socket(fileno=SERVER_FD)
    os.set_inheritable(SERVER_FD, False)
    sys.argv[:] = [module]
    if not sys.flags.isolated:
        sys.path.insert(0, os.getcwd())
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]  # text files all
    if mode == "fork":
        serve_forks(listener, module)
    else:
        serve_calls(listener, module)


def serve_forks(listener: socket.socket, module: str) -> None:
    """Import *module* with its output going to the first request, then fork for each request."""
    arrived = _receive(listener)
    if arrived is None:
        return
    run, request = arrived
    protocol.send(run.control, {"pid": os.getpid(), "importing": True})
    _redirect(run.fds)
    if not _import(module):
        _refuse(listener, run, module)
        return
    null = os.open(os.devnull, os.O_RDWR)
    _redirect([null, null])
    os.close(null)
    gc.collect()
    gc.freeze()  # otherwise a collection in a fork would copy every page that it marks

    def start(request: dict[str, Any], run: Run) -> int:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                serving.forget(but=run)
                protocol.send(run.control, {"pid": os.getpid()})
                code = _run_fork(module, request, run)
            finally:
                os._exit(code)
        return pid

    serving = server.SpawnServer(listener, start)
    serving.take(run, request)
    serving.serve()


def _run_fork(module: str, request: dict[str, Any], run: Run) -> int:
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    _redirect(run.fds)
    run.close_fds()
    _enter(request)
    try:
        spawn.apply_limits(request)
    except OSError as error:
        _complain(error.strerror or str(error))
        return 1
    code, result = _call(module, request)
    if result:
        protocol.send(run.control, result)
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()  # as at the end of any interpreter: non-daemon threads finish
    _flush()
    return code


def serve_calls(listener: socket.socket, module: str) -> None:
    """Make one call after another in this process, until the end of file of *listener*."""
    null = os.open(os.devnull, os.O_RDWR)
    os.set_inheritable(null, False)
    imported = False
    while True:
        arrived = _receive(listener)
        if arrived is None:
            return
        run, request = arrived
        protocol.send(run.control, {"pid": os.getpid()})
        before_s = time.process_time()
        _redirect(run.fds)
        _enter(request)
        lift = _limit_cpu(request)
        if not imported and not _import(module):
            _refuse(listener, run, module)
            return
        imported = True
        code, result = _call(module, request)
        _flush()
        lift()
        _redirect([null, null])
        spent_ms = round((time.process_time() - before_s) * 1000)
        _finish(run, {**result, "exit": code, "signal": None, "cpu_time_ms": spent_ms})


def _receive(listener: socket.socket) -> tuple[Run, dict[str, Any]] | None:
    """Wait for the next request. None at the end of file."""
    while True:
        fds = protocol.receive_descriptors(listener)
        if fds is None:
            return None
        if not fds:
            continue
        run = Run(fds)
        body, data = None, b""
        while body is None:
            chunk = run.control.recv(65536)
            if not chunk:
                break
            body, data = protocol.split_message(data + chunk)
        if body is not None:
            return run, json.loads(body)
        run.close()


def _enter(request: dict[str, Any]) -> None:
    """Set the environment and umask of a run."""
    env = request["env"]
    for name in set(os.environ) - set(env):
        del os.environ[name]
    for name, value in env.items():
        if os.environ.get(name) != value:  # most variables are the same for every run, and each change leaks a little
            os.environ[name] = value
    if request.get("umask") is not None:
        os.umask(request["umask"])


def _limit_cpu(request: dict[str, Any]) -> Callable[[], None]:
    """Allow this process that many more seconds of CPU; returns a function that lifts the limit again."""
    seconds = request.get("cpu_limit_s")
    if not seconds:
        return lambda: None
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = int(time.process_time()) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
    return lambda: resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _import(module: str) -> bool:
    try:
        __import__(module)
    except BaseException as error:
        if isinstance(error, SystemExit):
            _complain(f"the module {module!r} ended the interpreter while it was imported: SystemExit({error.code!r})")
        _print_traceback(error)
        if isinstance(error, ModuleNotFoundError) and error.name and module.split(".")[0] == error.name.split(".")[0]:
            _complain(f"looked for it in {', '.join(sys.path)}; set working_dir, or PYTHONPATH in env")
        _flush()
        return False
    return True


def _refuse(listener: socket.socket, run: Run, module: str) -> None:
    """End *run*, and all runs that wait for the same import, as failed."""
    null = os.open(os.devnull, os.O_RDWR)
    _redirect([null, null])
    end: dict[str, object] = {"exit": 1, "signal": None, "last": True, "cpu_time_ms": round(time.process_time() * 1000)}
    _finish(run, end)
    listener.setblocking(False)
    while True:
        fds = protocol.receive_descriptors(listener)
        if not fds:
            return
        waiting = Run(fds)
        os.write(
            waiting.fds[1],
            f"runfleet: the module {module!r} could not be imported; the log of an earlier run says why\n".encode(),
        )
        _finish(waiting, {"pid": os.getpid(), **end})


def _call(module: str, request: dict[str, Any]) -> tuple[int, dict[str, object]]:
    """Make the call; its exit code, and the message with the returned value. An error is printed."""
    name = request["function"]
    try:
        target: Any = sys.modules[module]
        for part in name.split("."):
            target = getattr(target, part)
    except AttributeError:
        _complain(f"the module {module!r} has no function {name!r}")
        return 1, {}
    try:
        value = target(**request["kwargs"])
        if hasattr(value, "cr_frame"):
            import asyncio

            value = asyncio.run(value)
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF, {}
        sys.stderr.write(f"{error.code}\n")
        return 1, {}
    except BaseException as error:
        _print_traceback(error)
        return 1, {}
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except RecursionError:
        size, deep = 0, True
    except (TypeError, ValueError) as error:
        _complain(f"{module}:{name} returned a {type(value).__name__} that cannot be written as JSON: {error}")
        return 1, {}
    else:
        deep = _is_deep(text)
    if deep:
        _complain(f"{module}:{name} returned a {type(value).__name__} that is nested more than {DEPTH_MAX} deep")
        return 1, {}
    if size > RESULT_MAX:
        _complain(f"{module}:{name} returned {size} bytes of JSON; {RESULT_MAX} are allowed, store more elsewhere")
        return 1, {}
    _flush()
    return 0, {"result": text}


def _is_deep(text: str) -> bool:
    """Whether lists and objects in the JSON *text* are nested too deep for its readers."""
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return False
    import re

    depth = 0
    for bracket in re.findall(r"[\[\]{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEPTH_MAX:
            return True
    return False


def _print_traceback(error: BaseException) -> None:
    import traceback

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def _complain(sentence: str) -> None:
    sys.stderr.write(f"runfleet: {sentence}\n")


def _redirect(fds: list[int]) -> None:
    _flush()
    for target, fd in enumerate(fds, 1):
        os.dup2(fd, target)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed or replaced by the task's code
            stream.flush()


def _finish(run: Run, end: dict[str, object]) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    run.close_fds()  # before the message, so that its receiver finds the end of the output
    protocol.send(run.control, {"peak_memory_bytes": peak, **end})
    run.close()


if __name__ == "__main__":
    main()
