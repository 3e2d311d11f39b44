"""A token for some tasks reaches no others by way of plans, whether its tasks need them or are needed by them."""

from collections.abc import Iterator

import httpx
import pytest

from api.dialects.ona.catalog import derived_id
from api.dialects.ona.errors import CALLS, LOGS
from shared.store.redis.sync_store import Store
from shared.tasks import Task
from tests.authorisation.test_every_route import written
from tests.authorisation.world import World, made_world

PLANS = (
    Task(name="mine-plan", run="true", depends_on=("theirs",)),
    Task(name="theirs-plan", run="true", depends_on=("mine",)),
    Task(name="mine-whole", run="true", depends_on=("mine",)),
    Task(name="mine-far", run="true", depends_on=("mine-plan",)),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world of this module, with plans."""
    with made_world(tmp_path_factory.mktemp("world"), PLANS) as world:
        yield world


@pytest.fixture
def store(world: World) -> Store:
    return world.store


def started(world: World, task: str) -> tuple[str, str]:
    """The id of the first run of a new execution, and the execution's."""
    made = world.ask("admin", "POST", f"/api/tasks/{task}/run", json={})
    assert made.status_code == 201, made.text
    return made.json()["id"], made.json()["execution_id"]


def over(world: World, task: str) -> tuple[str, str]:
    """The same of one that was stopped."""
    run, execution = started(world, task)
    assert world.ask("admin", "POST", f"/api/executions/{execution}/stop").is_success
    found = world.ask("admin", "GET", f"/api/runs?execution_id={execution}&task_name={task}").json()["runs"]
    return (found[0]["id"] if found else run), execution


def status_of(world: World, run: str) -> str:
    return str(world.ask("admin", "GET", f"/api/runs/{run}").json()["status"])


@pytest.mark.parametrize("task", ["mine-plan", "mine-far"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/tasks/{task}/run", {}),
        (CALLS + "StartTask", {"id": "{id}"}),
        ("/api/v1/namespaces/runfleet/jobs/{task}/runs", {}),
    ],
    ids=["native", "Ona", "Marquez"],
)
def test_nothing_is_started_that_needs_others(
    world: World, store: Store, task: str, path: str, body: dict[str, str]
) -> None:
    body = {name: value.format(id=derived_id(task)) for name, value in body.items()}
    before = written(store)
    answer = world.ask("mine", "POST", path.format(task=task), json=body)
    assert answer.status_code == 403, answer.text
    assert "theirs" not in answer.text
    assert written(store) == before
    assert world.ask("run", "POST", path.format(task=task), json=body).is_success


def test_nothing_is_run_again_that_needs_others(world: World, store: Store) -> None:
    run, execution = over(world, "mine-plan")
    assert status_of(world, run) == "ended"
    before = written(store)
    assert world.ask("mine", "POST", f"/api/executions/{execution}/rerun").status_code == 404
    again = world.ask("mine", "POST", f"/api/runs/{run}/rerun")
    assert again.status_code in (403, 404)
    assert written(store) == before


def test_a_run_that_others_need_is_seen_and_not_stopped(world: World) -> None:
    run, _ = started(world, "theirs-plan")
    assert world.ask("mine", "GET", f"/api/runs/{run}").json()["task_name"] == "mine"
    cancel = {"state": {"type": "CANCELLED"}}
    for path, body in ((f"/api/runs/{run}/stop", {}), (f"/api/task_runs/{run}/set_state", cancel)):
        refused = world.ask("mine", "POST", path, json=body)
        assert refused.status_code == 403, refused.text
        assert "theirs" not in refused.text
    assert status_of(world, run) == "pending"
    assert world.ask("run", "POST", f"/api/runs/{run}/stop").status_code == 202


@pytest.mark.parametrize("task", ["mine-plan", "theirs-plan"])
def test_an_execution_with_a_task_of_others_looks_as_if_it_did_not_exist(world: World, task: str) -> None:
    run, execution = started(world, task)

    def asked(method: str, path: str, **body: str) -> httpx.Response:
        return world.ask("mine", method, path, json=body) if body else world.ask("mine", method, path)

    refused = [
        asked("GET", f"/api/executions/{execution}"),
        asked("POST", f"/api/executions/{execution}/stop"),
        asked("POST", f"/api/executions/{execution}/rerun"),
        asked("POST", CALLS + "GetTaskExecution", id=execution),
        asked("POST", CALLS + "StopTaskExecution", id=execution),
        asked("GET", f"{LOGS}{execution}"),
    ]
    assert [answer.status_code for answer in refused] == [404] * len(refused)
    assert execution not in asked("GET", "/api/executions?limit=100").text
    listed = world.ask("mine", "POST", CALLS + "ListTaskExecutions", json={"pagination": {"pageSize": 100}})
    assert (listed.status_code, execution in listed.text) == (200, False)
    assert status_of(world, run) == "pending"


def test_stopping_a_task_leaves_executions_of_others_alone(world: World) -> None:
    shared, _ = started(world, "theirs-plan")
    own, _ = started(world, "mine")
    whole, execution = started(world, "mine-whole")
    answer = world.ask("mine", "POST", "/api/tasks/mine/stop")
    assert answer.status_code == 202
    assert answer.json()["affected"] >= 2
    assert [status_of(world, run) for run in (shared, own, whole)] == ["pending", "ended", "ended"]
    assert world.ask("admin", "GET", f"/api/executions/{execution}").json()["over"]
    assert world.ask("run", "POST", "/api/tasks/mine/stop").json()["affected"] >= 1
    assert status_of(world, shared) == "ended"


def test_a_plan_of_own_tasks_is_started_read_stopped_and_run_again(world: World) -> None:
    made = world.ask("mine", "POST", "/api/tasks/mine-whole/run", json={})
    assert made.status_code == 201
    execution = made.json()["execution_id"]
    found = world.ask("mine", "GET", f"/api/executions/{execution}").json()
    assert found["plan"] == [["mine"], ["mine-whole"]]
    assert execution in world.ask("mine", "GET", "/api/executions").text
    assert world.ask("mine", "POST", f"/api/runs/{made.json()['id']}/stop").status_code == 202
    assert world.ask("mine", "POST", f"/api/executions/{execution}/rerun").status_code == 201


def test_an_environment_starts_what_needs_no_others_and_says_what_it_refused(world: World) -> None:
    owner = world.mine
    other = {"environmentId": owner.environment, "metadata": {"reference": "theirs-dep"}, "spec": {"command": "true"}}
    needed = owner.made("POST", CALLS + "CreateTask", other)["task"]["id"]
    body = {
        "environmentId": owner.environment,
        "metadata": {"reference": "mine-needy", "triggeredBy": [{"prebuild": True}]},
        "spec": {"command": "true"},
        "dependsOn": [needed],
    }
    owner.made("POST", CALLS + "CreateTask", body)
    answer = world.ask("mine", "POST", f"/api/hooks/environments/{owner.environment}/prebuild")
    [refused] = answer.json()["tasks"]
    assert (answer.status_code, "execution_id" in refused) == (200, False)
    assert "only, and this involves others" in refused["refused"]
    assert "theirs" not in answer.text
