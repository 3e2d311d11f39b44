"""Executions in Ona's words: started, listed, stopped, and told as far as they are. The test is the worker."""

import uuid
from uuid import UUID

import msgspec
import pytest

from api.dialects.ona import binary, execution_bodies, execution_list
from api.dialects.ona.errors import CALLS
from shared import ops
from shared.runs import Reason
from shared.store import executions, runs, tasks
from shared.store.dialects import live_executions
from shared.store.redis.sync_store import Store
from shared.store.runs import Facts
from shared.tasks import Task, define
from tests.dialects.ona import HOME, Client, Json, call, make
from tests.http.conftest import TOKEN, claim

PHASE = "TASK_EXECUTION_PHASE_"


def start(client: Client, task: Json, headers: dict[str, str] | None = None) -> Json:
    client.headers.update(headers or {})
    try:
        return call(client, "StartTask", {"id": task["id"]})["taskExecution"]
    finally:
        for name in headers or {}:
            del client.headers[name]


def look(client: Client, execution: Json) -> Json:
    return call(client, "GetTaskExecution", {"id": execution["id"]})["taskExecution"]


def end(store: Store, reason: Reason = Reason.SUCCESS, code: int = 0, message: str = "", outputs: str = "") -> None:
    """Claim the next run and end it."""
    claimed = claim(store)
    facts = Facts(outputs=outputs)
    ended = store.run(runs.end(claimed.id, claimed.record.token, reason, code, message, facts=facts))
    assert ended.verdict == "ended"


def phases(execution: Json) -> list[str]:
    """Of the execution and of its steps in the order of the plan; "" for those that have not begun."""
    status = execution["status"]
    steps = {step["id"]: step["phase"].removeprefix(PHASE) for step in status.get("steps", ())}
    planned = [step["id"] for group in execution["spec"]["plan"] for step in group["steps"]]
    return [status["phase"].removeprefix(PHASE), *(steps.get(id_, "") for id_ in planned)]


@pytest.fixture
def chain(ona: Client, env: str) -> Json:
    """The second of two tasks, which depends on the first."""
    first = make(ona, env, "first", spec={"command": "one"})
    return make(ona, env, "second", spec={"command": "two"}, dependsOn=[first["id"]])


def test_outputs_of_a_step_are_cut_at_the_bounds_of_ona(ona: Client, env: str, kept: Store) -> None:
    execution = start(ona, make(ona, env, "task"))
    long = {"n" * 200: "x", "text": "y" * 5000, "number": 7, "empty": ""}
    end(kept, outputs=msgspec.json.encode(long).decode())
    (step,) = look(ona, execution)["status"]["steps"]
    assert step["output"] == {"n" * 128: "x", "text": "y" * 4096, "number": "7"}


def test_a_plan_runs_group_after_group(ona: Client, env: str, chain: Json, kept: Store) -> None:
    execution = start(ona, chain)
    one, two = (group["steps"][0] for group in execution["spec"]["plan"])
    assert two["dependsOn"] == [one["id"]]
    assert (two["label"], two["task"]) == ("second", {"id": chain["id"], "spec": {"command": "two"}})
    assert one["task"]["id"] == chain["dependsOn"][0]
    assert execution["metadata"].items() >= {"taskId": chain["id"], "environmentId": env, "startedBy": "manual"}.items()
    assert phases(execution) == ["PENDING", "", ""]
    claimed = claim(kept)
    assert phases(look(ona, execution)) == ["RUNNING", "RUNNING", ""]
    kept.run(runs.end(claimed.id, claimed.record.token, Reason.SUCCESS, 0, ""))
    assert phases(look(ona, execution)) == ["RUNNING", "SUCCEEDED", ""]
    end(kept, outputs='{"key": "value", "n": 7}')
    over = look(ona, execution)
    assert phases(over) == ["SUCCEEDED", "SUCCEEDED", "SUCCEEDED"]
    assert over["status"]["steps"][1]["output"] == {"key": "value", "n": "7"}
    assert set(over["metadata"]) >= {"startedAt", "completedAt"}
    assert "failureMessage" not in over["status"]


