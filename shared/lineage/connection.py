"""One HTTP connection that is kept, and posts JSON."""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import suppress
from typing import Final

import httptools

RECEIVED_BYTES: Final = 64 * 1024


class Connection:
    """
    To one host, opened when there is something to post, and again after the other side hung up. For one thread.

    ``timeout_s`` is for connecting and for every wait after that; *tls* None is plain HTTP.
    """

    def __init__(self, host: str, port: int, timeout_s: float, tls: ssl.SSLContext | None = None) -> None:
        self._host, self._port, self._timeout_s, self._tls = host, port, timeout_s, tls
        self._socket: socket.socket | None = None

    def post(self, head: bytes, body: bytes) -> int:
        """
        The status that a request is answered with. *head* is all of it up to, and without, ``Content-Length``.

        Raises OSError when there is no answer, or none that is HTTP; the request may have been heard all the same.
        """
        try:
            line = self._open()
            line.sendall(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
            answer = _read(line)
        except (OSError, httptools.HttpParserError) as error:
            self.close()
            raise error if isinstance(error, OSError) else ConnectionError(f"not an answer in HTTP: {error}") from None
        if not answer.is_kept:
            self.close()
        return answer.status

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None

    def _open(self) -> socket.socket:
        if self._socket is not None and _has_something(self._socket):
            self.close()  # nothing was asked: it is the end of the connection
        if self._socket is None:
            line = socket.create_connection((self._host, self._port), self._timeout_s)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                try:
                    line = self._tls.wrap_socket(line, server_hostname=self._host)
                except OSError:
                    line.close()
                    raise
            self._socket = line
        return self._socket


class _Answer:
    """What the parser tells of a response."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.is_kept = False
        self.is_whole = False

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.is_kept = self.parser.should_keep_alive()

    def on_message_complete(self) -> None:
        self.is_whole = self.status >= 200  # those before only say that there is more to come


def _read(line: socket.socket) -> _Answer:
    answer = _Answer()
    while not answer.is_whole:
        data = line.recv(RECEIVED_BYTES)
        if not data:
            if answer.status < 200:
                raise ConnectionError("the connection was closed without an answer")
            answer.is_kept = False  # a body without a length is over with its connection
            break
        answer.parser.feed_data(data)
    return answer


def _has_something(line: socket.socket) -> bool:
    poller = select.poll()
    poller.register(line, select.POLLIN)
    return bool(poller.poll(0))
