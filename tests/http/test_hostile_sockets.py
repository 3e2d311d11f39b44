"""WebSockets by hand, as no client speaks: none of it is a traceback, takes memory without end, or disturbs others."""

import json
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Final

import httpx
import pytest
from websockets.sync.client import connect

from api.http.websockets import LimitedWebSocketProtocol
from shared.settings import Settings
from tests.http.conftest import TOKEN, Served
from tests.http.test_process import ROOT, environment
from tests.system.fleet import Server
from tests.waiting import wait_until

IN, OUT, QUEUE = "/api/events/in", "/api/events/out", "/api/task_runs/subscriptions/scheduled"
PATHS: Final = (IN, OUT, QUEUE)
MB: Final = 1024 * 1024
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
AUTH: Final = json.dumps({"type": "auth", "token": TOKEN}).encode()
ODD: Final = b'{"type":"auth","token":"\\u0000\\r\\n\\ud83d\xc3\xa9"}'
NESTED: Final = b"[" * 100_000
MOST_MEMORY: Final = 24 * MB
"""How much the process may have grown after an attack."""


class Api:
    """The API as the Procfile starts it."""

    def __init__(self, redis: Server, folder: Path) -> None:
        self._log = folder / "log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "api"],
                env=environment(
                    Settings(redis_url=redis.url), RUNFLEET_OPEN="off", RUNFLEET_TOKEN=TOKEN, PYTHONPATH=str(ROOT)
                ),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: "api.started" in self.log(), "the API answers", 30)
        found = re.search(r"event=api\.started.* port=(\d+)", self.log())
        assert found
        self.port = int(found[1])

    def log(self) -> str:
        return self._log.read_text()

    def memory(self) -> int:
        """Bytes that the process has in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024

    def works(self) -> None:
        """Others are served: a request, and a WebSocket that signs in."""
        assert httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=5).status_code == 200
        with connect(f"ws://127.0.0.1:{self.port}{OUT}", subprotocols=["prefect"]) as one:  # type: ignore[list-item]
            one.send(AUTH.decode())
            assert json.loads(one.recv(5)) == {"type": "auth_success"}

    def open(self, path: str = IN, *, auth: bool = True, protocol: str = "prefect", more: str = "") -> socket.socket:
        """A connection whose handshake is done, and whose client has signed in unless *auth* is False."""
        one = handshake(self.port, path, protocol, more)
        if auth:
            one.sendall(frame(TEXT, AUTH))
            assert b"auth_success" in one.recv(1000)
        return one


def handshake(port: int, path: str, protocol: str = "prefect", more: str = "") -> socket.socket:
    """A connection that was made to a WebSocket."""
    one = socket.create_connection(("127.0.0.1", port), timeout=10)
    one.sendall(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {protocol}\r\n{more}\r\n".encode("latin-1")
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        got = one.recv(1)
        if not got:
            raise ConnectionError(head)
        head += got
    return one


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """A frame; the mask is zeros, so that the payload is as it is."""
    first, mask = (0x80 if fin else 0) | rsv << 4 | opcode, 0x80 if masked else 0
    if len(payload) < 126:
        head = struct.pack("!BB", first, mask | len(payload))
    elif len(payload) < 65536:
        head = struct.pack("!BBH", first, mask | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, mask | 127, len(payload))
    return head + (bytes(4) if masked else b"") + payload


def ended(one: socket.socket) -> bytes:
    """What the server says until it hangs up; when it wants to, its close is answered."""
    said = b""
    with suppress(ConnectionError):
        while got := one.recv(65536):
            said += got
            if b"\x88" in got:
                one.sendall(frame(CLOSE))
    return said


def push(one: socket.socket, data: bytes, times: int) -> None:
    """Send the same again and again without reading, until the server hangs up or takes no more."""
    one.settimeout(2)
    with suppress(OSError):
        for _ in range(times):
            one.sendall(data)


Attack = Callable[[Api], None]


def sent(*frames: bytes, path: str = IN, auth: bool = True) -> Attack:
    """Frames after which the server has to hang up."""

    def attack(api: Api) -> None:
        with closing(api.open(path, auth=auth)) as one:
            with suppress(OSError):
                one.sendall(b"".join(frames))
            ended(one)

    return attack


def endless_fragments(api: Api) -> None:
    for piece, times in ((b"", 3000), (b"x", 3000), (b"x" * 1000, 30)):
        with closing(api.open()) as one:
            one.sendall(frame(TEXT, b"x", fin=False))
            push(one, frame(0, piece, fin=False) * 100, times)


def flood_of_pings(api: Api) -> None:
    with closing(api.open()) as one:
        push(one, frame(PING, b"x" * 125) * 1000, 1000)  # 131 MB


def half_closed(api: Api) -> None:
    for path in PATHS:
        with closing(api.open(path)) as one:
            one.shutdown(socket.SHUT_WR)
            ended(one)


def deep(api: Api) -> None:
    first: dict[str, dict[str, object]] = {
        OUT: {"type": "filter"},
        QUEUE: {"type": "subscribe", "keys": ["k"], "client_id": "c"},
    }
    for path in PATHS:
        for auth in (False, True):
            with closing(api.open(path, auth=auth)) as one:
                for message in (NESTED, b'{"type":' + NESTED, b'{"payload":' + NESTED + b"]" * 100_000 + b"}"):
                    with suppress(OSError):
                        one.sendall(frame(TEXT, message))
                if path == IN:
                    one.sendall(frame(CLOSE))
                ended(one)
    for path, opening in first.items():
        with closing(api.open(path)) as one:
            told = json.dumps(opening)[:-1].encode() + b', "filter": ' + NESTED + b"]" * 100_000 + b"}"
            one.sendall(frame(TEXT, told) + frame(CLOSE))
            ended(one)


def compressed(api: Api) -> None:
    with closing(api.open(more="Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")) as one:
        one.sendall(frame(BINARY, b"\xec\xc1\x01\x01" + bytes(60_000), rsv=4))
        ended(one)


def odd_protocols(api: Api) -> None:
    for protocol in ("junk", "prefect, junk", ",,,", "x" * 8000, ", ".join(["a"] * 2000), "a b", "\xff", ""):
        with suppress(ConnectionError), closing(api.open(protocol=protocol, auth=False)) as one:
            one.sendall(frame(TEXT, AUTH) + frame(CLOSE))
            ended(one)


def frames_before_the_handshake(api: Api) -> None:
    with closing(socket.create_connection(("127.0.0.1", api.port), timeout=10)) as one:
        one.sendall(frame(TEXT, AUTH))
        ended(one)


ATTACKS: Final[dict[str, Attack]] = {
    "auth twice, events in": sent(frame(TEXT, AUTH), frame(CLOSE), path=IN),
    "auth twice, events out": sent(frame(TEXT, AUTH), path=OUT),
    "auth twice, the queue": sent(frame(TEXT, AUTH), path=QUEUE),
    "a message that is too large": sent(frame(TEXT, b"x" * (MB + 1))),
    "a message that is too large, before the token": sent(frame(TEXT, b"x" * (MB + 1)), auth=False),
    "a length of 2^63": sent(struct.pack("!BBQ", 0x81, 0xFF, 2**63 + 1) + bytes(4)),
    "fragments without end": endless_fragments,
    "a compressed bomb": compressed,
    "reserved bits": sent(frame(TEXT, b"x", rsv=7)),
    "a reserved opcode": sent(frame(5, b"x")),
    "no mask": sent(frame(TEXT, b"x", masked=False)),
    "a large ping": sent(frame(PING, b"x" * 126)),
    "a ping in fragments": sent(frame(PING, b"x", fin=False)),
    "a continuation of nothing": sent(frame(0, b"x")),
    "a message within a message": sent(frame(TEXT, b"x", fin=False), frame(TEXT, b"x")),
    "a close that is cut off": sent(frame(CLOSE, b"\x03")),
    "a close with a code that is none": sent(frame(CLOSE, struct.pack("!H", 1005))),
    "more after the close": sent(frame(CLOSE), frame(TEXT, b"x") * 1000),
    "no UTF-8": sent(frame(TEXT, b"\xff\xfe")),
    "no UTF-8, before the token": sent(frame(TEXT, b"\xff\xfe"), auth=False),
    "bytes that are no UTF-8, as token": sent(frame(BINARY, b"\xff\xfe"), auth=False),
    "bytes that are no UTF-8": sent(frame(BINARY, b"\xff\xfe"), frame(CLOSE)),
    "bytes that are no UTF-8, as filter": sent(frame(BINARY, b"\xff\xfe"), path=OUT),
    "bytes that are no UTF-8, as subscription": sent(frame(BINARY, b"\xff\xfe"), path=QUEUE),
    "a token with odd characters": sent(
        frame(TEXT, b'{"type":"auth","token":"\\u0000\\r\\n\\ud83d\xc3\xa9"}'), auth=False
    ),
    "a token of a megabyte": sent(
        frame(TEXT, json.dumps({"type": "auth", "token": "x" * 1_000_000}).encode()), auth=False
    ),
    "a flood of pings": flood_of_pings,
    "clients that close half": half_closed,
    "deep messages": deep,
    "odd protocols": odd_protocols,
    "frames before the handshake": frames_before_the_handshake,
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One process for all attacks of this module."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "valkey").mkdir()
    with closing(Server(folder / "valkey", "")) as redis:
        api = Api(redis, folder)
        try:
            api.works()
            yield api
        finally:
            api.process.kill()
            api.process.wait()


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_by_hand_disturbs_no_other_client(api: Api, attack: str) -> None:
    before, said = api.memory(), len(api.log())
    ATTACKS[attack](api)
    api.works()
    told = api.log()[said:]
    assert "Traceback" not in told, told[-3000:]
    assert "level=error" not in told, told[-3000:]
    grown = api.memory() - before
    assert grown < MOST_MEMORY, f"it grew by {grown / MB:.0f} MB"


def test_hundreds_of_anonymous_connections_keep_no_client_out(api: Api) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(api.open(PATHS[n % 3], auth=False))) for n in range(300)]
        began = time.monotonic()
        api.works()
        assert time.monotonic() - began < 2
        assert ended(opened[0])[2:4] == struct.pack("!H", 1013), "it came first, and was told to come back"
        opened[-1].sendall(frame(TEXT, AUTH))
        assert b"auth_success" in opened[-1].recv(1000), "it came last, and may still sign in"
        assert "Traceback" not in api.log()


def test_a_message_in_many_pieces_is_kept_as_one(served: Served) -> None:
    with closing(handshake(int(served.url.rpartition(":")[2]), IN)) as one:
        one.sendall(frame(TEXT, b"x", fin=False) + frame(0, b"", fin=False) * 1000 + frame(0, b"x", fin=False) * 1000)
        (kept,) = [
            each for each in served.server.server_state.connections if isinstance(each, LimitedWebSocketProtocol)
        ]
        wait_until(lambda: kept.frames and len(kept.frames[0]) == 1001, "all pieces have come", 5)
        assert len(kept.frames) == 1
