"""Listing runs: the second call of the API, to the letter, and the list over all tasks."""

from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from shared import ops
from shared.runs import Reason
from shared.store import runs, tasks
from shared.store.redis.sync_store import Store
from tests.http.conftest import BASE, claim, finish

Client = TestClient[Litestar]
URL = "/api/tasks/example/runs"


@pytest.fixture
def history(client: Client, catalog: Store) -> list[dict[str, Any]]:
    """Three runs of ``example``, oldest first: one that succeeded, one that failed, one that waits."""
    for reason, code in ((Reason.SUCCESS, 0), (Reason.FAILED, 3)):
        client.post("/api/tasks/example/run")
        finish(catalog, reason, code)
    client.post("/api/tasks/example/run", json={"tags": ["late"]})
    runs: list[dict[str, Any]] = client.get(URL, params={"sort_direction": "asc"}).json()["runs"]
    return runs


def numbers(response: Any) -> list[int]:
    assert response.status_code == 200, response.text
    return [run["number"] for run in response.json()["runs"]]


def test_a_task_without_runs_lists_none(client: Client) -> None:
    assert client.get(URL).json() == {"$schema": f"{BASE}/schemas/RunsResponseBody.json", "runs": [], "total": 0}


@pytest.mark.usefixtures("history")
def test_the_newest_come_first_and_each_names_its_schema(client: Client) -> None:
    response = client.get(URL)
    assert numbers(response) == [3, 2, 1]
    assert response.json()["total"] == 3
    assert {run["$schema"] for run in response.json()["runs"]} == {f"{BASE}/schemas/Run.json"}


@pytest.mark.usefixtures("history")
def test_limit_and_offset_page_and_the_total_stays(client: Client) -> None:
    response = client.get(URL, params={"limit": 1, "offset": 1})
    assert numbers(response) == [2]
    assert response.json()["total"] == 3


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sort_field=created_at&sort_direction=asc", [1, 2, 3]),
        ("sort_field=&sort_direction=", [3, 2, 1]),
        ("sort_field=exit_code&sort_direction=desc&status=ended", [2, 1]),
        ("status=ended", [2, 1]),
        ("status=pending", [3]),
        ("status=ended,pending&sort_direction=asc", [1, 2, 3]),
        ("status=failed", [2]),
        ("status=failed,pending", [3, 2]),
        ("status=success,ended", [2, 1]),
        ("status=timeout", []),
        ("task_name=example", [3, 2, 1]),
        ("task_name=report", []),
        ("search=LATE", [3]),
        ("search=nothing-like-it", []),
        ("offset=9223372036854775807", []),
    ],
)
def test_a_task_s_list_filters_and_sorts(client: Client, query: str, expected: list[int]) -> None:
    assert numbers(client.get(f"{URL}?{query}")) == expected


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("limit=0", "query.limit"),
        ("limit=1001", "query.limit"),
        ("limit=ten", "query.limit"),
        ("limit=", "query.limit"),
        ("offset=-1", "query.offset"),
        ("offset=9223372036854775808", "query.offset"),
        ("sort_field=name", "query.sort_field"),
        ("sort_direction=up", "query.sort_direction"),
        ("limit=1&limit=2", "query.limit"),
        ("lmit=1", "query.lmit"),
        ("status=faild", "query.status"),
        ("status=pending,nonsense", "query.status"),
    ],
)
def test_a_wrong_parameter_is_422_at_its_place(client: Client, query: str, location: str) -> None:
    response = client.get(f"{URL}?{query}")
    assert response.status_code == 422
    assert [problem["location"] for problem in response.json()["errors"]] == [location]


def test_a_misspelt_status_gets_the_allowed_words(client: Client) -> None:
    (problem,) = client.get("/api/runs?status=faild").json()["errors"]
    assert problem["value"] == "faild"
    assert problem["message"].startswith("must be one of pending, running, ended, success, failed, ")
    assert problem["message"].endswith("did you mean failed?")


def test_a_name_with_a_slash_is_422_at_its_place(client: Client) -> None:
    response = client.post("/api/tasks/a%2Fb/run")
    assert response.status_code == 422
    assert [(one["location"], one["value"]) for one in response.json()["errors"]] == [("path.taskName", "a/b")]


def test_a_task_that_never_was_is_404(client: Client) -> None:
    assert client.get("/api/tasks/nowhere/runs").status_code == 404


@pytest.mark.usefixtures("history")
def test_a_task_that_was_removed_keeps_its_list(client: Client, catalog: Store) -> None:
    catalog.run(tasks.apply([]))
    assert numbers(client.get(URL)) == [3, 2, 1]
    assert numbers(client.get(f"{URL}?status=running")) == []


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 3, 2, 1]),
        ("task_name=example,report&status=pending", [1, 3]),
        ("end_reason=failed", [2]),
        ("end_reason=failed,success", [2, 1]),
        ("exit_code=3", [2]),
        ("tag=late", [3]),
        ("tag=late,nightly", [1, 3]),
        ("triggered_by=cron", []),
        ("triggered_by=api&queue=default", [1, 3, 2, 1]),
        ("worker=w1", [2, 1]),
        ("retries_only=true", []),
        ("created_after=2100-01-01T00:00:00Z", []),
        ("created_before=2100-01-01T00:00:00Z", [1, 3, 2, 1]),
        ("ended_after=2020-01-01T00:00:00Z", [2, 1]),
        ("ended_before=2020-01-01T00:00:00Z", []),
        ("min_duration_ms=3600000", []),
        ("external_execution_id=unheard-of", []),
        ("execution_id=01900000-0000-7000-8000-000000000000", []),
    ],
)
def test_the_list_of_all_runs_filters_by_everything(client: Client, query: str, expected: list[int]) -> None:
    client.post("/api/tasks/report/run")
    assert numbers(client.get(f"/api/runs?{query}")) == expected


