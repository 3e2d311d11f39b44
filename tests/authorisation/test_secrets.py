"""What is secret is in no answer of any route, nor an environment's values in those to a token that may only read."""

import uuid
from collections.abc import Iterator

import pytest

from api.dialects.ona.catalog import derived_id
from api.dialects.ona.errors import CALLS
from shared.tasks import Param, Task
from tests.authorisation.table import TABLE, Row
from tests.authorisation.test_every_route import perform
from tests.authorisation.world import Owner, World, made_world

GIVEN, DEFAULT, CHOICE, VALUE, OPEN = (
    "hunter2-given",
    "hunter2-default",
    "hunter2-choice",
    "in-the-environment",
    "shown",
)
PARAMS = {
    "key": Param(secret=True, choices=(GIVEN, DEFAULT, CHOICE), default=DEFAULT),
    "day": Param(),
}
TASKS = (
    Task(name="vault", run="true", params=PARAMS, env={"MODE": VALUE}, secrets={"TOKEN": "hunter2-of-the-worker"}),
    Task(name="vault-ext", external=True, params=PARAMS),
    Task(name="vault-plan", run="true", params=PARAMS, depends_on=("vault",)),
)
READING = [row for row in TABLE if row.method != "WS" and not row.streams and row.scope in ("", "read")]


class Vault(Owner):
    """The owner of tasks with secrets, each of whose runs is started with one."""

    @property
    def run(self) -> str:
        return self._new("POST", f"/api/tasks/{self.task}/run", {"params": {"key": GIVEN, "day": OPEN}})

    @property
    def execution(self) -> str:
        body = {"params": {"key": GIVEN, "day": OPEN}}
        return self._new("POST", f"/api/tasks/{self.task}-plan/run", body, "execution_id")

    @property
    def task_run(self) -> str:
        body = {
            "task_key": self.task,
            "dynamic_key": uuid.uuid4().hex,
            "state": {"type": "SCHEDULED"},
            "task_inputs": {"key": [{"input_type": "constant", "type": GIVEN}]},
        }
        return self._new("POST", "/api/task_runs/", body)

    @property
    def job_run(self) -> str:
        body = {"args": {"key": GIVEN, "day": OPEN}}
        return self._new("POST", f"/api/v1/namespaces/runfleet/jobs/{self.task}/runs", body)

    @property
    def ona_task(self) -> str:
        return str(derived_id(self.task))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world of this module, with tasks that have secrets."""
    with made_world(tmp_path_factory.mktemp("world"), TASKS) as world:
        yield world


@pytest.fixture(scope="module")
def vault(world: World) -> Vault:
    vault = Vault(world, "vault")
    vault.namespace, vault.job = "runfleet", "vault"
    vault.made("POST", "/api/concurrency_limits/", {"tag": vault.tag, "concurrency_limit": 5})
    for thing in (vault.run, vault.execution, vault.task_run, vault.job_run, vault.ended):
        assert thing
    return vault


@pytest.mark.parametrize("row", READING, ids=str)
@pytest.mark.parametrize("token", ["read", "admin"])
def test_no_route_shows_the_value_of_a_secret_parameter(world: World, vault: Vault, row: Row, token: str) -> None:
    _, text = perform(world, token, row, row.asked(vault))
    assert "hunter2" not in text
    assert token == "admin" or VALUE not in text


def test_what_is_secret_is_redacted_and_the_rest_is_there(world: World, vault: Vault) -> None:
    shown = {"key": "[redacted]", "day": OPEN}
    started = world.ask("run", "POST", "/api/tasks/vault/run", json={"params": {"key": GIVEN, "day": OPEN}})
    run = started.json()["id"]
    answers = [
        started,
        world.ask("read", "GET", f"/api/runs/{run}"),
        world.ask("run", "POST", f"/api/runs/{run}/stop"),
        world.ask("run", "POST", f"/api/runs/{run}/rerun"),
    ]
    assert [answer.json()["params"] for answer in answers] == [shown] * len(answers)
    runs = world.ask("read", "GET", f"/api/runs?execution_id={answers[-1].json()['execution_id']}").json()["runs"]
    assert [one["params"] for one in runs] == [shown]
    assert world.ask("read", "GET", f"/api/v1/jobs/runs/{run}").json()["args"] == shown
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"args": {"key": GIVEN, "day": OPEN}}
    made = world.http.post("/api/v1/namespaces/runfleet/jobs/vault/runs", json=body, headers=world.headers("run") | key)
    assert made.json()["args"] == shown


def test_a_run_that_is_run_again_has_the_value_all_the_same(world: World, vault: Vault) -> None:
    first = world.ask("run", "POST", "/api/tasks/vault/run", json={"params": {"key": CHOICE}}).json()["id"]
    world.ask("run", "POST", f"/api/runs/{first}/stop")
    again = world.ask("run", "POST", f"/api/runs/{first}/rerun")
    assert again.status_code == 201, "[redacted] is none of the choices"


def test_a_refusal_names_neither_the_value_nor_its_choices(world: World) -> None:
    for value in ("hunter2-wrong", 17, ["hunter2-wrong"]):
        refused = world.ask("run", "POST", "/api/tasks/vault/run", json={"params": {"key": value}})
        assert refused.status_code == 422
        assert "hunter2" not in refused.text
        assert refused.json()["errors"][0]["location"] == "body.params.key"


def test_the_definition_shows_its_environment_to_those_who_may_start_it(world: World) -> None:
    seen = {
        token: world.ask(token, "GET", "/api/tasks/vault").json()["definition"] for token in ("read", "run", "admin")
    }
    assert [seen[token]["env"]["MODE"] for token in seen] == ["[redacted]", VALUE, VALUE]
    assert {seen[token]["secrets"]["TOKEN"] for token in seen} == {"[redacted]"}
    key = seen["admin"]["params"]["key"]
    assert (key["default"], key["choices"], key["secret"]) == ("[redacted]", ["[redacted]"], True)


def test_a_variable_of_ona_is_shown_to_those_who_may_start_its_task(world: World) -> None:
    made = world.mine.made(
        "POST",
        CALLS + "CreateTask",
        {
            "environmentId": str(uuid.uuid4()),
            "metadata": {"reference": "with-env"},
            "spec": {"command": "true", "env": [{"name": "MODE", "value": VALUE}]},
        },
    )["task"]["id"]
    execution = world.mine.made("POST", CALLS + "StartTask", {"id": made})["taskExecution"]["id"]
    calls = {"GetTask": made, "GetTaskExecution": execution}
    for call, id_ in calls.items():
        assert VALUE not in world.ask("read", "POST", CALLS + call, json={"id": id_}).text
        assert "[redacted]" in world.ask("read", "POST", CALLS + call, json={"id": id_}).text
        assert VALUE in world.ask("run", "POST", CALLS + call, json={"id": id_}).text
    for call in ("ListTasks", "ListTaskExecutions"):
        assert VALUE not in world.ask("read", "POST", CALLS + call, json={}).text
    update = {"id": made, "metadata": {"name": "new"}}
    assert world.ask("admin", "POST", CALLS + "UpdateTask", json=update).status_code == 200
    assert VALUE in world.ask("admin", "POST", CALLS + "GetTask", json={"id": made}).text, "an update keeps it"
