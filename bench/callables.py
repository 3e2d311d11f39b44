"""What the measured tasks call: nothing at all, and the time at which their first line runs."""

import time


def nothing() -> None:
    """As little as possible."""


def stamp() -> None:
    """Print the time in nanoseconds."""
    print(time.time_ns(), flush=True)  # noqa: T201  # it is captured
