"""
The HTTP/1.1 connection of a client, with a time limit on every wait and a limit on every size.

uvicorn waits as long as a client likes: for the end of a request's head, for its body, for the client to read the
response. A few hundred clients that send a byte a minute, or read nothing, would hold memory and streams for good. Here
each of these waits has a limit, and so has the size of a head; a client that exceeds one gets a problem response if
that is still possible, and is disconnected.
"""

import asyncio
from typing import Any, Final, Literal

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.http.problems import HeadTooLarge, TooLarge, TooSlow, problem_reply
from api.http.streams import ABORT
from shared.errors import Malformed, RunfleetError, Unserviceable

HEAD_BYTES: Final = 64 * 1024
"""The longest request line and headers together; one packet more may be looked at."""

BODY_BYTES: Final = 8 * 1024 * 1024
"""The longest body as it is sent: of 1 MiB in small chunks most is framing."""

HEAD_S = 10.0
"""How long a request's head may take, from its first byte, or from connecting."""

BODY_GAP_S = 30.0
"""How long a client may send nothing of a body that it announced."""

BODY_S = 60.0
"""How long a body may take in all: at most 1 MiB is read."""

STALL_S = 60.0
"""How long a client may read nothing of what waits for it; a stream can be resumed, so nothing is lost."""

MAX_CONNECTIONS = 4000
"""Connections that one process serves at once, those included that wait for nothing."""

Part = Literal["", "head", "body"]


class LimitedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol with those limits. A request that arrives in one piece never starts a timer."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._part: Part = ""
        self._part_since_s = self._received_s = 0.0
        self._received = 0
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._unread = 0
        self._upgraded = False
        self._extensions: dict[str, Any] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """A client connected: wait for its first request."""
        super().connection_made(transport)
        self._extensions = {ABORT: transport.abort}
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(Unserviceable(f"this process has {MAX_CONNECTIONS} connections already; try again later"))
        else:
            self._await("head")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection closed: stop all timers."""
        self._await("")
        self._forget_stall()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received data, and start a timer if more must follow soon."""
        before = self._part
        super().data_received(data)
        if self.transport.is_closing() or self._upgraded:
            return
        if not self._part and self.timeout_keep_alive_task is None and self._is_answered():
            self._await("head")  # line ends between requests, which would otherwise reset the timer of an idle client
        if self._part:
            if before == self._part:
                self._received += len(data)
                if self._is_too_long():
                    return
            self._received_s = self.loop.time()
            if self._late is None:
                self._part_since_s = self._received_s
                self._look_again(HEAD_S if self._part == "head" else BODY_GAP_S)

    def handle_websocket_upgrade(self) -> None:
        """Hand over to the WebSocket protocol, which has its own limits (``api.http.websockets``)."""
        self._await("")
        self._upgraded = True
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["extensions"] = self._extensions
        self._part, self._received = "head", 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header was parsed, or a trailer, which is dropped."""
        if self._part == "head":
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete: the handler starts."""
        self._await("")
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > HEAD_BYTES:
            self._received = HEAD_BYTES + 1
            raise _too_large_head()  # the parser fails with it, which is handled below
        super().on_headers_complete()
        self._part, self._received = "body", 0

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._await("")
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The response was written, though perhaps not read yet."""
        super().on_response_complete()
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._watch_reader()

    def pause_writing(self) -> None:
        """The send buffer is full: write nothing more."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """The client has read: write again."""
        self._forget_stall()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """The client has sent no request for long."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # it does not read either: closing would wait for that
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Refuse data that is not HTTP, or too large."""
        self._refuse(_too_large_head() if self._received > HEAD_BYTES and self._part != "body" else Malformed(msg))

    def _is_too_long(self) -> bool:
        if self._part == "head" and self._received > HEAD_BYTES:
            self._refuse(_too_large_head())
        elif self._part == "body" and self._received > BODY_BYTES:
            self._refuse(TooLarge(f"more than {BODY_BYTES} bytes were sent for one body"))
        return self.transport.is_closing()

    def _await(self, part: Part) -> None:
        self._part = part
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if part:
            self._part_since_s = self.loop.time()
            self._look_again(HEAD_S)

    def _look_again(self, after_s: float) -> None:
        self._late = self.loop.call_later(after_s, self._look)

    def _look(self) -> None:
        """Refuse the client whose part of a request took too long, unless it made progress."""
        self._late = None
        now_s = self.loop.time()
        if self.flow.read_paused:
            self._look_again(BODY_GAP_S)  # the handler takes the time, not the client
        elif self._part == "head":
            self._refuse(TooSlow(f"the head of a request may take {HEAD_S:g} s"))
        elif self._part == "body":
            left_s = min(self._received_s + BODY_GAP_S, self._part_since_s + BODY_S) - now_s
            if left_s > 0:
                self._look_again(left_s)
            else:
                self._refuse(TooSlow(f"a body may take {BODY_S:g} s, and pause for {BODY_GAP_S:g} s"))

    def _watch_reader(self) -> None:
        self._forget_stall()
        self._unread = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(STALL_S, self._look_at_reader)

    def _look_at_reader(self) -> None:
        self._stalled = None
        if self.transport.get_write_buffer_size() < self._unread:
            self._watch_reader()  # slow, but it makes progress
        else:
            self.transport.abort()  # closing would wait until the client has read the send buffer

    def _forget_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _refuse(self, error: RunfleetError) -> None:
        """Respond with the reason, if no response has begun, and close the connection."""
        self._await("")
        cycle = self.cycle
        is_ours = self._is_answered()
        if not is_ours and not self.pipeline and not cycle.response_started:
            # The handler waits for more of the body; its response is discarded.
            is_ours = cycle.disconnected = True
            cycle.message_event.set()
        if not is_ours or self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        scope: Any = {"scheme": self.scheme, "headers": self.headers or [], "root_path": self.root_path}
        reply = problem_reply(error, scope)
        lines = [STATUS_LINE[reply.status]]
        lines += [name + b": " + value + b"\r\n" for name, value in reply.headers if name != b"connection"]
        self.transport.write(b"".join([*lines, b"connection: close\r\n\r\n", reply.body]))
        self.transport.close()


def _too_large_head() -> HeadTooLarge:
    return HeadTooLarge(f"the request line and headers may have {HEAD_BYTES} bytes")
