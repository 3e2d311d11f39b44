"""
The output queue of a process: bounded, and written by one thread.

The reader of our standard output may stop reading. A thread that wrote to it itself would then wait for ever, and so
would everything that depends on it. So no thread waits: when the queue is full, lines are dropped and counted.
"""

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

MOST_LINES: Final = 10_000
MOST_CHARACTERS: Final = 4 * 1024 * 1024
"""At most so much waits to be written."""

LEAVE_S: Final = 1.0
"""How long a process that ends waits for its last lines to be read."""


class Outlet:
    """
    Lines on their way to a file descriptor. ``put`` may be called from any thread and never waits.

    *on_dropped* is called, by the thread that writes, with how many lines were lost, when one could be written again.
    """

    def __init__(self, on_dropped: Callable[[int], None], most_lines: int = MOST_LINES) -> None:
        self.dropped = 0
        """Lines that were dropped since that was last reported."""
        self._on_dropped = on_dropped
        self._most_lines = most_lines
        self._lines: deque[tuple[int, str]] = deque()
        self._characters = 0
        self._busy = False
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, fd: int, line: str) -> None:
        """Have *line* written to *fd*, after what was put before it."""
        with self._change:
            if len(self._lines) >= self._most_lines or self._characters > MOST_CHARACTERS:
                self.dropped += 1
                return
            self._lines.append((fd, line))
            self._characters += len(line)
            if self._thread is None:
                self._begin()
            self._change.notify_all()

    def flush(self, timeout_s: float = LEAVE_S) -> bool:
        """Wait until all is written, at most so long; whether it is."""
        end_s = time.monotonic() + timeout_s
        with self._change:
            return self._change.wait_for(
                lambda: self._thread is None or not (self._lines or self._busy), max(0.0, end_s - time.monotonic())
            )

    def _begin(self) -> None:
        thread = threading.Thread(target=self._write_on, name="log", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # no thread can be had now; the next line tries again
        self._thread = thread
        atexit.register(self.flush)

    def _write_on(self) -> None:
        while True:
            with self._change:
                self._busy = False
                self._change.notify_all()
                self._change.wait_for(lambda: bool(self._lines))
                fd = self._lines[0][0]
                taken: list[str] = []
                while self._lines and self._lines[0][0] == fd and len(taken) < 100:
                    taken.append(self._lines.popleft()[1])
                self._characters -= sum(map(len, taken))
                self._busy = True
            _write(fd, "".join(taken))
            with self._change:
                dropped, self.dropped = self.dropped, 0
            if dropped:
                self._on_dropped(dropped)


def _write(fd: int, text: str) -> None:
    """Write it all. A closed pipe or terminal is not an error here: it must not stop a drain."""
    data = memoryview(text.encode("utf-8", "backslashreplace"))
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            time.sleep(0.02)  # another process made it non-blocking; it is full
        except OSError:
            return
