"""Marquez's API as a client meets it: our own tasks in it, verbs and events in any order, lists."""

import gzip
import uuid
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import msgspec
import pytest

from api.dialects.marquez import ingest, pagination
from shared import ops
from shared.runs import Reason
from shared.store import creation, tasks
from shared.store.dialects import lineage_events
from shared.store.redis.sync_store import Store
from shared.tasks import Task, define
from tests.dialects.marquez import NOBODY, Client, at, event, new_job, new_run, run_of, send
from tests.http.conftest import TASKS, claim, finish
from tests.store.consistency import check_store

EXTERNAL = Task(name="outside", external=True, max_concurrent=1)


@pytest.fixture(autouse=True)
def whole(catalog: Store) -> Iterator[None]:
    """The store is whole after each of these."""
    yield
    check_store(catalog)


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
        skipped = catalog.run(creation.create(msgspec.structs.replace(what, refuse="skipped: it was the same")))
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
        assert "Runfleet's workers" in refused.json()["message"]
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
    assert len(catalog.run(tasks.counts(["example"]))) == 1


def test_a_task_of_ours_is_not_changed_through_here(client: Client) -> None:
    path = "/api/v1/namespaces/runfleet/jobs/example"
    assert client.put(path, json={"type": "BATCH", "inputs": [], "outputs": []}).status_code == 409
    assert client.delete(path).status_code == 409


def test_a_task_that_others_execute_is_moved_by_verbs_within_its_limits(client: Client, catalog: Store) -> None:
    catalog.run(tasks.apply([(task, define(task)) for task in (*TASKS, EXTERNAL)]))
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


def test_a_time_in_the_future_is_returned_as_it_was_sent(client: Client) -> None:
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


def test_a_run_that_was_reported_late_is_listed_by_its_start(client: Client) -> None:
    ids = {seconds: str(uuid.uuid4()) for seconds in (30, 10, 20)}
    for seconds, run_id in ids.items():
        send(client, event("START", run_id, seconds))
    listed = client.get("/api/v1/namespaces/ns/jobs/j/runs").json()["runs"]
    assert [one["id"] for one in listed] == [ids[30], ids[20], ids[10]]


def test_an_event_with_a_failure_says_why(client: Client) -> None:
    facets = {"errorMessage": {"message": "no such\n  table", "programmingLanguage": "SQL"}}
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


def test_a_run_is_not_its_own_parent(client: Client) -> None:
    run_id = str(uuid.uuid4())
    parent = {"run": {"runId": run_id}, "job": {"namespace": "ns", "name": "dag"}}
    send(client, event("START", run_id, 0, "step", {"parent": parent}))
    assert [run["id"] for run in client.get("/api/v1/namespaces/ns/jobs/step/runs").json()["runs"]] == [run_id]
    assert client.get("/api/v1/namespaces/ns/jobs/step").json()["parentJobName"] is None
    assert client.get("/api/v1/namespaces/ns/jobs/dag").status_code == 404


def test_a_facet_that_cannot_be_read_hides_no_run(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage_events, "MOST_FIELDS", 1)  # so there is no room for the one that is looked at
    run_id, parent = str(uuid.uuid4()), {"run": {"runId": NOBODY}, "job": {"namespace": "ns", "name": "dag"}}
    send(client, event("START", run_id, facets={"parentRun": parent}))
    assert run_of(client, run_id)["args"]["name"] == "dag"
    send(client, event("RUNNING", run_id, 1, facets={"parent": parent, "parentRun": 3}))
    assert (run_of(client, run_id)["facets"], run_of(client, run_id)["args"]) == ({"parentRun": 3}, {})


def test_a_large_facet_is_left_out_and_the_event_kept(client: Client) -> None:
    facets = {"plan": {"text": "x" * ingest.MAX_FACET_BYTES}, "small": {"x": 1}}
    send(client, event("START", NOBODY, facets=facets))
    shown = run_of(client, NOBODY)["facets"]
    assert (shown["plan"]["leftOutBytes"] > ingest.MAX_FACET_BYTES, shown["small"]) == (True, {"x": 1})
    kept = client.get("/api/v1/events/lineage").json()["events"]
    assert kept[0]["run"]["facets"] == facets


def test_interpreted_facets_and_the_first_others_are_kept(client: Client) -> None:
    run_id = str(uuid.uuid4())
    many = {f"f{number}": {"n": number} for number in range(5000)}
    one = event("START", run_id, facets=many | {"nominalTime": {"nominalStartTime": at(-60)}})
    one["job"]["facets"] = many | {"documentation": {"description": "last, not least"}}
    send(client, one)
    first = {f"f{number}" for number in range(149)}
    assert set(run_of(client, run_id)["facets"]) == first | {"nominalTime"}
    job = client.get("/api/v1/namespaces/ns/jobs/j").json()
    assert (set(job["facets"]), job["description"]) == (first | {"documentation"}, "last, not least")


