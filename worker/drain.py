"""The drain of a worker process: whether it has begun, and until when runs may go on."""

import time
from typing import Final

SAME_REQUEST_S: Final = 1.0
"""Signals within this time are one request: some platforms send SIGTERM to every process, several times."""

HURRY_S: Final = 2.0
"""Maximum remaining grace period after a second request."""

LATE_S: Final = 1.5
"""How long after the end of the grace period a thread may still wait for Redis."""

KILLED_S: Final = 1.0
"""How long it may take until the end of a killed process is on record."""


class DrainState:
    """
    Whether this worker process claims anything, and until when its runs may go on (measured seconds).

    ``begin`` may be called from a signal handler or any thread.
    """

    def __init__(self) -> None:
        self.until_s: float | None = None
        self._asked_s = 0.0
        self._grace_s = 0.0

    @property
    def begun(self) -> bool:
        """True from the first request on."""
        return self.until_s is not None

    @property
    def is_over(self) -> bool:
        """Whether the grace period is over, with the time to wait for Redis after it."""
        return self.until_s is not None and time.monotonic() > self.until_s + LATE_S

    def begin(self, grace_s: float, *, now: bool = False) -> None:
        """
        Claim nothing more, and let runs finish for *grace_s*. Another call later, or with *now*: stop them.

        Requests within a second are one.
        """
        asked_s = time.monotonic()
        if self.until_s is None:
            self._asked_s = asked_s
            self._grace_s = 0.0 if now else grace_s
            self.until_s = asked_s + self._grace_s
        elif now or asked_s - self._asked_s > SAME_REQUEST_S:
            self._grace_s = 0.0
            self.until_s = min(self.until_s, asked_s + HURRY_S)

    def stop_from_s(self, graceful_s: float) -> float | None:
        """
        When to begin to stop a run whose stop sequence takes *graceful_s*; None before the drain.

        Early enough to finish within the grace period, but not in its first half: a run may end by itself, and the
        sequence is squeezed into the rest.
        """
        until_s = self.until_s
        if until_s is None:
            return None
        if not self._grace_s:
            return until_s - HURRY_S
        return until_s - min(graceful_s + KILLED_S, self._grace_s / 2)

    def graceful_s(self, graceful_s: float, now_s: float) -> float:
        """The time between the signal and SIGKILL for a run that is stopped at measured time *now_s*."""
        left_s = (self.until_s or 0.0) - now_s
        return min(graceful_s, max(0.0, left_s - min(KILLED_S, left_s / 2)))
