"""Clients that are slow, endless or broken, over real sockets: each is answered or cut off, and costs nobody else."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import msgspec
import pytest

from api.http import protocol, request_body
from shared.runs import Reason
from shared.store import runs
from shared.store.redis.sync_store import Store
from shared.store.runs import Facts
from tests.http.conftest import TOKEN, Served, claim, write
from tests.waiting import wait_until

POST = f"POST /api/tasks/example/run HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
JSON = b"Content-Type: application/json\r\n"


@contextmanager
def connected(served: Served) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), timeout=10) as opened:
        yield opened


def rest(client: socket.socket) -> bytes:
    """All that comes until the server hangs up."""
    parts = []
    try:
        while part := client.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass  # it hung up with something of ours unread
    return b"".join(parts)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    monkeypatch.setattr(protocol, "BODY_GAP_S", 0.3)
    monkeypatch.setattr(protocol, "BODY_S", 0.8)
    monkeypatch.setattr(protocol, "STALL_S", 0.3)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("said", [b"", b"GET /health HT", POST, b"\r\n"])
def test_a_head_that_does_not_come_is_408_and_the_end(served: Served, said: bytes) -> None:
    with connected(served) as client:
        client.sendall(said)
        assert status(rest(client)) == 408


def trickled(client: socket.socket, byte: bytes) -> tuple[bytes, float]:
    """The answer to *byte* again and again, and after how many seconds it came."""
    client.settimeout(0.05)
    began_s = time.monotonic()
    while time.monotonic() - began_s < 5:
        client.sendall(byte)
        with suppress(TimeoutError):
            return client.recv(65_536), time.monotonic() - began_s
    return b"", 5.0


@pytest.mark.usefixtures("impatient")
def test_a_head_that_comes_byte_by_byte_has_an_end(served: Served) -> None:
    with connected(served) as client:
        answer, after_s = trickled(client, b"x")
    assert status(answer) in (400, 408)
    assert after_s < 2


@pytest.mark.usefixtures("impatient")
def test_line_ends_between_requests_do_not_stop_the_clock(served: Served) -> None:
    with connected(served) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status(client.recv(65_536)) == 200
        client.sendall(b"\r\n")
        assert status(rest(client)) == 408


@pytest.mark.usefixtures("impatient")
def test_a_body_that_stops_is_408_as_a_problem(served: Served) -> None:
    with connected(served) as client:
        client.sendall(POST + JSON + b'Content-Length: 20\r\n\r\n{"prio')
        head, _, body = rest(client).partition(b"\r\n\r\n")
    assert status(head) == 408
    assert b"content-type: application/problem+json" in head
    assert msgspec.json.decode(body)["title"] == "Request Timeout"


@pytest.mark.usefixtures("impatient")
def test_a_body_that_trickles_has_an_end_although_it_never_stops(served: Served) -> None:
    with connected(served) as client:
        client.sendall(POST + JSON + b"Content-Length: 1000\r\n\r\n")
        answer, after_s = trickled(client, b" ")
    assert status(answer) == 408
    assert 0.7 < after_s < 3


def test_a_body_that_only_pauses_is_read(served: Served) -> None:
    with connected(served) as client:
        client.sendall(POST + JSON + b'Content-Length: 15\r\n\r\n{"prio')
        wait_until(lambda: httpx.get(f"{served.url}/health").status_code == 200, "the first bytes were read")
        client.sendall(b'rity": 5}')
        assert status(client.recv(65_536)) == 201


@pytest.mark.usefixtures("impatient")
def test_a_handler_that_takes_its_time_is_no_slow_client(served: Served) -> None:
    with connected(served) as client:
        client.sendall(POST.replace(b"/run ", b"/run?wait=true&wait_timeout=1 ") + b"\r\n")
        assert status(client.recv(65_536)) == 201


@pytest.mark.parametrize(
    "head",
    [
        b"X: " + b"x" * 70_000 + b"\r\n\r\n",
        b"".join(b"X-%d: y\r\n" % number for number in range(8000)) + b"\r\n",
        b"X: " + b"x" * 10_000_000,
    ],
    ids=["one of 70 kB", "8000 small ones", "one of 10 MB"],
)
def test_a_head_without_end_is_431_or_the_end(served: Served, head: bytes) -> None:
    with connected(served) as client:
        answer = b""
        try:
            client.sendall(POST + head)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it did not wait for the rest
        else:
            answer = rest(client)
        assert status(answer) in (0, 431)
    assert httpx.get(f"{served.url}/health").status_code == 200


def test_a_large_head_is_still_read(served: Served) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", **{f"X-{number}": "y" * 6000 for number in range(10)}}
    assert httpx.get(f"{served.url}/api/runs", headers=headers).status_code == 200


def test_an_url_without_end_is_431_or_the_end(served: Served) -> None:
    with connected(served) as client:
        client.sendall(b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status(rest(client)) in (0, 431)


def test_a_trailer_without_end_is_cut_off(served: Served) -> None:
    with connected(served) as client:
        client.sendall(POST.replace(b"example", b"nowhere") + JSON + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            client.sendall(b"x" * 10 * protocol.BODY_BYTES)


@pytest.mark.parametrize(
    "said",
    [
        b"GET /api/tasks/\xff\xfe/runs HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /api/tasks/example/run HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"\x00" * 1000,
    ],
    ids=["no ascii", "TLS", "HTTP/9.9", "length -1", "zeros"],
)
def test_data_that_is_not_http_is_400_as_a_problem(served: Served, said: bytes) -> None:
    with connected(served) as client:
        client.sendall(said)
        answer = rest(client)
    assert status(answer) == 400
    assert b"application/problem+json" in answer


@pytest.mark.parametrize("value", [b"\xff\xfe", b"caf\xe9", b"\x80" * 300])
def test_headers_in_no_utf_8_are_an_ordinary_mistake(served: Served, value: bytes) -> None:
    with connected(served) as client:
        client.sendall(POST + b"Idempotency-Key: " + value + b"\r\nConnection: close\r\n\r\n")
        assert status(rest(client)) == 422
        client.close()
    with connected(served) as client:
        client.sendall(b"GET /api/runs HTTP/1.1\r\nHost: " + value + b"\r\nConnection: close\r\n\r\n")
        assert status(rest(client)) in (400, 401)


def test_only_so_many_connections_are_served(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 2)
    with connected(served), connected(served):
        with connected(served) as third:
            answer = rest(third)
            assert status(answer) == 503
            assert b"retry-after:" in answer
    wait_until(lambda: not served.server.server_state.connections, "they are gone")
    assert httpx.get(f"{served.url}/health").status_code == 200


def test_bodies_that_are_not_complete_have_an_end_in_all(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "MAX_UNFINISHED", 1000)
    slow = POST + JSON + b"Content-Length: 900\r\n\r\n" + b" " * 800
    with connected(served) as first:
        first.sendall(slow)
        wait_until(lambda: served.state.unfinished_bytes == 800, "the first is being read")
        with connected(served) as second:
            second.sendall(slow)
            assert status(second.recv(65_536)) == 503
        first.sendall(b" " * 98 + b"{}")
        assert status(first.recv(65_536)) == 201
    assert served.state.unfinished_bytes == 0


@pytest.mark.usefixtures("impatient")
def test_a_stream_whose_reader_reads_nothing_is_closed(served: Served, catalog: Store) -> None:
    run = httpx.post(f"{served.url}/api/tasks/example/run", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    claimed = claim(catalog)
    assert run["id"] == str(claimed.id)
    for first in range(0, 20_000, 500):
        write(catalog, claimed, first, ["x" * 1000] * 500)
    catalog.run(runs.end(claimed.id, claimed.record.token, Reason.SUCCESS, 0, "", facts=Facts(log_lines=20_000)))
    with connected(served) as client:
        path = f"/api/runs/{claimed.id}/log/stream"
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        wait_until(lambda: served.state.stream_limit.taken == 1, "the stream is open")
        wait_until(lambda: served.state.stream_limit.taken == 0, "the stream is given up", timeout_s=5)
