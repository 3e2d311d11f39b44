"""A persistent HTTP connection that posts JSON."""

import select
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final

ANSWER_MAX: Final = 64 * 1024
"""Maximum bytes of an answer; after a longer one the connection is closed."""


class Connection:
    """
    A connection to one host, opened on demand, and again after the server closed it. For one thread.

    ``timeout_s`` is for connecting and for every wait after that; *tls* None is plain HTTP.
    """

    def __init__(self, host: str, port: int, timeout_s: float, tls: ssl.SSLContext | None = None) -> None:
        if tls is None:
            self._line = HTTPConnection(host, port, timeout=timeout_s)
        else:
            self._line = HTTPSConnection(host, port, timeout=timeout_s, context=tls)

    def post(self, path: str, headers: Mapping[str, str | bytes], body: bytes) -> int:
        """
        Send a request and return the status of the answer. ``Host`` and ``Content-Length`` are added.

        Raises OSError without a valid HTTP answer; the server may have received the request nevertheless.
        """
        if self._line.sock is not None and _has_something(self._line.sock):
            self.close()  # unrequested data: the server closed the connection
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
        """Close the connection."""
        self._line.close()


def _has_something(line: socket.socket) -> bool:
    poller = select.poll()
    poller.register(line, select.POLLIN)
    return bool(poller.poll(0))
