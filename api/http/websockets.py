"""
WebSockets: authentication, limits, keep-alive, and the handler of each path.

Each counts as a stream once its client has authenticated; before that, it counts against a limit of handshakes. A
client that cannot be served now is accepted and then closed with 1013 (try again later): many clients give up after a
refused handshake and reconnect after a closed connection.
"""

import asyncio
import base64
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
from litestar.types import ASGIApp, Receive, Send
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from api.http.auth import Grant, client_of
from api.http.problems import named
from api.http.protocol import STALL_S
from api.http.state import AppState
from api.http.stream_limit import Reservation
from api.http.streams import end
from shared.errors import RunfleetError, StoreUnavailable, Unauthorized, Unserviceable
from shared.telemetry import get_logger

MESSAGE_BYTES: Final = 1024 * 1024
"""The largest message that is read."""

PING_S: Final = 20.0
"""How often a client is pinged, and how long its pong may take."""

HANDSHAKE_S: Final = 10.0
"""How long a client may take to authenticate."""

READ_AHEAD: Final = 65536
"""Bytes that are read before the handler takes them, so that a client's end is seen behind its last messages."""

NORMAL: Final = 1000
POLICY: Final = 1008
FAILED: Final = 1011
TRY_AGAIN: Final = 1013

GONE: Final = "runfleet.gone"
"""The ASGI extension by which our server signals that the client is gone."""

_log = get_logger("api")


class Gone(Exception):
    """The client has disconnected."""


class LimitedWebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, but a client that reads nothing is disconnected: closing would wait until it has read."""

    _stalled: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gone = asyncio.Event()
        self._unread = 0

    def data_received(self, data: bytes) -> None:
        """As uvicorn's, which reads nothing more, not even the end, until the handler has taken a message."""
        self._unread = len(data) + (0 if self.queue.empty() else self._unread)
        super().data_received(data)
        if self.read_paused and self._unread < READ_AHEAD and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    def handle_cont(self, event: Frame) -> None:
        """
        As uvicorn's, which stores each fragment of a message separately: many small ones took many times their size.
        """
        pieces: list[Any] = self.frames
        if not isinstance(pieces[0], bytearray):
            pieces[0] = bytearray(pieces[0])
        pieces[0] += event.data
        if event.fin:
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """As uvicorn's, which logs an error with a traceback for text that is not UTF-8."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                self.frames[0].decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.fail(1007, "a text that is not in UTF-8")
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    async def run_asgi(self) -> None:
        """As uvicorn's, but the application learns at once of a disconnect, whatever still waits to be read."""
        extensions: Any = self.scope["extensions"]
        extensions[GONE] = self._gone
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        """As uvicorn's, which takes a refusal for an application that did not respond, and logs an error."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True

    def pause_writing(self) -> None:
        """The send buffer is full: write nothing more."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read: write again."""
        self._forget_stall()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection closed."""
        self._forget_stall()
        super().connection_lost(exc)
        self._gone.set()

    def keepalive_timeout(self) -> None:
        """No pong came; unless it is in the unread data."""
        if self.read_paused:
            self.pong_timer = None
            self.schedule_ping()
            return
        super().keepalive_timeout()
        self.transport.abort()

    def _forget_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


class Socket:
    """
    One open connection. ``receive`` and ``send`` raise Gone once the client has disconnected, and ``gone`` is set then.

    It counts against the limit of handshakes until its client has authenticated, and then against that of streams.
    """

    def __init__(self, state: AppState, scope: Any, receive: Receive, send: Send) -> None:
        self.state = state
        self.scope = scope
        self.gone: asyncio.Event = (scope.get("extensions") or {}).get(GONE) or asyncio.Event()
        self.is_accepted = False
        self._receive = receive
        self._send = send
        self._reservation: Reservation | None = None
        self._signed_in = asyncio.Event()

    def come_in(self) -> Reservation:
        """Reserve a handshake, which a newer one may take over until the client has authenticated."""
        self._reservation = self.state.handshake_limit.reserve(client_of(self.scope))
        return self._reservation

    def release(self) -> None:
        """Release its handshake or stream."""
        if self._reservation is not None:
            self._reservation.release()

    @property
    def is_signed_in(self) -> bool:
        """Whether the client has authenticated."""
        return self._signed_in.is_set()

    async def until_refused(self) -> Unauthorized:
        """Wait until the client's token is refused. Returns the reason."""
        await self._signed_in.wait()
        return await self.state.authenticator.until_refused(self.scope)

    @property
    def subprotocols(self) -> list[str]:
        """The subprotocols that the client offers."""
        wanted: list[str] = self.scope["subprotocols"]
        return wanted

    async def accept(self, subprotocol: str | None = None) -> None:
        """Accept the connection."""
        message: Any = await self._receive()
        if message["type"] != "websocket.connect":
            raise Gone
        self.is_accepted = True
        await self._put({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []})

    async def receive(self) -> bytes:
        """The next message."""
        message: Any = await self._receive()
        if message["type"] != "websocket.receive":
            raise Gone
        text = message.get("text")
        return text.encode() if text is not None else bytes(message.get("bytes") or b"")

    async def send(self, value: Any) -> None:
        """Send *value* as JSON."""
        await self._put({"type": "websocket.send", "text": _encode(value).decode()})

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the connection with a reason of at most 120 bytes."""
        short = reason.encode()[:120].decode(errors="ignore")
        await self._put({"type": "websocket.close", "code": code, "reason": short})

    async def grant(self, token: str = "") -> Grant:
        """
        The client's rights, by a *token* that it sent as a message (as for Basic authentication if there is a colon in
        it), or by its request. Raises as ``Authenticator.grant``, and Unserviceable above the limit of streams.
        """
        scope = self.scope
        if token:
            plain = token.encode()
            sent = b"Basic " + base64.b64encode(plain) if b":" in plain else b"Bearer " + plain
            headers = [pair for pair in scope["headers"] if pair[0] != b"authorization"]
            scope = {**scope, "headers": [*headers, (b"authorization", sent)]}
        grant = await self.state.authenticator.grant(scope)
        reservation = self.state.stream_limit.reserve(client_of(scope))
        self.release()
        self.scope, self._reservation = scope, reservation
        self._signed_in.set()
        return grant

    async def _put(self, message: Any) -> None:
        try:
            await self._send(message)
        except Exception as error:  # the server's own, for a closed connection
            raise Gone from error


_encode = msgspec.json.Encoder().encode
Handler = Callable[[Socket], Coroutine[Any, Any, None]]


class Sockets:
    """Serves WebSockets at *handlers* (path: handler) and leaves everything else to *app*."""

    def __init__(self, app: ASGIApp, state: AppState, handlers: Mapping[str, Handler]) -> None:
        self._app = app
        self._state = state
        self._handlers = handlers
        self._finishing: set[asyncio.Future[None]] = set()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one connection of any kind."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        # A base address that ends in a slash gives paths with two of them in some clients.
        handler = self._handlers.get(scope["path"].rstrip("/").replace("//", "/"))
        if handler is None:
            await _refuse(send)
        else:
            await self._serve(handler, Socket(self._state, scope, receive, send))

    async def _serve(self, handler: Handler, socket: Socket) -> None:
        try:
            try:
                await self._attend(handler, socket, socket.come_in())
            except (StoreUnavailable, Unserviceable) as error:
                if not socket.is_accepted:
                    await socket.accept(socket.subprotocols[0] if socket.subprotocols else None)
                await socket.close(TRY_AGAIN, str(named(error, socket.scope)))
            except RunfleetError as error:
                await socket.close(POLICY if error.status in (401, 403) else FAILED, str(error))
            finally:
                socket.release()
        except Gone:
            pass
        except Exception:
            _log.exception("api.failed", error_id="", method="WebSocket", path=socket.scope["path"])
            with suppress(Gone):
                await socket.close(FAILED, "an unexpected error")

    async def _attend(self, handler: Handler, socket: Socket, reservation: Reservation) -> None:
        """
        Run *handler* until it is done, its token is refused, or a newer handshake took its *reservation* over.

        The stream of a disconnected client is released at once. Its last messages are still processed, even while Redis
        is unavailable; as many disconnected clients are allowed as streams.
        """
        handling = asyncio.ensure_future(handler(socket))
        refused = asyncio.ensure_future(socket.until_refused())
        gone = asyncio.ensure_future(socket.gone.wait())
        lost = asyncio.ensure_future(reservation.is_revoked.wait())
        try:
            await asyncio.wait({handling, refused, gone, lost}, return_when=asyncio.FIRST_COMPLETED)
            if refused.done():
                raise refused.result()
            if lost.done() and not handling.done():
                raise Unserviceable("too many clients have not authenticated, and this one was the oldest of them")
            if gone.done() and socket.is_signed_in and not handling.done():
                socket.release()
                if len(self._finishing) >= self._state.stream_limit.total:
                    _log.warning("api.socket_dropped", path=socket.scope["path"])
                else:
                    self._finishing.add(handling)
                    handling.add_done_callback(self._finishing.discard)
                    await asyncio.wait({handling})
        finally:
            await end({handling, refused, gone, lost})
        if not handling.cancelled():
            handling.result()


async def _refuse(send: Send) -> None:
    body = b'{"detail":"Not Found"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    start: Any = {"type": "websocket.http.response.start", "status": 404, "headers": headers}
    await send(start)
    end: Any = {"type": "websocket.http.response.body", "body": body}
    await send(end)


def read_token(message: bytes) -> str:
    """The token in a client's first message, "" when it sends none. Raises Unauthorized for any other message."""
    try:
        said = msgspec.json.decode(message, type=_Auth)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unauthorized("Auth required: the first message must be of type auth") from None
    return said.token or ""


class _Auth(msgspec.Struct, tag_field="type", tag="auth"):
    token: str | None = None
