"""Whatever goes wrong, the answer is a problem (RFC 9457) that says what and where, and nothing it should not."""

import socket
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from api.http.request_body import MAX_BODY
from shared.settings import Settings
from shared.store import fleet
from tests.http.conftest import BASE, TOKEN, Served
from tests.waiting import wait_until

Client = TestClient[Litestar]
RUN = "/api/tasks/example/run"


def test_a_problem_has_the_form_of_the_contract(client: Client) -> None:
    response = client.get("/api/tasks/example/runs?limit=5000")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "$schema": f"{BASE}/schemas/ErrorModel.json",
        "type": "about:blank",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "query.limit: expected a whole number <= 1000",
        "instance": f"{BASE}/api/tasks/example/runs",
        "errors": [{"location": "query.limit", "message": "expected a whole number <= 1000", "value": "5000"}],
    }


@pytest.mark.parametrize("path", ["/api", "/api/nope", "/api/runs/x/y/z", "/nope"])
def test_an_unknown_path_is_a_404_problem_and_never_html(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", RUN, "OPTIONS, POST"),
        ("PUT", "/api/runs", "GET, HEAD, OPTIONS"),
        ("PATCH", "/api/runs/example%231", "DELETE, GET, HEAD, OPTIONS"),
        ("TRACE", "/health", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_method_that_is_not_there_is_405_with_allow(client: Client, method: str, path: str, allowed: str) -> None:
    response = client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allowed
    assert response.json()["title"] == "Method Not Allowed"


@pytest.mark.parametrize("body", [b"{", b"[1,", b"\xff\xfe", b'{"a": NaN}', b'{"params": 1e999}'])
def test_a_body_that_is_not_json_is_400(client: Client, body: bytes) -> None:
    response = client.post(RUN, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400


def test_a_query_that_is_not_utf_8_is_400(client: Client) -> None:
    assert client.get("/api/runs?search=%ff").status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_a_body_in_another_form_is_415(client: Client, headers: dict[str, str]) -> None:
    assert client.post(RUN, content=b"{}", headers=headers).status_code == 415


def test_a_body_over_the_limit_is_413_and_closes_the_connection(client: Client) -> None:
    response = client.post(RUN, content=b" " * (MAX_BODY + 1), headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert response.headers["connection"] == "close"


def test_a_body_of_unannounced_length_is_cut_off_at_the_limit(client: Client) -> None:
    chunks = (b" " * 65_536 for _ in range(MAX_BODY // 65_536 + 1))
    response = client.post(RUN, content=chunks, headers={"Content-Type": "application/json"})
    assert response.status_code == 413


def test_a_body_in_chunks_is_cut_off_at_the_limit_while_it_comes(served: Served) -> None:
    head = f"POST {RUN} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), timeout=10) as client:
        client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        piece = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        for _ in range(MAX_BODY // 65_536):
            client.sendall(piece)
        wait_until(lambda: served.state.unfinished_bytes == MAX_BODY, "a whole body's worth is held, and waited on")
        client.sendall(piece)  # its end is never sent
        answer = client.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer
    assert served.state.unfinished_bytes == 0


def test_at_most_a_hundred_problems_are_listed(client: Client) -> None:
    response = client.post("/api/tokens", json={str(number): 1 for number in range(500)})
    assert response.status_code == 422
    assert len(response.json()["errors"]) == 100


def test_values_in_problems_are_cut(client: Client) -> None:
    (problem,) = client.get("/api/runs", params={"limit": "9" * 5000}).json()["errors"]
    assert len(problem["value"]) == 200


def test_an_unexpected_error_shows_only_an_id_that_is_in_the_log(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Any:
        raise ZeroDivisionError("hunter2")

    monkeypatch.setattr(fleet, "facts", broken)
    response = client.get("/api/fleet")
    assert response.status_code == 500
    error_id = response.json()["instance"].removeprefix("urn:uuid:")
    assert error_id in response.json()["detail"]
    assert "hunter2" not in response.text
    assert "ZeroDivisionError" not in response.text
    assert f"error_id={error_id}" in capsys.readouterr().out


def test_without_redis_the_answer_is_503_with_retry_after(settings: Settings) -> None:
    away = msgspec.structs.replace(settings, redis_url="unix:///nowhere/at/all", token="x" * 16)
    with TestClient(create_app(away), base_url=BASE) as client:
        headers = {"Authorization": "Bearer " + "x" * 16}
        for method, path in (("POST", RUN), ("GET", "/api/runs"), ("GET", "/ready"), ("GET", "/metrics")):
            response = client.request(method, path, headers=headers)
            assert (response.status_code, response.headers["retry-after"]) == (503, "2"), path
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("path", ["/ready", "/api/ready", "/api/runs", "/api/v1/jobs", "/api/task_runs/x"])
def test_a_refusal_does_not_reveal_the_address_of_redis(settings: Settings, path: str) -> None:
    away = msgspec.structs.replace(settings, redis_url="redis://secret-host.invalid:7777/3", redis_timeout_s=0.5)
    with TestClient(create_app(away), base_url=BASE) as client:
        answer = client.get(path, headers={"Authorization": "Bearer rf_unknown"})
    assert answer.status_code == 503
    assert "secret-host" not in answer.text
    assert "7777" not in answer.text


def test_every_answer_forbids_sniffing_and_allows_no_other_origin(client: Client) -> None:
    for path in ("/api/runs", "/api/nope", "/health", "/docs"):
        headers = client.get(path, headers={"Origin": BASE}).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_head_brings_the_headers_of_get_without_its_body(client: Client) -> None:
    head, get = client.head("/api/runs"), client.get("/api/runs")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))


def test_options_says_what_is_possible(client: Client) -> None:
    response = client.options(RUN)
    assert (response.status_code, response.headers["allow"]) == (204, "OPTIONS, POST")
