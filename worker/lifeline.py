"""
How a worker process learns that its launcher is gone, from its first moment on.

It is the first thing that a worker process does: the imports of the rest take a second on a busy machine, in which it
would outlive whoever started it. So this imports nothing but what the interpreter has at hand.
"""

from __future__ import annotations

import os
import threading
from typing import Final

LAUNCHER_FD: Final = "RUNFLEET_LAUNCHER_FD"
"""Tells a worker process which descriptor breaks when its launcher is gone."""


def follow_launcher() -> None:
    """Go at once when the launcher is gone: the keeper then kills the children, and the runs are rescued elsewhere."""
    text = os.environ.pop(LAUNCHER_FD, "")
    if not text:
        return
    fd = int(text)
    os.set_inheritable(fd, False)

    def wait() -> None:
        os.read(fd, 1)
        os._exit(3)

    threading.Thread(target=wait, name="launcher", daemon=True).start()
