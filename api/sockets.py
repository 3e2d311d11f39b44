"""
WebSockets: who may open one, how many there are, how long a silent one lives, and where each leads.

Each takes a seat like a stream. A client that cannot be served now is let in and told so (1013, try again later),
because to many clients a refused handshake is the end and a closed connection is a reason to come back.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from litestar.types import ASGIApp, Receive, Send
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from api.auth import Grant, client_of
from api.connection import STALL_S
from api.web import Web
from shared.errors import RunfleetError, StoreUnavailable, Unauthorized, Unserviceable
from shared.telemetry import get_logger

MESSAGE_BYTES: Final = 1024 * 1024
"""The largest message that is read."""

PING_S: Final = 20.0
"""How often a client is asked whether it is there, and how long it may take to say so."""

HANDSHAKE_S: Final = 10.0
"""How long a client may take to say who it is."""

NORMAL: Final = 1000
POLICY: Final = 1008
FAILED: Final = 1011
TRY_AGAIN: Final = 1013

_log = get_logger("api")


class Gone(Exception):
    """The client is not there any more."""


class SocketConnection(WebSocketsSansIOProtocol):
    """uvicorn's protocol, but a client that reads nothing is cut off: closing would wait until it has read."""

    _stalled: asyncio.TimerHandle | None = None

    async def send(self, message: Any) -> None:
        """As uvicorn's, which takes a refusal for an application that forgot to answer, and logs an error."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True

    def pause_writing(self) -> None:
        """So much waits for the client that nothing is added."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It read."""
        self._forget_stall()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._forget_stall()
        super().connection_lost(exc)

    def keepalive_timeout(self) -> None:
        """It did not say that it is there."""
        super().keepalive_timeout()
        self.transport.abort()

    def _forget_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


class Socket:
    """One open connection. ``receive`` and ``send`` raise Gone when the client is."""

    def __init__(self, web: Web, scope: Any, receive: Receive, send: Send) -> None:
        self.web = web
        self.scope = scope
        self._receive = receive
        self._send = send

    @property
    def subprotocols(self) -> list[str]:
        """What the client would like to speak."""
        wanted: list[str] = self.scope["subprotocols"]
        return wanted

    async def accept(self, subprotocol: str | None = None) -> None:
        """Let the client in."""
        message: Any = await self._receive()
        if message["type"] != "websocket.connect":
            raise Gone
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
        """Hang up, saying why in at most 120 bytes."""
        short = reason.encode()[:120].decode(errors="ignore")
        await self._put({"type": "websocket.close", "code": code, "reason": short})

    async def grant(self, token: str = "") -> Grant:
        """
        What the client may do, by a *token* that it sent as a message (as for Basic authentication if there is a colon
        in it), or by its request. Raises as ``Gate.grant``.
        """
        scope = self.scope
        if token:
            plain = token.encode()
            sent = b"Basic " + base64.b64encode(plain) if b":" in plain else b"Bearer " + plain
            headers = [pair for pair in scope["headers"] if pair[0] != b"authorization"]
            scope = {**scope, "headers": [*headers, (b"authorization", sent)]}
        return await self.web.gate.grant(scope)

    async def _put(self, message: Any) -> None:
        try:
            await self._send(message)
        except Exception as error:  # the server's own, which says that the connection is closed
            raise Gone from error


_encode = msgspec.json.Encoder().encode
Handler = Callable[[Socket], Awaitable[None]]


class Sockets:
    """Serves WebSockets at *handlers* (path: handler) and leaves everything else to *app*."""

    def __init__(self, app: ASGIApp, web: Web, handlers: Mapping[str, Handler]) -> None:
        self._app = app
        self._web = web
        self._handlers = handlers

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one connection, of whatever kind."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        # A base address that ends in a slash makes two of them in the paths of some clients.
        handler = self._handlers.get(scope["path"].rstrip("/").replace("//", "/"))
        if handler is None:
            await _refuse(send)
        else:
            await self._serve(handler, Socket(self._web, scope, receive, send))

    async def _serve(self, handler: Handler, socket: Socket) -> None:
        client = client_of(socket.scope)
        try:
            try:
                self._web.seats.take(client)
            except Unserviceable as error:
                await socket.accept(socket.subprotocols[0] if socket.subprotocols else None)
                await socket.close(TRY_AGAIN, str(error))
                return
            try:
                await handler(socket)
            except (StoreUnavailable, Unserviceable) as error:
                await socket.close(TRY_AGAIN, str(error))
            except RunfleetError as error:
                await socket.close(POLICY if error.status in (401, 403) else FAILED, str(error))
            finally:
                self._web.seats.leave(client)
        except Gone:
            pass
        except Exception:
            _log.exception("api.failed", error_id="", method="WebSocket", path=socket.scope["path"])
            await socket.close(FAILED, "an unexpected error")


async def _refuse(send: Send) -> None:
    body = b'{"detail":"Not Found"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    start: Any = {"type": "websocket.http.response.start", "status": 404, "headers": headers}
    await send(start)
    end: Any = {"type": "websocket.http.response.body", "body": body}
    await send(end)


def read_token(message: bytes) -> str:
    """The token in a client's first message, "" when it sends none. Raises Unauthorized for another message."""
    try:
        said = msgspec.json.decode(message, type=_Auth)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unauthorized("Auth required: the first message must be of type auth") from None
    return said.token or ""


class _Auth(msgspec.Struct, tag_field="type", tag="auth"):
    token: str | None = None
