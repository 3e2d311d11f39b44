"""What every dialect keeps, whoever's words it speaks."""

import re
import uuid
from collections.abc import Iterator
from typing import Final

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app, dialect_endpoints, dialects
from api.http.router import Dialect, Endpoint
from shared.errors import RunfleetError
from shared.runs import Reason, Status
from shared.settings import Settings
from shared.signing import Keys
from shared.store import runs, tasks
from shared.store.redis.sync_store import Store
from shared.tasks import Task, define
from tests.http.conftest import BASE, TOKEN, claim
from tests.promises.test_errors_are_mapped import NAMED, SCOPE, made
from tests.store.consistency import Value, check_store, dump

Client = TestClient[Litestar]
ROUTES: Final = dialect_endpoints()
SECRET: Final = "a secret that only processes know"

WORDS: Final[dict[str, tuple[str, str, str]]] = {
    Status.PENDING: ("NEW", "PENDING", "PENDING"),
    Status.RUNNING: ("RUNNING", "RUNNING", "RUNNING"),
    Reason.SUCCESS: ("COMPLETED", "COMPLETED", "SUCCEEDED"),
    Reason.FAILED: ("FAILED", "FAILED", "FAILED"),
    Reason.TIMEOUT: ("FAILED", "FAILED", "FAILED"),
    Reason.CRASHED: ("FAILED", "CRASHED", "FAILED"),
    Reason.LOG_OVERFLOW: ("FAILED", "FAILED", "FAILED"),
    Reason.STOPPED: ("ABORTED", "CANCELLED", "STOPPED"),
    Reason.SKIPPED: ("ABORTED", "CANCELLED", "FAILED"),
}
"""What Marquez, Prefect and Ona call a run in each state of ours."""


@pytest.fixture
def catalog(store: Store, settings: Settings) -> Store:
    """The store with a task that our workers execute and one that others do."""
    known = (Task(name="ours", run="true"), Task(name="theirs", external=True))
    store.run(tasks.apply([(task, define(task, Keys(SECRET, prefix=settings.key_prefix))) for task in known]))
    return store


@pytest.fixture
def client(settings: Settings, catalog: Store) -> Iterator[Client]:
    """A client of an API that needs a token, and has none."""
    allowed = msgspec.structs.replace(settings, open=False, token=TOKEN, secret=SECRET, api_tasks=True)
    with TestClient(create_app(allowed), base_url=BASE, raise_server_exceptions=False) as client:
        yield client
    check_store(catalog)


@pytest.fixture
def admin(client: Client) -> Client:
    """The same, with a token that may do everything."""
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    return client


def written(store: Store) -> dict[bytes, Value]:
    """What the store holds, without what only says that somebody was there."""
    passing = (b"contact", b"store-id", b"wake:queue:", b"dramatiq:", b"counter", b"workers", b"consumers")
    return {key: value for key, value in dump(store).items() if not key.startswith(passing)}


def filled(path: str) -> str:
    """A path with something for each of its parts."""
    return re.sub(r"\{[^}]+\}", str(uuid.UUID(int=7)), path)


def named(route: Endpoint) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("dialect", dialects(), ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.__name__)
def test_every_named_error_has_an_answer_in_the_dialects_own_shape(dialect: Dialect, kind: type[RunfleetError]) -> None:
    reply = dialect.answer(made(kind), SCOPE)
    assert 400 <= reply.status < 600
    assert reply.status != 500
    assert (b"content-type", b"application/json") in reply.headers
    assert "$schema" not in msgspec.json.decode(reply.body)
    if kind.status in (429, 503):
        assert any(name == b"retry-after" for name, _ in reply.headers)


@pytest.mark.parametrize("dialect", dialects(), ids=lambda dialect: dialect.name)
def test_an_unexpected_error_discloses_nothing(dialect: Dialect) -> None:
    reply = dialect.answer(ZeroDivisionError("secret thoughts"), SCOPE)
    assert reply.status == 500
    assert b"secret thoughts" not in reply.body


