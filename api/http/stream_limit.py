"""How many streams, WebSockets and waiting requests a process serves at once."""

from __future__ import annotations

import asyncio
from collections import Counter

from shared.errors import Unserviceable


class StreamLimit:
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

    def _leave(self, seat: Seat) -> None:
        self._taken[seat.client] -= 1
        if self._taken[seat.client] <= 0:
            del self._taken[seat.client]


class Newcomers(StreamLimit):
    """
    Seats for those that have not said who they are, which takes a moment. When all are taken, a newcomer gets the one
    that was taken first by its own address, or else by the address that has most: so whoever takes many keeps nobody
    out, and who signs in at once gets in.
    """

    def __init__(self, total: int, what: str) -> None:
        super().__init__(total, what, "")
        self._in_order: dict[Seat, None] = {}

    def take(self, client: str) -> Seat:
        """A seat for *client*, somebody else's if need be."""
        if self._taken.total() >= self.total or self._taken[client] >= self.per_client:
            from_client = client if self._taken[client] else self._taken.most_common(1)[0][0]
            oldest = next(seat for seat in self._in_order if seat.client == from_client)
            oldest.leave()
            oldest.is_lost.set()
        seat = super().take(client)
        self._in_order[seat] = None
        return seat

    def _leave(self, seat: Seat) -> None:
        super()._leave(seat)
        del self._in_order[seat]


class Seat:
    """
    One taken seat. Use it in a ``with``, or give it back with ``leave``. ``is_lost`` is set when somebody else got it.
    """

    __slots__ = ("_seats", "client", "is_lost")

    def __init__(self, seats: StreamLimit, client: str) -> None:
        self._seats: StreamLimit | None = seats
        self.client = client
        self.is_lost = asyncio.Event()

    def leave(self) -> None:
        """Give it back; again changes nothing."""
        seats, self._seats = self._seats, None
        if seats is not None:
            seats._leave(self)

    def __enter__(self) -> Seat:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
