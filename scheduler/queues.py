"""Removes unused queues, whose names would otherwise be checked every second forever."""

import time
from collections.abc import Callable
from typing import Final

from shared.errors import Unreadable
from shared.store import fleet, tasks
from shared.store.redis.call import each
from shared.store.redis.sync_store import Store
from shared.telemetry import get_logger

log = get_logger("scheduler")

LOOK_S: Final = 600.0
"""Time between two searches."""

PART: Final = 200
"""Definitions that are read at once, to see which queues they name."""

MOST: Final = 100
"""Queues that are removed at once."""


class UnusedQueues:
    """
    The leader's search for queues that no task names, no worker serves and in which no run waits.

    A catalog may be large, so a search may take several rounds. A queue that comes into use meanwhile loses nothing: a
    run that is put into it adds it again.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._looked_s = clock()
        self._found: set[str] = set()
        self._unread: list[str] = []

    def drop(self, until_s: float) -> int:
        """Continue the search when it is time for one; how many queues were removed."""
        if not self._found:
            if self._clock() - self._looked_s < LOOK_S:
                return 0
            self._looked_s = self._clock()
            self._found = self._store.run(fleet.unserved())
            if self._found:
                rows = self._store.run(tasks.standing()).rows
                self._unread = list({row.hash for row in rows.values()})
        while self._found and self._unread:
            if time.monotonic() > until_s:
                return 0
            part, self._unread = self._unread[:PART], self._unread[PART:]
            self._found -= self._named(part)
        names, self._found = sorted(self._found)[:MOST], set()
        if not names:
            return 0
        gone = self._store.run(fleet.drop_queues(names))
        log.info("queue.forgotten", queues=", ".join(names[:10]), count=gone)
        return gone

    def _named(self, hashes: list[str]) -> set[str]:
        """The queues of these definitions. An unreadable one names none: its runs add theirs again."""
        queues = set()
        for definition in self._store.run(each(tasks.definition(hash_) for hash_ in hashes)):
            try:
                queues |= {definition.task().queue} if definition else set()
            except (Unreadable, ValueError):
                continue
        return queues
