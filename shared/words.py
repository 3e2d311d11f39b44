"""The 13 states that people see of a run, as the dashboard and the CLI name them."""

from datetime import datetime
from typing import Final, Literal, get_args

from shared.runs import Run, Status

State = Literal[
    "due",
    "queued",
    "blocked",
    "no_worker",
    "running",
    "stopping",
    "success",
    "failed",
    "timeout",
    "crashed",
    "log_overflow",
    "stopped",
    "skipped",
]
"""
Four for a pending run (due later, in its queue, held by an overlap rule or a limit, in a queue without a worker), two
for a running one, then the end reasons.
"""

STATES: Final[tuple[State, ...]] = get_args(State)
PENDING: Final[tuple[State, ...]] = STATES[:4]
BAD: Final[tuple[State, ...]] = ("crashed", "failed", "timeout", "log_overflow")
"""Ends that people should look at, the worst first."""


def state_of(run: Run, pending: State = "queued") -> State:
    """The state of *run*; *pending* is which of the four it has while it waits."""
    if run.status == Status.ENDED:
        state: State = run.end_reason.value if run.end_reason else "failed"
        return state
    if run.status == Status.RUNNING:
        return "stopping" if run.stop_requested else "running"
    return pending


def elapsed_ms(run: Run, now: datetime) -> int:
    """How long *run* took, or has run until *now*; 0 when it never started."""
    if not run.start_at:
        return 0
    return max(0, int(((run.end_at or now) - run.start_at).total_seconds() * 1000))
