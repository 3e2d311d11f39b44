"""Stops of a run, a task or an execution. Each function is one call, described in the script that it names."""

from typing import Any, Literal
from uuid import UUID

from shared.errors import NotFound, Refused
from shared.runs import Run
from shared.store.records import decode_run
from shared.store.redis.call import NOW, Call, Key, call_name
from shared.store.redis.scripts import script
from shared.store.wakeups import read_ready


def stop(
    run_id: UUID, stop_request: Literal["stop", "kill"], message: str, now: int | str = NOW
) -> Call[tuple[str, Run, dict[str, int]]]:
    """
    Ask a run to stop. Answers ("stopped" | "asked", the run, queues to wake).

    Raises NotFound, and Refused when it has ended.
    """

    def read(reply: Any) -> tuple[str, Run, dict[str, int]]:
        verdict = reply[0].decode()
        if verdict == "gone":
            raise NotFound(f"there is no run {run_id}")
        run = decode_run(run_id.bytes, reply[1])
        if verdict == "ended":
            raise Refused(f"run {run_id} is ended ({run.end_reason}); it cannot be stopped", str(run.end_reason))
        return verdict, run, read_ready(reply[2:])

    return Call(script("stop"), (now, run_id.bytes, stop_request, message, call_name()), read)


def stop_all(
    task: str,
    execution: UUID | None,
    stop_request: Literal["stop", "kill"],
    message: str,
    left: int | str = "",
    now: int | str = NOW,
) -> Call[tuple[int, int, dict[str, int]]]:
    """
    Ask live runs of a task or an execution to stop, some of them: (how many, what is left, queues to wake).

    To be called again with what is *left* until that is 0. The store remembers the request to stop an execution, and
    the leader continues it when nothing has for a second.
    """
    args = (now, "" if execution else task, execution.bytes if execution else b"", stop_request, message, left)
    return Call(script("stop_all"), args, lambda reply: (reply[0], reply[1], read_ready(reply[2:])))


def stopping(limit: int, now_us: int) -> Call[list[UUID]]:
    """Executions whose stop was left half-done."""
    return Call(
        "ZRANGEBYSCORE",
        (Key("stopping"), "-inf", now_us - 1_000_000, "LIMIT", 0, limit),
        lambda reply: [UUID(bytes=one) for one in reply],
    )


def planned(task: str) -> Call[list[UUID]]:
    """Live executions that were started for the task and have other steps beside it."""
    return Call("SMEMBERS", (Key(f"plans:{task}"),), lambda reply: [UUID(bytes=one) for one in reply])