def test_a_packed_event_is_taken(client: Client) -> None:
    body = gzip.compress(msgspec.json.encode(event("START", NOBODY)))
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    assert client.post("/api/v1/lineage", content=body, headers=headers).status_code == 201
    assert run_of(client, NOBODY)["state"] == "RUNNING"


def test_events_of_no_run_describe_jobs_and_are_counted(client: Client) -> None:
    about = {"eventTime": at(0), "producer": "urn:test"}
    job = {"namespace": "ns", "name": "still", "facets": {"documentation": {"description": "said"}}}
    send(client, about | {"schemaURL": "x/JobEvent", "job": job, "inputs": [{"namespace": "db", "name": "t"}]})
    send(client, about | {"schemaURL": "x/DatasetEvent", "dataset": {"namespace": "db", "name": "t"}, "job": {}})
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
    for bounds in (
        {"after": "1970-01-01T00:00:00Z"},
        {"before": "9999-12-31T23:59:59Z"},
        {"after": "0001-01-01T00:00Z"},
    ):
        assert client.get("/api/v1/events/lineage", params=bounds).json()["totalCount"] == 4
    assert client.get("/api/v1/events/lineage", params={"before": "1969-12-31T23:00:00Z"}).json()["totalCount"] == 0
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


def test_no_list_is_longer_than_its_bound_however_much_is_asked_for(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        send(client, event("START", str(uuid.uuid4()), number, "same"))
        send(client, event("START", str(uuid.uuid4()), number, f"j{number}"))
        assert client.put(f"/api/v1/namespaces/n{number}", json={"ownerName": "ada"}).status_code == 200
    monkeypatch.setattr("api.dialects.marquez.bodies.MAX_PAGE", 3)
    for path, key in (
        ("namespaces", "namespaces"),
        ("jobs", "jobs"),
        ("namespaces/ns/jobs", "jobs"),
        ("namespaces/ns/jobs/same/runs", "runs"),
        ("events/lineage", "events"),
    ):
        assert len(client.get(f"/api/v1/{path}", params={"limit": 100}).json()[key]) == 3, path


def test_a_deleted_job_comes_back_when_it_is_reported(client: Client) -> None:
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
    catalog.run(tasks.apply([], source="api"))
    assert client.post(f"{path}/runs", json={}).status_code == 201


def test_a_job_may_be_described_for_a_run_of_it_only(client: Client) -> None:
    run_id, path = new_run(client), "/api/v1/namespaces/ns/jobs/j"
    body = {"type": "STREAM", "inputs": [], "outputs": [], "tags": ["a"], "context": {"sql": "unknown to the model"}}
    shown = client.put(path, json=body | {"runId": run_id}).json()
    assert (shown["type"], shown["tags"], shown["latestRun"]["id"]) == ("STREAM", ["a"], run_id)
    assert client.put(path, json=body | {"runId": NOBODY}).status_code == 404
    assert client.put("/api/v1/namespaces/ns/jobs/k", json=body | {"runId": run_id}).status_code == 404


def test_what_describes_a_job_or_a_namespace_is_kept_within_bounds(client: Client) -> None:
    many = {"ownerName": "o" * 1024, "description": "x" * 20_000}
    assert len(client.put("/api/v1/namespaces/ns", json=many).json()["description"]) == 10_000
    body = {"type": "BATCH", "inputs": [{"namespace": "db", "name": "t" * 1000}] * 100, "outputs": []}
    shown = client.put("/api/v1/namespaces/ns/jobs/j", json=body | {"tags": ["x" * 1000] * 100}).json()
    assert 60 < len(shown["tags"]) < 70
    assert 60 < len(shown["inputs"]) < 70


def test_a_list_of_large_facets_stays_within_bounds(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagination, "ROOM", 3000)
    monkeypatch.setattr(pagination, "STEP", 2)
    for number in range(6):
        facets = {"note": {"text": "x" * 1000}}
        one = event("START", str(uuid.uuid4()), number, f"j{number}", facets=facets)
        one["job"]["facets"] = facets
        send(client, one, event("START", str(uuid.uuid4()), number, "same", facets=facets))
    found = client.get("/api/v1/namespaces/ns/jobs/same/runs").json()["runs"]
    assert [len(one["facets"]) for one in found] == [1, 1, 1, 1, 0, 0]
    listed = client.get("/api/v1/namespaces/ns/jobs").json()["jobs"]
    assert [len(one["facets"]) for one in listed] == [0, 1, 1, 1, 0, 0, 0]
