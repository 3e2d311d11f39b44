"""Marquez's API when it says no: in its own words, with nothing written, whatever was sent and by whom."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.dialects.marquez.errors import DIALECT
from shared.errors import Invalid, RunfleetError
from shared.store.redis.sync_store import Store
from tests.dialects.marquez import NOBODY, Client, at, event, new_job, send
from tests.http.conftest import TOKEN
from tests.promises.test_errors_are_mapped import NAMED, SCOPE, made
from tests.store.consistency import check_store, snapshot


@pytest.fixture(autouse=True)
def whole(catalog: Store) -> Iterator[None]:
    """The store is whole after each of these."""
    yield
    check_store(catalog)


GOOD = event("START", NOBODY)
BAD: list[tuple[str, str, Any, int]] = [
    ("POST", "lineage", b"", 400),
    ("POST", "lineage", b"{nope", 400),
    ("POST", "lineage", b"[]", 400),
    ("POST", "lineage", b'"\xff"', 400),
    ("POST", "lineage", b"[" * 100_000, 400),
    ("POST", "lineage", {}, 422),
    ("POST", "lineage", GOOD | {"eventTime": "2030-01-01"}, 400),
    ("POST", "lineage", GOOD | {"eventTime": "1930-01-01T00:00:00Z"}, 400),
    ("POST", "lineage", GOOD | {"eventTime": 7}, 400),
    ("POST", "lineage", GOOD | {"job": {"namespace": "no spaces", "name": "j"}}, 400),
    ("POST", "lineage", GOOD | {"job": {"namespace": "ns", "name": ""}}, 400),
    ("POST", "lineage", GOOD | {"job": {"namespace": "ns", "name": "a\nb"}}, 400),
    ("POST", "lineage", GOOD | {"job": {"namespace": "ns"}, "run": {}}, 422),
    ("POST", "lineage", GOOD | {"run": {"runId": NOBODY, "facets": {"parent": {"run": {}, "job": {}}}}}, 422),
    ("POST", "lineage", GOOD | {"run": {"runId": NOBODY, "facets": {"parent": 3}}}, 400),
    (
        "POST",
        "lineage",
        GOOD | {"run": {"runId": NOBODY, "facets": {"nominalTime": {"nominalStartTime": "soon"}}}},
        400,
    ),
    ("POST", "lineage", GOOD | {"outputs": [{"namespace": "x"}]}, 422),
    ("POST", "lineage", GOOD | {"outputs": {"namespace": "x"}}, 400),
    ("PUT", "namespaces/no%20spaces", {"ownerName": "x"}, 400),
    ("PUT", "namespaces/x", {}, 422),
    ("PUT", "namespaces/x", {"ownerName": 3}, 400),
    ("PUT", "namespaces/x", {"ownerName": "x" * 1025}, 400),
    ("PUT", "namespaces/ns/jobs/k", {"type": "BATCH", "inputs": [{"name": "d"}], "outputs": []}, 422),
    ("PUT", "namespaces/ns/jobs/k", {"type": "BATCH", "inputs": [], "outputs": [{"namespace": "db"}]}, 422),
    ("PUT", "namespaces/gone/jobs/j", {"type": "BATCH", "inputs": [], "outputs": []}, 404),
    ("PUT", "namespaces/ns/jobs/k", {"type": "CRON", "inputs": [], "outputs": []}, 400),
    ("PUT", "namespaces/ns/jobs/k", {"type": "BATCH"}, 422),
    ("POST", "namespaces/ns/jobs/gone/runs", {}, 404),
    ("POST", "namespaces/ns/jobs/j/runs", {"id": "x"}, 400),
    ("POST", "namespaces/ns/jobs/j/runs", {"nominalEndTime": "soon"}, 400),
    ("POST", "namespaces/ns/jobs/j/runs", {"args": ["x"]}, 400),
    ("POST", f"jobs/runs/{NOBODY}/start", None, 404),
    ("POST", "jobs/runs/x/start", None, 404),
    ("GET", f"jobs/runs/{NOBODY}/facets?type=run", None, 404),
    ("GET", "namespaces/ns/jobs?limit=-1", None, 400),
    ("GET", "namespaces/ns/jobs?offset=x", None, 400),
    ("GET", "jobs?lastRunStates=GOOD", None, 400),
    ("GET", "events/lineage?after=now", None, 400),
    ("GET", "events/lineage?sortDirection=up", None, 400),
    ("GET", "events", None, 404),
    ("DELETE", "lineage", None, 405),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), BAD)
def test_bad_input_is_refused_in_marquez_words_and_writes_nothing(
    client: Client, catalog: Store, method: str, path: str, body: Any, status: int
) -> None:
    new_job(client)
    before = snapshot(catalog)
    content = body if isinstance(body, bytes) else msgspec.json.encode(body) if body is not None else None
    answer = client.request(method, f"/api/v1/{path}", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert said.get("errors") or (said["code"] == status and said["message"])
    assert snapshot(catalog) == before


def test_everything_that_is_missing_is_named(client: Client) -> None:
    said = send(client, {"run": {}, "inputs": [{"name": "x"}]}, status=422)
    missing = ["eventTime", "producer", "job", "inputs[0].namespace", "run.runId"]
    assert said == {"errors": [f"{path} must not be null" for path in missing]}
    job = {"inputs": [{"namespace": "db"}, {}], "outputs": []}
    missing = ["type", "inputs[0].name", "inputs[1].namespace", "inputs[1].name"]
    said = client.put("/api/v1/namespaces/runfleet/jobs/j", json=job).json()
    assert said == {"errors": [f"{path} must not be null" for path in missing]}


@pytest.mark.parametrize(
    ("method", "path", "status", "instead"),
    [
        ("GET", "namespaces/ns/datasets", 404, "GET /api/v1/events/lineage"),
        ("PUT", "namespaces/s3%3A%2F%2Fb/datasets/a%2Fb", 404, "inputs"),
        ("POST", "namespaces/ns/datasets/d/fields/f/tags/t", 404, "GET /api/v1/events/lineage"),
        ("PUT", "sources/s", 404, "GET /api/v1/events/lineage"),
        ("GET", "tags", 404, "PUT /api/v1/namespaces/{namespace}/jobs/{job}"),
        ("POST", "namespaces/ns/jobs/j/tags/t", 404, "PUT /api/v1/namespaces/{namespace}/jobs/{job}"),
        ("GET", f"namespaces/ns/jobs/a%2Fb/versions/{NOBODY}", 404, "jobVersion"),
        ("GET", "lineage?nodeId=job:ns:j", 405, "GET /api/v1/events/lineage"),
        ("GET", "column-lineage?nodeId=x", 404, "GET /api/v1/events/lineage"),
        ("GET", "runlineage/upstream?runId=x", 404, "GET /api/v1/events/lineage"),
        ("POST", "lineage/batch", 404, "POST /api/v1/lineage"),
        ("GET", "search?q=x", 404, "GET /api/v1/jobs"),
        ("GET", "stats/jobs", 404, "GET /metrics"),
        ("GET", "events/ns", 404, "GET /api/v1/events/lineage"),
    ],
)
def test_an_unsupported_path_is_named_with_its_alternative(
    client: Client, method: str, path: str, status: int, instead: str
) -> None:
    answer = client.request(method, f"/api/v1/{path}")
    assert answer.status_code == answer.json()["code"] == status
    assert instead in answer.json()["message"]


@pytest.mark.parametrize("path", ["namespaces/datasets", "namespaces/ns/jobs/tags", "namespaces/ns/jobs/versions/runs"])
def test_what_is_called_like_it_is_only_not_found(client: Client, path: str) -> None:
    client.put("/api/v1/namespaces/ns", json={"ownerName": "ada"})
    assert client.get(f"/api/v1/{path}").json()["message"].endswith("not found.")


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.__name__)
def test_every_named_error_has_a_shape(kind: type[RunfleetError]) -> None:
    reply = DIALECT.answer(made(kind), SCOPE)
    body = msgspec.json.decode(reply.body)
    assert reply.status == (503 if kind.status == 507 else kind.status)
    if issubclass(kind, Invalid):
        assert body == {"errors": ["query.x is wrong"]}
    else:
        assert body["code"] == reply.status
        assert body["message"]


# Who may do what.


def test_without_a_token_nothing_is_shown_and_nothing_stored(guarded: Client, catalog: Store) -> None:
    before = snapshot(catalog)
    for method, path in (("GET", "namespaces"), ("GET", "jobs"), ("GET", "events/lineage"), ("POST", "lineage")):
        answer = guarded.request(method, f"/api/v1/{path}", json=GOOD if method == "POST" else None)
        assert (answer.status_code, answer.json()["code"]) == (401, 401)
        assert "www-authenticate" in answer.headers
    assert snapshot(catalog) == before
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.post("/api/v1/lineage", json=GOOD, headers=headers).status_code == 201


@pytest.mark.parametrize(
    ("scope", "only", "allowed"),
    [("read", "", False), ("run", "", True), ("run", "other-*", False), ("run", "marquez.*", True)],
)
def test_a_token_may_do_what_it_is_for(guarded: Client, catalog: Store, scope: Any, only: str, allowed: bool) -> None:
    admin = {"Authorization": f"Bearer {TOKEN}"}
    body = {"name": "t", "scope": scope} | ({"tasks": only} if only else {})
    token = guarded.post("/api/tokens", json=body, headers=admin).json()["token"]
    mine = {"Authorization": f"Bearer {token}"}
    guarded.put("/api/v1/namespaces/ns", json={"ownerName": "ada"}, headers=admin)
    before = snapshot(catalog)
    answers = [
        guarded.put("/api/v1/namespaces/ns/jobs/j", json={"type": "BATCH", "inputs": [], "outputs": []}, headers=mine),
        guarded.post("/api/v1/lineage", json=GOOD, headers=mine),
        guarded.post(f"/api/v1/jobs/runs/{NOBODY}/complete", headers=mine),
    ]
    if allowed:
        assert [answer.status_code for answer in answers] == [200, 201, 200]
    else:
        assert {answer.status_code for answer in answers[:2]} == {403}
        assert snapshot(catalog) == before
    if scope == "run" and only:
        admins = guarded.post("/api/v1/lineage", json=GOOD, headers=admin)
        assert admins.status_code == 201
        shown = guarded.get("/api/v1/events/lineage", headers=mine).json()
        assert (len(shown["events"]), shown["totalCount"]) == ((1, 1) if allowed else (0, 0))


def test_a_token_for_some_tasks_sees_no_others(guarded: Client) -> None:
    admin = {"Authorization": f"Bearer {TOKEN}"}
    body = {"name": "t", "scope": "run", "tasks": "report"}
    token = guarded.post("/api/tokens", json=body, headers=admin).json()["token"]
    mine = {"Authorization": f"Bearer {token}"}
    assert guarded.post("/api/v1/lineage", json=GOOD, headers=admin).status_code == 201
    assert [job["name"] for job in guarded.get("/api/v1/jobs", headers=mine).json()["jobs"]] == ["report"]
    assert guarded.get(f"/api/v1/jobs/runs/{NOBODY}", headers=mine).status_code == 404
    told = event("COMPLETE", NOBODY, job="report", namespace="runfleet")
    assert guarded.post("/api/v1/lineage", json=told, headers=mine).status_code == 403
    assert guarded.get(f"/api/v1/jobs/runs/{NOBODY}", headers=admin).json()["state"] == "RUNNING"

    for number in (3, 1, 4, 2):
        send_as = {"Authorization": f"Bearer {TOKEN}"}
        for name in (f"mine-{number}", f"other-{number}"):
            assert guarded.post("/api/v1/lineage", json=event("OTHER", NOBODY, job=name), headers=send_as).is_success
    some = {"name": "s", "scope": "read", "tasks": "marquez.mine-*"}
    mine = {"Authorization": f"Bearer {guarded.post('/api/tokens', json=some, headers=admin).json()['token']}"}
    pages = [guarded.get(f"/api/v1/jobs?limit=2&offset={offset}", headers=mine).json()["jobs"] for offset in (0, 2, 4)]
    assert [[job["name"] for job in page] for page in pages] == [["mine-2", "mine-4"], ["mine-1", "mine-3"], []]


# What nobody foresaw.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=6,
)
TEXT = st.sampled_from([NOBODY, "ns", "a.b", "", "2030-01-01T00:00:00Z", "\x00", "\U0001f600", "x" * 2000, "parent"])
FACETS = ("parent", "parentRun", "nominalTime", "errorMessage", "documentation", "jobType", "sourceCodeLocation", "x")


DATASET = {"namespace": "db", "name": "t"}
FACET = {"run": {"runId": NOBODY}, "job": {"namespace": "ns", "name": "p"}, "nominalStartTime": at(0), "url": "x"}
FULL = GOOD | {
    "run": {"runId": NOBODY, "facets": dict.fromkeys(FACETS, FACET | {"message": "m", "description": "d"})},
    "job": {"namespace": "ns", "name": "j", "facets": dict.fromkeys(FACETS, FACET)},
    "inputs": [DATASET],
    "outputs": [DATASET],
    "dataset": DATASET,
    "schemaURL": "x/RunEvent",
}


PATHS = [
    *([key] for key in FULL),
    *(["run", key] for key in FULL["run"]),
    *(["job", key] for key in FULL["job"]),
    *([part, "facets", name] for part in ("run", "job") for name in FACETS),
    *(["run", "facets", name, key] for name in FACETS for key in ("run", "job", "nominalStartTime", "message")),
    *(
        ["run", "facets", "parent", part, key]
        for part, key in (("run", "runId"), ("job", "namespace"), ("job", "name"))
    ),
    *(["job", "facets", name, key] for name in FACETS for key in ("description", "url", "processingType")),
    *([side, 0, key] for side in ("inputs", "outputs") for key in DATASET),
]


@st.composite
def strange(draw: st.DrawFn) -> Any:
    """A whole event, of which some parts are replaced by anything, or gone."""
    told = deepcopy(FULL)
    for path in draw(st.lists(st.sampled_from(PATHS), max_size=3)):
        inner: Any = told
        for step in path[:-1]:
            try:
                inner = inner[step]
            except (KeyError, IndexError, TypeError):  # replaced before
                inner = None
        if isinstance(inner, dict):
            if draw(st.integers(0, 3)):
                inner[path[-1]] = draw(TEXT | JSON)
            else:
                inner.pop(path[-1], None)
    return told


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=strange())
def test_no_event_is_too_strange(client: Client, told: Any) -> None:
    answer = client.post("/api/v1/lineage", content=msgspec.json.encode(told))
    assert answer.status_code in (201, 400, 422), answer.text
    if answer.status_code == 201:
        for path in (
            f"jobs/runs/{NOBODY}",
            "jobs",
            "namespaces",
            "events/lineage",
            f"jobs/runs/{NOBODY}/facets?type=job",
        ):
            assert client.get(f"/api/v1/{path}").status_code in (200, 404)
