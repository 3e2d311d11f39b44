"""Tasks defined and deleted one by one through the API."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from shared import ops
from shared.settings import Settings
from shared.signing import Keys
from shared.store import tasks
from shared.store.redis.sync_store import Store
from shared.tasks import Task, define, is_trusted
from tests.http.conftest import BASE, TASKS, TOKEN, finish

Client = TestClient[Litestar]
SECRET = "a secret that only processes know"


@pytest.fixture
def author(settings: Settings, catalog: Store) -> Iterator[Client]:
    """A client with scope ``admin`` of an API that lets tasks be defined."""
    allowed = msgspec.structs.replace(settings, open=False, token=TOKEN, secret=SECRET, api_tasks=True)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with TestClient(create_app(allowed), base_url=BASE) as client:
        client.headers.update(headers)
        yield client


def put(client: Client, name: str, status: int = 201, headers: dict[str, str] | None = None, **table: Any) -> Any:
    response = client.put(f"/api/tasks/{name}", json=table, headers=headers)
    assert response.status_code == status, response.text
    return response.json()


def problems(answer: Any) -> dict[str, str]:
    return {problem["location"]: problem["message"] for problem in answer["errors"]}


def test_a_task_is_defined_and_can_be_started(author: Client, catalog: Store) -> None:
    task = put(author, "backup", run="tar c /srv", timeout="20m", tags=["nightly"], cron="@daily")
    assert (task["source"], task["schedule"]) == ("api", "every day at 00:00")
    assert task["definition"]["timeout_ms"] == 20 * 60 * 1000
    assert author.post("/api/tasks/backup/run").status_code == 201
    run = finish(catalog)
    assert author.get(f"/api/runs/{run}").json()["definition"] == task["definition_hash"]


def test_it_is_signed_so_that_workers_trust_it(author: Client, catalog: Store, settings: Settings) -> None:
    put(author, "backup", run="tar c /srv")
    entry = catalog.run(tasks.entry("backup"))
    assert entry is not None
    assert is_trusted(entry.definition, Keys(SECRET, prefix=settings.key_prefix), entry.name)
    assert entry.definition.signature


def test_defining_it_again_changes_it_and_the_same_again_changes_nothing(author: Client) -> None:
    first = put(author, "backup", run="tar c /srv")
    second = put(author, "backup", 200, run="tar c /home")
    third = put(author, "backup", 200, run="tar c /home")
    assert first["definition_hash"] != second["definition_hash"] == third["definition_hash"]
    assert second["applied_at"] == third["applied_at"]


def test_a_started_run_keeps_the_definition_that_it_was_created_with(author: Client, catalog: Store) -> None:
    first = put(author, "backup", run="tar c /srv")
    author.post("/api/tasks/backup/run")
    put(author, "backup", 200, run="tar c /home")
    assert author.get(f"/api/runs/{finish(catalog)}").json()["definition"] == first["definition_hash"]


def test_every_problem_is_named_at_its_key(author: Client) -> None:
    answer = put(
        author,
        "backup",
        422,
        run="x",
        call="m:f",
        timout="5m",
        retry_on=["failed", "lost"],
        depends_on=["exampel", "backup"],
        limits=["db"],
        cron="61 * * * *",
    )
    found = problems(answer)
    assert set(found) == {
        "body.call",
        "body.timout",
        "body.retry_on[1]",
        "body.depends_on[0]",
        "body.depends_on[1]",
        "body.limits[0]",
        "body.cron",
    }
    assert "timeout" in found["body.timout"]
    assert 'did you mean "example"' in found["body.depends_on[0]"]
    assert author.get("/api/tasks/backup").status_code == 404


@pytest.mark.parametrize("body", ["[]", '"run"', "3", "null", "{", "", '{"run": 1}', '{"run": "x\\u0000"}', "{}"])
def test_an_invalid_definition_is_refused(author: Client, body: str) -> None:
    response = author.put("/api/tasks/backup", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert author.get("/api/tasks/backup").status_code == 404


def test_dependencies_must_not_close_a_circle(author: Client) -> None:
    put(author, "a", run="true")
    put(author, "b", run="true", depends_on=["a"])
    put(author, "c", run="true", depends_on=["b", "example"])
    found = problems(put(author, "a", 422, run="true", depends_on=["c"]))
    assert found == {"body.depends_on[0]": "tasks depend on each other in a circle: a → c → b → a; remove one of these"}
    put(author, "b", 200, run="true")
    put(author, "a", 200, run="true", depends_on=["c"])


def test_a_task_of_the_file_belongs_to_the_file(author: Client) -> None:
    assert "defined in the task file" in put(author, "example", 409, run="true")["detail"]
    assert author.delete("/api/tasks/example").status_code == 409
    assert author.get("/api/tasks/example").json()["source"] == "file"


def test_what_the_api_defined_survives_an_apply_and_yields_to_the_file_s_own(author: Client, catalog: Store) -> None:
    put(author, "kept", run="true")
    put(author, "taken", run="true")
    mine = [*TASKS, Task(name="taken", run="false")]
    catalog.run(tasks.apply([(task, define(task)) for task in mine]))
    assert author.get("/api/tasks/kept").json()["source"] == "api"
    assert author.get("/api/tasks/taken").json()["source"] == "file"


def test_no_client_overwrites_an_unseen_change(author: Client) -> None:
    response = author.put("/api/tasks/backup", json={"run": "one"}, headers={"If-None-Match": "*"})
    etag = response.headers["etag"]
    assert etag == f'"{response.json()["definition_hash"]}"' == author.get("/api/tasks/backup").headers["etag"]
    put(author, "backup", 412, {"If-None-Match": "*"}, run="two")
    put(author, "backup", 200, {"If-Match": f'"other", {etag}'}, run="two")
    put(author, "backup", 412, {"If-Match": etag}, run="three")
    put(author, "nowhere", 412, {"If-Match": "*"}, run="x")
    assert author.delete("/api/tasks/backup", headers={"If-Match": etag}).status_code == 412
    assert author.get("/api/tasks/backup").json()["definition"]["run"] == "two"
    assert author.delete("/api/tasks/backup", headers={"If-Match": "*"}).status_code == 204


def test_a_deleted_task_is_gone_and_its_runs_stay(author: Client, catalog: Store) -> None:
    put(author, "backup", run="true")
    author.post("/api/tasks/backup/run")
    run = finish(catalog)
    assert author.delete("/api/tasks/backup").status_code == 204
    assert author.delete("/api/tasks/backup").status_code == 404
    assert author.post("/api/tasks/backup/run").status_code == 404
    assert author.get(f"/api/runs/{run}").status_code == 200


def test_a_live_task_is_not_deleted(author: Client, catalog: Store) -> None:
    put(author, "backup", run="true")
    author.post("/api/tasks/backup/run")
    author.post("/api/tasks/backup/run")
    response = author.delete("/api/tasks/backup")
    assert response.status_code == 409
    assert "live (backup#1 and 1 more)" in response.json()["detail"]
    author.post("/api/tasks/backup/stop")
    assert author.delete("/api/tasks/backup").status_code == 204


def test_a_task_that_others_need_is_not_deleted(author: Client) -> None:
    put(author, "first", run="true")
    put(author, "second", run="true", depends_on=["first"])
    response = author.delete("/api/tasks/first")
    assert response.status_code == 409
    assert "second depends on it" in response.json()["detail"]
    assert author.delete("/api/tasks/second").status_code == 204
    assert author.delete("/api/tasks/first").status_code == 204


def test_the_api_must_be_allowed_to(settings: Settings, catalog: Store) -> None:
    with TestClient(create_app(msgspec.structs.replace(settings, open=False, token=TOKEN)), base_url=BASE) as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        for response in (client.put("/api/tasks/x", json={"run": "true"}), client.delete("/api/tasks/example")):
            assert response.status_code == 403
            assert "RUNFLEET_API_TASKS" in response.json()["detail"]


def test_only_an_admin_may_whose_token_is_for_all_tasks(author: Client, catalog: Store) -> None:
    def token(**wanted: str) -> dict[str, str]:
        made = author.post("/api/tokens", json={"name": "t", **wanted}).json()
        return {"Authorization": f"Bearer {made['token']}"}

    put(author, "mine", run="true")
    before = catalog.run(tasks.names())
    for lesser in (token(scope="run"), token(scope="read"), token(scope="run", tasks="*")):
        put(author, "backup", 403, lesser, run="true")
        put(author, "mine", 403, lesser, run="false")
        assert author.delete("/api/tasks/mine", headers=lesser).status_code == 403
    assert author.post("/api/tokens", json={"name": "t", "scope": "admin", "tasks": "mine"}).status_code == 422
    assert catalog.run(tasks.names()) == before
    assert author.get("/api/tasks/mine").json()["definition"]["run"] == "true"
    assert put(author, "x", 401, {"Authorization": "Bearer no"}, run="true")["status"] == 401


def test_a_change_that_comes_in_between_is_looked_at_again(author: Client, catalog: Store) -> None:
    """Pins hold what was checked: the store refuses to write on what has become of it."""
    put(author, "a", run="true")
    entry = catalog.run(tasks.entry("a"))
    assert entry is not None
    task = Task(name="b", run="true", depends_on=("a",))
    pins = {"a": entry.definition.hash, "b": ""}
    put(author, "a", 200, run="false")
    assert catalog.run(tasks.define(task, define(task), pins)) == "stale"
    known = catalog.run(tasks.api_tasks_version())
    put(author, "c", run="true", depends_on=["a"])
    assert catalog.run(tasks.undefine("a", known))[0] == "stale"


def test_what_is_defined_is_started_by_its_schedule_too(author: Client, catalog: Store) -> None:
    put(author, "backup", run="true", cron="@every 30s")
    assert "backup" in catalog.run(tasks.cursors())
    entry = catalog.run(tasks.entry("backup"))
    assert entry is not None
    assert catalog.run(ops.fire(ops.Catalog(), entry, catalog.run(tasks.cursors())["backup"] + 30_000_000))
    put(author, "backup", 200, run="true")
    assert "backup" not in catalog.run(tasks.cursors())


def test_a_signature_of_another_secret_is_not_replaced(author: Client, catalog: Store, settings: Settings) -> None:
    """This server may be the one with the wrong secret; workers have the other one."""
    task = Task(name="backup", run="true")
    theirs = define(task, Keys("the secret of the workers", prefix=settings.key_prefix))
    catalog.run(tasks.apply([(task, theirs)], source="api", remove=False))
    said = put(author, "backup", 409, run="false")["detail"]
    assert "signed with another secret than this server's RUNFLEET_SECRET; nothing was changed" in said
    entry = catalog.run(tasks.entry("backup"))
    assert entry is not None
    assert entry.definition == theirs
