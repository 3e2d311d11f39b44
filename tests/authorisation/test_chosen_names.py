"""Ids, keys and names that a client chooses tell it nothing of what others called so, and change nothing of theirs."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from api.dialects.prefect import flows
from shared import ids, ops
from shared.store import tasks
from tests.authorisation.table import Asked, state_event
from tests.authorisation.test_every_route import opened, without_names, written
from tests.authorisation.world import World, made_world
from tests.dialects.marquez import event
from tests.store.consistency import check_store

KINDS = ("run", "ended", "external_run", "job_run", "flow_run", "task_run")
"""Runs that the other owner has, each made by way of another API, waiting or over."""

Naming = Callable[[World, str], tuple[str, Any]]

CHOOSING: dict[str, Naming] = {
    "Prefect's task run": lambda world, id: (
        "/api/task_runs/",
        {"id": id, "task_key": world.mine.key, "dynamic_key": uuid.uuid4().hex},
    ),
    "Prefect's background run": lambda world, id: (
        "/api/task_runs/",
        {
            "id": id,
            "task_key": world.mine.key,
            "dynamic_key": uuid.uuid4().hex,
            "state": {"type": "SCHEDULED", "state_details": {"deferred": True}},
        },
    ),
    "Prefect's flow run": lambda world, id: ("/api/flow_runs/", {"id": id, "flow_id": world.mine.flow_id}),
    "Prefect's event": lambda world, id: ("/api/events", [state_event(id, world.mine.key)]),
    "Marquez's run": lambda world, id: (
        f"/api/v1/namespaces/{world.mine.namespace}/jobs/{world.mine.job}/runs",
        {"id": id},
    ),
    "an event of OpenLineage": lambda world, id: (
        "/api/v1/lineage",
        event("START", id, job=world.mine.job, namespace=world.mine.namespace),
    ),
}
"""The requests in which a client says what id a new run shall have."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world of this module."""
    with made_world(tmp_path_factory.mktemp("world")) as world:
        yield world
        check_store(world.store)


def answer_to(world: World, path: str, body: Any) -> tuple[int, str]:
    answer = world.ask("mine", "POST", path, json=body)
    return answer.status_code, without_names(answer.text, world.theirs, Asked(path, body))


@pytest.mark.parametrize("choosing", CHOOSING)
def test_an_id_that_is_taken_beyond_the_pattern_is_refused_and_shows_no_more(world: World, choosing: str) -> None:
    answers = set()
    for kind in KINDS:
        run: str = getattr(world.theirs, kind)
        path, body = CHOOSING[choosing](world, run)
        before = written(world.store)
        status, text = answer_to(world, path, body)
        assert written(world.store) == before, f"nothing was written for the id of a {kind}"
        assert "theirs" not in text
        answers.add((status, text.replace(run, "…")))
    assert len(answers) == 1, f"all say the same: {answers}"
    assert answers.pop()[0] in (204, 400, 403, 409)
    path, body = CHOOSING[choosing](world, str(uuid.uuid4()))
    assert answer_to(world, path, body)[0] < 300, "an id that nobody has is taken"


def test_no_client_can_take_the_id_of_a_tick_before_it_fires(world: World) -> None:
    entry = world.store.run(ops.Catalog().get(world.theirs.task))
    tick_us = world.store.run(tasks.cursors())[entry.name] + 60_000_000
    for choosing in CHOOSING.values():
        path, body = choosing(world, str(ids.tick_id(entry.name, tick_us, 0)))
        world.ask("mine", "POST", path, json=body)
    assert world.store.run(ops.fire(ops.Catalog(), entry, tick_us)), "it fired"


def test_a_flow_run_beyond_the_pattern_is_none_for_a_task_run(world: World) -> None:
    def ask(flow_run: str) -> tuple[int, str]:
        body = {"task_key": world.mine.key, "dynamic_key": "1", "flow_run_id": flow_run}
        status, text = answer_to(world, "/api/task_runs/", body)
        return status, text.replace(flow_run, "…")

    assert ask(world.theirs.flow_run) == ask(str(uuid.uuid4()))


