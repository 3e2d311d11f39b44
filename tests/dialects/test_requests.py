"""What every dialect's requests go through, tried with a dialect that only echoes."""

import base64
import gzip
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from litestar.types import Scope as Connection

import api.app
from api.http.request import Request
from api.http.response import Response
from api.http.router import Dialect, Routes
from shared.errors import RunfleetError
from shared.settings import Settings

TOKEN = "rf_of_the_door_tests"


def refuse(error: RunfleetError, scope: Connection) -> Response:
    return Response(msgspec.json.encode({"echo_code": error.status, "text": str(error)}), status=error.status)


ECHO = Routes(dialect=Dialect(name="echo", refuse=refuse, prefixes=("/api/echo/",)))


class Named(msgspec.Struct):
    name: str
    size: int = 0


@ECHO.get("/api/echo/{first}/of/{second}")
async def echo_path(request: Request) -> Response:
    return Response(msgspec.json.encode({"path": request.path, "query": request.query}))


@ECHO.put("/api/echo/{first}", scope="run", max_body=1000)
async def echo_body(request: Request) -> Response:
    return Response(msgspec.json.encode(request.read(Named)))


@ECHO.patch("/api/echo/{first}", scope="run")
async def fail(request: Request) -> Response:
    raise ZeroDivisionError("nobody foresaw this")


@pytest.fixture
def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient[Litestar]]:
    monkeypatch.setattr(api.app, "dialect_endpoints", lambda: ECHO.endpoints)
    app = api.app.create_app(msgspec.structs.replace(settings, open=False, token=TOKEN))
    with TestClient(app, base_url="http://runfleet.local:9477") as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield client


@pytest.mark.parametrize(
    "name", ["plain", "s3://b/c", "50%", "a b", "ü", "#?&", "%2F", "a\x1fb/c", "\x1f0\x1f1", "\ufffd"]
)
def test_a_part_of_a_path_may_hold_anything(client: TestClient[Litestar], name: str) -> None:
    answer = client.get(f"/api/echo/{quote(name, safe='')}/of/x?a=1&a=2&b=")
    assert answer.json() == {"path": {"first": name, "second": "x"}, "query": {"a": ["1", "2"], "b": [""]}}


@pytest.mark.parametrize("path", ["/api/echo/%FF/of/x", "/api/echo/a%2F%ED%A0%80/of/x"])
def test_a_path_that_is_no_text_is_refused_and_names_nothing(client: TestClient[Litestar], path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["echo_code"]) == (400, 400)
    assert "UTF-8" in answer.json()["text"]


def test_a_path_where_nothing_is_is_named_as_it_was_sent(client: TestClient[Litestar]) -> None:
    said = client.get("/api/echo/s3%3A%2f%2Fb%1F/and/x").json()["text"]
    assert said == "there is nothing at /api/echo/s3:%2F%2Fb%1F/and/x"


@pytest.mark.parametrize("encoding", ["gzip", "identity", None])
def test_a_body_may_be_packed(client: TestClient[Litestar], encoding: str | None) -> None:
    body = b'{"name": "x"}'
    packed = gzip.compress(body) if encoding == "gzip" else body
    headers = {"Content-Encoding": encoding} if encoding else {}
    assert client.put("/api/echo/x", content=packed, headers=headers).json() == {"name": "x", "size": 0}


@pytest.mark.parametrize(
    ("content", "headers", "status", "says"),
    [
        (gzip.compress(b"[" + b" " * 100_000, mtime=0), {"Content-Encoding": "gzip"}, 413, "more than 1000 bytes"),
        (b" " * 2000, {}, 413, "1000"),
        (gzip.compress(b"{}", mtime=0)[:-3], {"Content-Encoding": "gzip"}, 400, "cut off"),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400, "not gzip"),
        (b"{}", {"Content-Encoding": "br"}, 415, "br"),
        (b"{", {}, 400, "not JSON"),
        (b'{"name": 1, "size": "x"}', {}, 422, "body.name"),
    ],
)
def test_unreadable_requests_are_refused_in_the_shape_of_the_dialect(
    client: TestClient[Litestar], content: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    answer = client.put("/api/echo/x", content=content, headers=headers)
    assert (answer.status_code, answer.json()["echo_code"]) == (status, status)
    assert says in answer.json()["text"]


def test_other_refusals_have_its_shape_too(client: TestClient[Litestar]) -> None:
    def refused(method: str, path: str, **options: Any) -> int:
        answer = client.request(method, path, **options)
        assert answer.json()["echo_code"] == answer.status_code
        return answer.status_code

    assert refused("GET", "/api/echo/nothing/here/at/all") == 404
    assert refused("DELETE", "/api/echo/x") == 405
    assert refused("PUT", "/api/echo/x", headers={"Authorization": "Bearer wrong"}) == 401
    assert "echo_code" not in client.get("/api/elsewhere").json()


def test_an_unexpected_error_shows_an_id_only(client: TestClient[Litestar]) -> None:
    answer = client.patch("/api/echo/x")
    assert answer.status_code == 500
    assert "ZeroDivisionError" not in answer.text
    assert "the log has it under" in answer.text


def test_a_token_may_come_as_a_basic_password(client: TestClient[Litestar]) -> None:
    def status(credentials: str) -> int:
        sent = base64.b64encode(credentials.encode()).decode()
        return client.get("/api/echo/x/of/y", headers={"Authorization": f"Basic {sent}"}).status_code

    assert status(f"anyone:{TOKEN}") == 200
    assert status("anyone:wrong") == 401
    assert client.get("/api/echo/x/of/y", headers={"Authorization": "Basic !"}).status_code == 401
