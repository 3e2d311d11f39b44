"""Waiting in tests: for a condition or for calls in threads, never for a time."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], description: str, timeout_s: float = 10.0) -> T:
    """
    Call *predicate* until its answer is true, and return that. Fails with *description* after *timeout_s*.

    It is asked often at first and then less, so that a long wait doesn't slow down what it waits for.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = 0.001
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain until {description}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.05)
    return answer


def in_threads(*calls: Callable[[], object]) -> None:
    """Make all calls at once and wait for them; the first error is raised."""
    with ThreadPoolExecutor(len(calls)) as pool:
        for future in [pool.submit(call) for call in calls]:
            future.result()
