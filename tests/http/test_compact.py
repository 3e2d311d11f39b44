"""Answers that are sent once: entity tags, 304, gzip."""

import gzip

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from shared.store.redis.sync_store import Store
from tests.http.conftest import finish

Client = TestClient[Litestar]
ROWS = "/api/tasks/example/runs?view=row"
PLAIN = {"Accept-Encoding": "identity"}
CALLS = (
    ROWS,
    "/api/runs?view=row",
    *(f"/api/runs/example%231/{call}" for call in ("neighbours", "why", "log/find?q=x", "log/outline")),
)


@pytest.fixture(autouse=True)
def runs(client: Client, catalog: Store) -> None:
    for _ in range(10):
        client.post("/api/tasks/example/run")
        finish(catalog)


@pytest.mark.parametrize("call", CALLS)
def test_an_answer_that_the_client_has_is_not_sent_again(client: Client, call: str) -> None:
    first = client.get(call)
    tag = first.headers["etag"]
    again = client.get(call, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert not again.headers.keys() & {"content-type", "content-length", "content-encoding"}
    assert client.get(call, headers={"If-None-Match": '"other"'}).json() == first.json()


def test_a_changed_answer_has_another_tag(client: Client) -> None:
    tag = client.get(ROWS).headers["etag"]
    client.post("/api/tasks/example/run")
    assert client.get(ROWS, headers={"If-None-Match": tag}).status_code == 200


def test_large_answers_are_gzipped_for_those_who_take_it(client: Client) -> None:
    plain = client.get(ROWS, headers=PLAIN)
    assert "content-encoding" not in plain.headers
    with client.stream("GET", ROWS, headers={"Accept-Encoding": "br, gzip;q=0.5"}) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "accept-encoding"
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content) // 3
    assert packed.headers["etag"] == plain.headers["etag"]
    refused = client.get(ROWS, headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers


def test_small_answers_are_sent_as_they_are(client: Client) -> None:
    answer = client.get("/api/runs/example%231/log/outline", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
