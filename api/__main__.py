"""
``python -m api``: serves HTTP until it is stopped.

SIGTERM, SIGINT or SIGHUP: streams end at once, no new connection is accepted, requests in progress are finished. A
second signal ends the process at once.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Ours are found before a package of the user's that has the same name, in the working directory or on PYTHONPATH.
    sys.path.insert(0, str(Path(__file__).absolute().parents[1]))
    from shared.dumpable import become_undumpable
    from shared.isolation import isolate

    become_undumpable()  # before slow imports: until then its environment is readable
    isolate()
    del sys.path[0]

import errno
import gc
import os
import resource
import signal
import socket
import time
from contextlib import suppress
from types import FrameType
from typing import Final

import msgspec
import uvicorn

from api.app import create_app
from api.http import protocol
from api.http.protocol import LimitedHttpProtocol
from api.http.proxies import VARIABLE, Proxies, trusted_networks
from api.http.state import AppState
from api.http.websockets import MESSAGE_BYTES, PING_S, LimitedWebSocketProtocol
from shared.addresses import is_loopback
from shared.errors import Misconfigured, StoreUnavailable
from shared.settings import Settings, read_settings
from shared.startup import begin
from shared.store import open_store, preflight, tokens
from shared.telemetry import configure, get_logger

GRACE_S: Final = 20
"""Seconds that requests may take after the signal; most platforms kill after thirty."""

SAME_REQUEST_S: Final = 1.0
"""Some platforms send their signal several times, to every process."""

OWN_FILES: Final = 64
"""Descriptors that are left for Redis, our listener, and connections that are being refused."""

FEWEST_CONNECTIONS: Final = 32
"""The process does not start with fewer."""

MIN_TOKEN: Final = 16
"""Minimum length of RUNFLEET_TOKEN on an address that others can reach."""

UNSENT_BYTES: Final = 256 * 1024
"""Maximum unsent bytes that the kernel buffers for a client."""

TCP_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", 25)
"""Python has no name for it before 3.12; this is Linux's number, and of others that know it not all have the same."""

_log = get_logger("api")


class Server(uvicorn.Server):
    """
    uvicorn's server, but a stop ends streams first, and a second one stops at once. Signals within a second are one.
    """

    def __init__(self, config: uvicorn.Config, state: AppState) -> None:
        super().__init__(config)
        self._state = state
        self._asked_s = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            for listener in self.servers[0].sockets:
                bound_unsent(listener.fileno())
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            _log.info("api.started", host=host, port=port)
            # Live objects stay alive: checking them in every collection is wasted.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 100)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self.should_exit:
            if now_s - self._asked_s < SAME_REQUEST_S:
                return
            # Nothing here needs saving: all state is in the store, and a client whose response is cut off asks again.
            os._exit(128 + sig)
        self.should_exit = True
        self._asked_s = now_s
        self._state.closing.set()


