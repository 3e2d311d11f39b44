"""Signals process groups, and sets attributes of this process: subreaper, not dumpable."""

from __future__ import annotations

import contextlib
import os

_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36


def kill_group(pid: int, number: int) -> None:
    """Signal the process group that *pid* leads, if it (still) exists; never our own, and never all processes."""
    if pid > 1 and pid != os.getpgrp():
        with contextlib.suppress(OSError):
            os.killpg(pid, number)


def become_subreaper() -> None:
    """Adopt the orphans of our descendants (Linux; elsewhere, or without ctypes, they go to init as always)."""
    _control(_PR_SET_CHILD_SUBREAPER, 1)


def become_undumpable() -> None:
    """Prevent other processes of this user from reading this one; see ``shared/dumpable.py``."""
    _control(_PR_SET_DUMPABLE, 0)


def _control(option: int, value: int) -> None:
    try:
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    except (ImportError, OSError, AttributeError, TypeError):
        pass
