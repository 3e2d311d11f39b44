"""A thread's place to run things: it claims, executes, and claims the next in the same step as it ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from shared.errors import StoreUnavailable
from shared.store import fleet, runs
from shared.store.runs import Claimed, Wanted
from worker.execution import Execution
from worker.poke import Poke
from worker.workshop import Workshop


class Slot:
    """One thread's place to run things, and the turns it has taken: each claim has a turn of its own."""

    def __init__(self, shop: Workshop, worker: str, name: str, queues: tuple[str, ...]) -> None:
        self._shop, self._worker, self._name = shop, worker, name
        self._queues = list(queues)
        self._turn = 0
        self._poke = Poke()
        self.execution: Execution | None = None

    def empty_queues(self, on_more: Callable[[int], None]) -> None:
        """
        Claim and execute until nothing waits. ``on_more(waiting)`` is told how many more runs there were.

        Nothing is claimed by a worker that leaves, or that has lost its keeper and is about to.
        """
        if self._shop.draining.begun or not self._shop.keeper.is_alive():
            return
        asked_s = time.monotonic()
        claimed = self._claim()
        while claimed is not None:
            if claimed.waiting:
                on_more(claimed.waiting)
            self.execution = execution = Execution(self._shop, claimed, self._poke, asked_s)
            try:
                ended = execution.perform(self._wanted())
            finally:
                self.execution = None
            asked_s, claimed = execution.asked_next_s, ended.claimed if ended is not None else None
            # A run that was lost brought no other with it.
            if claimed is None and (ended is None or ended.verdict == "refused") and not self._shop.draining.begun:
                asked_s, claimed = time.monotonic(), self._claim()

    def _claim(self) -> Claimed | None:
        wanted = self._wanted()
        while True:
            try:
                return self._shop.store.do(runs.claim(wanted))
            except StoreUnavailable:
                # The claim may have been made and its answer lost: the same turn asks again, so that no run is.
                time.sleep(0.2)
                if self._shop.draining.begun:
                    return None

    def _wanted(self) -> Wanted:
        self._turn += 1
        self._queues.append(self._queues.pop(0))
        return Wanted(self._worker, self._name, str(self._turn), fleet.LEASE_US, tuple(self._queues))
