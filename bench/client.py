"""The plainest HTTP client: one connection, one request at a time, so that little but the server is measured."""

import socket
from types import TracebackType
from typing import Any, Self

import msgspec


class Client:
    """A kept connection to a server on loopback. Raises OSError when it cannot be made or is lost."""

    def __init__(self, port: int, timeout_s: float = 60.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""

    def get(self, target: str) -> tuple[int, bytes]:
        """Status and body."""
        return self.ask(request("GET", target))

    def post(self, target: str, body: Any = None) -> tuple[int, bytes]:
        """Status and body; *body* is sent as JSON."""
        return self.ask(request("POST", target, b"" if body is None else msgspec.json.encode(body)))

    def ask(self, raw: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a whole request. An answer without a length raises OSError."""
        self._socket.sendall(raw)
        data = self._left
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head, start = data[:end].lower(), end + 4
        at = head.find(b"\r\ncontent-length:")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else -1
        if length < 0:
            if b"transfer-encoding: chunked" not in head:
                raise OSError(f"an answer without a length: {head!r}")
            return int(head[9:12]), self._chunks(data[start:])
        parts, size = [data[start:]], len(data) - start
        while size < length:
            parts.append(self._more())
            size += len(parts[-1])
        body = b"".join(parts)
        self._left = body[length:]
        return int(head[9:12]), body[:length]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _chunks(self, data: bytes) -> bytes:
        body = b""
        while True:
            while (end := data.find(b"\r\n")) < 0:
                data += self._more()
            size = int(data[:end], 16)
            while len(data) < end + 2 + size + 2:
                data += self._more()
            body += data[end + 2 : end + 2 + size]
            data = data[end + 2 + size + 2 :]
            if not size:
                self._left = data
                return body

    def _more(self) -> bytes:
        data = self._socket.recv(256 * 1024)
        if not data:
            raise OSError("the server hung up")
        return data


def request(verb: str, target: str, body: bytes = b"") -> bytes:
    """The bytes of a request, to be sent as they are."""
    lines = [f"{verb} {target} HTTP/1.1", "host: 127.0.0.1"]
    if body:
        lines += ["content-type: application/json"]
    if body or verb == "POST":
        lines += [f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body
