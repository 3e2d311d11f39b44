"""Executions over HTTP: what is shown of a plan, lists, stopping, and running again."""

from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from shared.runs import Reason
from shared.store.redis.sync_store import Store
from tests.http.conftest import TOKEN, finish

Client = TestClient[Litestar]


def trigger(client: Client, task: str = "shipped") -> dict[str, Any]:
    response = client.post(f"/api/tasks/{task}/run")
    assert response.status_code == 201, response.text
    run: dict[str, Any] = response.json()
    return run


def look(client: Client, run: dict[str, Any]) -> dict[str, Any]:
    execution: dict[str, Any] = client.get(f"/api/executions/{run['execution_id']}").json()
    return execution


def test_an_execution_shows_its_plan_step_by_step(client: Client, catalog: Store) -> None:
    run = trigger(client)
    assert run["task_name"] == "example"
    first = look(client, run)
    assert (first["task_name"], first["phase"], first["over"]) == ("shipped", "pending", False)
    assert first["plan"] == [["example"], ["shipped"]]
    assert first["steps"][0]["run_ids"] == [run["id"]]
    assert first["steps"][1] == {
        "task_name": "shipped",
        "group": 1,
        "depends_on": ["example"],
        "phase": "pending",
        "replicas": 1,
    }
    finish(catalog)
    finish(catalog)
    last = look(client, run)
    assert (last["phase"], last["over"], len(last["runs"])) == ("succeeded", True, 2)
    assert last["status_version"] > first["status_version"]
    assert last["start_at"] <= last["end_at"]


def test_stopping_is_seen_in_what_is_desired(client: Client, catalog: Store) -> None:
    run = trigger(client)
    assert client.post(f"/api/executions/{run['execution_id']}/stop?force=true").json()["affected"] == 1
    execution = look(client, run)
    assert (execution["desired_phase"], execution["phase"]) == ("stopped", "stopped")
    assert execution["steps"][1]["phase"] == "skipped"


def test_only_the_failed_part_is_run_again(client: Client, catalog: Store) -> None:
    run = trigger(client)
    url = f"/api/executions/{run['execution_id']}/rerun"
    assert client.post(url).status_code == 409
    finish(catalog)
    finish(catalog, Reason.FAILED, 1)
    again = client.post(url, params={"failed_only": True})
    assert (again.status_code, again.json()["task_name"]) == (201, "shipped")
    assert again.headers["location"].endswith(again.json()["id"])
    assert len(look(client, again.json())["steps"][0]["done_before"]) == 1
    whole = client.post(url)
    assert (whole.status_code, whole.json()["task_name"]) == (201, "example")


def test_executions_are_listed_without_their_runs(client: Client, catalog: Store) -> None:
    made = [trigger(client, name)["execution_id"] for name in ("shipped", "example", "shipped")]
    page = client.get("/api/executions", params={"limit": 2}).json()
    assert [execution["id"] for execution in page["executions"]] == made[:0:-1]
    assert page["total"] == 3
    assert "runs" not in page["executions"][0]
    rest = client.get("/api/executions", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [execution["id"] for execution in rest["executions"]] == made[:1]
    assert "next_cursor" not in rest
    only = client.get("/api/executions", params={"task_name": "example", "phase": "pending,running"}).json()
    assert [execution["id"] for execution in only["executions"]] == made[1:2]
    assert client.get("/api/executions?cursor=nonsense").status_code == 422
    assert client.get("/api/executions?phase=done").status_code == 422


def test_a_token_for_some_tasks_sees_their_executions_only(guarded: Client, catalog: Store) -> None:
    guarded.headers["Authorization"] = f"Bearer {TOKEN}"
    run = trigger(guarded)
    trigger(guarded, "example")
    token = guarded.post("/api/tokens", json={"name": "n", "scope": "run", "tasks": "exam*"}).json()["token"]
    guarded.headers["Authorization"] = f"Bearer {token}"
    listed = guarded.get("/api/executions").json()
    assert [execution["task_name"] for execution in listed["executions"]] == ["example"]
    assert guarded.get(f"/api/executions/{run['execution_id']}").status_code == 404
    assert guarded.get("/api/executions?task_name=shipped").json()["executions"] == []


def test_a_run_of_an_external_task_is_reported(client: Client, catalog: Store) -> None:
    run = trigger(client, "elsewhere")
    url = f"/api/runs/{run['id']}/report"
    assert client.post(url).json()["status"] == "running"
    assert client.post(url).status_code == 200
    done = {"end_reason": "failed", "exit_code": 3, "message": "no", "outputs": {"rows": 7}}
    ended = client.post(url, json=done)
    assert (ended.json()["end_reason"], ended.json()["outputs"]) == ("failed", {"rows": 7})
    again = client.post(url, json=done | {"end_reason": "success"})
    assert (again.status_code, "is ended (failed)" in again.json()["detail"]) == (409, True)


def test_an_invalid_report_is_refused_with_the_reason(client: Client, catalog: Store) -> None:
    ours = trigger(client, "example")
    refused = client.post(f"/api/runs/{ours['id']}/report")
    assert (refused.status_code, "executed by our workers" in refused.json()["detail"]) == (409, True)
    theirs = trigger(client, "elsewhere")
    wrong = client.post(f"/api/runs/{theirs['id']}/report", json={"end_reason": "done", "exit_code": "1"})
    assert wrong.status_code == 422
    assert {each["location"] for each in wrong.json()["errors"]} == {"body.end_reason", "body.exit_code"}


@pytest.mark.parametrize("told", [{"exit_code": 7}, {"message": "why"}, {"outputs": {"rows": 7}}])
def test_fields_of_an_end_require_its_reason(client: Client, catalog: Store, told: dict[str, Any]) -> None:
    theirs = trigger(client, "elsewhere")
    refused = client.post(f"/api/runs/{theirs['id']}/report", json=told)
    assert refused.status_code == 422
    (problem,) = refused.json()["errors"]
    assert (problem["location"], "requires end_reason" in problem["message"]) == (f"body.{next(iter(told))}", True)
    assert look(client, theirs)["phase"] == "pending"


def test_outputs_beyond_what_a_record_may_carry_are_refused(client: Client, catalog: Store) -> None:
    theirs = trigger(client, "elsewhere")
    url = f"/api/runs/{theirs['id']}/report"
    refused = client.post(url, json={"end_reason": "success", "outputs": {"rows": "x" * 256 * 1024}})
    assert [problem["location"] for problem in refused.json()["errors"]] == ["body.outputs"]
    assert client.post(url, json={"end_reason": "success", "outputs": {"rows": "x" * 255 * 1024}}).status_code == 200


@pytest.mark.parametrize(
    ("reason", "code"), [("success", 0), ("failed", -2), ("timeout", -2), ("crashed", -2), ("stopped", -2)]
)
def test_an_end_without_an_exit_code_does_not_pretend_one(
    client: Client, catalog: Store, reason: str, code: int
) -> None:
    theirs = trigger(client, "elsewhere")
    url = f"/api/runs/{theirs['id']}/report"
    client.post(url)
    assert client.post(url, json={"end_reason": reason}).json()["exit_code"] == code


def test_an_end_of_what_never_ran_has_the_exit_code_of_that(client: Client, catalog: Store) -> None:
    theirs = trigger(client, "elsewhere")
    ended = client.post(f"/api/runs/{theirs['id']}/report", json={"end_reason": "skipped"})
    assert ended.json()["exit_code"] == -1
