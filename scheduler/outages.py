"""Why ticks were not fired in time: the outages that this scheduler has seen since it started."""

from collections import deque
from typing import Final

REMEMBERED: Final = 100
"""Outages that are remembered at once; the oldest goes first."""


class Outages:
    """The periods in which something prevented ticks, in stored time in microseconds."""

    def __init__(self) -> None:
        self._over: deque[tuple[str, int, int]] = deque(maxlen=REMEMBERED)
        self._open: dict[str, int] = {}
        self._led_from_us: int | None = None

    def led_from(self, us: int) -> None:
        """This scheduler leads since *us*; it knows of no leader before that."""
        self._led_from_us = us

    def began(self, what: str, us: int) -> None:
        """*what*, such as ``Redis was away``, began at *us* or earlier."""
        self._open.setdefault(what, us)

    def ended(self, what: str, us: int) -> None:
        """*what* is over, if it was under way."""
        began_us = self._open.pop(what, None)
        if began_us is not None:
            self._over.append((what, began_us, us))

    def is_under_way(self, what: str) -> bool:
        """Whether *what* is under way now."""
        return what in self._open

    def was(self, what: str, began_us: int, ended_us: int) -> None:
        """*what* happened, for a period that is over."""
        self._over.append((what, began_us, ended_us))

    def why(self, first_us: int, last_us: int) -> str:
        """Why the ticks from *first_us* to *last_us* were missed, such as ``Redis was away``."""
        known = [what for what, began_us, ended_us in self._over if began_us <= last_us and ended_us >= first_us]
        known += [what for what, began_us in self._open.items() if began_us <= last_us]
        if known:
            return " and ".join(dict.fromkeys(known))
        if self._led_from_us is None or first_us < self._led_from_us:
            return "no scheduler was leading"
        return "the scheduler could not fire them (its log says why)"
