"""Quotas: what a token has started recently in this process, and whether it may start more."""

import math
from collections import deque
from collections.abc import Callable
from typing import Final

from shared.errors import OverQuota
from shared.store.tokens import Quota

MINUTE_S: Final = 60.0


class Meter:
    """
    Counts for one token; *measured_s* is a monotonic clock.

    Triggers may come in a burst of a second's worth. Bytes of parameters, tags and labels are those of the last minute;
    one trigger that is larger than the whole quota is always too much.
    """

    def __init__(self, who: str, quota: Quota, measured_s: Callable[[], float]) -> None:
        self.quota = quota
        self._who = who
        self._now = measured_s
        self._burst = float(max(1, quota.triggers_per_s))
        self._left = self._burst
        self._since_s = measured_s()
        self._sizes: deque[tuple[float, int]] = deque()
        self._bytes = 0

    def charge(self, size: int) -> int:
        """
        Count one trigger whose runs have *size* bytes of parameters, tags and labels; returns how many pending runs its
        task may have then. Raises OverQuota, which counts nothing.
        """
        now_s, rate = self._now(), self.quota.triggers_per_s
        self._left = min(self._burst, self._left + (now_s - self._since_s) * rate)
        self._since_s = now_s
        while self._sizes and now_s - self._sizes[0][0] >= MINUTE_S:
            self._bytes -= self._sizes.popleft()[1]
        if self._left < 1:
            raise OverQuota(f"{self._who} may start {rate} executions a second", math.ceil((1 - self._left) / rate))
        if self._bytes + size > self.quota.pending_bytes:
            wait_s = self._sizes[0][0] + MINUTE_S - now_s if self._sizes else MINUTE_S
            raise OverQuota(
                f"{self._who} may send {self.quota.pending_bytes} bytes of parameters, tags and labels a minute, "
                f"counted for each run; this would make {self._bytes + size}",
                math.ceil(wait_s),
            )
        self._left -= 1
        if size:
            self._sizes.append((now_s, size))
            self._bytes += size
        return self.quota.pending_runs
