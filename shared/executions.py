"""
What an execution is doing, seen from its plan and its runs. Pure.

A step's phase follows from the newest attempts of its replicas, an execution's from its steps: failed before stopped,
and succeeded only when everything did.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from shared.runs import Reason, Run, Status


class Phase(StrEnum):
    """How far a step or an execution is; the last four are final. ``skipped``: nothing of it was ever to run."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"


FINAL: Final = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED, Phase.SKIPPED})
_OF_REASON: Final = {Reason.SUCCESS: Phase.SUCCEEDED, Reason.STOPPED: Phase.STOPPED, Reason.SKIPPED: Phase.SKIPPED}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """
    A step of an execution: *task* by *definition* (a hash), after the steps numbered ``needs``.

    ``group`` is -1 when an earlier execution did it all; ``done_before`` are the
    replicas of which one did, and the runs in which that was. ``runs`` are
    this execution's, oldest first: every replica and attempt that is still kept, none before its group's turn.
    ``became`` is how it ended once that is settled, whatever of its runs is kept; None when the runs have to tell.
    Unless it ``is_made``, more runs of it follow soon.
    """

    task: str
    definition: str
    group: int
    needs: tuple[int, ...]
    replicas: int
    done_before: tuple[tuple[int, UUID], ...] = ()
    runs: tuple[Run, ...] = ()
    became: Phase | None = None
    is_made: bool = True

    @property
    def newest(self) -> list[Run]:
        """The newest attempt of each replica, by replica."""
        return newest_attempts(self.runs)

    @property
    def phase(self) -> Phase:
        """How far it is."""
        if self.group < 0:
            return Phase.SUCCEEDED
        phase = self.became or phase_of(self.runs)
        return Phase.RUNNING if phase in FINAL and not self.is_made else phase

    @property
    def message(self) -> str:
        """Why it did not succeed, in the words of the first replica that didn't; "" otherwise."""
        return (
            next(
                (run.message for run in self.newest if run.message and run.end_reason not in (None, Reason.SUCCESS)), ""
            )
            if self.phase in FINAL - {Phase.SUCCEEDED}
            else ""
        )


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """
    Everything one trigger makes. Times are stored time in microseconds, 0 for not yet.

    ``version`` grows with every change of a status in it, and orders what was seen of it. ``desired`` is ``stopped``
    once that was asked for. ``first`` is its first run (whose id it has), None when that is no longer kept.
    """

    id: UUID
    task: str
    phase: Phase
    desired: Phase | None
    version: int
    created_us: int
    start_us: int
    over_us: int
    message: str
    first: Run | None
    groups: int
    steps: tuple[Step, ...]

    @property
    def tasks(self) -> frozenset[str]:
        """Every task it touches: the one that was started, and those of all its steps."""
        return frozenset({self.task, *(step.task for step in self.steps)})

    @property
    def runs(self) -> list[Run]:
        """All its runs that are kept, step by step."""
        return [run for step in self.steps for run in step.runs]


def phase_of(runs: Sequence[Run]) -> Phase:
    """The phase of what these runs are all attempts of; pending when there are none yet."""
    newest = newest_attempts(runs)
    if not newest or any(run.status is not Status.ENDED for run in newest):
        begun = any(run.status is not Status.PENDING for run in runs)
        return Phase.RUNNING if begun else Phase.PENDING
    return combined(
        _OF_REASON.get(run.end_reason, Phase.FAILED) for run in newest if isinstance(run.end_reason, Reason)
    )


def phase_after(reason: str) -> Phase:
    """The phase of what ended for that reason, "" for none that kept it from succeeding."""
    return _OF_REASON.get(Reason(reason or Reason.SUCCESS), Phase.FAILED)


def combined(final: Iterable[Phase]) -> Phase:
    """The phase of the whole whose parts ended in these."""
    found = set(final)
    for phase in (Phase.FAILED, Phase.STOPPED, Phase.SUCCEEDED, Phase.SKIPPED):
        if phase in found and not (phase is Phase.SUCCEEDED and Phase.SKIPPED in found):
            return phase
    return Phase.SKIPPED


def transitions_of(runs: Iterable[Run]) -> int:
    """
    How many changes of status these runs have behind them: their part of an execution's version.

    An end counts as two, because with it a wish to stop is no longer told, and the version may not stay the same.
    """
    return sum(
        1 + (run.start_at is not msgspec.UNSET) + 2 * (run.status is Status.ENDED) + (run.stop_requested is True)
        for run in runs
    )


def newest_attempts(runs: Iterable[Run]) -> list[Run]:
    """The newest attempt of each replica, by replica; *runs* are of one step."""
    by_replica: dict[int, Run] = {}
    for run in runs:
        before = by_replica.get(run.replica_index)
        # An interrupted attempt that is run again has the same number: the later one counts.
        if before is None or (run.retry_attempt, run.number) > (before.retry_attempt, before.number):
            by_replica[run.replica_index] = run
    return [by_replica[replica] for replica in sorted(by_replica)]
