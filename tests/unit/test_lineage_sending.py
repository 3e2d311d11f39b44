"""What is posted in the place of OpenLineage's client is what it would have sent, to where it would have sent it."""

import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from openlineage.client import OpenLineageClient

from shared.lineage.http_transport import Busy, Refused
from shared.lineage.sender import ClientSender, HttpSender, open_sender
from shared.runs import Reason, Record, Status
from shared.tasks import Task
from tests.unit.test_emitter import RUN, START, record

TASK = Task(name="report", run="true", description="Makes it")
OVER: Any = {"status": Status.ENDED, "exit_code": 1, "message": "because", "end_us": START + 3_000_000}


class Backend:
    """Hears events, and answers as it is told: with 201, or with what ``answers`` holds for the next ones."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], Any]] = []
        self.answers: list[bytes | int] = []
        self.connections = 0
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                backend.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                backend.heard.append(({k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
                assert self.path == "/api/v1/lineage"
                answer = backend.answers.pop(0) if backend.answers else 201
                if isinstance(answer, int):
                    answer = b"HTTP/1.1 %d Said\r\nContent-Length: 2\r\n\r\n{}" % answer
                else:
                    self.close_connection = True
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port

    @property
    def bodies(self) -> list[Any]:
        return [body for _, body in self.heard]

    @contextmanager
    def serving(self, tls: ssl.SSLContext | None = None) -> Iterator[None]:
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.server.daemon_threads = True
        thread = Thread(target=self.server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    with made.serving():
        yield made


SetUp = Callable[..., HttpSender | ClientSender]


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch, backend: Backend, tmp_path: Path) -> Iterator[SetUp]:
    """A sender for an environment, which is the usual one plus what is given; closed after the test."""
    made: list[HttpSender | ClientSender] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))  # nothing of whoever tests
    for name in list(os.environ):
        if name.startswith("OPENLINEAGE") or name.lower().endswith(("_proxy", "_ca_bundle")):
            monkeypatch.delenv(name)

    def make(**env: str) -> HttpSender | ClientSender:
        usual = {"OPENLINEAGE_URL": f"http://127.0.0.1:{backend.port}", "OPENLINEAGE_API_KEY": "key"}
        for name, value in (usual | env).items():
            monkeypatch.setenv(name, value)
        made.append(open_sender("ns"))
        return made[-1]

    yield make
    for sender in made:
        sender.close(1.0)
    for name in list(os.environ):
        if name.startswith("OPENLINEAGE__"):
            del os.environ[name]  # the client writes some itself


def posting(made: HttpSender | ClientSender) -> HttpSender:
    assert isinstance(made, HttpSender)
    return made


@pytest.mark.parametrize("task", [TASK, None])
@pytest.mark.parametrize("tick_us", [0, START])
@pytest.mark.parametrize("reason", ["", *Reason])
def test_what_is_filled_in_is_what_the_client_would_have_sent(
    reason: str, tick_us: int, task: Task | None, backend: Backend, set_up: SetUp
) -> None:
    extras = {
        "OPENLINEAGE__FACETS__ENVIRONMENT_VARIABLES": '["WHERE"]',
        "WHERE": "here",
        "OPENLINEAGE__TAGS__JOB": '{"team": "ä"}',
        "OPENLINEAGE__TAGS__RUN": '{"cost": "low"}',
    }
    first = posting(set_up(**extras))
    told = record(reason=reason, tick_us=tick_us, **(OVER if reason else {"number": 7}))
    another = record(reason="stopped", worker="w", retry_of=str(RUN), **OVER)
    first.send(RUN, another, task)  # its form is not made of what is told next
    first.send(RUN, told, task)
    theirs_too = ClientSender(OpenLineageClient(), "ns")
    theirs_too.send(RUN, told, task)
    theirs_too.close(1.0)
    _, (headers, ours), (theirs_headers, theirs) = backend.heard
    assert ours == theirs
    assert ours["run"]["facets"]["environmentVariables"]["environmentVariables"] == [{"name": "WHERE", "value": "here"}]
    assert {tag["key"] for tag in ours["job"]["facets"]["tags"]["tags"]} == {"team"}
    assert headers | {"content-length": ""} == theirs_headers | {"content-length": ""}
    assert headers["authorization"] == "Bearer key"


def test_a_job_that_the_client_filters_out_is_not_emitted(backend: Backend, set_up: SetUp) -> None:
    sender = set_up(OPENLINEAGE__FILTERS='[{"type": "exact", "match": "report"}]')
    sender.send(RUN, record(), TASK)
    sender.send(RUN, record(task="other"), None)
    assert [body["job"]["name"] for body in backend.bodies] == ["other"]


def test_a_new_definition_is_announced(backend: Backend, set_up: SetUp) -> None:
    sender = set_up()
    for number in range(3):
        sender.send(RUN, record(definition=str(number)), Task(name="report", run="true", description=str(number)))
    said = [body["job"]["facets"]["documentation"]["description"] for body in backend.bodies]
    assert said == ["0", "1", "2"]


def test_events_share_one_connection(backend: Backend, set_up: SetUp) -> None:
    sender = set_up()
    for _ in range(50):
        sender.send(RUN, record(), TASK)
    sender.close(1.0)
    assert (len(backend.heard), backend.connections) == (50, 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",  # and then nobody is there
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nas long as it takes",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
    ],
)
def test_an_answer_may_look_as_it_likes_and_be_the_last_of_its_connection(
    answer: bytes, backend: Backend, set_up: SetUp
) -> None:
    backend.answers = [answer] * 5
    sender = set_up()
    for number in range(5):
        sender.send(RUN, record(number=number), TASK)
    assert [body["run"]["facets"]["runfleet"]["number"] for body in backend.bodies] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("answer", [503, b"", b"what?\r\n\r\n", b"HTTP/1.1 2"])
def test_what_was_not_taken_is_sent_again_by_the_client_s_transport(
    answer: bytes | int, backend: Backend, set_up: SetUp
) -> None:
    sender = set_up()
    backend.answers = [answer]
    sender.send(RUN, record(), TASK)
    first, second = backend.heard
    assert first[1] == second[1]
    sender.send(RUN, record(), TASK)
    assert len(backend.heard) == 3


def test_a_refusal_is_named_and_not_tried_again(backend: Backend, set_up: SetUp) -> None:
    sender = set_up()
    backend.answers = [401]
    with pytest.raises(Refused, match=rf"http://127.0.0.1:{backend.port}/api/v1/lineage answered 401"):
        sender.send(RUN, record(), TASK)
    assert len(backend.heard) == 1


@pytest.mark.parametrize("status", [408, 425, 429])
def test_a_busy_server_gets_the_event_later(backend: Backend, set_up: SetUp, status: int) -> None:
    sender, paused = set_up(), list[float]()
    assert isinstance(sender, HttpSender)
    sender._pause = paused.append
    backend.answers = [status, status]
    sender.send(RUN, record(), TASK)
    assert len(backend.heard) == 3
    assert paused == [0.5, 1.0]


def test_a_processor_that_stays_busy_is_named_at_the_end(backend: Backend, set_up: SetUp) -> None:
    sender, paused = set_up(), list[float]()
    assert isinstance(sender, HttpSender)
    sender._pause = paused.append
    backend.answers = [429] * 9
    with pytest.raises(Busy, match="answered 429 repeatedly"):
        sender.send(RUN, record(), TASK)
    assert (len(backend.heard), sum(paused)) == (5, 7.5)


def test_without_a_listener_the_clients_transport_reports_it(set_up: SetUp) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        transport = {"type": "http", "url": f"http://127.0.0.1:{taken.getsockname()[1]}", "retry": {"total": 0}}
        sender = posting(set_up(OPENLINEAGE__TRANSPORT=json.dumps(transport)))
        with pytest.raises(Exception, match="refused"):
            sender.send(RUN, record(), TASK)


def test_headers_of_one_s_own_and_an_endpoint_are_heeded(backend: Backend, set_up: SetUp) -> None:
    transport = {
        "type": "http",
        "url": f"http://user:word@127.0.0.1:{backend.port}/",
        "endpoint": "/api/v1/lineage",
        "custom_headers": {"X-Team": "data"},
    }
    posting(set_up(OPENLINEAGE__TRANSPORT=json.dumps(transport))).send(RUN, record(), TASK)
    headers, _ = backend.heard[0]
    assert (headers["x-team"], headers["authorization"]) == ("data", "Basic dXNlcjp3b3Jk")
    assert headers["host"] == f"127.0.0.1:{backend.port}"


@pytest.mark.parametrize(
    "env",
    [
        {"http_proxy": "http://127.0.0.1:9"},
        {"OPENLINEAGE__TRANSPORT": '{"type": "http", "url": "http://127.0.0.1:9", "compression": "gzip"}'},
        {"OPENLINEAGE__TRANSPORT": '{"type": "console"}'},
    ],
)
def test_what_the_client_does_otherwise_it_does_itself(env: dict[str, str], set_up: SetUp) -> None:
    assert isinstance(set_up(**env), ClientSender)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with the openssl command")
@pytest.mark.parametrize("trusted", [True, False])
def test_certificates_are_checked_as_the_client_does(trusted: bool, set_up: SetUp, tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {cert} -days 2 -subj /CN=localhost "
        "-addext subjectAltName=IP:127.0.0.1,DNS:localhost",
        shell=True,
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    safe = Backend()
    transport = {"type": "http", "url": f"https://localhost:{safe.port}", "retry": {"total": 0}}
    bundle = {"REQUESTS_CA_BUNDLE": str(cert)} if trusted else {}
    sender = posting(set_up(OPENLINEAGE__TRANSPORT=json.dumps(transport), **bundle))
    with safe.serving(tls):
        if trusted:
            for _ in range(5):
                sender.send(RUN, record(), TASK)
            sender.close(1.0)
            assert (len(safe.heard), safe.connections) == (5, 1)
        else:
            with pytest.raises(Exception, match="certificate verify failed"):
                sender.send(RUN, record(), TASK)
            assert not safe.heard


def test_a_record_is_emitted_unchanged(backend: Backend, set_up: SetUp) -> None:
    told: Record = record()
    before = str(told)
    set_up().send(RUN, told, TASK)
    assert str(told) == before
