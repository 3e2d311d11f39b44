"""Tasks in Ona's words, over HTTP."""

import uuid

import pytest

from api.dialects.ona.errors import CALLS
from shared.settings import Settings
from shared.signing import Keys
from shared.store import tasks
from shared.store.redis.sync_store import Store
from shared.tasks import Task, define, is_trusted
from tests.dialects.ona import HOME, SECRET, Client, Json, call, make, references
from tests.http.conftest import TASKS, finish


def test_a_task_comes_back_as_it_was_sent(ona: Client, env: str) -> None:
    metadata = {
        "description": "Makes it",
        "triggeredBy": [{"manual": True}, {"prebuild": True}],
    }
    spec = {
        "command": "make",
        "env": [
            {"name": "Z", "value": ""},
            {"name": "KEY", "valueFrom": {"secretRef": {"id": str(uuid.uuid4())}}},
            {"name": "A", "value": "1"},
        ],
        "prebuildRequiresSuccess": True,
    }
    first = make(ona, env, "deps")
    task = make(ona, env, "build", metadata=metadata, spec=spec, dependsOn=[first["id"]])
    assert task["metadata"].items() >= {"reference": "build", "name": "Build", **metadata}.items()
    assert (task["spec"], task["dependsOn"], task["environmentId"]) == (spec, [first["id"]], env)
    assert task["metadata"]["creator"]["principal"] == "PRINCIPAL_SERVICE_ACCOUNT"
    assert call(ona, "GetTask", {"id": task["id"]}) == {"task": task}


def test_it_is_a_task_of_the_catalog_that_workers_trust(ona: Client, env: str, kept: Store, settings: Settings) -> None:
    secret = str(uuid.uuid4())
    id_ = make(ona, env, "build", spec={"env": [{"name": "KEY", "valueFrom": {"secretRef": {"id": secret}}}]})["id"]
    name = f"ona.{id_[:8]}.build"
    entry = kept.run(tasks.entry(name))
    assert entry is not None
    assert (entry.source, entry.task.run) == ("api", "true")
    assert entry.task.secrets == {"KEY": "${RUNFLEET_SECRET_%s}" % secret.upper().replace("-", "_")}  # noqa: UP031
    assert is_trusted(entry.definition, Keys(SECRET, prefix=settings.key_prefix), entry.name)
    assert ona.get(f"/api/tasks/{name}").json()["source"] == "api"


def test_in_the_default_environment_it_is_called_by_its_reference(ona: Client) -> None:
    make(ona, HOME, "build")
    assert ona.get("/api/tasks/build").status_code == 200
    make(ona, HOME, "example", "already_exists")
    long = make(ona, HOME, "x" * 120)
    assert ona.get(f"/api/tasks/ona.{long['id'][:8]}.{'x' * 80}").status_code == 200


def test_the_file_s_tasks_are_in_the_default_environment(ona: Client) -> None:
    found = call(ona, "ListTasks", {"filter": {"environmentIds": [HOME]}})
    assert references(found) == sorted(task.name for task in TASKS)
    typed = next(task for task in found["tasks"] if task["metadata"]["reference"] == "typed")
    assert (typed["spec"]["command"], typed["metadata"]["triggeredBy"]) == ("true", [{"manual": True}])
    assert call(ona, "GetTask", {"id": typed["id"]})["task"] == typed
    assert "hunter2" not in str(found)
    call(ona, "UpdateTask", {"id": typed["id"], "spec": {"command": "x"}}, "failed_precondition")
    call(ona, "DeleteTask", {"id": typed["id"]}, "failed_precondition")


