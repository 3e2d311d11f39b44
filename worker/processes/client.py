"""
The client of a spawner or a warm interpreter: sends requests, and receives messages on a channel for each.

The server is ``worker/spawner/server.py``; with ``isolate = false`` it is ``worker/spawner/interpreter.py``.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, TypedDict

import msgspec
from msgspec import Meta

from worker.processes.handle import LOST, SIGNALLED, START_TIMEOUT_S, VIOLATED, Exit, Unanswered
from worker.spawner.protocol import LENGTH, MESSAGE_MAX, split_message

READ_BYTES: Final = 65536
MESSAGES_MAX: Final = 16
"""Most messages about one run; there are three or four, of which one may be large."""


class Messages(TypedDict, total=False):
    """
    The messages about a run, merged. ``exit`` comes with the end, and ``result`` before it; ``last``: the interpreter
    takes no more requests; ``abandoned``: the run was killed because this worker sent no heartbeat.
    """

    pid: Annotated[int, Meta(ge=1)]
    error: str
    errno: int
    importing: bool
    pong: bool
    result: str
    exit: Annotated[int, Meta(ge=0, le=255)] | None
    signal: Annotated[int, Meta(ge=1, le=127)] | None
    peak_memory_bytes: Annotated[int, Meta(ge=0)]
    cpu_time_ms: Annotated[int, Meta(ge=0)]
    memory_used: Annotated[int, Meta(ge=0)]
    last: bool
    abandoned: bool


_message = msgspec.json.Decoder(Messages).decode


class ProcessChannel:
    """One request's control socket and pipes, and the messages received so far."""

    def __init__(self, control: socket.socket, stdout_fd: int, stderr_fd: int) -> None:
        self._control = control
        self.control_fd = control.fileno()
        self.stdout_fd = stdout_fd
        self.stderr_fd = stderr_fd
        self.messages: Messages = {}
        self.peer_closed = False
        """Whether the other side closed the socket; ``messages`` is final then."""
        self.violated = False
        """Whether something came that the other side never sends: the process that it started wrote to the socket."""
        self._inbox = b""
        self._received = 0
        self._closed = False

    def receive(self) -> None:
        """Read available messages into ``messages``; invalid data closes the socket."""
        while not (self.peer_closed or self._closed or "exit" in self.messages):
            try:
                data = self._control.recv(READ_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            self.peer_closed = not data
            self._inbox += data
            try:
                self._parse()
            except ValueError:
                # A call can reach this socket, and could keep this thread busy forever by writing to it.
                self.violated = self.peer_closed = True
                self.disconnect()
            if len(data) < READ_BYTES:
                return

    def _parse(self) -> None:
        """Decode the whole messages in the inbox. Raises ValueError for anything else, and for too many."""
        while True:
            body, self._inbox = split_message(self._inbox, MESSAGE_MAX)
            if body is None:
                return
            self._received += 1
            if self._received > MESSAGES_MAX:
                raise ValueError(f"more than {MESSAGES_MAX} messages")
            self.messages.update(_decode(body))

    def wait(self, timeout_s: float) -> bool:
        """Wait until data arrives, then ``receive``. False when nothing came in time."""
        poller = select.poll()
        poller.register(self.control_fd, select.POLLIN)
        if not self._closed and poller.poll(max(0.0, timeout_s) * 1000):
            self.receive()
            return True
        return False

    def send_signal(self, number: int) -> None:
        """Ask the other side to signal the process group; it knows whether the process still exists."""
        if not self._closed and number >= 0:
            with contextlib.suppress(OSError):
                self._control.send(bytes((number,)))

    def exit(self) -> Exit | None:
        """The exit if it was received, else None."""
        if self.violated:
            return VIOLATED
        if "exit" not in self.messages:
            return None
        if "abandoned" in self.messages:
            return LOST
        number = self.messages.get("signal")
        code = self.messages["exit"]
        result = self.messages.get("result")
        return Exit(
            code=SIGNALLED + number if number is not None else code or 0,
            signal=number,
            peak_memory_bytes=self.messages.get("peak_memory_bytes", 0),
            memory_used=self.messages.get("memory_used", 0),
            cpu_time_ms=self.messages.get("cpu_time_ms", 0),
            result=result.encode() if result is not None and code == 0 else None,
        )

    def withdraw(self) -> None:
        """Cancel the request before its start; the answer can still be read."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)

    def disconnect(self) -> None:
        """Close the connection; the other side then kills what it started."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the descriptors, and so the connection. May be called twice."""
        if not self._closed:
            self._closed = True
            self._control.close()
            os.close(self.stdout_fd)
            os.close(self.stderr_fd)


class SpawnerClient:
    """The socket to which requests to a spawner or a warm interpreter are sent. Thread-safe."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._closed = False

    def request(self, body: Mapping[str, object], passed: Sequence[int] = ()) -> ProcessChannel:
        """
        Send a request with new pipes and, after them, the *passed* descriptors.

        Raises Unanswered when the other side is gone, or this process has no descriptors left.
        """
        encoded = _encode(body)
        message = memoryview(LENGTH.pack(len(encoded)) + encoded)
        control: socket.socket | None = None
        readers: list[int] = []
        theirs: list[int] = []
        try:
            control, end = socket.socketpair()
            theirs.append(end.detach())
            for _ in range(2):
                reader, writer = os.pipe()
                readers.append(reader)
                theirs.append(writer)
                os.set_blocking(reader, False)
            control.setblocking(False)
            self._send(control, message, array.array("i", [*theirs, *passed]))
        except BaseException as error:
            if control is not None:
                control.close()
            for fd in readers:
                os.close(fd)
            if not isinstance(error, OSError):
                raise
            raise Unanswered(f"cannot send the request to start a process: {error}", error.errno or 0) from error
        finally:
            for fd in theirs:
                os.close(fd)
        return ProcessChannel(control, readers[0], readers[1])

    def _send(self, control: socket.socket, message: memoryview, fds: array.array[int]) -> None:
        try:
            sent = control.send(message)  # mostly all of it, and there before the descriptors are
        except BlockingIOError:
            sent = 0
        with self._lock:
            if self._closed:
                raise BrokenPipeError
            self._server.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        if sent < len(message):
            control.settimeout(START_TIMEOUT_S)
            control.sendall(message[sent:])
            control.setblocking(False)

    def close(self) -> None:
        """Close the socket; the other side then kills what it started and exits."""
        with self._lock:
            self._closed = True
            self._server.close()


def _encode(body: Mapping[str, object]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (ValueError, OverflowError):
        return json.dumps(body).encode()  # encodes integers of any size, and names that are not strings


def _decode(body: bytes) -> Messages:
    """One message. Raises ValueError for a malformed message."""
    try:
        message: Messages = _message(body)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if "exit" in message and message["exit"] is None and message.get("signal") is None:
        raise ValueError("an end without exit code and signal")
    return message