def test_the_version_grows_with_every_change_and_is_text(ona: Client, chain: Json, kept: Store) -> None:
    execution = start(ona, chain)
    seen = [execution["status"]]
    for move in (lambda: claim(kept), None, lambda: call(ona, "StopTaskExecution", {"id": execution["id"]})):
        if move:
            move()
        seen.append(look(ona, execution)["status"])
    assert all(isinstance(status["statusVersion"], str) for status in seen)
    assert seen[1] == seen[2]
    assert int(seen[0]["statusVersion"]) < int(seen[1]["statusVersion"])


def test_a_failed_step_fails_the_execution_and_what_follows_never_begins(ona: Client, chain: Json, kept: Store) -> None:
    execution = start(ona, chain)
    end(kept, Reason.FAILED, 3, "exited with code 3")
    over = look(ona, execution)
    assert phases(over) == ["FAILED", "FAILED", ""]
    assert "exited with code 3" in over["status"]["failureMessage"]
    assert over["status"]["steps"][0]["failureMessage"] == "exited with code 3"


def test_replicas_are_one_step(ona: Client, env: str, kept: Store) -> None:
    task = make(ona, env, "many")
    ona.put(f"/api/tasks/ona.{task['id'][:8]}.many", json={"run": "true", "replicas": 3})
    execution = start(ona, task)
    end(kept, outputs='{"a": "1"}')
    end(kept, Reason.FAILED, 1, "exited with code 1")
    assert phases(look(ona, execution)) == ["RUNNING", "RUNNING"]
    end(kept)
    assert phases(look(ona, execution)) == ["FAILED", "FAILED"]


@pytest.mark.parametrize(
    ("reason", "code", "phase"),
    [
        (Reason.STOPPED, 143, "STOPPED"),
        (Reason.STOPPED, 137, "FAILED"),
        (Reason.TIMEOUT, 143, "FAILED"),
        (Reason.CRASHED, -2, "FAILED"),
        (Reason.LOG_OVERFLOW, 143, "FAILED"),
    ],
)
def test_every_end_has_its_phase(ona: Client, env: str, kept: Store, reason: Reason, code: int, phase: str) -> None:
    execution = start(ona, make(ona, env, "a"))
    end(kept, reason, code, "why")
    over = look(ona, execution)
    assert phases(over) == [phase, phase]
    assert bool(over["status"].get("failureMessage")) == (phase == "FAILED")


def test_stopping_shows_the_desired_phase_and_after_the_end_changes_nothing(ona: Client, env: str, kept: Store) -> None:
    execution = start(ona, make(ona, env, "a"))
    claimed = claim(kept)
    assert call(ona, "StopTaskExecution", {"id": execution["id"]}) == {}
    asked = look(ona, execution)
    assert asked["spec"]["desiredPhase"] == PHASE + "STOPPED"
    assert phases(asked) == ["RUNNING", "RUNNING"]
    kept.run(runs.end(claimed.id, claimed.record.token, Reason.STOPPED, 143, "stopped"))
    over = look(ona, execution)
    assert phases(over) == ["STOPPED", "STOPPED"]
    assert int(over["status"]["statusVersion"]) > int(asked["status"]["statusVersion"])
    assert call(ona, "StopTaskExecution", {"id": execution["id"]}) == {}
    assert look(ona, execution) == over


def test_a_plan_that_is_stopped_begins_no_further_group(ona: Client, chain: Json, kept: Store) -> None:
    waiting, execution = start(ona, chain), start(ona, chain)
    call(ona, "StopTaskExecution", {"id": waiting["id"]})
    assert phases(look(ona, waiting)) == ["STOPPED", "", ""]
    claimed = claim(kept)
    call(ona, "StopTaskExecution", {"id": execution["id"]})
    asked = look(ona, execution)
    assert (phases(asked), asked["spec"]["desiredPhase"]) == (["RUNNING", "RUNNING", ""], PHASE + "STOPPED")
    kept.run(runs.end(claimed.id, claimed.record.token, Reason.STOPPED, 143, "stopped"))
    over = look(ona, execution)
    assert phases(over) == ["STOPPED", "STOPPED", ""]
    assert "failureMessage" not in over["status"]
    assert int(over["status"]["statusVersion"]) > int(asked["status"]["statusVersion"])


