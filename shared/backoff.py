"""Exponential back-off between tries."""

from collections.abc import Iterator


def pauses_s(first_s: float = 0.1, most_s: float = 2.0) -> Iterator[float]:
    """The pauses after one failure, two, and so on: each is twice as long as the one before, up to *most_s*."""
    pause_s = first_s
    while True:
        yield pause_s
        pause_s = min(pause_s * 2, most_s)
