"""Facts beside the records of runs, for tables: why a run waits, the runs around it, its task's usual duration."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

import msgspec

from shared.clock import to_datetime
from shared.runs import Run, Status
from shared.store.fleet import LEASE_US
from shared.store.listing import following, newest_before
from shared.store.records import AT_ONCE
from shared.store.redis.call import NOW, Call, each, together
from shared.store.redis.scripts import script
from shared.words import State, state_of

AROUND: Final = 30
"""Runs that are shown around one, with itself."""

LAST_RUNS: Final = 60
FEW_SUCCESSES: Final = 5
TASKS_AT_ONCE: Final = 25
"""Tasks whose durations one script reads: some milliseconds of Redis."""


class States(msgspec.Struct, frozen=True):
    """The states of some runs at time ``at``."""

    at: datetime
    by_run: dict[UUID, State]


class Streak(msgspec.Struct, frozen=True):
    """How many runs in a row ended alike, and when the first of them was created."""

    count: int
    since: datetime


class Usual(msgspec.Struct, frozen=True):
    """How long a task usually takes."""

    p50_ms: int
    p95_ms: int


class Neighbours(msgspec.Struct, frozen=True):
    """The runs of a task around one of them, in order of their numbers and with itself. No streak while it lives."""

    runs: list[Run]
    streak: Streak | None


async def states(found: Sequence[Run], now: int | str = NOW) -> States:
    """The states of runs, in one round trip."""
    waiting = [run.id for run in found if run.status == Status.PENDING]
    steps = [waiting[first : first + AT_ONCE] for first in range(0, len(waiting), AT_ONCE)] or [[]]
    replies = await each(_pending(step, now) for step in steps)
    words = dict(zip(waiting, [word for _, part in replies for word in part], strict=True))
    return States(replies[0][0], {run.id: state_of(run, words.get(run.id) or "queued") for run in found})


async def neighbours(run: Run) -> Neighbours:
    """Three calls in one round trip. With few runs on one side there are more on the other."""
    reason = str(run.end_reason or "")
    before, after, alike = await together(
        newest_before(run.task_name, run.number, AROUND - 1),
        following(run.task_name, run.number, AROUND - 1),
        streak(run.task_name, reason, run.number),
    )
    later = max(AROUND // 2 - 1, AROUND - 1 - len(before))
    after = after[:later]
    before = before[: AROUND - 1 - len(after)]
    return Neighbours([*before[::-1], run, *after], alike if reason else None)


async def usual(tasks: Sequence[str]) -> dict[str, Usual]:
    """
    The usual durations of tasks: those of the successes among the last ``LAST_RUNS`` ended runs. A task with fewer than
    ``FEW_SUCCESSES`` has none. One round trip, by small scripts.
    """
    steps = [tasks[first : first + TASKS_AT_ONCE] for first in range(0, len(tasks), TASKS_AT_ONCE)]
    replies = await each(_durations(step) for step in steps)
    return {
        task: Usual(taken[len(taken) // 2] // 1000, taken[len(taken) * 95 // 100] // 1000)
        for step, reply in zip(steps, replies, strict=True)
        for task, taken in zip(step, reply, strict=True)
        if len(taken) >= FEW_SUCCESSES
    }


def _durations(tasks: Sequence[str]) -> Call[list[list[int]]]:
    return Call(script("usual"), (NOW, LAST_RUNS, *tasks), lambda reply: [sorted(taken) for taken in reply])


def _pending(ids: Sequence[UUID], now: int | str) -> Call[tuple[datetime, list[State]]]:
    def read(reply: Any) -> tuple[datetime, list[State]]:
        return to_datetime(int(reply[0])), [cast(State, word.decode()) for word in reply[1:]]

    return Call(script("pending_states"), (now, LEASE_US, *(one.bytes for one in ids)), read)


def streak(task: str, reason: str, number: int) -> Call[Streak | None]:
    """How many runs of *task* ended for *reason* in a row, up to *number*; None when the last one did not."""

    def read(reply: Any) -> Streak | None:
        return Streak(reply[0], to_datetime(int(float(reply[1])))) if reply[1] else None

    return Call(script("streak"), (NOW, task, reason, number), read)
