"""A run of the spawner: one request, its descriptors, and its process."""

from __future__ import annotations

import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from worker.spawner.guard import Guard


class Run:
    """``pid`` is 0 before the start; ``end`` is set once the process was reaped."""

    def __init__(self, fds: list[int]) -> None:
        # With the kind of socket, or Python asks for it by two calls of the system.
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fds[0])
        self.fds = fds[1:]
        self.inbox = b""
        self.pid = 0
        self.run_id = ""
        self.serves = False
        self.end: dict[str, object] = {}
        self.report_by = 0.0
        self.memory_limit = 0
        self.heartbeat_timeout_s = 0.0
        self.heartbeat_at = 0.0
        self.guard: Guard | None = None

    def close_fds(self) -> None:
        """Close the descriptors of the process."""
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def close(self) -> None:
        """Close all descriptors."""
        self.close_fds()
        self.control.close()

    def is_withdrawn(self) -> bool:
        """Whether the worker has cancelled the request, or is gone."""
        try:
            return not self.control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