def test_a_plan_whose_step_had_to_be_killed_has_failed(ona: Client, chain: Json, kept: Store) -> None:
    execution = start(ona, chain)
    claimed = claim(kept)
    call(ona, "StopTaskExecution", {"id": execution["id"]})
    kept.run(runs.end(claimed.id, claimed.record.token, Reason.STOPPED, 137, "stopped"))
    over = look(ona, execution)
    assert phases(over) == ["FAILED", "FAILED", ""]
    assert "killed" in over["status"]["failureMessage"]


def test_an_execution_refused_by_its_overlap_rule_has_failed_with_the_reason(ona: Client, env: str) -> None:
    task = make(ona, env, "a")
    native = {"run": "true", "max_concurrent": 1, "on_overlap": "skip"}
    ona.put(f"/api/tasks/ona.{task['id'][:8]}.a", json=native)
    start(ona, task)
    refused = start(ona, task)
    assert phases(refused) == ["FAILED", ""]
    assert "skipped" in refused["status"]["failureMessage"]


def test_a_container_that_there_cannot_be_is_a_failure_that_says_so(ona: Client, env: str, kept: Store) -> None:
    docker = {"docker": {"image": "python:3.12"}}
    execution = start(ona, make(ona, env, "a", spec={"command": "make", "runsOn": docker}))
    (step,) = execution["spec"]["plan"][0]["steps"]
    assert step["task"]["spec"] == {"command": "make", "runsOn": docker}
    end(kept, Reason.FAILED, 125, "exited with code 125")
    assert "no Docker engine" in look(ona, execution)["status"]["failureMessage"]


def test_an_execution_keeps_the_specs_it_was_started_with(ona: Client, chain: Json, kept: Store) -> None:
    execution = start(ona, chain)
    call(ona, "UpdateTask", {"id": chain["id"], "spec": {"command": "other"}})
    assert look(ona, execution)["spec"] == execution["spec"]
    end(kept)
    end(kept)
    over = look(ona, execution)
    call(ona, "DeleteTask", {"id": chain["id"]})
    assert look(ona, execution)["spec"]["plan"][1]["steps"][0]["task"] == over["spec"]["plan"][1]["steps"][0]["task"]
    assert look(ona, execution)["metadata"] == over["metadata"]


def test_a_task_is_not_deleted_while_what_it_depends_on_runs(ona: Client, chain: Json, kept: Store) -> None:
    start(ona, chain)
    assert "live" in call(ona, "DeleteTask", {"id": chain["id"]}, "failed_precondition")["message"]
    end(kept)
    end(kept)
    call(ona, "DeleteTask", {"id": chain["id"]})


def test_a_start_that_the_client_repeats_is_one(ona: Client, env: str) -> None:
    task = make(ona, env, "a")
    first = start(ona, task, {"x-stainless-retry-count": "0"})
    again = start(ona, task, {"x-stainless-retry-count": "1"})
    other = start(ona, task, {"x-stainless-retry-count": "0"})
    assert first["id"] == again["id"] != other["id"]
    fresh = make(ona, env, "b")
    assert start(ona, fresh, {"x-stainless-retry-count": "2"})["metadata"]["taskId"] == fresh["id"]


def test_a_native_start_is_not_taken_for_the_repeated_one(ona: Client, env: str) -> None:
    task = make(ona, env, "a")
    native = ona.post(f"/api/tasks/ona.{task['id'][:8]}.a/run").json()
    assert start(ona, task, {"x-stainless-retry-count": "1"})["id"] != native["execution_id"]


def test_executions_of_other_apis_can_be_read_too(ona: Client, kept: Store) -> None:
    native = ona.post("/api/tasks/example/run").json()
    shown = look(ona, {"id": native["execution_id"]})
    assert (shown["metadata"]["environmentId"], shown["metadata"]["startedBy"]) == (HOME, "manual")
    entry = kept.run(tasks.entry("report"))
    assert entry is not None
    kept.run(ops.fire(ops.Catalog(), entry, kept.run(tasks.cursors())["report"] + 1))
    (ticked,) = call(ona, "ListTaskExecutions", {"filter": {"taskReferences": ["report"]}})["taskExecutions"]
    assert ticked["metadata"]["startedBy"] == "schedule"


