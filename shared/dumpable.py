"""
Keeps other processes of the same user, such as runs, from reading this one.

On Linux only root can trace a process that is not dumpable, or read its environment, memory, mappings and descriptors;
it also leaves no core dump. ``exec`` undoes it, so each of our processes does it first, before imports that take long:
its environment can be read until then.
"""

_PR_SET_DUMPABLE = 4


def become_undumpable() -> None:
    """Be unreadable from now on (Linux; elsewhere, or without ctypes, nothing changes)."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (ImportError, OSError, AttributeError, TypeError):
        pass
