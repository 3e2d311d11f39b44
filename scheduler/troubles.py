"""Failures in the scheduler, and the pauses before the next try."""

import time
from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple

from shared import backoff
from shared.errors import RunfleetError
from shared.telemetry import get_logger

log = get_logger("scheduler")

FIRST_S: Final = 1.0
"""The pause after a first failure; each further one doubles it."""

LONGEST_S: Final = 60.0

MOST: Final = 1000
"""Maximum number of remembered failures."""

SHOWN: Final = 20
"""Number of failures shown."""

SAY_AGAIN_S: Final = 60.0
"""How often a lasting failure is logged again."""

FORGOTTEN_S: Final = 600.0
"""A failure that has not recurred for this long counts as over."""


class Pauses:
    """The pauses of named things that fail."""

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self._pauses: dict[str, Iterator[float]] = {}
        self._longest_s = longest_s

    def __len__(self) -> int:
        return len(self._pauses)

    def failed(self, name: str, *, patient: bool = False) -> float:
        """The pause after another failure, in seconds; none after the first one if that may be chance (*patient*)."""
        is_first = name not in self._pauses
        pauses_s = self._pauses.setdefault(name, backoff.pauses_s(FIRST_S, self._longest_s))
        return 0.0 if is_first and patient else next(pauses_s)

    def passed(self, name: str) -> None:
        """Forget the failures of a thing that succeeded."""
        self._pauses.pop(name, None)

    def keep(self, names: Collection[str]) -> None:
        """Forget all other things."""
        self._pauses = {name: pauses_s for name, pauses_s in self._pauses.items() if name in names}


class Turns:
    """Named things that take turns, with a pause for those that failed, in measured time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, longest_s: float = LONGEST_S) -> None:
        self._clock = clock
        self._pauses = Pauses(longest_s)
        self._not_before_s: dict[str, float] = {}

    def may(self, name: str) -> bool:
        """Whether it is not paused now."""
        return self._not_before_s.get(name, 0.0) <= self._clock()

    def waiting(self, prefix: str) -> int:
        """How many names with this prefix are paused now."""
        now_s = self._clock()
        return sum(1 for name, until_s in self._not_before_s.items() if until_s > now_s and name.startswith(prefix))

    def failed(self, name: str, *, patient: bool = False) -> None:
        """Pause it."""
        if len(self._not_before_s) >= MOST and name not in self._not_before_s:
            self.passed(next(iter(self._not_before_s)))
        self._not_before_s[name] = self._clock() + self._pauses.failed(name, patient=patient)

    def passed(self, name: str) -> None:
        """Forget its failures."""
        self._pauses.passed(name)
        self._not_before_s.pop(name, None)


class _Trouble(NamedTuple):
    at_s: float
    logged_s: float
    why: str


class Troubles:
    """
    Failures by job and part ("": the whole job), until it succeeds; and how often each job failed.

    An outage of Redis is no failure of a job; the store logs it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures: dict[str, int] = {}
        self._clock = clock
        self._now: dict[tuple[str, str], _Trouble] = {}

    def note(self, job: str, about: str, error: BaseException) -> None:
        """Record and log a failure."""
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
        """Record a success; whether it had failed before."""
        return bool(self._now) and self._now.pop((job, about), None) is not None

    def current(self) -> dict[str, str]:
        """The current failures: job and part → why."""
        old_s = self._clock() - FORGOTTEN_S
        self._now = {key: trouble for key, trouble in self._now.items() if trouble.at_s > old_s}
        newest = list(self._now.items())[-SHOWN:]
        return {f"{job} {about}".strip(): trouble.why for (job, about), trouble in newest}
