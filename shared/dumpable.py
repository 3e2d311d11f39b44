"""
Keeps other processes of the same user, which is what runs are, from reading this one.

On Linux a process that is not dumpable shows nobody but root its environment, memory, mappings and descriptors, and
can't be traced; it also leaves no core dump. ``exec`` undoes it, so each of our processes does it first thing, before
the imports that take long: what it was started with can be read until then.
"""

from __future__ import annotations

_PR_SET_DUMPABLE = 4


def become_undumpable() -> None:
    """Be unreadable from now on (Linux; elsewhere, or without ctypes, nothing changes)."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (ImportError, OSError, AttributeError, TypeError):
        pass
