"""
The pipes between a worker process and its launcher: each notices when the other is gone or hangs.

A worker process sets this up first: its other imports take a second on a busy machine, in which it would outlive its
launcher. So this module imports only what the interpreter has loaded anyway.
"""

import contextlib
import os
import threading
from typing import Final

LAUNCHER_FD: Final = "RUNFLEET_LAUNCHER_FD"
"""The variable with the descriptor that breaks when the launcher is gone."""


ALIVE_FD: Final = "RUNFLEET_ALIVE_FD"
"""The variable with the descriptor for signs of life to the launcher."""

_alive_fds: list[int] = []


def say_alive() -> None:
    """Send the launcher a sign of life. Called by the thread that monitors all others."""
    for fd in _alive_fds:
        with contextlib.suppress(OSError):  # full: it holds enough already; broken: the other thread notices
            os.write(fd, b".")


def follow_launcher() -> None:
    """Exit at once when the launcher is gone: the spawner then kills the runs, and they are rescued elsewhere."""
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
