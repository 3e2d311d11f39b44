"""
The verdict on a process that ended: end reason, exit code and message. Pure.

The order when several apply: stopped > timeout > log_overflow > exit code. A process that had exited before it was
stopped keeps its own result.
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from shared.config import format_duration, format_size
from shared.runs import FATE_UNKNOWN, Reason
from shared.tasks import MB, Task

if TYPE_CHECKING:
    from worker.processes.handle import Exit

Cause = Literal["stop", "timeout", "overflow", "shutdown", "lost"]
"""Why the worker stopped a process; "overflow" is too much output, "lost" that the lease was lost."""

_RANK: Final[dict[Cause, int]] = {"lost": 5, "stop": 4, "timeout": 3, "overflow": 2, "shutdown": 1}
_OUT_OF_MEMORY: Final = re.compile(rb"MemoryError|[Cc]annot allocate memory|[Oo]ut of memory|bad_alloc|ENOMEM")


class Verdict(NamedTuple):
    """
    ``interrupted``: the run ended only because its worker shut down; it is reported by ``interrupt``, not ``end``.
    """

    reason: Reason
    exit_code: int
    message: str
    interrupted: bool = False


def stronger(first: Cause | None, second: Cause) -> Cause:
    """The stronger of two causes."""
    return second if first is None or _RANK[second] > _RANK[first] else first


def judge(task: Task, exit_: Exit, cause: Cause | None, stderr_tail: bytes) -> Verdict:
    """
    Judge a process that ended as *exit_* after the worker stopped it for *cause* (None: it ended by itself).

    ``stderr_tail`` are the last bytes of its standard error, in which a memory error may be named. If it was being
    stopped when its spawner died, it has ended for that cause; its exit code is unknown.
    """
    if exit_.lost and cause not in ("stop", "timeout"):
        return Verdict(Reason.CRASHED, FATE_UNKNOWN, "crashed: the spawner process died")
    if exit_.violated:
        message = "killed: it wrote to the socket between its interpreter and the worker, which is not for tasks"
        return Verdict(Reason.FAILED, exit_.code, message)
    if cause == "stop":
        return Verdict(Reason.STOPPED, exit_.code, "stopped")  # the request to stop left a better message in the store
    if cause == "timeout":
        return Verdict(Reason.TIMEOUT, exit_.code, f"ran longer than timeout = {format_duration(task.timeout_ms or 0)}")
    if cause == "overflow":
        return Verdict(
            Reason.LOG_OVERFLOW, exit_.code, f"printed more than log_max_size = {format_size(task.log_max_size)}"
        )
    if cause == "shutdown":
        message = "interrupted: its worker was shut down"
        return Verdict(Reason.CRASHED, exit_.code, message, interrupted=True)
    if exit_.signal is None and exit_.code in task.success_codes:
        return Verdict(Reason.SUCCESS, exit_.code, "")
    return Verdict(Reason.FAILED, exit_.code, _why(task, exit_, stderr_tail))


def _why(task: Task, exit_: Exit, stderr_tail: bytes) -> str:
    if exit_.signal is None:
        said = f"exited with code {exit_.code}"
    else:
        said = f"killed by signal {exit_.signal}"
        if exit_.signal in set(signal.Signals):
            said += f" ({signal.Signals(exit_.signal).name})"
    if exit_.memory_used and task.memory_limit is not None:
        used = f"{max(1, round(exit_.memory_used / MB))}mb"
        return f"killed: its processes had {used} of memory, more than memory_limit = {format_size(task.memory_limit)}"
    spent_ms = (task.cpu_limit_s or 0) * 1000 - 500
    if spent_ms > 0 and exit_.signal in (signal.SIGXCPU, signal.SIGKILL) and exit_.cpu_time_ms >= spent_ms:
        return f"{said}: used more than cpu_limit = {task.cpu_limit_s} s of CPU time"
    if task.address_space_limit is not None and _OUT_OF_MEMORY.search(stderr_tail):
        return f"{said}: ran out of memory at address_space_limit = {format_size(task.address_space_limit)}"
    if exit_.signal == signal.SIGKILL:
        return f"{said}, possibly out of memory"
    return said
