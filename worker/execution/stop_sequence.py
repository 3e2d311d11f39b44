"""The stop sequence of a run: a state machine without a clock."""

import signal
from typing import Literal


class StopSequence:
    """
    A signal, a grace period, SIGKILL. It only returns what is due; times are measured seconds.

    A second ``begin`` changes nothing, unless it leaves less time.
    """

    def __init__(self, number: int = signal.SIGTERM, graceful_s: float = 10.0) -> None:
        self._number = int(number)
        self._graceful_s = graceful_s
        self._kill_at_s = 0.0
        self.step: Literal["idle", "begun", "asked", "killed"] = "idle"

    def begin(self, now_s: float, graceful_s: float | None = None) -> None:
        """Begin; *graceful_s* overrides the time between signal and SIGKILL, 0 goes to SIGKILL at once."""
        kill_at_s = now_s + (self._graceful_s if graceful_s is None else graceful_s)
        if self.step == "idle":
            self.step, self._kill_at_s = "begun", kill_at_s
        else:
            self._kill_at_s = min(self._kill_at_s, kill_at_s)

    def due(self, now_s: float) -> int:
        """The signal to send now, or 0. Each is returned once."""
        if self.step in ("begun", "asked") and now_s >= self._kill_at_s:
            self.step = "killed"
            return signal.SIGKILL
        if self.step == "begun":
            self.step = "asked"
            return self._number
        return 0

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until a signal is due; None when there is none to come."""
        if self.step == "begun":
            return 0.0
        return max(0.0, self._kill_at_s - now_s) if self.step == "asked" else None
