"""Listing runs: the second call of the API, to the letter, and the list over all tasks."""

from __future__ import annotations

from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from shared.runs import Reason
from shared.store import tasks
from shared.store.threads import Store
from tests.http.conftest import BASE, finish

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
        ("status=nonsense", []),
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
    ],
)
def test_a_wrong_parameter_is_422_at_its_place(client: Client, query: str, location: str) -> None:
    response = client.get(f"{URL}?{query}")
    assert response.status_code == 422
    assert [problem["location"] for problem in response.json()["errors"]] == [location]


def test_a_task_that_never_was_is_404(client: Client) -> None:
    assert client.get("/api/tasks/nowhere/runs").status_code == 404


@pytest.mark.usefixtures("history")
def test_a_task_that_was_removed_keeps_its_list(client: Client, catalog: Store) -> None:
    catalog.do(tasks.apply([]))
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


@pytest.mark.usefixtures("history")
def test_a_cursor_goes_on_where_the_page_before_ended(client: Client) -> None:
    first = client.get("/api/runs?limit=2").json()
    second = client.get("/api/runs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [run["number"] for run in first["runs"] + second["runs"]] == [3, 2, 1]
    assert "next_cursor" not in second


def test_a_cursor_that_is_none_is_422(client: Client) -> None:
    response = client.get("/api/runs?cursor=yesterday")
    assert response.status_code == 422
    assert response.json()["errors"][0]["location"] == "query.cursor"
