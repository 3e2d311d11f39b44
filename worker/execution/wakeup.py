"""A pipe that wakes a thread from ``poll``."""

import contextlib
import os


class Wakeup:
    """
    Wakes a thread that waits in ``poll``. Thread-safe.

    It lives as long as its processor: a pipe made for each run could be written to after its number belongs to another
    descriptor. After a late ``set`` the next run makes one needless check.
    """

    def __init__(self) -> None:
        self.fd, self._in = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._in, False)

    def set(self) -> None:
        """Make ``fd`` readable."""
        with contextlib.suppress(BlockingIOError):  # it is, already
            os.write(self._in, b"!")

    def clear(self) -> None:
        """Make ``fd`` unreadable again."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)