def test_a_reference_is_there_once_in_an_environment(ona: Client, env: str) -> None:
    make(ona, env, "build")
    make(ona, str(uuid.uuid4()), "build")
    answer = make(ona, env, "build", "already_exists")
    assert "build" in answer["message"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"environmentId": "nope"}, "environmentId"),
        ({"environmentId": HOME + "\n"}, "environmentId"),
        ({"metadata": {"reference": "has space"}}, "metadata.reference"),
        ({"metadata": {"reference": ""}}, "metadata.reference"),
        ({"metadata": {"reference": "a", "refrence": "b"}}, "metadata.refrence"),
        (
            {"metadata": {"reference": "a", "triggeredBy": [{"manual": True, "prebuild": True}]}},
            "triggeredBy[0].prebuild",
        ),
        ({"metadata": {"reference": "a", "triggeredBy": [{}]}}, "metadata.triggeredBy[0]"),
        ({"metadata": {"reference": "a", "triggeredBy": [{"manual": False}]}}, "metadata.triggeredBy[0]"),
        ({"spec": {"command": 7}}, "spec.command"),
        ({"spec": {"command": "a\0b"}}, "spec.command"),
        ({"spec": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}}, "spec.env[1]"),
        ({"spec": {"env": [{"name": "A"}, {"name": "2A", "value": "2"}]}}, "spec.env[1]"),
        ({"spec": {"env": [{"name": "RUNFLEET_X", "value": "2"}]}}, "spec.env[0]"),
        ({"spec": {"env": [{"name": "A", "value": "", "valueFrom": {"secretRef": {"id": HOME}}}]}}, "valueFrom"),
        ({"spec": {"env": [{"name": f"A{number}", "value": "x"} for number in range(1001)]}}, "spec.env"),
        ({"spec": {"runsOn": {"docker": {}}}}, "spec.runsOn.docker.image"),
        ({"spec": {"runsOn": {"docker": {"image": "a\0"}}}}, "spec.runsOn.docker.image"),
        ({"spec": {"command": "a\0", "runsOn": {"docker": {"image": "a"}}}}, "spec.command"),
        (
            {"spec": {"runsOn": {"docker": {"image": "a", "environment": ["A=b", "C=\0"]}}}},
            "spec.runsOn.docker.environment[1]",
        ),
        ({"metadata": {"reference": "a", "name": "x" * 1001}}, "metadata.name"),
        ({"dependsOn": ["x"]}, "dependsOn[0]"),
        ({"dependsOn": [str(uuid.uuid4())]}, "dependsOn[0]"),
        ({"name": "x"}, "name"),
        ({"metadata": None}, "metadata"),
    ],
)
def test_a_refused_task_names_its_problems_and_writes_nothing(
    ona: Client, kept: Store, change: dict[str, Json], place: str
) -> None:
    body = {"environmentId": HOME, "metadata": {"reference": "a"}, "spec": {"command": "x"}}
    answer = call(ona, "CreateTask", {**body, **change}, "invalid_argument")
    assert place in answer["message"]
    assert "\\" not in answer["message"]
    (detail,) = answer["details"]
    assert detail["type"] == "google.rpc.BadRequest"
    assert any(violation["field"].endswith(place) for violation in detail["debug"]["fieldViolations"])
    assert len(kept.run(tasks.names())) == len(TASKS)


@pytest.mark.parametrize("body", [b"[]", b"3", b"{", b"\xff", b"null", b"[" * 5000])
def test_an_invalid_message_is_an_invalid_argument(ona: Client, body: bytes) -> None:
    response = ona.post(CALLS + "GetTask", content=body, headers={"Content-Type": "application/json; charset=utf-8"})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")


def test_several_spellings_of_the_same_are_understood(ona: Client, env: str) -> None:
    body = {
        "environment_id": env,
        "metadata": {"reference": "a", "triggered_by": [{"post_environment_start": True}], "created_at": None},
        "depends_on": None,
    }
    task = call(ona, "CreateTask", body)["task"]
    assert task["metadata"]["triggeredBy"] == [{"postEnvironmentStart": True}]
    assert call(ona, "ListTasks", {"filter": {"environment_ids": [env]}, "pagination": {"page_size": "5"}})["tasks"]
    call(ona, "ListTasks", {"pagination": {"page_size": 5, "pageSize": 5}}, "invalid_argument")


