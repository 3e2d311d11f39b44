"""What the dialect of Prefect answers beside what its own script tries: refusals, one record for two APIs, limits."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from api.dialects.prefect import events
from api.dialects.prefect.errors import DIALECT
from shared import ops
from shared.errors import RunfleetError
from shared.runs import Reason
from shared.settings import Settings
from shared.store import runs, tasks
from shared.store.dialects import orchestrated
from shared.store.redis.sync_store import Store
from shared.tasks import Task, define
from tests.http.conftest import BASE, TASKS, TOKEN, Served, claim, served
from tests.promises.test_errors_are_mapped import NAMED, SCOPE, made
from tests.store.consistency import check_store
from tests.waiting import wait_until

__all__ = ["served"]

Client = TestClient[Litestar]
SHAPES = ({"detail"}, {"exception_message"}, {"exception_message", "exception_detail", "request_body"})


@pytest.fixture(autouse=True)
def _whole(store: Store) -> Iterator[None]:
    yield
    check_store(store)


def create(client: Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/api/task_runs/", json={"task_key": "theirs", "dynamic_key": uuid4().hex, **body})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def set_state(client: Client, run: dict[str, Any], kind: str, **more: Any) -> dict[str, Any]:
    answer = client.post(f"/api/task_runs/{run['id']}/set_state", json={"state": {"type": kind, **more}})
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


def read(client: Client, run: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/task_runs/{run['id']}").json()
    return found


def states(client: Client, run: dict[str, Any]) -> list[str]:
    answer = client.get("/api/task_run_states/", params={"task_run_id": run["id"]})
    return [state["name"] for state in answer.json()]


def count(client: Client) -> int:
    found: int = client.post("/api/task_runs/count", json={}).json()
    return found


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.__name__)
def test_every_named_error_has_one_of_prefects_shapes(kind: type[RunfleetError]) -> None:
    reply = DIALECT.answer(made(kind), SCOPE)
    body = msgspec.json.decode(reply.body)
    assert set(body) in SHAPES
    assert 400 <= reply.status < 600
    assert reply.status not in (500, 507), "what can be tried again is a 503"
    if reply.status in (429, 503):
        assert any(name == b"retry-after" for name, _ in reply.headers)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/task_runs/", b"{", 422),
        ("POST", "/api/task_runs/", b"[]", 422),
        ("POST", "/api/task_runs/", b'{"task_key": 1, "dynamic_key": null}', 422),
        ("POST", "/api/task_runs/", b'{"task_key": "k", "dynamic_key": "d", "empirical_policy": {"retries": -1}}', 422),
        ("POST", "/api/task_runs/", b'{"task_key": "k", "dynamic_key": "d", "state": {"type": "DONE"}}', 422),
        ("POST", "/api/task_runs/", b'{"task_key": "k", "dynamic_key": "d", "id": "x"}', 422),
        ("POST", "/api/task_runs/filter", b'{"limit": 201}', 422),
        ("POST", "/api/task_runs/filter", b'{"limit": -1}', 422),
        ("POST", "/api/task_runs/filter", b'{"sort": "SIDEWAYS"}', 422),
        ("POST", "/api/task_runs/filter", b'{"task_runs": {"colour": {}}}', 422),
        ("POST", "/api/task_runs/history", b"{}", 422),
        (
            "POST",
            "/api/task_runs/history",
            b'{"history_start":"0001-01-01T00:00:00Z","history_end":"9999-12-31T00:00:00Z","history_interval_seconds":1}',
            422,
        ),
        ("GET", "/api/task_runs/no-uuid", b"", 404),
        ("GET", f"/api/task_runs/{UUID(int=5)}", b"", 404),
        ("DELETE", f"/api/task_runs/{UUID(int=5)}", b"", 404),
        ("PATCH", f"/api/task_runs/{UUID(int=5)}", b'{"name": "n"}', 404),
        ("POST", f"/api/task_runs/{UUID(int=5)}/set_state", b'{"state": {"type": "RUNNING"}}', 404),
        ("GET", "/api/task_run_states/", b"", 422),
        ("GET", "/api/task_runs/somewhere/else", b"", 404),
        ("PUT", "/api/task_runs/", b"{}", 405),
        ("GET", "/api/csrf-token?client=x", b"", 404),
        ("GET", "/api/concurrency_limits/tag/none", b"", 404),
        ("POST", "/api/v2/concurrency_limits/increment-with-lease", b'{"names": [], "slots": 1}', 422),
        ("POST", "/api/v2/concurrency_limits/", b'{"name":"r","limit":1,"slot_decay_per_second":1}', 422),
        ("POST", "/api/v2/concurrency_limits/", b'{"name": "%s", "limit": 1}' % (b"x" * 201), 422),
        ("POST", "/api/concurrency_limits/", b'{"tag": "%s", "concurrency_limit": 1}' % (b"x" * 197), 422),
        ("POST", "/api/concurrency_limits/", b'{"tag": "", "concurrency_limit": 1}', 422),
        (
            "POST",
            "/api/v2/concurrency_limits/increment-with-lease",
            b'{"names": ["%s"], "slots": 1}' % (b"x" * 201),
            422,
        ),
        ("POST", f"/api/v2/concurrency_limits/leases/{UUID(int=5)}/renew", b"{}", 410),
        ("POST", "/api/flow_runs/", b'{"flow_id": "00000000-0000-0000-0000-000000000005"}', 409),
        (
            "POST",
            "/api/task_runs/",
            b'{"task_key":"k","dynamic_key":"d","flow_run_id":"00000000-0000-0000-0000-000000000005"}',
            409,
        ),
    ],
)
def test_bad_input_is_refused_in_prefects_shape_and_writes_nothing(
    client: Client, method: str, path: str, body: bytes, status: int
) -> None:
    answer = client.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert set(answer.json()) in SHAPES
    assert count(client) == 0


def test_problems_are_located_as_by_pydantic(client: Client) -> None:
    answer = client.post("/api/task_runs/", json={"task_key": "k", "state": {"type": "NO"}, "nope": 1})
    places = {tuple(one["loc"]): one["type"] for one in answer.json()["exception_detail"]}
    assert places[("body", "dynamic_key")] == "missing"
    assert {("body", "state", "type"), ("body", "nope")} <= set(places)


@pytest.mark.parametrize(
    ("version", "status"), [("0.7.9", 400), ("1", 400), ("x.y.z", 400), ("0.8.0", 200), ("1.0.0", 200)]
)
def test_the_version_that_a_client_wants_is_looked_at(client: Client, version: str, status: int) -> None:
    answer = client.get("/api/version", headers={"X-PREFECT-API-VERSION": version})
    assert answer.status_code == status


def test_a_token_is_needed_and_comes_as_the_client_sends_it(guarded: Client) -> None:
    refused = guarded.post("/api/task_runs/", json={"task_key": "k", "dynamic_key": "d"})
    assert (refused.status_code, refused.json()) == (401, {"exception_message": "Unauthorized"})
    assert guarded.get("/api/health").json() is True
    basic = base64.b64encode(f"anything:{TOKEN}".encode()).decode()
    for sent in (f"Bearer {TOKEN}", f"Basic {basic}"):
        answer = guarded.post("/api/task_runs/count", json={}, headers={"Authorization": sent})
        assert (answer.status_code, answer.json()) == (200, 0)


def test_while_redis_is_away_clients_are_asked_to_retry() -> None:
    settings = Settings(redis_url="unix:///nowhere/at/all", redis_timeout_s=0.2, open=True)
    with TestClient(create_app(settings), base_url=BASE) as client:
        for method, path in (
            ("POST", "/api/task_runs/"),
            ("GET", f"/api/task_runs/{UUID(int=1)}"),
            ("GET", "/api/ready"),
        ):
            answer = client.request(method, path, json={"task_key": "k", "dynamic_key": "d"})
            assert (answer.status_code, answer.json()) == (503, {"exception_message": "Service Unavailable"})
            assert int(answer.headers["Retry-After"]) > 0
        assert client.get("/api/health").status_code == 200


def test_states_are_read_back_as_they_were_given(client: Client) -> None:
    given = {
        "name": "Odd",
        "message": "é\u2028",
        "data": {"n": 1180591620717411303424, "f": 1.0, "deep": [None, [True]]},
        "state_details": {"retriable": False, "pause_key": "p", "run_input_keyset": {"a": "b"}},
    }
    run = create(client)
    set_state(client, run, "RUNNING", **given)
    found = read(client, run)["state"]
    assert {name: found[name] for name in ("name", "message", "data")} == {
        k: given[k] for k in ("name", "message", "data")
    }
    details = found["state_details"]
    assert (details["retriable"], details["pause_key"], details["run_input_keyset"]) == (False, "p", {"a": "b"})
    assert (details["task_run_id"], len(details)) == (run["id"], 18)


def test_one_task_run_is_one_execution_whose_attempts_are_runs(client: Client) -> None:
    run = create(client, empirical_policy={"retries": 1})
    for kind in ("RUNNING", "FAILED", "RUNNING", "COMPLETED"):
        set_state(client, run, kind)
    execution = client.get(f"/api/executions/{run['id']}").json()
    assert execution["phase"] == "succeeded"
    found = client.get("/api/runs", params={"execution_id": run["id"]}).json()["runs"]
    assert sorted((one["retry_attempt"], one["end_reason"]) for one in found) == [(0, "failed"), (1, "success")]
    assert read(client, run)["run_count"] == 2


@pytest.mark.parametrize("running", [True, False])
def test_prefect_reads_the_actions_of_people(client: Client, running: bool) -> None:
    run = create(client)
    if running:
        set_state(client, run, "RUNNING")
    client.post(f"/api/runs/{run['id']}/stop")
    found = read(client, run)
    assert (found["state_type"], found["state_name"]) == ("CANCELLED", "Cancelled")
    assert found["end_time"] is not None
    assert read(client, run)["state_id"] == found["state_id"], "it is the same state whenever it is read"
    assert states(client, run)[-1] == "Cancelled"
    assert set_state(client, run, "CRASHED")["status"] == "ABORT"
    set_state(client, run, "RUNNING")
    assert states(client, run)[-2:] == ["Cancelled", "Running"]


def test_a_run_that_is_made_in_a_state_is_there(client: Client) -> None:
    for kind, status, reason in (
        ("RUNNING", "running", None),
        ("COMPLETED", "ended", "success"),
        ("FAILED", "ended", "failed"),
        ("CRASHED", "ended", "crashed"),
        ("CANCELLED", "ended", "stopped"),
        ("PAUSED", "pending", None),
        ("CANCELLING", "pending", None),
    ):
        run = create(client, state={"type": kind})
        native = client.get(f"/api/runs/{run['id']}").json()
        assert (run["state_type"], native["status"], native.get("end_reason")) == (kind, status, reason)
        assert read(client, run) | {"estimated_run_time": 0, "estimated_start_time_delta": 0} == run | {
            "estimated_run_time": 0,
            "estimated_start_time_delta": 0,
        }


def test_a_state_named_timed_out_is_a_timeout_both_ways(client: Client, store: Store) -> None:
    theirs = create(client, state={"type": "RUNNING"})
    set_state(client, theirs, "FAILED", name="TimedOut")
    assert client.get(f"/api/runs/{theirs['id']}").json()["end_reason"] == "timeout"
    ours = create(client, task_key="example", state={"type": "SCHEDULED"})
    claimed = claim(store)
    store.run(runs.end(claimed.id, claimed.record.token, Reason.TIMEOUT, 143, "took too long"))
    for run in (theirs, ours):
        found = read(client, run)
        assert (found["state_type"], found["state_name"]) == ("FAILED", "TimedOut")


def test_an_id_belongs_to_one_run(client: Client) -> None:
    run = create(client, dynamic_key="one")
    answer = client.post("/api/task_runs/", json={"task_key": "theirs", "dynamic_key": "two", "id": run["id"]})
    assert answer.status_code == 409
    native = client.post("/api/tasks/example/run").json()
    answer = client.post("/api/task_runs/", json={"task_key": "theirs", "dynamic_key": "3", "id": native["id"]})
    assert answer.status_code == 409
    assert client.get(f"/api/task_runs/{native['id']}").json()["task_key"] == "example"
    assert count(client) == 1


def test_a_task_of_ours_is_executed_by_our_workers_and_only_stopped_from_here(client: Client, store: Store) -> None:
    run = create(client, task_key="example", state={"type": "SCHEDULED"})
    native = client.get(f"/api/runs/{run['id']}").json()
    assert (native["task_name"], native["triggered_by"]) == ("example", "cloud")
    assert set_state(client, run, "RUNNING")["status"] == "ABORT"
    assert claim(store).id == UUID(run["id"])
    assert read(client, run)["state_type"] == "RUNNING"
    assert client.delete(f"/api/task_runs/{run['id']}").status_code == 409
    answer = set_state(client, run, "CANCELLED")
    assert (answer["status"], answer["state"]["type"]) == ("ACCEPT", "CANCELLING")


def test_a_task_that_may_not_be_triggered_is_not_ours_to_execute(client: Client) -> None:
    run = create(client, task_key="locked", state={"type": "SCHEDULED"})
    assert client.get(f"/api/runs/{run['id']}").json()["task_name"] != "locked"


def test_tags_limit_runs_of_ours_as_well(client: Client, store: Store) -> None:
    client.post("/api/concurrency_limits/", json={"tag": "db", "concurrency_limit": 1})
    theirs = create(client, tags=["db"])
    set_state(client, theirs, "RUNNING")
    ours = create(client, task_key="example", state={"type": "SCHEDULED"}, tags=["db"])
    limit = client.get("/api/concurrency_limits/tag/db").json()
    assert limit["active_slots"] == [theirs["id"]]
    set_state(client, theirs, "COMPLETED")
    assert claim(store).id == UUID(ours["id"])
    assert client.get("/api/concurrency_limits/tag/db").json()["active_slots"] == [ours["id"]]


def test_slots_are_taken_by_name_for_a_while(client: Client) -> None:
    made_ = client.post("/api/v2/concurrency_limits/", json={"name": "db", "limit": 2})
    assert made_.status_code == 201
    take = {"names": ["db", "unknown"], "slots": 2, "holder": {"type": "task_run", "id": str(UUID(int=7))}}
    taken = client.post("/api/v2/concurrency_limits/increment-with-lease", json=take)
    assert [one["name"] for one in taken.json()["limits"]] == ["db"]
    full = client.post("/api/v2/concurrency_limits/increment-with-lease", json=take)
    assert full.status_code == 423
    assert float(full.headers["Retry-After"]) > 0
    more = client.post("/api/v2/concurrency_limits/increment-with-lease", json={**take, "slots": 3})
    assert more.status_code == 422
    assert client.get("/api/v2/concurrency_limits/db").json()["active_slots"] == 2
    lease = taken.json()["lease_id"]
    assert client.post(f"/api/v2/concurrency_limits/leases/{lease}/renew", json={}).status_code == 204
    given = client.post("/api/v2/concurrency_limits/decrement-with-lease", json={"lease_id": lease})
    assert given.status_code == 204
    assert client.get("/api/v2/concurrency_limits/db").json()["active_slots"] == 0
    assert client.patch("/api/v2/concurrency_limits/db", json={"active": False}).status_code == 204
    assert client.post("/api/v2/concurrency_limits/increment-with-lease", json=take).status_code == 200
    assert client.delete("/api/v2/concurrency_limits/db").status_code == 204
    assert client.get("/api/v2/concurrency_limits/db").status_code == 404


def test_a_limit_of_the_task_file_is_not_changed_here(client: Client, store: Store) -> None:
    store.run(tasks.apply([(task, define(task)) for task in TASKS], limits={"db": 2}))
    path = "/api/v2/concurrency_limits/db"
    for method, body in (("PATCH", {"limit": 9}), ("PATCH", {"active": False}), ("DELETE", None)):
        answer = client.request(method, path, json=body)
        assert (answer.status_code, "is defined in the task file; edit it there" in answer.text) == (409, True), (
            answer.text
        )
    assert client.post("/api/v2/concurrency_limits/", json={"name": "db", "limit": 9}).status_code == 409
    assert (client.get(path).json()["limit"], client.get(path).json()["active"]) == (2, True)


def test_filters_combine(client: Client) -> None:
    a = create(client, name="alpha", tags=["x", "y"])
    b = create(client, name="beta", tags=["x"])
    create(client, name="gamma")
    set_state(client, b, "RUNNING")

    def names(**body: Any) -> list[str]:
        answer = client.post("/api/task_runs/filter", json={"sort": "NAME_ASC", **body})
        assert answer.status_code == 200, answer.text
        return [one["name"] for one in answer.json()]

    assert names() == ["alpha", "beta", "gamma"]
    assert names(task_runs={"tags": {"is_null_": True}}) == ["gamma"]
    assert names(task_runs={"operator": "or_", "tags": {"all_": ["y"]}, "state": {"type": {"any_": ["RUNNING"]}}}) == [
        "alpha",
        "beta",
    ]
    assert names(task_runs={"state": {"type": {"any_": ["PENDING"]}}}) == ["alpha", "gamma"]
    assert names(task_runs={"flow_run_id": {"is_null_": True}}) == ["alpha", "beta", "gamma"]
    assert names(task_runs={"flow_run_id": {}}) == []
    assert names(deployments={"id": {"any_": []}}) == []
    assert names(task_runs={"expected_start_time": {"after_": a["created"]}, "name": {"like_": "A"}}) == [
        "alpha",
        "beta",
        "gamma",
    ]
    assert names(limit=1, offset=1) == ["beta"]
    assert names(limit=0) == []


def test_a_cached_result_takes_the_place_of_running_even_when_no_slot_is_free(client: Client) -> None:
    key = {"cache_key": "k"}
    first = create(client)
    set_state(client, first, "RUNNING", state_details=key)
    set_state(client, first, "COMPLETED", state_details=key, data={"type": "reference", "v": 1})
    client.post("/api/concurrency_limits/", json={"tag": "none", "concurrency_limit": 0})
    second = create(client, tags=["none"])
    answer = set_state(client, second, "RUNNING", state_details=key)
    assert (answer["status"], answer["state"]["name"], answer["state"]["data"]["v"]) == ("REJECT", "Cached", 1)
    found = read(client, second)
    assert (found["run_count"], found["start_time"]) == (0, found["end_time"])
    third = create(client, tags=["none"])
    assert set_state(client, third, "RUNNING")["status"] == "ABORT"


def test_a_deleted_run_is_gone_with_its_attempts_and_its_name(client: Client) -> None:
    run = create(client, dynamic_key="same")
    set_state(client, run, "RUNNING")
    set_state(client, run, "SCHEDULED")
    assert client.delete(f"/api/task_runs/{run['id']}").status_code == 204
    assert client.get(f"/api/runs/{run['id']}").status_code == 404
    assert create(client, dynamic_key="same")["id"] != run["id"]


DEFERRED = {"deferred": True, "task_parameters_id": str(UUID(int=9))}


def handed(client: Client, store: Store, run: dict[str, Any], consumer: str) -> None:
    """Let *consumer* have a run and begin with it."""
    task = client.get(f"/api/runs/{run['id']}").json()["task_name"]
    assert store.run(orchestrated.consumer_fetch(consumer, b"{}", [task], orchestrated.Turn.first())).id == UUID(
        run["id"]
    )
    assert set_state(client, run, "PENDING", state_details={"deferred": True})["status"] == "ACCEPT"
    assert set_state(client, run, "RUNNING", state_details={"deferred": True})["status"] == "ACCEPT"


def test_a_run_that_loses_its_consumer_again_and_again_is_crashed(client: Client, store: Store) -> None:
    run = create(client, state={"type": "SCHEDULED", "state_details": DEFERRED})
    for number in range(3):
        handed(client, store, run, f"c{number}")
        store.run(events.return_to_queue(ops.Catalog(), UUID(run["id"]), f"c{number}"))
        found = read(client, run)
        assert found["state"]["state_details"]["task_parameters_id"] == DEFERRED["task_parameters_id"]
        assert found["state_type"] == ("CRASHED" if number == 2 else "SCHEDULED")
    assert "3 times in a row" in found["state"]["message"]
    found = client.get("/api/runs", params={"execution_id": run["id"]}).json()["runs"]
    assert [one["end_reason"] for one in found] == ["crashed"] * 3


def test_only_who_has_a_run_loses_it(client: Client, store: Store) -> None:
    run = create(client, state={"type": "SCHEDULED", "state_details": DEFERRED})
    handed(client, store, run, "c")
    store.run(events.return_to_queue(ops.Catalog(), UUID(run["id"]), "another"))
    assert read(client, run)["state_type"] == "RUNNING"
    set_state(client, run, "COMPLETED")
    store.run(events.return_to_queue(ops.Catalog(), UUID(run["id"]), "c"))
    assert read(client, run)["state_type"] == "COMPLETED"


def test_a_run_without_a_report_in_time_loses_its_slots(client: Client, store: Store) -> None:
    task = Task(name="watched", external=True, heartbeat_timeout_ms=300)
    store.run(tasks.apply([(task, define(task))], remove=False))
    client.post("/api/concurrency_limits/", json={"tag": "t", "concurrency_limit": 1})
    silent, other = create(client, task_key="watched", tags=["t"]), create(client, tags=["t"])
    set_state(client, silent, "RUNNING")
    assert set_state(client, other, "RUNNING")["status"] == "WAIT"
    record = store.run(runs.record(UUID(silent["id"])))
    assert record is not None
    assert record.task == "watched"
    wait_until(lambda: store.run(ops.rescue(UUID(silent["id"]), record, task)).verdict == "ended", "it is given up")
    assert read(client, silent)["state_type"] == "CRASHED"
    assert set_state(client, other, "RUNNING")["status"] == "ACCEPT"


def at_once(served: Served, paths: list[str], body: dict[str, Any]) -> list[dict[str, Any]]:
    """What is said to requests that are all made at the same time."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=30) as client, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda path: client.post(path, json=body), paths))
    assert all(answer.status_code in (200, 201) for answer in answers), [answer.text for answer in answers]
    return [answer.json() for answer in answers]


