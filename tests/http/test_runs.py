"""One run: read, stop, run again, delete; and its log."""

import uuid

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from shared.store.redis.sync_store import Store
from tests.http.conftest import claim, finish, write

Client = TestClient[Litestar]
NOBODY = uuid.UUID("01900000-0000-7000-8000-000000000000")


def test_a_run_is_found_by_id_and_by_task_and_number(client: Client) -> None:
    run = client.post("/api/tasks/example/run").json()
    assert client.get(f"/api/runs/{run['id']}").json() == run
    assert client.get("/api/runs/example%231").json() == run


@pytest.mark.parametrize("ref", [str(NOBODY), "example%2399", "nowhere%231"])
def test_a_run_that_is_not_there_is_404_whatever_is_asked_of_it(client: Client, ref: str) -> None:
    calls = [("GET", ""), ("DELETE", ""), ("POST", "/stop"), ("POST", "/rerun"), ("GET", "/log"), ("GET", "/log/raw")]
    assert {client.request(method, f"/api/runs/{ref}{path}").status_code for method, path in calls} == {404}


@pytest.mark.parametrize("ref", ["17", "example", "example%23", "example%23x", "%23", "not-a-uuid"])
def test_an_invalid_run_reference_is_422(client: Client, ref: str) -> None:
    response = client.get(f"/api/runs/{ref}")
    assert response.status_code == 422
    assert response.json()["errors"][0]["location"] == "path.id"


def test_a_pending_run_stops_at_once(client: Client) -> None:
    run = client.post("/api/tasks/example/run").json()
    response = client.post(f"/api/runs/{run['id']}/stop")
    assert response.status_code == 202
    assert (response.json()["status"], response.json()["end_reason"]) == ("ended", "stopped")


def test_a_running_run_is_asked_to_stop(client: Client, catalog: Store) -> None:
    client.post("/api/tasks/example/run")
    running = claim(catalog)
    response = client.post(f"/api/runs/{running.id}/stop?force=true")
    assert response.status_code == 202
    assert (response.json()["status"], response.json()["stop_requested"]) == ("running", True)


def test_a_run_that_ended_cannot_be_stopped(client: Client, catalog: Store) -> None:
    client.post("/api/tasks/example/run")
    response = client.post(f"/api/runs/{finish(catalog)}/stop")
    assert response.status_code == 409
    assert "is ended (success)" in response.json()["detail"]


def test_running_again_makes_a_new_execution_with_the_same_parameters(client: Client, catalog: Store) -> None:
    client.post("/api/tasks/example/run", json={"params": {"day": "x"}, "tags": ["t"]})
    first = client.get(f"/api/runs/{finish(catalog)}").json()
    response = client.post(f"/api/runs/{first['id']}/rerun")
    again = response.json()
    assert response.status_code == 201
    assert response.headers["location"].endswith(again["id"])
    assert again["execution_id"] != first["execution_id"]
    assert (again["params"], again["tags"], again["status"]) == (first["params"], first["tags"], "pending")


def test_a_live_run_is_not_run_again(client: Client) -> None:
    run = client.post("/api/tasks/example/run").json()
    assert client.post(f"/api/runs/{run['id']}/rerun").status_code == 409


def test_an_ended_run_can_be_deleted_and_is_gone(client: Client, catalog: Store) -> None:
    client.post("/api/tasks/example/run")
    run_id = finish(catalog)
    response = client.delete(f"/api/runs/{run_id}")
    assert (response.status_code, response.content) == (204, b"")
    assert client.get(f"/api/runs/{run_id}").status_code == 404


def test_a_live_run_cannot_be_deleted(client: Client) -> None:
    run = client.post("/api/tasks/example/run").json()
    assert client.delete(f"/api/runs/{run['id']}").status_code == 409


def test_a_log_is_read_in_windows(client: Client, catalog: Store) -> None:
    client.post("/api/tasks/example/run")
    running = claim(catalog)
    write(catalog, running, 0, ["one", "two", "three"])
    log = client.get(f"/api/runs/{running.id}/log?from=1&limit=1").json()
    assert [(line["n"], line["stream"], line["text"]) for line in log["lines"]] == [(1, "stdout", "two")]
    assert (log["first_available"], log["total_lines"], log["truncated"], log["finalized"]) == (0, 3, False, False)


def test_a_negative_start_counts_from_the_end(client: Client, catalog: Store) -> None:
    client.post("/api/tasks/example/run")
    running = claim(catalog)
    write(catalog, running, 0, ["one", "two", "three"])
    lines = client.get(f"/api/runs/{running.id}/log?from=-2").json()["lines"]
    assert [line["text"] for line in lines] == ["two", "three"]


def test_a_log_is_downloaded_as_text(client: Client, catalog: Store) -> None:
    client.post("/api/tasks/example/run")
    running = claim(catalog)
    write(catalog, running, 0, ["\x1b[31mred\x1b[0m", "ünï"])
    kept = client.get(f"/api/runs/{running.id}/log/raw")
    assert kept.text == "\x1b[31mred\x1b[0m\nünï\n"
    assert kept.headers["content-type"] == "text/plain; charset=utf-8"
    assert kept.headers["content-disposition"] == 'attachment; filename="example-1.log"'
    assert client.get(f"/api/runs/{running.id}/log/raw?ansi=strip").text == "red\nünï\n"


def test_stopping_an_execution_stops_all_its_runs(client: Client) -> None:
    run = client.post("/api/tasks/example/run", json={"replicas": 3}).json()
    response = client.post(f"/api/executions/{run['execution_id']}/stop")
    assert (response.status_code, response.json()["affected"]) == (202, 3)
    execution = client.get(f"/api/executions/{run['execution_id']}").json()
    assert execution["over"] is True
    assert {each["end_reason"] for each in execution["runs"]} == {"stopped"}


def test_an_execution_that_never_was_is_404(client: Client) -> None:
    assert client.get(f"/api/executions/{NOBODY}").status_code == 404
    assert client.post(f"/api/executions/{NOBODY}/stop").status_code == 404
