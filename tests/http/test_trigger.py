"""Triggering a run: the first call of the API, to the letter, and what it takes beside."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from shared import ops
from shared.runs import Reason
from shared.store import runs, stops, tasks
from shared.store.redis.sync_store import Store
from tests.http.conftest import BASE, claim

Client = TestClient[Litestar]

REQUIRED = {"created_at", "exit_code", "id", "replica_index", "retry_attempt", "status", "task_name", "triggered_by"}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def test_a_trigger_needs_no_body_and_answers_201_with_the_run(client: Client) -> None:
    response = client.post("/api/tasks/example/run")
    run = response.json()
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    assert run.keys() >= REQUIRED
    assert (run["task_name"], run["status"], run["triggered_by"]) == ("example", "pending", "api")
    assert (run["replica_index"], run["retry_attempt"], run["exit_code"]) == (0, 0, 0)
    assert RFC3339.fullmatch(run["created_at"])
    assert uuid.UUID(run["id"]).version == 7


def test_the_answer_names_its_schema_and_the_url_resolves(client: Client) -> None:
    run = client.post("/api/tasks/example/run").json()
    assert run["$schema"] == f"{BASE}/schemas/Run.json"
    schema = client.get(run["$schema"]).json()
    assert set(schema["required"]) >= REQUIRED
    assert schema["properties"]["created_at"]["format"] == "date-time"
    assert schema["properties"]["exit_code"] == {
        "type": "integer",
        "format": "int64",
        "description": schema["properties"]["exit_code"]["description"],
    }


def test_the_location_header_leads_to_the_run(client: Client) -> None:
    response = client.post("/api/tasks/example/run")
    assert client.get(response.headers["location"]).json()["id"] == response.json()["id"]


def test_nothing_in_a_run_is_null(client: Client) -> None:
    assert None not in client.post("/api/tasks/example/run").json().values()


def test_an_empty_json_body_is_as_good_as_none(client: Client) -> None:
    response = client.post("/api/tasks/example/run", content=b"", headers={"Content-Type": "application/json"})
    assert response.status_code == 201


def test_an_unknown_task_is_404(client: Client) -> None:
    response = client.post("/api/tasks/nowhere/run")
    assert response.status_code == 404
    assert response.json()["detail"] == "there is no task nowhere"


@pytest.mark.parametrize("name", ["a" * 101, "sp%20ace", "caf%C3%A9", "a%23b", "example%0A"])
def test_a_name_that_no_task_can_have_is_422_at_its_place(client: Client, name: str) -> None:
    response = client.post(f"/api/tasks/{name}/run")
    assert response.status_code == 422
    assert [problem["location"] for problem in response.json()["errors"]] == ["path.taskName"]


def test_a_task_that_may_not_be_started_by_hand_is_403(client: Client) -> None:
    assert client.post("/api/tasks/locked/run").status_code == 403


def test_everything_in_the_body_reaches_the_run(client: Client) -> None:
    body = {
        "params": {"day": "2026-11-22", "n": 5},
        "external_execution_id": "airflow-17",
        "priority": 7,
        "tags": ["backfill"],
        "labels": {"team": "books"},
        "replicas": 3,
    }
    run = client.post("/api/tasks/report/run", json=body).json()
    assert run["params"] == body["params"]
    assert run["external_execution_id"] == "airflow-17"
    assert run["triggered_by"] == "cloud"
    assert run["priority"] == 7
    assert run["tags"] == ["nightly", "backfill"]
    assert run["labels"] == {"team": "books"}
    assert run["replica_count"] == 3
    found = client.get(f"/api/executions/{run['execution_id']}").json()
    assert [each["replica_index"] for each in found["runs"]] == [0, 1, 2]


def test_delay_ms_makes_it_due_later(client: Client) -> None:
    run = client.post("/api/tasks/example/run", json={"delay_ms": 60_000}).json()
    wait = datetime.fromisoformat(run["due_at"]) - datetime.fromisoformat(run["created_at"])
    assert wait == timedelta(minutes=1)


def test_run_at_makes_it_due_then(client: Client) -> None:
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    run = client.post("/api/tasks/example/run", json={"run_at": moment.isoformat()}).json()
    assert datetime.fromisoformat(run["due_at"]) == moment


def test_run_at_and_delay_ms_exclude_each_other(client: Client) -> None:
    response = client.post("/api/tasks/example/run", json={"run_at": "2030-01-01T00:00:00Z", "delay_ms": 5})
    assert response.status_code == 422
    assert [problem["location"] for problem in response.json()["errors"]] == ["body.delay_ms"]


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ({"priority": 10}, "body.priority"),
        ({"priority": "5"}, "body.priority"),
        ({"replicas": 0}, "body.replicas"),
        ({"replicas": 10_001}, "body.replicas"),
        ({"delay_ms": -1}, "body.delay_ms"),
        ({"run_at": "tomorrow"}, "body.run_at"),
        ({"run_at": "2030-01-01T00:00:00"}, "body.run_at"),
        ({"tags": ["x"] * 65}, "body.tags"),
        ({"tags": ["ok", "ok", "ok", "x" * 101]}, "body.tags[3]"),
        ({"labels": {"k": 1}}, "body.labels.k"),
        ({"external_execution_id": "x" * 256}, "body.external_execution_id"),
        ({"params": [1]}, "body.params"),
        ({"params": {"x": "y" * 262_144}}, "body.params"),
        ({"priorty": 1}, "body.priorty"),
    ],
)
def test_a_wrong_body_is_422_and_names_the_place(client: Client, body: Any, location: str) -> None:
    response = client.post("/api/tasks/example/run", json=body)
    assert response.status_code == 422
    assert [problem["location"] for problem in response.json()["errors"]] == [location]


def test_all_problems_of_a_request_are_listed_at_once(client: Client) -> None:
    response = client.post(
        "/api/tasks/typ%20ed/run?wait=maybe&wait_timeout=999&waitt=1",
        json={"priority": 99, "tags": [1, "fine", ""], "unknown": None},
        headers={"Idempotency-Key": "white space"},
    )
    assert {problem["location"] for problem in response.json()["errors"]} == {
        "path.taskName",
        "query.wait",
        "query.wait_timeout",
        "query.waitt",
        "header.Idempotency-Key",
        "body.priority",
        "body.tags[0]",
        "body.tags[2]",
        "body.unknown",
    }


def test_a_misspelt_key_gets_the_nearest_known_one(client: Client) -> None:
    (problem,) = client.post("/api/tasks/example/run", json={"replica": 2}).json()["errors"]
    assert problem == {
        "location": "body.replica",
        "message": "is not a known property; did you mean replicas?",
        "value": "2",
    }


def test_problems_of_declared_params_are_listed_too(client: Client) -> None:
    response = client.post("/api/tasks/typed/run", json={"params": {"n": "seven", "m": 1}})
    assert response.status_code == 422
    assert {problem["location"] for problem in response.json()["errors"]} == {
        "body.params.day",
        "body.params.n",
        "body.params.m",
    }


def test_the_same_idempotency_key_and_body_give_the_same_run(client: Client) -> None:
    first, second = (
        client.post("/api/tasks/example/run", json={"priority": 3}, headers={"Idempotency-Key": "once"}) for _ in "ab"
    )
    assert first.json()["id"] == second.json()["id"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert client.get("/api/tasks/example/runs").json()["total"] == 1


def test_the_same_idempotency_key_with_another_body_is_422(client: Client) -> None:
    client.post("/api/tasks/example/run", headers={"Idempotency-Key": "once"})
    response = client.post("/api/tasks/example/run", json={"priority": 4}, headers={"Idempotency-Key": "once"})
    assert response.status_code == 422
    assert [problem["location"] for problem in response.json()["errors"]] == ["header.Idempotency-Key"]


def test_waiting_answers_with_the_running_run_when_the_time_is_up(client: Client) -> None:
    response = client.post("/api/tasks/example/run?wait=true&wait_timeout=1")
    assert response.status_code == 201
    assert response.json()["status"] == "pending"


def test_waiting_for_an_execution_that_is_over_does_not_wait(client: Client, catalog: Store) -> None:
    key = {"Idempotency-Key": "over"}
    run = client.post("/api/tasks/example/run", headers=key).json()
    catalog.run(stops.stop(uuid.UUID(run["id"]), "stop", "stopped"))
    again = client.post("/api/tasks/example/run?wait=true&wait_timeout=240", headers=key).json()
    assert (again["id"], again["end_reason"]) == (run["id"], Reason.STOPPED)


def test_waiting_answers_with_the_last_attempt(client: Client, catalog: Store) -> None:
    key = {"Idempotency-Key": "tried-again"}
    client.post("/api/tasks/flaky/run", headers=key)
    entry = catalog.run(tasks.entry("flaky"))
    assert entry is not None
    for reason in (Reason.FAILED, Reason.SUCCESS):
        held = claim(catalog)
        retry = ops.next_attempt(held.id, held.record, entry.task, reason, 1)
        catalog.run(runs.end(held.id, held.record.token, reason, 1, "", retry=retry))
    waited = client.post("/api/tasks/flaky/run?wait=true&wait_timeout=240", headers=key)
    assert (waited.json()["end_reason"], waited.json()["retry_attempt"]) == ("success", 1)
    assert waited.headers["location"].endswith(waited.json()["id"])


def test_waiting_for_a_plan_answers_with_how_its_run_is_when_the_time_is_up(client: Client, catalog: Store) -> None:
    key = {"Idempotency-Key": "not-there-yet"}
    client.post("/api/tasks/shipped/run", headers=key)
    claim(catalog)
    waited = client.post("/api/tasks/shipped/run?wait=true&wait_timeout=1", headers=key).json()
    assert (waited["task_name"], waited["status"]) == ("example", "running")