@pytest.fixture
def varied(client: Client, catalog: Store) -> dict[str, dict[str, Any]]:
    """Runs of which each differs from the others in all that can be filtered by; by what they are called here."""
    entry = catalog.run(tasks.entry("flaky"))
    assert entry is not None
    client.post("/api/tasks/flaky/run")
    first = claim(catalog)
    retry = ops.next_attempt(first.id, first.record, entry.task, Reason.FAILED, 3)
    catalog.run(runs.end(first.id, first.record.token, Reason.FAILED, 3, "no luck", retry=retry))
    body = {"external_execution_id": "theirs", "tags": ["blue"]}
    cloud = client.post("/api/tasks/example/run", json=body).json()
    waiting = client.post("/api/tasks/report/run", json={"priority": 9}).json()
    found = client.get("/api/runs?sort_direction=asc").json()["runs"]
    by_id = {run["id"]: run for run in found}
    again = next(run for run in found if run["retry_attempt"] == 1)
    return {"first": by_id[str(first.id)], "retry": again, "cloud": by_id[cloud["id"]], "waiting": by_id[waiting["id"]]}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("worker=w1", {"first"}),
        ("worker=nobody", set()),
        ("retries_only=true", {"retry"}),
        ("triggered_by=cloud", {"cloud"}),
        ("external_execution_id=theirs", {"cloud"}),
        ("execution_id={first[execution_id]}", {"first", "retry"}),
        ("execution_id={first[execution_id]}&status=pending", {"retry"}),
        ("exit_code=3", {"first"}),
        ("tag=blue", {"cloud"}),
        ("search=no+luck", {"first"}),
        ("created_after={cloud[created_at]}", {"cloud", "waiting"}),
        ("created_before={cloud[created_at]}", {"first", "retry"}),
        ("ended_after={first[end_at]}", {"first"}),
        ("ended_before={first[end_at]}", set()),
        ("ended_before=2100-01-01T00:00:00Z", {"first"}),
        ("min_duration_ms=0&end_reason=failed", {"first"}),
        ("queue=elsewhere", set()),
        (
            "task_name=flaky,example&status=failed&end_reason=failed&triggered_by=api&queue=default&worker=w1"
            "&execution_id={first[execution_id]}&exit_code=3&search=luck&min_duration_ms=0&limit=5&offset=0"
            "&created_after=2020-01-01T00:00:00Z&created_before=2100-01-01T00:00:00Z"
            "&ended_after=2020-01-01T00:00:00Z&ended_before=2100-01-01T00:00:00Z"
            "&sort_field=duration&sort_direction=asc&retries_only=false",
            {"first"},
        ),
    ],
)
def test_each_filter_leaves_what_fits_and_nothing_else(
    client: Client, varied: dict[str, dict[str, Any]], query: str, expected: set[str]
) -> None:
    response = client.get(f"/api/runs?{query.format(**varied)}")
    assert response.status_code == 200, response.text
    found = [run["id"] for run in response.json()["runs"]]
    assert sorted(found) == sorted(varied[name]["id"] for name in expected)
    assert response.json()["total"] == len(expected)


@pytest.mark.usefixtures("history")
def test_a_cursor_continues_where_the_previous_page_ended(client: Client) -> None:
    first = client.get("/api/runs?limit=2").json()
    second = client.get("/api/runs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [run["number"] for run in first["runs"] + second["runs"]] == [3, 2, 1]
    assert "next_cursor" not in second


def test_a_cursor_that_is_none_is_422(client: Client) -> None:
    response = client.get("/api/runs?cursor=yesterday")
    assert response.status_code == 422
    assert response.json()["errors"][0]["location"] == "query.cursor"


@pytest.mark.parametrize("url", [URL, "/api/runs"])
def test_rows_are_the_same_runs_in_short(client: Client, history: list[dict[str, Any]], url: str) -> None:
    body = client.get(url, params={"view": "row", "sort_direction": "asc"}).json()
    assert (body["$schema"], body["total"], body["usual"]) == (f"{BASE}/schemas/RowsResponseBody.json", 3, {})
    assert [row["state"] for row in body["runs"]] == ["success", "failed", "no_worker"]
    for row, run in zip(body["runs"], history, strict=True):
        same = row.keys() - {"state", "words"}
        assert {name: row[name] for name in same} == {name: run[name] for name in same}


def test_rows_have_the_usual_durations_of_their_tasks(client: Client, catalog: Store) -> None:
    for _ in range(5):
        client.post("/api/tasks/example/run")
        finish(catalog)
    usual = client.get(URL, params={"view": "row", "limit": 1}).json()["usual"]
    assert usual.keys() == {"example"}
    assert 0 <= usual["example"]["p50_ms"] <= usual["example"]["p95_ms"]


def test_an_unknown_view_is_refused(client: Client) -> None:
    assert client.get(URL, params={"view": "rows"}).status_code == 422