@pytest.mark.parametrize("route", [route for route in ROUTES if route.scope is not None], ids=named)
def test_without_a_token_nothing_is_shown_and_nothing_written(client: Client, catalog: Store, route: Endpoint) -> None:
    before = written(catalog)
    answer = client.request(route.method, filled(route.path), json={})
    assert answer.status_code == 401
    wrong = client.request(route.method, filled(route.path), json={}, headers={"Authorization": "Bearer no"})
    assert wrong.status_code == 401
    assert written(catalog) == before


def test_only_service_information_needs_no_token() -> None:
    open_to_all = {route.path for route in ROUTES if route.scope is None}
    assert open_to_all <= {"/api/health", "/api/ready", "/api/hello", "/api/version", "/api/csrf-token"}


GARBAGE: Final = {
    "no JSON": b"{",
    "no UTF-8": b'{"name": "\xff"}',
    "null": b"null",
    "a number": b"17",
    "a list": b"[1, 2, 3]",
    "an empty object": b"{}",
    "strange names": b'{"no such field": {"a": [1]}, "": null}',
    "wrong kinds": b'{"id": {}, "state": 7, "spec": [], "metadata": "x", "name": 4, "filter": 1, "run": 2, "job": 3}',
    "deep": b'{"a":' * 3000 + b"1" + b"}" * 3000,
    "a huge number": b'{"limit": 1e999, "offset": 99999999999999999999999999, "pagination": {"pageSize": -1}}',
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_is_the_clients_fault_and_a_refusal_writes_nothing(admin: Client, catalog: Store, what: str) -> None:
    for route in ROUTES:
        if route.method in ("GET", "DELETE"):
            continue
        before = written(catalog)
        answer = admin.request(
            route.method, filled(route.path), content=GARBAGE[what], headers={"Content-Type": "application/json"}
        )
        assert answer.status_code < 500 or answer.status_code == 501, f"{named(route)}: {answer.text}"
        assert answer.headers["content-type"].startswith("application/json") or answer.status_code == 204
        if answer.status_code >= 400:
            assert written(catalog) == before, f"{named(route)} wrote although it refused"


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method == "GET"], ids=named)
def test_strange_paths_and_queries_are_the_clients_fault(admin: Client, route: Endpoint) -> None:
    for part in ("%2F", "%00", "%FF%FE", "..%2F..", "x" * 3000, "0", "NaN"):
        path = re.sub(r"\{[^}]+\}", part, route.path)
        answer = admin.get(f"{path}?limit=-1&offset=x&type=%00&at=never&after=-9&depth=1e9")
        assert answer.status_code < 500, f"{path}: {answer.text}"


# Our workers never end a run as skipped: it is refused before there is one to read.
@pytest.mark.parametrize(
    ("task", "state"),
    [(task, state) for task in ("ours", "theirs") for state in WORDS if (task, state) != ("ours", Reason.SKIPPED)],
)
def test_a_run_in_any_state_can_be_read_in_every_dialect(admin: Client, catalog: Store, task: str, state: str) -> None:
    run = admin.post(f"/api/tasks/{task}/run").json()
    run_id = uuid.UUID(run["id"])
    if task == "ours" and state != Status.PENDING:
        held = claim(catalog)
        if state != Status.RUNNING:
            catalog.run(runs.end(held.id, held.record.token, Reason(state), 1, "as the test wants it"))
    elif state == Status.RUNNING:
        catalog.run(runs.report(run_id, "running"))
    elif state != Status.PENDING:
        catalog.run(runs.report(run_id, "ended", reason=Reason(state)))
    marquez = admin.get(f"/api/v1/jobs/runs/{run_id}")
    prefect = admin.get(f"/api/task_runs/{run_id}")
    ona = admin.post("/api/gitpod.v1.EnvironmentAutomationService/GetTaskExecution", json={"id": str(run_id)})
    assert [answer.status_code for answer in (marquez, prefect, ona)] == [200, 200, 200]
    found = (
        marquez.json()["state"],
        prefect.json()["state_type"],
        ona.json()["taskExecution"]["status"]["phase"].removeprefix("TASK_EXECUTION_PHASE_"),
    )
    assert found == WORDS[state]


def test_every_state_has_words() -> None:
    assert set(WORDS) == {Status.PENDING, Status.RUNNING, *Reason}
