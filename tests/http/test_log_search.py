"""Search in a log: hits with their places, streams, limits of hits, time and expressions."""

import sys
import time

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.native import log_reading
from shared.runs import Reason
from shared.store import logs, runs
from shared.store.log_record import StoredLine
from shared.store.redis.sync_store import Store
from shared.store.runs import Claimed, Facts
from tests.http.conftest import claim, write

Client = TestClient[Litestar]


@pytest.fixture
def running(client: Client, catalog: Store) -> Claimed:
    client.post("/api/tasks/example/run")
    return claim(catalog)


def found(client: Client, run: Claimed, **query: str) -> dict[str, object]:
    response = client.get(f"/api/runs/{run.id}/log/find", params=query)
    assert response.status_code == 200, response.text
    return {name: value for name, value in response.json().items() if name != "$schema"}


def test_each_hit_names_its_line_and_columns(client: Client, catalog: Store, running: Claimed) -> None:
    write(catalog, running, 0, ["no", "Error: an error", "none"])
    assert found(client, running, q="error") == {
        "hits": [[1, 0, 5], [1, 10, 15]],
        "total": 2,
        "complete": True,
        "scanned": 3,
    }
    assert found(client, running, q="error", case="true")["hits"] == [[1, 10, 15]]


def test_columns_do_not_count_colour_codes(client: Client, catalog: Store, running: Claimed) -> None:
    write(catalog, running, 0, ["\x1b[31mre\x1b[1md\x1b[0m herring"])
    assert found(client, running, q="red h")["hits"] == [[0, 0, 5]]


@pytest.mark.parametrize("text", ["İİ über", "ẞß ÜBER", "ΟΔΌΣ über"])
def test_a_letter_that_has_another_length_in_lower_case_moves_no_column(
    client: Client, catalog: Store, running: Claimed, text: str
) -> None:
    write(catalog, running, 0, [text])
    at = text.lower().replace("i̇", "i").index("über")
    assert found(client, running, q="Über")["hits"] == [[0, at, at + 4]]


def test_a_search_may_start_later_and_see_some_streams_only(client: Client, catalog: Store, running: Claimed) -> None:
    now = time.time_ns() // 1000
    lines = [StoredLine(n=n, at_us=now, stream=n % 3, text="x", continued=False) for n in range(6)]
    catalog.run(logs.append(running.id, running.record.token, lines, first_kept=0, kept_bytes=6))
    assert found(client, running, q="x", **{"from": "-2"})["hits"] == [[4, 0, 1], [5, 0, 1]]
    assert found(client, running, q="x", streams="stderr,system", **{"from": "2"})["hits"] == [
        [2, 0, 1],
        [4, 0, 1],
        [5, 0, 1],
    ]


def test_a_search_reads_all_of_a_compressed_log_and_lists_the_first_thousand_hits(
    client: Client, catalog: Store, running: Claimed
) -> None:
    for first in range(0, 9000, 1000):
        write(catalog, running, first, [f"line {n}" for n in range(first, first + 1000)])
    facts = Facts(log_lines=9000)
    catalog.run(runs.end(running.id, running.record.token, Reason.SUCCESS, 0, "", facts=facts))
    assert catalog.run(logs.compact(running.id))
    answer = found(client, running, q="line")
    assert (answer["total"], answer["scanned"], answer["complete"]) == (9000, 9000, True)
    assert answer["hits"] == [[n, 0, 4] for n in range(1000)]
    assert found(client, running, q="line 8999")["hits"] == [[8999, 0, 9]]


def test_a_search_whose_time_is_up_says_that_it_is_not_complete(
    client: Client, catalog: Store, running: Claimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(catalog, running, 0, ["x"] * 200)
    monkeypatch.setattr(log_reading, "READ_S", 0.0)
    answer = found(client, running, q="x")
    assert (answer["complete"], answer["scanned"], answer["total"]) == (False, 64, 64)


def test_regular_expressions_are_those_of_re2(client: Client, catalog: Store, running: Claimed) -> None:
    pytest.importorskip("re2", reason="the extra runfleet[search] has no wheel here")
    write(catalog, running, 0, ["ünï took 41 ms", "Took 7 s", "none"])
    assert found(client, running, q=r"took \d+", regex="true")["hits"] == [[0, 4, 11], [1, 0, 6]]
    assert found(client, running, q=r"took \d+", regex="true", case="true")["total"] == 1
    assert found(client, running, q="q*", regex="true")["hits"] == [], "an empty match is none"
    for wrong, message in ((r"(a)\1", "is not a regular expression of RE2"), (r"(\w{30}){30}", "too large")):
        refused = client.get(f"/api/runs/{running.id}/log/find", params={"q": wrong, "regex": "true"})
        assert refused.status_code == 422
        assert (refused.json()["errors"][0]["location"], message in refused.text) == ("query.q", True), refused.text


def test_without_re2_a_regular_expression_is_refused_with_the_cure(
    client: Client, running: Claimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    refused = client.get(f"/api/runs/{running.id}/log/find", params={"q": "a+", "regex": "true"})
    assert refused.status_code == 422
    (problem,) = refused.json()["errors"]
    assert problem["location"] == "query.regex"
    assert "pip install 'runfleet[search]'" in problem["message"]


def test_an_outline_has_stderr_and_silences(client: Client, catalog: Store, running: Claimed) -> None:
    start = time.time_ns() // 1000
    seconds = (0, 1, 2, 12, 13, 14, 15, 45, 46, 47)
    lines = [
        StoredLine(n=n, at_us=start + second * 1_000_000, stream=n % 2, text="x", continued=False)
        for n, second in enumerate(seconds)
    ]
    catalog.run(logs.append(running.id, running.record.token, lines, first_kept=2, kept_bytes=8))
    body = client.get(f"/api/runs/{running.id}/log/outline?buckets=3").json()
    assert body["buckets"] == [[2, 1, 10_000], [5, 2, 30_000], [8, 1, 1000]]
    assert body["complete"]


def test_an_empty_log_has_an_empty_outline(client: Client, running: Claimed) -> None:
    body = client.get(f"/api/runs/{running.id}/log/outline").json()
    assert (body["buckets"], body["complete"]) == ([], True)
