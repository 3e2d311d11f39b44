"""
Measures the memory of a run with all its descendants. Without /proc it is always 0.
"""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_PAGE = os.sysconf("SC_PAGE_SIZE")


def tree(roots: Iterable[int]) -> set[int]:
    """*roots* and all their descendants that still exist."""
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        found.add(pid)
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                    waiting += [int(word) for word in file.read().split()]
    return found


def used(pids: Iterable[int], more_than: int) -> int:
    """
    The memory of these processes together, in bytes; exact only above *more_than*, with shared pages divided.

    The cheap measure, which counts shared pages in full, is mostly enough: the exact one reads each page's entry.
    """
    rough = {pid: _resident(pid) for pid in pids}
    total = sum(rough.values())
    return total if total <= more_than else sum(_proportional(pid, most) for pid, most in rough.items())


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _proportional(pid: int, resident: int) -> int:
    """The memory of one process with its part of shared pages, swapped pages included; else *resident*."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            lines = file.read().splitlines()
    except OSError:  # ended meanwhile; or another user's, or undumpable
        return resident if os.path.exists(f"/proc/{pid}") else 0
    sizes = (line.split()[1] for line in lines if line.startswith((b"Pss:", b"SwapPss:")))
    return sum(int(size) for size in sizes) * 1024