def test_an_update_changes_what_it_names_and_keeps_the_rest(ona: Client, env: str) -> None:
    first = make(ona, env, "first", spec={"env": [{"name": "A", "value": "1"}]}, metadata={"description": "One"})
    second = make(ona, env, "second", dependsOn=[first["id"]])
    change = {
        "id": second["id"],
        "metadata": {"name": "New", "triggeredBy": {"trigger": [{"manual": True}]}},
        "spec": {"command": "", "env": [{"name": "B", "value": "2"}]},
    }
    assert call(ona, "UpdateTask", change) == {}
    task = call(ona, "GetTask", {"id": second["id"]})["task"]
    assert task["metadata"] == {**second["metadata"], "name": "New", "triggeredBy": [{"manual": True}]}
    assert (task["spec"], task["dependsOn"]) == ({"env": [{"name": "B", "value": "2"}]}, [first["id"]])
    call(ona, "UpdateTask", {"id": second["id"], "metadata": {"triggeredBy": {}, "description": ""}, "dependsOn": []})
    task = call(ona, "GetTask", {"id": second["id"]})["task"]
    assert "triggeredBy" not in task["metadata"]
    assert task["dependsOn"] == [first["id"]]
    call(ona, "UpdateTask", {"id": first["id"], "dependsOn": [second["id"]]}, "invalid_argument")
    call(ona, "UpdateTask", {"id": str(uuid.uuid4()), "metadata": {"name": "x"}}, "not_found")
    call(ona, "UpdateTask", {"id": first["id"], "metadata": {"reference": "x"}}, "invalid_argument")
    assert call(ona, "GetTask", {"id": first["id"]})["task"] == first


def test_what_the_native_api_sets_survives_an_update(ona: Client, env: str) -> None:
    id_ = make(ona, env, "build")["id"]
    name = f"ona.{id_[:8]}.build"
    native = {"run": ["make", "-j 2"], "timeout": "5m", "secrets": {"KEY": "hunter2hunter2"}}
    assert ona.put(f"/api/tasks/{name}", json=native).status_code == 200
    assert call(ona, "GetTask", {"id": id_})["task"]["spec"] == {"command": "make -j 2"}
    call(ona, "UpdateTask", {"id": id_, "metadata": {"name": "New"}, "spec": {"env": [{"name": "A", "value": "1"}]}})
    kept = ona.get(f"/api/tasks/{name}").json()["definition"]
    assert (kept["run"], kept["timeout_ms"], kept["env"]) == (["make", "-j 2"], 300_000, {"A": "1"})
    call(ona, "UpdateTask", {"id": id_, "spec": {"command": "make all"}})
    kept = ona.get(f"/api/tasks/{name}").json()["definition"]
    assert (kept["run"], kept["timeout_ms"], kept["secrets"]) == ("make all", 300_000, {"KEY": "[redacted]"})


def test_a_container_s_task_keeps_what_it_asks_for(ona: Client, env: str) -> None:
    docker = {"docker": {"image": "python:3.12", "environment": ["TZ=UTC"]}}
    task = make(ona, env, "a", spec={"runsOn": docker})
    assert task["spec"] == {"command": "true", "runsOn": docker}
    call(ona, "UpdateTask", {"id": task["id"], "spec": {"runsOn": {"machine": {}}}})
    assert call(ona, "GetTask", {"id": task["id"]})["task"]["spec"] == {"command": "true"}


def test_lists_come_newest_first_in_pages(ona: Client, env: str) -> None:
    made = [make(ona, env, f"t{number}")["metadata"]["reference"] for number in range(5)]
    make(ona, str(uuid.uuid4()), "elsewhere")
    mine = {"filter": {"environmentIds": [env]}}
    one = call(ona, "ListTasks", {**mine, "pagination": {"pageSize": 2}})
    two = call(ona, "ListTasks", {**mine, "pagination": {"pageSize": 2, "token": one["pagination"]["nextToken"]}})
    # As the vendor's client goes on: the same body, and the token in the query.
    three = call(
        ona, "ListTasks", {**mine, "pagination": {"pageSize": 2}}, query=f"?token={two['pagination']['nextToken']}"
    )
    assert references(one) + references(two) + references(three) == made[::-1]
    assert not three["pagination"].get("nextToken")
    assert call(ona, "ListTasks", {"filter": {"environmentIds": [str(uuid.uuid4())]}})["tasks"] == []