@pytest.mark.parametrize("method", ["StartTask", "GetTaskExecution", "StopTaskExecution"])
def test_missing_things_are_not_found(ona: Client, method: str) -> None:
    call(ona, method, {"id": str(uuid.uuid4())}, "not_found")
    call(ona, method, {"id": "nope"}, "invalid_argument")


def test_a_task_that_cannot_be_started_says_why(ona: Client, env: str, kept: Store) -> None:
    (locked,) = call(ona, "ListTasks", {"filter": {"references": ["locked"]}})["tasks"]
    call(ona, "StartTask", {"id": locked["id"]}, "permission_denied")
    (typed,) = call(ona, "ListTasks", {"filter": {"references": ["typed"]}})["tasks"]
    call(ona, "StartTask", {"id": typed["id"]}, "invalid_argument")
    (example,) = call(ona, "ListTasks", {"filter": {"references": ["example"]}})["tasks"]
    needy = make(ona, HOME, "needy", dependsOn=[example["id"]])
    kept.run(tasks.apply([]))
    assert "example" in call(ona, "StartTask", {"id": needy["id"]}, "failed_precondition")["message"]


def ids(answer: Json) -> list[str]:
    return [execution["id"] for execution in answer["taskExecutions"]]


def test_executions_are_listed_newest_first_in_pages(ona: Client, env: str) -> None:
    a, b = make(ona, env, "a"), make(ona, env, "b")
    made = [start(ona, task)["id"] for task in (a, b, a, b, a)]
    start(ona, make(ona, str(uuid.uuid4()), "a"))
    for filter_, wanted in (
        ({"environmentIds": [env]}, made[::-1]),
        ({"taskIds": [a["id"]]}, [made[4], made[2], made[0]]),
        ({"taskReferences": ["b"], "environmentIds": [env]}, [made[3], made[1]]),
        ({"environmentIds": [str(uuid.uuid4())]}, []),
        ({"taskIds": [a["id"]], "taskReferences": ["b"]}, []),
    ):
        seen, token = list[str](), ""
        for _ in range(10):
            body = {"filter": filter_, "pagination": {"pageSize": 2}}
            page = call(ona, "ListTaskExecutions", body, query=f"?token={token}")
            seen += ids(page)
            token = page["pagination"].get("nextToken", "")
            if not token:
                break
        assert seen == wanted
    assert len(ids(call(ona, "ListTaskExecutions", {}))) == 6
    call(ona, "ListTaskExecutions", {"pagination": {"token": "eA"}}, "invalid_argument")


def walked(client: Client, filter_: Json, size: int) -> list[str]:
    """The ids of a whole list; like the vendor's client it takes an empty page for the last."""
    seen, token = list[str](), ""
    while True:
        page = call(client, "ListTaskExecutions", {"filter": filter_, "pagination": {"pageSize": size, "token": token}})
        seen += ids(page)
        token = page["pagination"].get("nextToken", "")
        if not token or not ids(page):
            assert not token
            return seen


@pytest.mark.parametrize("many", [0, 500])
def test_executions_of_many_tasks_are_listed_to_the_end(
    ona: Client, env: str, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_list, "MANY", many)
    monkeypatch.setattr(execution_list, "STEP", 3)
    monkeypatch.setattr(execution_list, "PATIENCE", 2)
    here = [make(ona, env, f"t{number}") for number in range(7)]
    elsewhere = make(ona, str(uuid.uuid4()), "t0")
    made = []
    for number in (0, 1, 2, 3, 4, 5, 6, 0, 6, 6, 6, 1):
        made.append(start(ona, here[number])["id"])
        for _ in range(3):
            start(ona, elsewhere)
    for size in (1, 2, 5, 100):
        assert walked(ona, {"environmentIds": [env]}, size) == made[::-1]
    two = {"taskReferences": ["t6", "t1"], "environmentIds": [env]}
    assert walked(ona, two, 2) == [made[number] for number in (11, 10, 9, 8, 6, 1)]
    assert len(walked(ona, {"taskReferences": ["t0"]}, 4)) == 38
    assert len(walked(ona, {}, 7)) == 48


