"""Marquez's API as a client meets it: our own tasks in it, events in any order, and what is refused how."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from litestar.testing import TestClient

from api.dialects.marquez import pages, recording
from api.dialects.marquez.dialect import DIALECT
from shared import ops
from shared.errors import Invalid, RunfleetError
from shared.runs import Reason
from shared.store import runs, tasks
from shared.store.threads import Store
from shared.tasks import Task, define
from tests.http.conftest import TASKS, TOKEN, claim, finish
from tests.promises.test_errors_are_mapped import NAMED, SCOPE, made
from tests.store.checking import check_store, snapshot

Client = TestClient[Litestar]
NOBODY = "01900000-0000-7000-8000-000000000000"
T0 = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
EXTERNAL = Task(name="outside", external=True, max_concurrent=1)


@pytest.fixture(autouse=True)
def whole(catalog: Store) -> Iterator[None]:
    """The store is whole after each of these."""
    yield
    check_store(catalog)


def at(seconds: float) -> str:
    return (T0 + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def event(
    kind: str, run: str, seconds: float = 0, job: str = "j", facets: Any = None, namespace: str = "ns"
) -> dict[str, Any]:
    told = {"eventType": kind, "eventTime": at(seconds), "producer": "urn:test"}
    return {**told, "run": {"runId": run, "facets": facets or {}}, "job": {"namespace": namespace, "name": job}}


def send(client: Client, *events: dict[str, Any], status: int = 201) -> Any:
    for one in events:
        answer = client.post("/api/v1/lineage", json=one)
        assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def run_of(client: Client, run: str) -> dict[str, Any]:
    answer = client.get(f"/api/v1/jobs/runs/{run}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def new_job(client: Client, job: str = "j") -> str:
    """The path of a new job."""
    client.put("/api/v1/namespaces/ns", json={"ownerName": "ada"})
    answer = client.put(f"/api/v1/namespaces/ns/jobs/{job}", json={"type": "BATCH", "inputs": [], "outputs": []})
    assert answer.status_code == 200, answer.text
    return f"/api/v1/namespaces/ns/jobs/{job}"


def new_run(client: Client, **body: Any) -> str:
    answer = client.post(f"{new_job(client)}/runs", json=body)
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


# Our own tasks.


def test_our_tasks_are_jobs_of_a_namespace_of_their_own(client: Client) -> None:
    assert client.get("/api/v1/namespaces").json()["namespaces"][0]["name"] == "runfleet"
    listed = client.get("/api/v1/namespaces/runfleet/jobs").json()
    assert [job["name"] for job in listed["jobs"]] == sorted(task.name for task in TASKS)
    assert listed["totalCount"] == len(TASKS)
    job = client.get("/api/v1/namespaces/runfleet/jobs/report").json()
    assert (job["id"], job["tags"], job["latestRun"]) == (
        {"namespace": "runfleet", "name": "report"},
        ["nightly"],
        None,
    )


@pytest.mark.parametrize("reason", list(Reason))
def test_a_run_that_ended_natively_can_be_read(client: Client, catalog: Store, reason: Reason) -> None:
    client.post("/api/tasks/example/run", json={"params": {"day": "x", "n": 3}})
    if reason is Reason.SKIPPED:
        what = ops.creation(catalog.run(ops.Catalog().get("example")), ops.Request(params={"day": "x", "n": 3}), 1)
        skipped = catalog.do(runs.create(msgspec.structs.replace(what, refuse="skipped: it was the same")))
        assert skipped.run is not None
        run_id = str(skipped.run.id)
    else:
        run_id = str(finish(catalog, reason, 1))
    shown = run_of(client, run_id)
    native = client.get(f"/api/runs/{run_id}").json()
    assert native["end_reason"] == reason
    assert shown["endedAt"] == native["end_at"]
    assert shown["state"] in ("COMPLETED", "FAILED", "ABORTED")
    assert shown["args"] == {"day": "x", "n": "3"}
    assert shown["facets"]["runfleet"]["endReason"] == reason
    assert ("errorMessage" in shown["facets"]) == (shown["state"] == "FAILED")
    assert shown["jobVersion"]["namespace"] == "runfleet"
    listed = client.get("/api/v1/namespaces/runfleet/jobs/example/runs").json()
    assert run_id in [one["id"] for one in listed["runs"]]


def test_a_run_of_our_task_is_executed_by_our_workers_and_by_no_verb(client: Client, catalog: Store) -> None:
    answer = client.post("/api/v1/namespaces/runfleet/jobs/example/runs", json={"args": {"day": "x"}})
    assert (answer.status_code, answer.json()["state"]) == (201, "NEW")
    run_id = answer.json()["id"]
    for verb in ("start", "complete", "fail", "abort"):
        refused = client.post(f"/api/v1/jobs/runs/{run_id}/{verb}?at={at(0)}")
        assert (refused.status_code, refused.json()["code"]) == (409, 409)
        assert "our own workers" in refused.json()["message"]
    assert str(claim(catalog).id) == run_id
    assert run_of(client, run_id)["state"] == "RUNNING"
    assert client.post("/api/v1/namespaces/runfleet/jobs/locked/runs", json={}).status_code == 403
    assert client.post("/api/v1/namespaces/runfleet/jobs/typed/runs", json={}).status_code == 422


def test_an_event_about_our_run_adds_facets_and_moves_nothing(client: Client, catalog: Store) -> None:
    run_id = client.post("/api/tasks/example/run").json()["id"]
    told = event("COMPLETE", run_id, job="example", facets={"more": {"x": 1}}, namespace="runfleet")
    send(client, told)
    shown = run_of(client, run_id)
    assert (shown["state"], shown["facets"]["more"]) == ("NEW", {"x": 1})
    send(client, told | {"run": {"runId": NOBODY}})
    assert client.get(f"/api/v1/jobs/runs/{NOBODY}").status_code == 404  # told of a run of ours that there never was
    assert len(catalog.do(tasks.counts(["example"]))) == 1


def test_a_task_of_ours_is_not_changed_through_here(client: Client) -> None:
    path = "/api/v1/namespaces/runfleet/jobs/example"
    assert client.put(path, json={"type": "BATCH", "inputs": [], "outputs": []}).status_code == 409
    assert client.delete(path).status_code == 409


def test_a_task_that_others_execute_is_moved_by_verbs_within_its_limits(client: Client, catalog: Store) -> None:
    catalog.do(tasks.apply([(task, define(task)) for task in (*TASKS, EXTERNAL)]))
    first, second = (client.post("/api/tasks/outside/run").json()["id"] for _ in range(2))
    assert client.post(f"/api/v1/jobs/runs/{first}/start").json()["state"] == "RUNNING"
    refused = client.post(f"/api/v1/jobs/runs/{second}/start")
    assert (refused.status_code, "max_concurrent" in refused.json()["message"]) == (409, True)
    assert client.post(f"/api/v1/jobs/runs/{first}/fail").json()["state"] == "FAILED"
    assert client.get(f"/api/runs/{first}").json()["message"] == "reported as failed"
    assert client.post(f"/api/v1/jobs/runs/{second}/start").json()["state"] == "RUNNING"


def test_a_run_of_a_job_is_a_run_like_any_other(client: Client) -> None:
    run_id = new_run(client, args={"flag": True, "n": 1}, nominalStartTime="2030-01-01T00:00:00Z")
    client.post(f"/api/v1/jobs/runs/{run_id}/start")
    native = client.get(f"/api/runs/{run_id}").json()
    assert (native["status"], native["triggered_by"]) == ("running", "cloud")
    assert native["params"] == {"flag": "true", "n": "1"}
    assert native["scheduled_for"] == "2030-01-01T00:00:00Z"
    assert client.post(f"/api/runs/{run_id}/stop").status_code == 202
    shown = run_of(client, run_id)
    assert (shown["state"], shown["nominalEndTime"]) == ("ABORTED", None)


# Verbs.


def test_ended_is_final_and_the_same_verb_again_changes_nothing(client: Client) -> None:
    run_id = new_run(client)
    assert client.post(f"/api/v1/jobs/runs/{run_id}/start?at={at(0)}").json()["startedAt"] == at(0)[:-1] + ".000000Z"
    first = client.post(f"/api/v1/jobs/runs/{run_id}/complete?at={at(60)}").json()
    assert (first["state"], first["durationMs"]) == ("COMPLETED", 60_000)
    again = client.post(f"/api/v1/jobs/runs/{run_id}/complete?at={at(90)}")
    assert (again.status_code, again.json()) == (200, first)
    for verb in ("fail", "abort", "start"):
        refused = client.post(f"/api/v1/jobs/runs/{run_id}/{verb}")
        assert (refused.status_code, refused.json()["code"]) == (409, 409)
        assert "is COMPLETED" in refused.json()["message"]
    assert run_of(client, run_id) == first


def test_a_late_start_fills_in_when_it_was(client: Client) -> None:
    run_id = new_run(client)
    client.post(f"/api/v1/jobs/runs/{run_id}/complete?at={at(60)}")
    late = client.post(f"/api/v1/jobs/runs/{run_id}/start?at={at(0)}")
    assert (late.status_code, late.json()["state"], late.json()["durationMs"]) == (200, "COMPLETED", 60_000)


def test_a_time_in_the_future_is_given_back_as_it_was_told(client: Client) -> None:
    run_id = new_run(client)
    for hour, told in ((12, "12"), (13, "12"), (11, "11")):
        shown = client.post(f"/api/v1/jobs/runs/{run_id}/start?at=2099-01-01T{hour}:00:00Z").json()
        assert shown["startedAt"] == f"2099-01-01T{told}:00:00.000000Z"
    shown = client.post(f"/api/v1/jobs/runs/{run_id}/complete?at=2099-01-01T12:00:00Z").json()
    assert shown["durationMs"] == 3_600_000
    assert client.get(f"/api/runs/{run_id}").json()["start_at"] < "2099"


# Events.


def test_the_order_of_events_does_not_matter(client: Client) -> None:
    events = [("START", 0, "first"), ("RUNNING", 30, "second"), ("COMPLETE", 60, "third"), ("OTHER", 90, "fourth")]
    for number, order in enumerate(permutations(events)):
        run_id = str(uuid.uuid4())
        for kind, seconds, text in order:
            facets = {"note": {"text": text}, f"only{kind}": {}}
            send(client, event(kind, run_id, seconds, f"j{number}", facets=facets))
        shown = run_of(client, run_id)
        assert (shown["state"], shown["durationMs"], shown["facets"]["note"]) == (
            "COMPLETED",
            60_000,
            {"text": "fourth"},
        )
        assert len(shown["facets"]) == 5
        assert len(client.get(f"/api/v1/namespaces/ns/jobs/j{number}/runs").json()["runs"]) == 1


def test_a_run_that_was_heard_of_late_is_listed_by_when_it_started(client: Client) -> None:
    ids = {seconds: str(uuid.uuid4()) for seconds in (30, 10, 20)}
    for seconds, run_id in ids.items():
        send(client, event("START", run_id, seconds))
    listed = client.get("/api/v1/namespaces/ns/jobs/j/runs").json()["runs"]
    assert [one["id"] for one in listed] == [ids[30], ids[20], ids[10]]


def test_an_event_with_a_failure_says_why(client: Client) -> None:
    facets = {"errorMessage": {"message": "no such table", "programmingLanguage": "SQL"}}
    send(client, event("FAIL", NOBODY, facets=facets))
    assert client.get(f"/api/runs/{NOBODY}").json()["message"] == "no such table"


def test_a_parent_runs_from_its_first_child_until_it_says_more(client: Client) -> None:
    parent = str(uuid.uuid4())
    facets = {"parent": {"run": {"runId": parent}, "job": {"namespace": "above", "name": "dag"}}}
    send(client, event("COMPLETE", NOBODY, 20, "task", facets=facets))
    assert client.get("/api/v1/namespaces/ns/jobs/dag.task").json()["parentJobName"] == "dag"
    assert run_of(client, NOBODY)["args"] == {"run_id": parent, "name": "dag", "namespace": "above"}
    shown = run_of(client, parent)
    assert (shown["state"], shown["startedAt"]) == ("RUNNING", at(20)[:-1] + ".000000Z")
    assert client.get("/api/v1/namespaces/above/jobs/dag").json()["latestRun"]["id"] == parent
    for kind, seconds in (("START", 10), ("FAIL", 40)):
        send(client, event(kind, parent, seconds, "dag", namespace="above"))
    shown = run_of(client, parent)
    assert (shown["state"], shown["durationMs"]) == ("FAILED", 30_000)


def test_a_large_facet_is_left_out_and_the_event_kept(client: Client) -> None:
    facets = {"plan": {"text": "x" * recording.MAX_FACET}, "small": {"x": 1}}
    send(client, event("START", NOBODY, facets=facets))
    shown = run_of(client, NOBODY)["facets"]
    assert (shown["plan"]["leftOutBytes"] > recording.MAX_FACET, shown["small"]) == (True, {"x": 1})
    kept = client.get("/api/v1/events/lineage").json()["events"]
    assert kept[0]["run"]["facets"] == facets


def test_a_packed_event_is_taken(client: Client) -> None:
    body = gzip.compress(msgspec.json.encode(event("START", NOBODY)))
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    assert client.post("/api/v1/lineage", content=body, headers=headers).status_code == 201
    assert run_of(client, NOBODY)["state"] == "RUNNING"


def test_events_of_no_run_describe_jobs_and_are_counted(client: Client) -> None:
    about = {"eventTime": at(0), "producer": "urn:test"}
    job = {"namespace": "ns", "name": "still", "facets": {"documentation": {"description": "said"}}}
    send(client, about | {"schemaURL": "x/JobEvent", "job": job, "inputs": [{"namespace": "db", "name": "t"}]})
    send(client, about | {"schemaURL": "x/DatasetEvent", "dataset": {"namespace": "db", "name": "t"}})
    shown = client.get("/api/v1/namespaces/ns/jobs/still").json()
    assert (shown["description"], shown["inputs"]) == ("said", [{"namespace": "db", "name": "t"}])
    assert client.get("/api/v1/events/lineage").json() == {"events": [], "totalCount": 2}


def test_events_are_read_by_time(client: Client) -> None:
    for number in range(4):
        send(client, event("RUNNING", NOBODY, number))
    query = {"after": at(1), "before": at(3), "sortDirection": "asc"}
    found = client.get("/api/v1/events/lineage", params=query).json()
    assert [one["eventTime"] for one in found["events"]] == [at(1), at(2)]
    assert found["totalCount"] == 2
    newest = client.get("/api/v1/events/lineage?limit=1").json()
    assert ([one["eventTime"] for one in newest["events"]], newest["totalCount"]) == ([at(3)], 4)


# Jobs and namespaces.


def test_jobs_are_listed_by_the_state_of_their_newest_run(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.dialects.marquez.routes.SCAN", 2)
    for number, kind in enumerate(["START", "FAIL", "COMPLETE", "FAIL", "ABORT", "FAIL"]):
        run_id = str(uuid.uuid4())
        send(client, event(kind, run_id, 0, f"j{number}"))

    def names(**query: Any) -> list[str]:
        found = client.get("/api/v1/namespaces/ns/jobs", params=query).json()
        assert found["totalCount"] == 6
        return [job["name"] for job in found["jobs"]]

    assert names(lastRunStates=["FAILED"]) == ["j5", "j3", "j1"]
    assert names(lastRunStates=["FAILED"], limit=1, offset=1) == ["j3"]
    assert names(lastRunStates=["ABORTED", "RUNNING"]) == ["j4", "j0"]
    assert names(limit=2, offset=3) == ["j2", "j1"]
    assert names(limit=0) == []
    everything = client.get("/api/v1/jobs").json()
    assert everything["totalCount"] == 6 + len(TASKS)
    assert [job["name"] for job in everything["jobs"]][-6:] == ["j5", "j4", "j3", "j2", "j1", "j0"]
    assert [job["name"] for job in client.get(f"/api/v1/jobs?offset={len(TASKS) - 1}&limit=2").json()["jobs"]] == [
        "typed",
        "j5",
    ]


def test_what_was_deleted_comes_back_when_it_is_told_of(client: Client) -> None:
    run_id = new_run(client)
    assert client.delete("/api/v1/namespaces/ns/jobs/j").json()["latestRun"]["id"] == run_id
    assert client.get("/api/v1/namespaces/ns/jobs/j").status_code == 404
    assert run_of(client, run_id)["state"] == "NEW"
    send(client, event("START", run_id))
    assert client.get("/api/v1/namespaces/ns/jobs/j").json()["latestRun"]["id"] == run_id
    assert client.delete("/api/v1/namespaces/ns").json()["isHidden"] is True
    assert client.get("/api/v1/namespaces/ns").status_code == 404
    send(client, event("COMPLETE", run_id))
    assert client.get("/api/v1/namespaces/ns").json()["ownerName"] == "anonymous"


def test_a_job_whose_task_was_taken_out_of_the_catalog_is_put_in_again(client: Client, catalog: Store) -> None:
    path = new_job(client)
    catalog.do(tasks.apply([], source="api"))
    assert client.post(f"{path}/runs", json={}).status_code == 201


def test_a_job_may_be_described_for_a_run_of_it_only(client: Client) -> None:
    run_id, path = new_run(client), "/api/v1/namespaces/ns/jobs/j"
    body = {"type": "STREAM", "inputs": [], "outputs": [], "tags": ["a"], "context": {"sql": "unknown to the model"}}
    shown = client.put(path, json=body | {"runId": run_id}).json()
    assert (shown["type"], shown["tags"], shown["latestRun"]["id"]) == ("STREAM", ["a"], run_id)
    assert client.put(path, json=body | {"runId": NOBODY}).status_code == 404
    assert client.put("/api/v1/namespaces/ns/jobs/k", json=body | {"runId": run_id}).status_code == 404


# What is refused.

GOOD = event("START", NOBODY)
BAD: list[tuple[str, str, Any, int]] = [
    ("POST", "lineage", b"", 400),
    ("POST", "lineage", b"{nope", 400),
    ("POST", "lineage", b"[]", 400),
    ("POST", "lineage", b'"\xff"', 400),
    ("POST", "lineage", b"[" * 100_000, 400),
    ("POST", "lineage", {}, 422),
    ("POST", "lineage", GOOD | {"eventTime": "2030-01-01"}, 400),
    ("POST", "lineage", GOOD | {"eventTime": "1930-01-01T00:00:00Z"}, 400),
    ("POST", "lineage", GOOD | {"eventTime": 7}, 400),
    ("POST", "lineage", GOOD | {"job": {"namespace": "no spaces", "name": "j"}}, 400),
    ("POST", "lineage", GOOD | {"job": {"namespace": "ns", "name": ""}}, 400),
    ("POST", "lineage", GOOD | {"job": {"namespace": "ns", "name": "a\nb"}}, 400),
    ("POST", "lineage", GOOD | {"job": {"namespace": "ns"}, "run": {}}, 422),
    ("POST", "lineage", GOOD | {"run": {"runId": NOBODY, "facets": {"parent": {"run": {}, "job": {}}}}}, 422),
    ("POST", "lineage", GOOD | {"run": {"runId": NOBODY, "facets": {"parent": 3}}}, 400),
    (
        "POST",
        "lineage",
        GOOD | {"run": {"runId": NOBODY, "facets": {"nominalTime": {"nominalStartTime": "soon"}}}},
        400,
    ),
    ("POST", "lineage", GOOD | {"outputs": [{"namespace": "x"}]}, 422),
    ("POST", "lineage", GOOD | {"outputs": {"namespace": "x"}}, 400),
    ("PUT", "namespaces/no%20spaces", {"ownerName": "x"}, 400),
    ("PUT", "namespaces/x", {}, 422),
    ("PUT", "namespaces/x", {"ownerName": 3}, 400),
    ("PUT", "namespaces/gone/jobs/j", {"type": "BATCH", "inputs": [], "outputs": []}, 404),
    ("PUT", "namespaces/ns/jobs/k", {"type": "CRON", "inputs": [], "outputs": []}, 400),
    ("PUT", "namespaces/ns/jobs/k", {"type": "BATCH"}, 422),
    ("POST", "namespaces/ns/jobs/gone/runs", {}, 404),
    ("POST", "namespaces/ns/jobs/j/runs", {"id": "x"}, 400),
    ("POST", "namespaces/ns/jobs/j/runs", {"nominalEndTime": "soon"}, 400),
    ("POST", "namespaces/ns/jobs/j/runs", {"args": ["x"]}, 400),
    ("POST", f"jobs/runs/{NOBODY}/start", None, 404),
    ("POST", "jobs/runs/x/start", None, 404),
    ("GET", f"jobs/runs/{NOBODY}/facets?type=run", None, 404),
    ("GET", "namespaces/ns/jobs?limit=-1", None, 400),
    ("GET", "namespaces/ns/jobs?offset=x", None, 400),
    ("GET", "jobs?lastRunStates=GOOD", None, 400),
    ("GET", "events/lineage?after=now", None, 400),
    ("GET", "events/lineage?sortDirection=up", None, 400),
    ("GET", "events", None, 404),
    ("DELETE", "lineage", None, 405),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), BAD)
def test_bad_input_is_refused_in_marquez_words_and_writes_nothing(
    client: Client, catalog: Store, method: str, path: str, body: Any, status: int
) -> None:
    new_job(client)
    before = snapshot(catalog)
    content = body if isinstance(body, bytes) else msgspec.json.encode(body) if body is not None else None
    answer = client.request(method, f"/api/v1/{path}", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert said.get("errors") or (said["code"] == status and said["message"])
    assert snapshot(catalog) == before


def test_everything_that_is_missing_is_named(client: Client) -> None:
    said = send(client, {"run": {}, "inputs": [{"name": "x"}]}, status=422)
    missing = ["eventTime", "producer", "job", "inputs[0].namespace", "run.runId"]
    assert said == {"errors": [f"{path} must not be null" for path in missing]}


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.__name__)
def test_every_named_error_has_a_shape(kind: type[RunfleetError]) -> None:
    reply = DIALECT.answer(made(kind), SCOPE)
    body = msgspec.json.decode(reply.body)
    assert reply.status == (503 if kind.status == 507 else kind.status)
    if issubclass(kind, Invalid):
        assert body == {"errors": ["query.x is wrong"]}
    else:
        assert body["code"] == reply.status
        assert body["message"]


# Who may do what.


def test_without_a_token_nothing_is_told_and_nothing_taken(guarded: Client, catalog: Store) -> None:
    before = snapshot(catalog)
    for method, path in (("GET", "namespaces"), ("GET", "jobs"), ("GET", "events/lineage"), ("POST", "lineage")):
        answer = guarded.request(method, f"/api/v1/{path}", json=GOOD if method == "POST" else None)
        assert (answer.status_code, answer.json()["code"]) == (401, 401)
        assert "www-authenticate" in answer.headers
    assert snapshot(catalog) == before
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.post("/api/v1/lineage", json=GOOD, headers=headers).status_code == 201


@pytest.mark.parametrize(
    ("scope", "only", "allowed"),
    [("read", "", False), ("run", "", True), ("run", "other-*", False), ("run", "marquez.*", True)],
)
def test_a_token_may_do_what_it_is_for(guarded: Client, catalog: Store, scope: Any, only: str, allowed: bool) -> None:
    admin = {"Authorization": f"Bearer {TOKEN}"}
    body = {"name": "t", "scope": scope} | ({"tasks": only} if only else {})
    token = guarded.post("/api/tokens", json=body, headers=admin).json()["token"]
    mine = {"Authorization": f"Bearer {token}"}
    guarded.put("/api/v1/namespaces/ns", json={"ownerName": "ada"}, headers=admin)
    before = snapshot(catalog)
    answers = [
        guarded.put("/api/v1/namespaces/ns/jobs/j", json={"type": "BATCH", "inputs": [], "outputs": []}, headers=mine),
        guarded.post("/api/v1/lineage", json=GOOD, headers=mine),
        guarded.post(f"/api/v1/jobs/runs/{NOBODY}/complete", headers=mine),
    ]
    if allowed:
        assert [answer.status_code for answer in answers] == [200, 201, 200]
    else:
        assert {answer.status_code for answer in answers[:2]} == {403}
        assert snapshot(catalog) == before
    if only:
        assert guarded.get("/api/v1/events/lineage", headers=mine).status_code == 403


def test_a_token_for_some_tasks_sees_no_others(guarded: Client) -> None:
    admin = {"Authorization": f"Bearer {TOKEN}"}
    body = {"name": "t", "scope": "run", "tasks": "report"}
    token = guarded.post("/api/tokens", json=body, headers=admin).json()["token"]
    mine = {"Authorization": f"Bearer {token}"}
    assert guarded.post("/api/v1/lineage", json=GOOD, headers=admin).status_code == 201
    assert [job["name"] for job in guarded.get("/api/v1/jobs", headers=mine).json()["jobs"]] == ["report"]
    assert guarded.get(f"/api/v1/jobs/runs/{NOBODY}", headers=mine).status_code == 403
    told = event("COMPLETE", NOBODY, job="report", namespace="runfleet")
    assert guarded.post("/api/v1/lineage", json=told, headers=mine).status_code == 403
    assert guarded.get(f"/api/v1/jobs/runs/{NOBODY}", headers=admin).json()["state"] == "RUNNING"


# What nobody foresaw.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=6,
)
TEXT = st.sampled_from([NOBODY, "ns", "a.b", "", "2030-01-01T00:00:00Z", "\x00", "\U0001f600", "x" * 2000, "parent"])
FACETS = ("parent", "parentRun", "nominalTime", "errorMessage", "documentation", "jobType", "sourceCodeLocation", "x")


DATASET = {"namespace": "db", "name": "t"}
FACET = {"run": {"runId": NOBODY}, "job": {"namespace": "ns", "name": "p"}, "nominalStartTime": at(0), "url": "x"}
FULL = GOOD | {
    "run": {"runId": NOBODY, "facets": dict.fromkeys(FACETS, FACET | {"message": "m", "description": "d"})},
    "job": {"namespace": "ns", "name": "j", "facets": dict.fromkeys(FACETS, FACET)},
    "inputs": [DATASET],
    "outputs": [DATASET],
    "dataset": DATASET,
    "schemaURL": "x/RunEvent",
}


PATHS = [
    *([key] for key in FULL),
    *(["run", key] for key in FULL["run"]),
    *(["job", key] for key in FULL["job"]),
    *([part, "facets", name] for part in ("run", "job") for name in FACETS),
    *(["run", "facets", name, key] for name in FACETS for key in ("run", "job", "nominalStartTime", "message")),
    *(
        ["run", "facets", "parent", part, key]
        for part, key in (("run", "runId"), ("job", "namespace"), ("job", "name"))
    ),
    *(["job", "facets", name, key] for name in FACETS for key in ("description", "url", "processingType")),
    *([side, 0, key] for side in ("inputs", "outputs") for key in DATASET),
]


@st.composite
def strange(draw: st.DrawFn) -> Any:
    """A whole event, of which some parts are replaced by anything, or gone."""
    told = deepcopy(FULL)
    for path in draw(st.lists(st.sampled_from(PATHS), max_size=3)):
        inner: Any = told
        for step in path[:-1]:
            try:
                inner = inner[step]
            except (KeyError, IndexError, TypeError):  # replaced before
                inner = None
        if isinstance(inner, dict):
            if draw(st.integers(0, 3)):
                inner[path[-1]] = draw(TEXT | JSON)
            else:
                inner.pop(path[-1], None)
    return told


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=strange())
def test_no_event_is_too_strange(client: Client, told: Any) -> None:
    answer = client.post("/api/v1/lineage", content=msgspec.json.encode(told))
    assert answer.status_code in (201, 400, 422), answer.text
    if answer.status_code == 201:
        for path in (
            f"jobs/runs/{NOBODY}",
            "jobs",
            "namespaces",
            "events/lineage",
            f"jobs/runs/{NOBODY}/facets?type=job",
        ):
            assert client.get(f"/api/v1/{path}").status_code in (200, 404)


def test_a_list_of_large_facets_stays_within_bounds(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ROOM", 3000)
    monkeypatch.setattr(pages, "STEP", 2)
    for number in range(6):
        facets = {"note": {"text": "x" * 1000}}
        one = event("START", str(uuid.uuid4()), number, f"j{number}", facets=facets)
        one["job"]["facets"] = facets
        send(client, one, event("START", str(uuid.uuid4()), number, "same", facets=facets))
    found = client.get("/api/v1/namespaces/ns/jobs/same/runs").json()["runs"]
    assert [len(one["facets"]) for one in found] == [1, 1, 1, 1, 0, 0]
    listed = client.get("/api/v1/namespaces/ns/jobs").json()["jobs"]
    assert [len(one["facets"]) for one in listed] == [0, 1, 1, 1, 0, 0, 0]
