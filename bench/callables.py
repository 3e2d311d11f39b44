"""Functions of the measured tasks: one does nothing, one prints the time at which its first line runs."""

import time


def nothing() -> None:
    """As little as possible."""


def stamp() -> None:
    """Print the time in nanoseconds."""
    print(time.time_ns(), flush=True)  # noqa: T201  # it is captured