@pytest.mark.parametrize(("share", "most"), [(5, 0), (0, 0), (5, 5000)])
def test_executions_in_a_rare_phase_are_found_however_old(
    ona: Client, env: str, kept: Store, share: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_list, "SHARE", share)
    monkeypatch.setattr(live_executions, "MOST", most)
    monkeypatch.setattr(execution_list, "STEP", 2)
    monkeypatch.setattr(execution_list, "PATIENCE", 1)
    monkeypatch.setattr(executions, "SCAN_LIMIT", 3)
    monkeypatch.setattr(executions, "_STEP", 2)
    task = make(ona, env, "a")
    old = start(ona, task)["id"]
    claim(kept)
    for _ in range(9):
        start(ona, task)
        end(kept)
    running = {"phases": [PHASE + "RUNNING"]}
    assert walked(ona, running, 1) == walked(ona, running | {"environmentIds": [env]}, 5) == [old]
    assert len(walked(ona, {"phases": [PHASE + "SUCCEEDED"], "taskIds": [task["id"]]}, 2)) == 9
    waiting = [start(ona, task)["id"] for _ in range(3)]
    alive = {"phases": [PHASE + "RUNNING", PHASE + "PENDING"]}
    assert walked(ona, alive, 2) == walked(ona, alive | {"environmentIds": [env]}, 1) == [*waiting[::-1], old]
    assert walked(ona, alive | {"environmentIds": [HOME]}, 1) == []


def test_a_plan_between_two_groups_is_alive(ona: Client, chain: Json, kept: Store) -> None:
    execution = start(ona, chain)["id"]
    running = {"phases": [PHASE + "RUNNING"]}
    assert walked(ona, running, 1) == []
    end(kept)
    assert walked(ona, running, 1) == [execution]
    end(kept)
    assert walked(ona, running, 1) == []


def test_an_environment_may_have_more_tasks_than_anybody_counts(ona: Client, env: str, kept: Store) -> None:
    hook = f"/api/hooks/environments/{env}/prebuild"
    first = make(ona, env, "first", metadata={"triggeredBy": [{"prebuild": True}]})
    for start_at in (0, 500, 1000):
        rest = {f"t{number}": {"name": "T", "command": "true"} for number in range(start_at, min(start_at + 500, 1010))}
        call(ona, "UpsertAutomationsFile", {"environmentId": env, "automationsFile": {"tasks": rest}})
    (fired,) = ona.post(hook).json()["tasks"]
    assert fired["task_name"] == f"ona.{first['id'][:8]}.first"
    assert walked(ona, {"environmentIds": [env]}, 25) == [fired["execution_id"]]


def test_executions_of_tasks_that_others_execute_are_of_the_default_environment(ona: Client, kept: Store) -> None:
    external = Task(name="theirs", external=True)
    kept.run(tasks.define(external, define(external), {}))
    execution = ona.post("/api/tasks/theirs/run").json()["execution_id"]
    for filter_ in ({}, {"environmentIds": [HOME]}, {"environmentIds": [HOME], "taskReferences": ["theirs"]}):
        assert walked(ona, filter_, 25) == [execution]


def test_executions_are_found_by_phase(ona: Client, env: str, kept: Store) -> None:
    task = make(ona, env, "a")
    made = [start(ona, task)["id"] for _ in range(5)]
    end(kept)
    end(kept, Reason.FAILED, 1, "x")
    end(kept, Reason.STOPPED, 137, "x")
    claim(kept)
    for wanted, found in (
        (["SUCCEEDED"], made[:1]),
        (["FAILED"], [made[2], made[1]]),
        (["RUNNING", "PENDING"], [made[4], made[3]]),
        (["STOPPED"], []),
        (["UNSPECIFIED"], []),
    ):
        body = {"filter": {"environmentIds": [env], "phases": [PHASE + word for word in wanted]}}
        assert ids(call(ona, "ListTaskExecutions", body)) == found
    assert ids(call(ona, "ListTaskExecutions", {"filter": {"phases": [3]}})) == made[:1]
    call(ona, "ListTaskExecutions", {"filter": {"phases": ["RUNNING"]}}, "invalid_argument")


