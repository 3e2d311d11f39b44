"""
How a worker process learns that its launcher is gone, from its first moment on, and says that it is alive itself.

It is the first thing that a worker process does: the imports of the rest take a second on a busy machine, in which it
would outlive whoever started it. So this imports nothing but what the interpreter has at hand.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Final

LAUNCHER_FD: Final = "RUNFLEET_LAUNCHER_FD"
"""Tells a worker process which descriptor breaks when its launcher is gone."""


ALIVE_FD: Final = "RUNFLEET_ALIVE_FD"
"""Tells a worker process on which descriptor its launcher hears that it is alive."""

_alive_fds: list[int] = []


def say_alive() -> None:
    """Tell the launcher that this process does not hang. For the thread that watches over all others."""
    for fd in _alive_fds:
        with contextlib.suppress(OSError):  # full: it has heard enough; broken: the other thread knows
            os.write(fd, b".")


def follow_launcher() -> None:
    """Go at once when the launcher is gone: the spawner then kills the children, and the runs are rescued elsewhere."""
    alive = os.environ.pop(ALIVE_FD, "")
    if alive:
        os.set_inheritable(int(alive), False)
        _alive_fds.append(int(alive))
    text = os.environ.pop(LAUNCHER_FD, "")
    if not text:
        return
    fd = int(text)
    os.set_inheritable(fd, False)

    def wait() -> None:
        os.read(fd, 1)
        os._exit(3)

    threading.Thread(target=wait, name="launcher", daemon=True).start()
