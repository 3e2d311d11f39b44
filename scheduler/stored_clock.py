"""Redis's clock, extrapolated between two polls, and monitored for steps."""

from collections.abc import Callable
from typing import Final

from shared.clock import SECOND_US

STEP_US: Final = 2 * SECOND_US
"""Smaller differences are not steps: a poll takes some time."""


class StoredClock:
    """Stored time, extrapolated between two polls by measured time; detects steps in between."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._time = clock
        self.seen_us = 0
        self._asked_s = self._answered_s = self._asking_s = 0.0

    def before(self) -> None:
        """Call before stored time is requested."""
        self._asking_s = self._time()

    def after(self, seen_us: int) -> int:
        """
        Set it to *seen_us*; how far it stepped relative to measured time since the last poll, 0 for less than two
        seconds.
        """
        answered_s = self._time()
        least_us, most_us = (self._asking_s - self._answered_s) * SECOND_US, (answered_s - self._asked_s) * SECOND_US
        gone_us = seen_us - self.seen_us
        is_first = not self.seen_us
        self.seen_us, self._asked_s, self._answered_s = seen_us, self._asking_s, answered_s
        if is_first or least_us - STEP_US <= gone_us <= most_us + STEP_US:
            return 0
        return round(gone_us - most_us if gone_us > most_us else gone_us - least_us)

    def now_us(self) -> int:
        """Stored time now."""
        return self.seen_us + round((self._time() - self._answered_s) * SECOND_US)
