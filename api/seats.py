"""How many streams a process serves at once."""

from __future__ import annotations

from collections import Counter

from shared.errors import Unserviceable


class Seats:
    """
    Seats for streams: *total* in all, and at most half of them (but at least ten) for one client address.

    A stream costs a connection and memory for as long as its reader likes, so the number must have an end.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.per_client = max(total // 2, 10)
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Streams open now."""
        return self._taken.total()

    def take(self, client: str) -> None:
        """Sit down. Raises Unserviceable when there is no seat, for this client or for anybody."""
        if self._taken.total() >= self.total:
            raise Unserviceable(
                f"this process serves {self.total} streams already (RUNFLEET_MAX_STREAMS); try again later"
            )
        if self._taken[client] >= self.per_client:
            raise Unserviceable(f"{client or 'this client'} has {self.per_client} streams open; close one first")
        self._taken[client] += 1

    def leave(self, client: str) -> None:
        """Stand up; once for each ``take``."""
        self._taken[client] -= 1
        if self._taken[client] <= 0:
            del self._taken[client]
