"""Calls a function on SIGTERM, SIGINT and SIGHUP, outside of the signal handler."""

import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def on_shutdown(leave: Callable[[], None], *, read_again: Callable[[], None] | None = None) -> None:
    """
    Call *leave* for each SIGTERM and SIGINT, in a thread of its own. To be called in the main thread.

    SIGHUP calls *read_again*, if there is one, else *leave*.

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