def test_no_task_run_is_taken_for_the_flow_run_with_that_idempotency_key(world: World) -> None:
    flow_id = world.theirs.flow_id
    world.theirs.made("POST", "/api/flow_runs/", {"flow_id": flow_id, "idempotency_key": "theirs"})
    assert flow_id == str(flows.flow_id(world.theirs.flow)), "everybody can tell it from the flow's name"
    own = world.ask("mine", "POST", "/api/flow_runs/", json={"flow_id": world.mine.flow_id, "id": flow_id})
    assert own.status_code == 201, own.text
    body = {"flow_run_id": flow_id, "task_key": "flow run", "dynamic_key": "theirs"}
    answer = world.ask("run", "POST", "/api/task_runs/", json=body)
    assert answer.status_code == 201, answer.text


def test_a_lease_may_have_any_holder(world: World) -> None:
    def ask(holder: str) -> int:
        body = {"names": [world.mine.limit], "slots": 1, "holder": {"type": "task_run", "id": holder}}
        return world.ask("mine", "POST", "/api/v2/concurrency_limits/increment-with-lease", json=body).status_code

    assert {ask(world.theirs.task_run), ask(str(uuid.uuid4()))} == {200}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/api/v1/namespaces/{}/jobs/mine-new", {"type": "BATCH", "inputs": [], "outputs": []}),
        ("GET", "/api/v1/namespaces/{}/jobs/mine-new", None),
        ("GET", "/api/v1/namespaces/{}/jobs/mine-new/runs", None),
        ("POST", "/api/v1/namespaces/{}/jobs/mine-new/runs", {}),
    ],
)
def test_a_missing_job_does_not_reveal_its_namespace(world: World, method: str, path: str, body: Any) -> None:
    def ask(token: str, namespace: str) -> tuple[int, str]:
        options = {} if body is None else {"json": body}
        answer = world.ask(token, method, path.format(namespace), **options)
        return answer.status_code, answer.text.replace(namespace, "…")

    world.theirs.job_run  # noqa: B018 (the namespace is there now)
    before = written(world.store)
    assert ask("mine", world.theirs.namespace) == ask("mine", world.nobody.namespace)
    assert written(world.store) == before


def test_a_namespace_with_jobs_beyond_the_pattern_is_refused_and_shows_no_more(world: World) -> None:
    world.theirs.job_run  # noqa: B018 (it has one now)
    answer = world.ask("mine", "PUT", f"/api/v1/namespaces/{world.theirs.namespace}", json={"ownerName": "somebody"})
    assert answer.status_code == 403
    assert "job" not in answer.text.replace(world.theirs.namespace, "")


def test_a_consumer_that_calls_itself_as_another_does_changes_nothing_of_it(world: World) -> None:
    path, asked = "/api/task_runs/subscriptions/scheduled", "/api/task_workers/filter"

    mine_key, theirs_key = "mine-served", "theirs-served"

    def served(token: str) -> list[tuple[str, list[str]]]:
        found = world.ask(token, "POST", asked, json={}).json()
        return sorted((one["identifier"], sorted(one["task_keys"])) for one in found)

    with opened(world, path, "theirs") as theirs, opened(world, path, "mine") as mine:
        for socket, key in ((theirs, theirs_key), (mine, mine_key)):
            assert json.loads(socket.recv(10)) == {"type": "auth_success"}
            socket.send(json.dumps({"type": "subscribe", "keys": [key], "client_id": "the-same"}))
            for _ in range(1000):
                if any(key in keys for _, keys in served("run")):
                    break
        assert served("theirs") == [("the-same", [theirs_key])]
        assert served("mine") == [("the-same", [mine_key])]
        assert served("run") == sorted([("the-same", [theirs_key]), ("the-same", [mine_key])])
