"""What a process does when it is told to leave, without the traps of signal handlers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def on_shutdown(leave: Callable[[], None], *, read_again: Callable[[], None] | None = None) -> None:
    """
    Have *leave* called for each SIGTERM and SIGINT, in a thread of its own. For the main thread to call.

    SIGHUP calls *read_again*; without that it means to leave too.

    A handler runs in the main thread between any two of its steps, also while that holds the lock of the very event it
    waits for: setting the event there would wait for that lock for ever. The queue's ``put`` takes none.
    """
    asked: SimpleQueue[int] = SimpleQueue()

    def listen() -> None:
        while True:
            if asked.get() == signal.SIGHUP and read_again is not None:
                read_again()
            else:
                leave()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: asked.put(number))


def ignore_signals() -> None:
    """
    Ignore them from now on.

    Some platforms send their signal several times; an interpreter that shuts down would die of one.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