def test_one_of_many_claims_of_a_deferred_run_wins(served: Served) -> None:
    state = {"type": "SCHEDULED", "state_details": {"deferred": True}}
    run = at_once(served, ["/api/task_runs/"], {"task_key": "k", "dynamic_key": "d", "state": state})[0]
    claim_ = {"state": {"type": "PENDING", "state_details": {"deferred": True}}}
    said = at_once(served, [f"/api/task_runs/{run['id']}/set_state"] * 16, claim_)
    assert sorted(one["status"] for one in said) == ["ABORT"] * 15 + ["ACCEPT"]


def test_one_of_many_equal_creates_makes_the_run(served: Served) -> None:
    said = at_once(served, ["/api/task_runs/"] * 16, {"task_key": "k", "dynamic_key": "d"})
    assert len({one["id"] for one in said}) == 1


def test_however_many_ask_at_once_no_more_run_than_have_a_slot(served: Served) -> None:
    at_once(served, ["/api/concurrency_limits/"], {"tag": "t", "concurrency_limit": 3})
    made_ = [
        at_once(served, ["/api/task_runs/"], {"task_key": "k", "dynamic_key": str(number), "tags": ["t"]})[0]["id"]
        for number in range(16)
    ]
    said = at_once(served, [f"/api/task_runs/{run}/set_state" for run in made_], {"state": {"type": "RUNNING"}})
    assert sorted(one["status"] for one in said) == ["ACCEPT"] * 3 + ["WAIT"] * 13
    assert all(1 <= one["details"]["delay_seconds"] <= 13 for one in said if one["status"] == "WAIT")


def test_every_state_of_many_at_once_is_in_the_history(served: Served) -> None:
    run = at_once(served, ["/api/task_runs/"], {"task_key": "k", "dynamic_key": "d"})[0]
    at_once(served, [f"/api/task_runs/{run['id']}/set_state"] * 16, {"state": {"type": "RUNNING"}})
    headers = {"Authorization": f"Bearer {TOKEN}"}
    found = httpx.get(f"{served.url}/api/task_runs/{run['id']}", headers=headers).json()
    states_ = httpx.get(f"{served.url}/api/task_run_states/?task_run_id={run['id']}", headers=headers).json()
    assert (found["run_count"], len(states_)) == (16, 17)
    assert [one["name"] for one in states_] == ["Pending", "Running", *["Rerunning"] * 15]