def test_the_size_of_a_page_may_stand_in_the_query(ona: Client, env: str) -> None:
    made = [make(ona, env, f"t{number}")["metadata"]["reference"] for number in range(5)]
    mine = {"filter": {"environmentIds": [env]}, "pagination": {"pageSize": 4}}
    for name in ("pageSize", "page_size"):
        assert references(call(ona, "ListTasks", mine, query=f"?{name}=2")) == made[:2:-1]
    for wrong in ("101", "-1", "x", "2.0", ""):
        call(ona, "ListTasks", mine, "invalid_argument", query=f"?pageSize={wrong}")


def test_a_list_of_everything_ends_with_the_file_s_tasks(ona: Client, env: str) -> None:
    make(ona, env, "a")
    make(ona, HOME, "b")
    seen, token = [], ""
    for _ in range(20):
        page = call(ona, "ListTasks", {}, query=f"?pageSize=3&token={token}")
        seen += references(page)
        token = page["pagination"].get("nextToken", "")
        if not token:
            break
    assert seen == ["b", "a", *sorted(task.name for task in TASKS)]


@pytest.mark.parametrize(
    ("filter_", "wanted"),
    [
        ({"references": ["b", "x"]}, ["b", "b"]),
        ({"references": ["b"], "environmentIds": ["ENV"]}, ["b"]),
        ({"references": ["example"]}, ["example"]),
        ({"references": ["example"], "environmentIds": [HOME]}, ["example"]),
        ({"references": ["example"], "environmentIds": ["ENV"]}, []),
        ({"taskIds": ["A"]}, ["a"]),
        ({"taskIds": ["A"], "references": ["b"]}, []),
        ({"taskIds": ["A"], "environmentIds": [HOME]}, []),
    ],
)
def test_filters_narrow(ona: Client, env: str, filter_: dict[str, list[str]], wanted: list[str]) -> None:
    known = {"ENV": env, "A": make(ona, env, "a")["id"]}
    make(ona, env, "b")
    make(ona, str(uuid.uuid4()), "b")
    filled = {key: [known.get(value, value) for value in values] for key, values in filter_.items()}
    assert references(call(ona, "ListTasks", {"filter": filled})) == wanted


@pytest.mark.parametrize(
    "bad", [{"pageSize": 101}, {"pageSize": -1}, {"token": "!"}, {"token": "eA"}, {"pageSize": 1.5}]
)
def test_a_page_that_there_cannot_be_is_refused(ona: Client, bad: Json) -> None:
    call(ona, "ListTasks", {"pagination": bad}, "invalid_argument")


def test_filters_take_25_of_a_kind(ona: Client) -> None:
    call(ona, "ListTasks", {"filter": {"references": ["x"] * 26}}, "invalid_argument")


def test_a_deleted_task_is_gone(ona: Client, env: str) -> None:
    first = make(ona, env, "first")
    second = make(ona, env, "second", dependsOn=[first["id"]])
    answer = call(ona, "DeleteTask", {"id": first["id"]}, "failed_precondition")
    assert "second" in answer["message"]
    assert call(ona, "DeleteTask", {"id": second["id"]}) == {}
    assert call(ona, "DeleteTask", {"id": first["id"]}) == {}
    for method in ("GetTask", "DeleteTask"):
        call(ona, method, {"id": first["id"]}, "not_found")
    assert call(ona, "ListTasks", {"filter": {"environmentIds": [env]}})["tasks"] == []
    make(ona, env, "first")


def test_a_live_task_is_not_deleted(ona: Client, env: str, kept: Store) -> None:
    id_ = make(ona, env, "build")["id"]
    ona.post(f"/api/tasks/ona.{id_[:8]}.build/run")
    assert "live" in call(ona, "DeleteTask", {"id": id_}, "failed_precondition")["message"]
    finish(kept)
    call(ona, "DeleteTask", {"id": id_})


def test_a_task_that_the_file_takes_over_belongs_to_it(ona: Client, kept: Store) -> None:
    id_ = make(ona, HOME, "build")["id"]
    mine = [*TASKS, Task(name="build", run="make")]
    kept.run(tasks.apply([(task, define(task)) for task in mine]))
    call(ona, "GetTask", {"id": id_}, "not_found")
    (task,) = call(ona, "ListTasks", {"filter": {"references": ["build"]}})["tasks"]
    assert (task["spec"]["command"], task["id"] != id_) == ("make", True)


