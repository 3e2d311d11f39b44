"""How many streams, WebSockets and waiting requests a process serves at once."""

from __future__ import annotations

from collections import Counter

from shared.errors import Unserviceable


class Seats:
    """
    Seats for *what*: *total* in all, and at most half of them (but at least ten) for one client address.

    Each costs a connection and memory for as long as its client likes, so the number must have an end. *setting* is
    the environment variable that raises it, "" when there is none.
    """

    def __init__(self, total: int, what: str = "streams", setting: str = "RUNFLEET_MAX_STREAMS") -> None:
        self.total = total
        self.per_client = max(total // 2, 10)
        self._what = what
        self._setting = f" ({setting})" if setting else ""
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Seats taken now."""
        return self._taken.total()

    def take(self, client: str) -> Seat:
        """A seat for *client*. Raises Unserviceable when there is none, for this client or for anybody."""
        if self._taken.total() >= self.total:
            raise Unserviceable(
                f"this process serves {self.total} {self._what} already{self._setting}; try again later"
            )
        if self._taken[client] >= self.per_client:
            raise Unserviceable(
                f"{client or 'this client'} has {self.per_client} {self._what} open{self._setting}; close one first"
            )
        self._taken[client] += 1
        return Seat(self, client)

    def _leave(self, client: str) -> None:
        self._taken[client] -= 1
        if self._taken[client] <= 0:
            del self._taken[client]


class Seat:
    """One taken seat. Use it in a ``with``, or give it back with ``leave``."""

    __slots__ = ("_client", "_seats")

    def __init__(self, seats: Seats, client: str) -> None:
        self._seats: Seats | None = seats
        self._client = client

    def leave(self) -> None:
        """Give it back; again changes nothing."""
        seats, self._seats = self._seats, None
        if seats is not None:
            seats._leave(self._client)

    def __enter__(self) -> Seat:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
