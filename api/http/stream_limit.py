"""Limits on how many streams, WebSockets and waiting requests a process serves at once."""

from __future__ import annotations

import asyncio
from collections import Counter

from shared.errors import Unserviceable


class StreamLimit:
    """
    At most *total* of *what* at once, and half of that (but at least ten) for one client address.

    Each costs a connection and memory for as long as its client likes. *setting* is the environment variable that
    raises the limit, "" when there is none.
    """

    def __init__(self, total: int, what: str = "streams", setting: str = "RUNFLEET_MAX_STREAMS") -> None:
        self.total = total
        self.per_client = max(total // 2, 10)
        self._what = what
        self._setting = f" ({setting})" if setting else ""
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many are reserved now."""
        return self._taken.total()

    def reserve(self, client: str) -> Reservation:
        """Reserve one for *client*. Raises Unserviceable above either limit."""
        if self._taken.total() >= self.total:
            raise Unserviceable(
                f"this process serves {self.total} {self._what} already{self._setting}; try again later"
            )
        if self._taken[client] >= self.per_client:
            raise Unserviceable(
                f"{client or 'this client'} has {self.per_client} {self._what} open{self._setting}; close one first"
            )
        self._taken[client] += 1
        return Reservation(self, client)

    def _release(self, reservation: Reservation) -> None:
        self._taken[reservation.client] -= 1
        if self._taken[reservation.client] <= 0:
            del self._taken[reservation.client]


class HandshakeLimit(StreamLimit):
    """
    A limit for WebSockets that have not authenticated yet, which takes a moment. Above it a new one takes over the
    oldest reservation of its own address, or else of the address that has most: so one address cannot exclude others.
    """

    def __init__(self, total: int, what: str) -> None:
        super().__init__(total, what, "")
        self._in_order: dict[Reservation, None] = {}

    def reserve(self, client: str) -> Reservation:
        """Reserve one for *client*, taking over another reservation above the limit."""
        if self._taken.total() >= self.total or self._taken[client] >= self.per_client:
            from_client = client if self._taken[client] else self._taken.most_common(1)[0][0]
            oldest = next(reservation for reservation in self._in_order if reservation.client == from_client)
            oldest.release()
            oldest.is_revoked.set()
        reservation = super().reserve(client)
        self._in_order[reservation] = None
        return reservation

    def _release(self, reservation: Reservation) -> None:
        super()._release(reservation)
        del self._in_order[reservation]


class Reservation:
    """
    One stream under a limit. Use it in a ``with``, or call ``release``. ``is_revoked`` is set when another takes over.
    """

    __slots__ = ("_limit", "client", "is_revoked")

    def __init__(self, limit: StreamLimit, client: str) -> None:
        self._limit: StreamLimit | None = limit
        self.client = client
        self.is_revoked = asyncio.Event()

    def release(self) -> None:
        """Release it; a second call has no effect."""
        limit, self._limit = self._limit, None
        if limit is not None:
            limit._release(self)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
