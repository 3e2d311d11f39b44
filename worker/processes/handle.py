"""
The handle of a process, the requests to start one, and its exit.

``commands.py`` has the handle of commands, ``callables.py`` that of calls in warm interpreters. One thread uses it; all
its descriptors are non-blocking. No method waits for the end of the process: ``execution/monitor.py`` does, in ``poll``
over ``control_fd``, ``stdout_fd`` and ``stderr_fd``.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from shared.errors import RunfleetError

START_TIMEOUT_S: Final = 10.0
"""How long a start may take; the spawner starts hundreds a second, so a longer wait means that it hangs."""

SIGNALLED: Final = 128
"""Added to a signal's number to make an exit code, as shells do."""


class SpawnFailed(RunfleetError):
    """Nothing was started; the message is a sentence that names the command and says why. ``errno`` is 0 if unknown."""

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class Unanswered(SpawnFailed):
    """The request got no answer: the other side is gone, or either side has no descriptors left."""


class StartedLate(RunfleetError):
    """The process was started after its request was withdrawn, and killed at once; its effects are unknown."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """
    The options that commands and calls share: where they run, as which user, and how much they may use.

    ``env`` is the whole environment, nothing is inherited; ``cwd`` None is the worker's own. ``memory_limit`` is in
    bytes of all its processes together, ``address_space_limit`` in bytes of address space and ``cpu_limit_s`` in
    seconds of CPU, both of each process; None is no limit. ``user`` is name, user id, group id and all groups of
    another operating-system user. ``run_id`` must be ``env["RUNFLEET_RUN_ID"]``: orphans are found by it. The process
    is killed when no ``signal(0)`` was sent for ``heartbeat_timeout_s``; None is never.
    """

    env: Mapping[str, str]
    run_id: str
    cwd: str | None = None
    umask: int | None = None
    nice: int = 0
    memory_limit: int | None = None
    address_space_limit: int | None = None
    user: tuple[str, int, int, tuple[int, ...]] | None = None
    cpu_limit_s: int | None = None
    heartbeat_timeout_s: float | None = None


class Launch(Limits, frozen=True, kw_only=True):
    """A command to start. ``argv[0]`` is looked up in the ``PATH`` of ``env``."""

    argv: tuple[str, ...]


class CallRequest(Limits, frozen=True, kw_only=True):
    """
    A call to make. ``call`` is ``module:function``, ``python`` None the worker's interpreter.

    With ``isolate`` False the interpreter itself makes the call: it has ``memory_limit``, ``address_space_limit`` and
    ``nice`` for life, and no ``heartbeat_timeout_s``.
    """

    call: str
    kwargs: Mapping[str, Any]
    isolate: bool = True
    python: str | None = None


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """
    The exit of a process.

    ``code`` is 0 to 255, or 128 + n when signal n killed it (then ``signal`` is n, else None). ``peak_memory_bytes`` is
    the largest resident set of one of its processes; 0 if unknown, as for a command that never had more than the
    spawner (some 10 MB), because the kernel counts the moment before exec. ``memory_used``: the bytes of all its
    processes together when they exceeded ``memory_limit`` and were killed; 0 if they did not. ``result`` is the JSON
    that a callable returned, None for commands and failures. ``lost``: the spawner or the interpreter died first, so
    the exit is unknown, or it killed the process after ``heartbeat_timeout_s``. ``violated``: it wrote to the socket
    between its interpreter and this worker, and was killed. With either of these the other fields mean nothing.
    """

    code: int
    signal: int | None = None
    peak_memory_bytes: int = 0
    memory_used: int = 0
    cpu_time_ms: int = 0
    result: bytes | None = None
    lost: bool = False
    violated: bool = False


LOST: Final = Exit(code=-2, lost=True)
VIOLATED: Final = Exit(code=SIGNALLED + 9, signal=9, violated=True)


class ProcessHandle(Protocol):
    """The handle of one started process, command or callable. Used by one thread."""

    @property
    def pid(self) -> int:
        """Its process id, 0 until ``started`` returned. For a callable it may change once, when its fork exists."""

    @property
    def control_fd(self) -> int:
        """Readable when ``read_exit`` is worth calling."""

    @property
    def stdout_fd(self) -> int:
        """Read end of its standard output, non-blocking."""

    @property
    def stderr_fd(self) -> int:
        """Read end of its standard error, non-blocking."""

    def started(self, timeout_s: float = START_TIMEOUT_S) -> int:
        """Wait until it runs; its pid. Raises SpawnFailed, which also closes the handle."""

    def read_exit(self) -> Exit | None:
        """Its exit, once it and all its orphans are dead; the same value from then on. Never waits."""

    def signal(self, number: int) -> None:
        """
        Send a signal to its process group. Does nothing after its end, so a reused pid is never signalled.

        0 is a heartbeat, for a process that was started with ``heartbeat_timeout_s``.
        """

    def close(self) -> None:
        """Close the descriptors, and kill the process if it still runs. May be called twice."""
