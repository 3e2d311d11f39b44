"""One HTTP connection that is kept, and posts JSON."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final

ANSWER_MAX: Final = 64 * 1024
"""Bytes of an answer that are read; after a longer one the connection is given up."""


class Connection:
    """
    To one host, opened when there is something to post, and again after the other side hung up. For one thread.

    ``timeout_s`` is for connecting and for every wait after that; *tls* None is plain HTTP.
    """

    def __init__(self, host: str, port: int, timeout_s: float, tls: ssl.SSLContext | None = None) -> None:
        if tls is None:
            self._line = HTTPConnection(host, port, timeout=timeout_s)
        else:
            self._line = HTTPSConnection(host, port, timeout=timeout_s, context=tls)

    def post(self, path: str, headers: Mapping[str, str | bytes], body: bytes) -> int:
        """
        The status that a request is answered with. ``Host`` and ``Content-Length`` come by themselves.

        Raises OSError when there is no answer, or none that is HTTP; the request may have been heard all the same.
        """
        if self._line.sock is not None and _has_something(self._line.sock):
            self.close()  # nothing was asked: it is the end of the connection
        try:
            self._line.request("POST", path, body, headers)
            with self._line.getresponse() as answer:
                answer.read(ANSWER_MAX)
                if not answer.isclosed():
                    self.close()
                return answer.status
        except (OSError, HTTPException) as error:
            self.close()
            raise error if isinstance(error, OSError) else ConnectionError(f"not an answer in HTTP: {error}") from None

    def close(self) -> None:
        """Hang up."""
        self._line.close()


def _has_something(line: socket.socket) -> bool:
    poller = select.poll()
    poller.register(line, select.POLLIN)
    return bool(poller.poll(0))
