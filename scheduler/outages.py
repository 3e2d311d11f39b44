"""Why ticks were not fired in time: what this scheduler knows of the time since it started."""

from collections import deque
from typing import Final

REMEMBERED: Final = 100
"""Outages that are remembered at once; the oldest goes first."""


class Outages:
    """When something kept ticks from being fired, by stored time in microseconds."""

    def __init__(self) -> None:
        self._over: deque[tuple[str, int, int]] = deque(maxlen=REMEMBERED)
        self._open: dict[str, int] = {}
        self._led_from_us: int | None = None

    def led_from(self, us: int) -> None:
        """This scheduler leads since *us*; before that it knows nothing of a leader."""
        self._led_from_us = us

    def began(self, what: str, us: int) -> None:
        """*what*, as in ``Redis was away``, is so since *us*, or since before."""
        self._open.setdefault(what, us)

    def ended(self, what: str, us: int) -> None:
        """*what* is not so any more, if it was."""
        began_us = self._open.pop(what, None)
        if began_us is not None:
            self._over.append((what, began_us, us))

    def is_under_way(self, what: str) -> bool:
        """Whether *what* is so now."""
        return what in self._open

    def was(self, what: str, began_us: int, ended_us: int) -> None:
        """*what* was so for a time that is over."""
        self._over.append((what, began_us, ended_us))

    def why(self, first_us: int, last_us: int) -> str:
        """The reason why the ticks from *first_us* to *last_us* were missed, as in ``Redis was away``."""
        known = [what for what, began_us, ended_us in self._over if began_us <= last_us and ended_us >= first_us]
        known += [what for what, began_us in self._open.items() if began_us <= last_us]
        if known:
            return " and ".join(dict.fromkeys(known))
        if self._led_from_us is None or first_us < self._led_from_us:
            return "no scheduler was leading"
        return "the scheduler could not fire them (its log says why)"