def test_a_token_sees_and_starts_its_own_tasks_only(ona: Client, env: str) -> None:
    mine, theirs = make(ona, env, "mine"), make(ona, env, "theirs")
    execution = start(ona, theirs)
    own = start(ona, mine)
    wanted = {"name": "t", "scope": "run", "tasks": "ona.*.mine"}
    token = ona.post("/api/tokens", json=wanted).json()["token"]
    ona.headers["Authorization"] = f"Bearer {token}"
    call(ona, "StartTask", {"id": theirs["id"]}, "not_found")
    for method in ("GetTaskExecution", "StopTaskExecution"):
        call(ona, method, {"id": execution["id"]}, "not_found")
    assert ids(call(ona, "ListTaskExecutions", {})) == [own["id"]]
    assert start(ona, mine)["metadata"]["taskId"] == mine["id"]


def test_a_hook_starts_what_is_triggered_by_it_and_nothing_twice(ona: Client, env: str, kept: Store) -> None:
    trigger = {"triggeredBy": [{"postEnvironmentStart": True}, {"manual": True}]}
    deps = make(ona, env, "deps", metadata=trigger)
    make(ona, env, "build", metadata=trigger, dependsOn=[deps["id"]])
    make(ona, env, "lone", metadata=trigger)
    make(ona, env, "other", metadata={"triggeredBy": [{"prebuild": True}]})
    make(ona, str(uuid.uuid4()), "far", metadata=trigger)
    hook = f"/api/hooks/environments/{env}/postEnvironmentStart"
    key = {"Idempotency-Key": uuid.uuid4().hex}
    response = ona.post(hook, headers=key)
    assert response.status_code == 200
    started = response.json()["tasks"]
    assert sorted(one["task_name"].rpartition(".")[2] for one in started) == ["build", "lone"]
    assert ona.post(hook, headers=key).json() == response.json()
    found = call(ona, "ListTaskExecutions", {"filter": {"environmentIds": [env]}})["taskExecutions"]
    assert [one["metadata"]["startedBy"] for one in found] == ["postEnvironmentStart"] * 2
    assert sorted(one["id"] for one in found) == sorted(one["execution_id"] for one in started)
    assert ona.post(f"/api/hooks/environments/{env}/often").status_code == 422
    assert ona.post("/api/hooks/environments/nope/prebuild").status_code == 422


def test_the_log_is_opened_by_the_token_that_is_asked_for(ona: Client, env: str, kept: Store) -> None:
    execution = start(ona, make(ona, env, "a"))
    end(kept)
    path = "/api/gitpod.v1.EnvironmentService/CreateEnvironmentLogsToken"
    token = ona.post(path, json={"environmentId": env}).json()["accessToken"]
    assert token == TOKEN
    url = look(ona, execution)["status"]["logUrl"]
    response = ona.get(url, headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert ona.get(url, headers={"Authorization": "Bearer no"}).json()["code"] == "unauthenticated"
    assert ona.get(url[:-2]).json()["code"] == "not_found"
    assert ona.get(url.replace(execution["id"], str(uuid.uuid4()))).json()["code"] == "not_found"


def test_an_execution_says_the_same_in_binary(ona: Client, chain: Json, kept: Store) -> None:
    execution = start(ona, chain)
    end(kept, outputs='{"key": "value"}')
    packed = binary.to_binary(execution_bodies.GetTaskExecutionRequest(id=execution["id"]))
    media = {"Content-Type": "application/proto"}
    response = ona.post(CALLS + "GetTaskExecution", content=packed, headers=media)
    read = binary.from_binary(execution_bodies.GetTaskExecutionResponse, response.content)
    assert msgspec.to_builtins(read.task_execution) == look(ona, execution)
    assert UUID(read.task_execution.id)