FILE = {
    "tasks": {
        "deps": {"name": "Deps", "command": "pip install", "triggeredBy": ["prebuild"]},
        "unit": {"name": "Unit", "command": "pytest", "dependsOn": ["deps"], "triggeredBy": ["manual"]},
        "all": {"name": "All", "dependsOn": ["unit", "deps"]},
    }
}


def upsert(client: Client, env: str, file: Json, code: str = "") -> Json:
    return call(client, "UpsertAutomationsFile", {"environmentId": env, "automationsFile": file}, code)


def test_a_file_makes_its_tasks_and_again_changes_nothing(ona: Client, env: str) -> None:
    made = upsert(ona, env, FILE)
    assert made["updatedServiceIds"] == []
    found = {
        task["metadata"]["reference"]: task
        for task in call(ona, "ListTasks", {"filter": {"environmentIds": [env]}})["tasks"]
    }
    assert sorted(made["updatedTaskIds"]) == sorted(task["id"] for task in found.values())
    assert list(found) == ["deps", "unit", "all"]
    assert found["unit"]["dependsOn"] == [found["deps"]["id"]]
    assert found["all"]["spec"] == {}
    assert upsert(ona, env, FILE)["updatedTaskIds"] == []
    changed = {"tasks": {"deps": {**FILE["tasks"]["deps"], "name": "Deps!"}}}
    assert upsert(ona, env, changed)["updatedTaskIds"] == [found["deps"]["id"]]
    assert len(call(ona, "ListTasks", {"filter": {"environmentIds": [env]}})["tasks"]) == 3


@pytest.mark.parametrize(
    ("item", "place"),
    [
        ({"command": "x"}, "tasks.bad.name"),
        ({"name": "X"}, "tasks.bad.command"),
        ({"name": "X", "command": "x", "dependsOn": ["nowhere"]}, "tasks.bad.dependsOn[0]"),
        ({"name": "X", "command": "x", "dependsOn": ["bad"]}, "tasks.bad"),
        ({"name": "X", "command": "x", "triggeredBy": ["often"]}, "tasks.bad.triggeredBy[0]"),
        ({"name": "X", "command": "x", "env": []}, "tasks.bad.env"),
        ({"name": "X", "command": "x\0"}, "tasks.bad.command"),
    ],
)
def test_a_file_with_a_mistake_makes_none_of_its_tasks(
    ona: Client, env: str, kept: Store, item: Json, place: str
) -> None:
    answer = upsert(ona, env, {"tasks": {**FILE["tasks"], "bad": item}}, "invalid_argument")
    assert place in answer["message"]
    assert len(kept.run(tasks.names())) == len(TASKS)


def test_a_file_may_not_close_a_circle(ona: Client, env: str) -> None:
    file = {"tasks": {"a": {"name": "A", "dependsOn": ["b"]}, "b": {"name": "B", "dependsOn": ["a"]}}}
    assert "circle" in upsert(ona, env, file, "invalid_argument")["message"]
    upsert(ona, env, FILE)
    upsert(ona, env, {"tasks": {"deps": {"name": "D", "dependsOn": ["all"]}}}, "invalid_argument")


def test_a_file_may_not_bring_more_tasks_than_others_can_wait_for(ona: Client, env: str, kept: Store) -> None:
    file = {"tasks": {f"t{number}": {"name": "T", "command": "true"} for number in range(501)}}
    refused = call(ona, "UpsertAutomationsFile", {"environmentId": env, "automationsFile": file}, "invalid_argument")
    assert refused["message"].startswith("automationsFile.tasks: has 501 tasks; one file may have 500")
    assert len(kept.run(tasks.names())) == len(TASKS)


def test_a_file_may_not_bring_services_or_bad_references(ona: Client, env: str) -> None:
    service = {"db": {"name": "DB", "commands": {"start": "x"}}}
    assert "services" in upsert(ona, env, {"services": service}, "invalid_argument")["message"]
    upsert(ona, env, {"tasks": {"a b": {"name": "X", "command": "x"}}}, "invalid_argument")
