"""The surroundings of a run, over HTTP: its neighbours."""

from litestar import Litestar
from litestar.testing import TestClient

from shared.runs import Reason
from shared.store import tasks
from shared.store.redis.sync_store import Store
from shared.tasks import Task, define
from tests.http.conftest import claim, finish

Client = TestClient[Litestar]


def test_neighbours_are_rows_with_a_streak(client: Client, catalog: Store) -> None:
    for _ in range(4):
        client.post("/api/tasks/example/run")
    for reason in (Reason.SUCCESS, Reason.FAILED, Reason.FAILED):
        finish(catalog, reason, int(reason == Reason.FAILED))
    body = client.get("/api/runs/example%233/neighbours").json()
    assert [body[side]["number"] for side in ("previous", "next")] == [2, 4]
    assert body["previous"]["state"] == "failed"
    assert body["previous"]["exit_code"] == 1
    assert body["previous"]["words"] == "as the test wants it"
    assert body["next"]["state"] == "no_worker"
    assert not body["next"].keys() & {"exit_code", "start_at", "duration_ms", "worker", "words", "params"}
    assert [each[:2] for each in body["around"]] == [[1, "success"], [2, "failed"], [3, "failed"], [4, "no_worker"]]
    assert (body["streak"]["state"], body["streak"]["count"]) == ("failed", 2)
    assert body["streak"]["since"] == client.get("/api/runs/example%232").json()["created_at"]


def test_the_only_run_has_no_neighbours(client: Client, catalog: Store) -> None:
    client.post("/api/tasks/example/run")
    claim(catalog)
    body = client.get("/api/runs/example%231/neighbours").json()
    assert body.keys() == {"$schema", "around"}
    assert body["around"][0][:2] == [1, "running"]


def test_why_names_the_run_that_is_waited_for_as_a_row(client: Client, catalog: Store) -> None:
    task = Task(name="single", run="true", max_concurrent=1)
    catalog.run(tasks.apply([(task, define(task))]))
    first, second = (client.post("/api/tasks/single/run").json() for _ in range(2))
    body = client.get(f"/api/runs/{second['id']}/why").json()
    (cause,) = body["because"]
    assert (body["run"]["id"], body["state"], body["text"]) == (second["id"], "blocked", cause["text"])
    assert (cause["code"], cause["run"]["id"], cause["place"]) == ("overlap", first["id"], 1)
    assert cause["limit"] == {"name": "single", "held": 1, "max": 1}
    assert cause["cure"] == "POST /api/runs/single%231/stop stops it"


def test_why_of_a_bad_end_has_its_message_and_what_changed(client: Client, catalog: Store) -> None:
    for reason in (Reason.SUCCESS, Reason.FAILED):
        client.post("/api/tasks/example/run")
        finish(catalog, reason, int(reason == Reason.FAILED))
    body = client.get("/api/runs/example%232/why").json()
    assert (body["state"], body["text"]) == ("failed", "as the test wants it")
    assert {"code": "first_failure", "text": "first failure after 1 success"} in body["changed"]
    assert {"code": "exit_code", "text": "exit code 1 instead of 0"} in body["changed"]
