"""What failed in the scheduler: kept for whoever asks, and how long to leave it alone before it is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from shared.clock import SECOND_US
from shared.errors import RunfleetError
from shared.telemetry import get_logger

log = get_logger("scheduler")

FIRST_US: Final = SECOND_US
"""The pause after a first failure; each further one doubles it."""

LONGEST_US: Final = 60 * SECOND_US

MOST: Final = 1000
"""Things that are remembered at once."""

SHOWN: Final = 20
"""Of those so many are told."""

SAY_AGAIN_S: Final = 60.0
"""What fails all the time is logged so often."""

FORGOTTEN_S: Final = 600.0
"""A failure that nothing has repeated for so long is no news any more."""


class Pauses:
    """How often each of some named things failed in a row."""

    def __init__(self, longest_us: int = LONGEST_US) -> None:
        self._failures: dict[str, int] = {}
        self._longest_us = longest_us

    def __len__(self) -> int:
        return len(self._failures)

    def failed(self, name: str, *, patient: bool = False) -> int:
        """For how long to leave it alone, in microseconds; not at all the first time if that may be chance."""
        count = self._failures[name] = self._failures.get(name, 0) + 1
        if patient:
            count -= 1
        return min(FIRST_US << min(count - 1, 10), self._longest_us) if count else 0

    def passed(self, name: str) -> None:
        """It did not fail."""
        self._failures.pop(name, None)

    def keep(self, names: Collection[str]) -> None:
        """Forget all others."""
        self._failures = {name: count for name, count in self._failures.items() if name in names}


class Turns:
    """Named things that take turns, with a pause for those that failed. By measured time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, longest_us: int = LONGEST_US) -> None:
        self._clock = clock
        self._pauses = Pauses(longest_us)
        self._not_before_s: dict[str, float] = {}

    def may(self, name: str) -> bool:
        """Whether it need not be left alone now."""
        return self._not_before_s.get(name, 0.0) <= self._clock()

    def waiting(self, prefix: str) -> int:
        """How many whose names begin so are left alone now."""
        now_s = self._clock()
        return sum(1 for name, until_s in self._not_before_s.items() if until_s > now_s and name.startswith(prefix))

    def failed(self, name: str, *, patient: bool = False) -> None:
        """Leave it alone for a while."""
        if len(self._not_before_s) >= MOST and name not in self._not_before_s:
            self.passed(next(iter(self._not_before_s)))
        self._not_before_s[name] = self._clock() + self._pauses.failed(name, patient=patient) / SECOND_US

    def passed(self, name: str) -> None:
        """It did not fail."""
        self._pauses.passed(name)
        self._not_before_s.pop(name, None)


class _Trouble(NamedTuple):
    at_s: float
    logged_s: float
    why: str


class Troubles:
    """
    What failed, by job and what of it ("": the job as a whole), until it succeeds; and how often each job failed.

    An outage of Redis is no failure of a job: that is told as what it is.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures: dict[str, int] = {}
        self._clock = clock
        self._now: dict[tuple[str, str], _Trouble] = {}

    def note(self, job: str, about: str, error: BaseException) -> None:
        """Remember and log it."""
        self.failures[job] = self.failures.get(job, 0) + 1
        now_s = self._clock()
        known = self._now.pop((job, about), None)
        while len(self._now) >= MOST:
            del self._now[next(iter(self._now))]
        if known is None or now_s - known.logged_s >= SAY_AGAIN_S:
            logged_s = now_s
            if known is None and not isinstance(error, RunfleetError):
                log.exception("scheduler.job_failed", job=job, about=about, error=str(error))
            else:
                log.error("scheduler.job_failed", job=job, about=about, error=str(error))
        else:
            logged_s = known.logged_s
        self._now[job, about] = _Trouble(now_s, logged_s, f"{type(error).__name__}: {error}"[:300])

    def clear(self, job: str, about: str = "") -> bool:
        """It succeeded; answers whether it had failed before."""
        return bool(self._now) and self._now.pop((job, about), None) is not None

    def told(self) -> dict[str, str]:
        """What fails now, some of it: job and what of it → why."""
        old_s = self._clock() - FORGOTTEN_S
        self._now = {key: trouble for key, trouble in self._now.items() if trouble.at_s > old_s}
        newest = list(self._now.items())[-SHOWN:]
        return {f"{job} {about}".strip(): trouble.why for (job, about), trouble in newest}