def bound_unsent(fd: int) -> None:
    """
    Limit the kernel's send buffer for each connection; connections inherit this from their listener.

    Otherwise a client that does not read costs megabytes, which the process cannot see. Not every system has this
    limit.
    """
    with suppress(OSError), socket.socket(fileno=os.dup(fd)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def allow_connections() -> None:
    """
    Raise this process's limit of open files: each connection is one, and 1024 is a common default.

    When the limit stays low, fewer connections are allowed: an excess one is refused, and Redis stays reachable.
    Without this the kernel would let clients wait silently. Raises Misconfigured when the limit is too low.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY or files >= protocol.MAX_CONNECTIONS + OWN_FILES:
        return
    if files < OWN_FILES + FEWEST_CONNECTIONS:
        raise Misconfigured(
            f"only {files} files may be open here, and the API needs {OWN_FILES + FEWEST_CONNECTIONS}, "
            "of which each connection is one (ulimit -n)"
        )
    protocol.MAX_CONNECTIONS = files - OWN_FILES
    _log.warning("api.few_files", files=files, connections=protocol.MAX_CONNECTIONS)


def main() -> int:
    """Run until stopped; the process's exit code."""
    try:
        settings = read_settings()
        require_safe_address(settings)
        configure(settings)
        begin(settings, _log)
        require_safe_store(settings)
        settings = with_token(settings)
        allow_connections()
        app = create_app(settings)
        proxies = Proxies(app, trusted_networks(os.environ.get(VARIABLE, "")), settings.trusted_hops)
    except Misconfigured as error:
        print(f"runfleet api: {error}", file=sys.stderr)  # noqa: T201 (the log may be what is misconfigured)
        return 2
    config = uvicorn.Config(
        proxies,
        proxy_headers=False,  # api.http.proxies evaluates them
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=LimitedHttpProtocol,
        ws=LimitedWebSocketProtocol,
        ws_max_size=MESSAGE_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=75,
        backlog=2048,
    )
    trouble = address_trouble(settings)
    if trouble:
        print(f"runfleet api: {trouble}", file=sys.stderr)  # noqa: T201 (as above)
        return 1  # not 2: the port may belong to a predecessor that is still exiting
    server = Server(config, app.state.runfleet)
    signal.signal(signal.SIGHUP, server.handle_exit)  # uvicorn handles the other two
    server.run()
    _log.info("api.stopped")
    return 0 if server.started else 1


def address_trouble(settings: Settings) -> str:
    """Why listening on that address and port fails, with the cure; "" when it does not."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"port {settings.port} on {settings.host} is taken by another program; set RUNFLEET_PORT"
            why = error.strerror or str(error)
            return (
                f"nothing can listen on {settings.host} port {settings.port} ({why}); set RUNFLEET_HOST, RUNFLEET_PORT"
            )
    return ""


def require_safe_address(settings: Settings) -> None:
    """Raises Misconfigured when others could reach an API without a token, or with a token that is easily guessed."""
    if is_loopback(settings.host):
        return
    if settings.open:
        raise Misconfigured(
            f"RUNFLEET_OPEN=on is for this machine only, and RUNFLEET_HOST={settings.host} is for others too: "
            "set RUNFLEET_HOST=127.0.0.1, or RUNFLEET_OPEN=off and RUNFLEET_TOKEN"
        )
    if not settings.token:
        raise Misconfigured(
            f"listening on {settings.host} needs a token: set RUNFLEET_TOKEN (make one with `openssl rand -hex 32`), "
            "or RUNFLEET_HOST=127.0.0.1 to serve this machine only"
        )
    if len(settings.token) < MIN_TOKEN:
        raise Misconfigured(f"RUNFLEET_TOKEN must have {MIN_TOKEN} characters or more on {settings.host}")


def with_token(settings: Settings) -> Settings:
    """
    *settings* with a token, unless none is needed (``RUNFLEET_OPEN=on``). A generated one is kept in the data folder of
    this directory, readable by its owner only, where ``runfleet up`` keeps it too.

    Raises Misconfigured when it cannot be kept there.
    """
    if settings.open:
        _log.warning("api.open", host=settings.host)
        return settings
    if settings.token:
        return settings
    from shared.cli.apply import DATA
    from shared.cli.data_dir import DataFolder

    try:
        folder = DataFolder(DATA)
        token = folder.token()
    except (Misconfigured, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Misconfigured(
            f"there is no token, and none can be kept in {DATA / 'token'} ({reason}): set RUNFLEET_TOKEN "
            "(make one with `openssl rand -hex 32`), or RUNFLEET_OPEN=on to need none on this machine"
        ) from None
    _log.info("api.token", file=str(folder.path / "token"))
    return msgspec.structs.replace(settings, token=token)


def require_safe_store(settings: Settings) -> None:
    """
    Raises Misconfigured when Redis is reachable and unfit for use. While it is unavailable, ``/ready`` reports that.
    """
    store = open_store(msgspec.structs.replace(settings, redis_timeout_s=min(1.0, settings.redis_timeout_s)))
    try:
        policy = store.run(preflight.check())
        if settings.secret_old:
            store.run(tokens.sign_again(settings.keys))
    except StoreUnavailable:
        pass  # the store has logged it
    else:
        if policy:
            _log.warning("store.evicts", policy=policy)
    finally:
        store.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
