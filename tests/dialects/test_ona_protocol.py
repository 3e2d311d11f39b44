"""Ona's protocol: who may call what, which requests are refused, and its binary form beside JSON."""

import base64
import gzip
import uuid
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from api.app import create_app
from api.dialects.ona import binary, bodies, wire
from api.dialects.ona.errors import CALLS, EVENTS
from shared.settings import Settings
from shared.store import tasks
from shared.store.redis.sync_store import Store
from tests.dialects.ona import HOME, Client, Json, call, make
from tests.dialects.test_ona_tasks import FILE
from tests.http.conftest import BASE, TASKS, TOKEN


def test_each_call_needs_its_scope_and_authors_need_the_setting(
    ona: Client, settings: Settings, env: str, kept: Store
) -> None:
    id_ = make(ona, env, "build")["id"]
    tokens = {
        scope: ona.post("/api/tokens", json={"name": scope, "scope": scope}).json()["token"]
        for scope in ("read", "run")
    }
    writing: list[tuple[str, Json]] = [
        ("CreateTask", {"environmentId": env, "metadata": {"reference": "x"}}),
        ("UpdateTask", {"id": id_, "spec": {"command": "x"}}),
        ("DeleteTask", {"id": id_}),
        ("UpsertAutomationsFile", {"environmentId": env, "automationsFile": FILE}),
    ]
    for method, body in writing:
        for token in tokens.values():
            response = ona.post(CALLS + method, json=body, headers={"Authorization": f"Bearer {token}"})
            assert (response.status_code, response.json()["code"]) == (403, "permission_denied")
        response = ona.post(CALLS + method, json=body, headers={"Authorization": "Bearer wrong"})
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
    with TestClient(create_app(msgspec.structs.replace(settings, open=False, token=TOKEN)), base_url=BASE) as closed:
        closed.headers["Authorization"] = f"Bearer {TOKEN}"
        for method, body in writing:
            assert "RUNFLEET_API_TASKS" in call(closed, method, body, "permission_denied")["message"]
        call(closed, "GetTask", {"id": id_})
    assert len(kept.run(tasks.names())) == len(TASKS) + 1


def test_the_protocol_s_own_refusals(ona: Client) -> None:
    json = {"Content-Type": "application/json"}
    response = ona.post(CALLS + "Nothing", json={})
    assert (response.status_code, response.json()["code"]) == (404, "unimplemented")
    assert response.headers["x-should-retry"] == "false"
    response = ona.get(CALLS + "StartTask")
    assert (response.status_code, response.headers["allow"]) == (405, "OPTIONS, POST")
    response = ona.post(CALLS + "GetTask", content=b"a=1", headers={"Content-Type": "text/plain"})
    assert (response.status_code, response.headers["accept-post"]) == (415, "application/json, application/proto")
    response = ona.post(CALLS + "GetTask", content=b"{}", headers={**json, "Connect-Protocol-Version": "2"})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")
    response = ona.post(CALLS + "GetTask", content=b"{}", headers={**json, "Content-Encoding": "br"})
    assert (response.status_code, response.json()["code"]) == (501, "unimplemented")
    assert response.headers["x-should-retry"] == "false"
    response = ona.post(CALLS + "ListTasks", content=b"{}", headers={**json, "Content-Encoding": "identity"})
    assert response.status_code == 200
    for timeout, status in (("5000", 200), ("9999999999", 200), ("soon", 400), ("-1", 400), ("99999999999", 400)):
        response = ona.post(CALLS + "ListTasks", content=b"{}", headers={**json, "Connect-Timeout-Ms": timeout})
        assert response.status_code == status
    unknown = ona.post("/api/gitpod.v1.EnvironmentService/DeleteEnvironment", json={}).json()
    assert unknown["message"].startswith("there is no call DeleteEnvironment here; ")


def test_events_are_asked_for_in_either_spelling(ona: Client) -> None:
    watch, json = EVENTS + "WatchEvents", {"Content-Type": "Application/JSON; charset=utf-8"}
    for field in ("environmentId", "environment_id"):
        response = ona.post(watch, content=f'{{"{field}": "x"}}'.encode(), headers=json)
        assert (response.status_code, response.json()["message"]) == (400, "environmentId: must be a UUID")
    response = ona.post(watch, json={"environmentId": HOME, "environment_id": HOME})
    assert response.json()["code"] == "invalid_argument"
    assert ona.post(watch, content=b"[]", headers=json).json()["code"] == "invalid_argument"


def binary_call(client: Client, method: str, request: wire.Message, answer: type[wire.Message], **headers: str) -> Any:
    packed = binary.to_binary(request)
    if headers.get("Content-Encoding") == "gzip":
        packed = gzip.compress(packed)
    response = client.post(
        CALLS + method,
        content=packed,
        headers={"Content-Type": "application/proto", "Connect-Protocol-Version": "1", **headers},
    )
    if response.status_code != 200:
        return response.json()
    assert response.headers["content-type"] == "application/proto"
    return binary.from_binary(answer, response.content)


def test_the_binary_form_says_the_same(ona: Client, env: str) -> None:
    request = bodies.CreateTaskRequest(
        environment_id=env,
        metadata=bodies.TaskMetadata(reference="build", triggered_by=[bodies.AutomationTrigger(manual=True)]),
        spec=bodies.TaskSpec(command="make", env=[bodies.EnvironmentVariableItem(name="A", value="")]),
    )
    made = binary_call(ona, "CreateTask", request, bodies.CreateTaskResponse, **{"Content-Encoding": "gzip"})
    json = call(ona, "GetTask", {"id": made.task.id})["task"]
    assert msgspec.to_builtins(made.task) == json
    update = bodies.UpdateTaskRequest(id=made.task.id, spec=bodies.UpdateTaskSpec(command=""))
    assert binary_call(ona, "UpdateTask", update, bodies.UpdateTaskResponse) == bodies.UpdateTaskResponse()
    listed = binary_call(
        ona,
        "ListTasks",
        bodies.ListTasksRequest(filter=bodies.ListTasksRequestFilter(environment_ids=[env])),
        bodies.ListTasksResponse,
        **{"Content-Encoding": "identity"},
    )
    assert listed.tasks[0].spec == bodies.TaskSpec(env=[bodies.EnvironmentVariableItem(name="A", value="")])
    missing = binary_call(ona, "GetTask", bodies.GetTaskRequest(id=str(uuid.uuid4())), bodies.GetTaskResponse)
    assert missing["code"] == "not_found"


def test_a_call_that_only_reads_may_be_a_get(ona: Client, env: str) -> None:
    task = make(ona, env, "build")
    json = msgspec.json.encode({"id": task["id"]}).decode()
    packed = binary.to_binary(bodies.GetTaskRequest(id=task["id"]))
    text = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    small = base64.urlsafe_b64encode(gzip.compress(packed)).decode()
    path = CALLS + "GetTask"
    answer = ona.get(path, params={"connect": "v1", "encoding": "json", "message": json})
    assert answer.json() == {"task": task}
    for message, compression in ((text, "identity"), (small, "gzip")):
        query = {"connect": "v1", "encoding": "proto", "base64": "1", "message": message, "compression": compression}
        answer = ona.get(path, params=query)
        assert answer.headers["content-type"] == "application/proto"
        assert msgspec.to_builtins(binary.from_binary(bodies.GetTaskResponse, answer.content).task) == task
    listed = ona.get(CALLS + "ListTasks", params={"encoding": "json", "message": "{}"})
    assert listed.json()["tasks"]
    for query in (
        {},
        {"encoding": "json"},
        {"encoding": "json", "message": json, "connect": "v2"},
        {"encoding": "json", "message": json, "token": "x"},
        {"encoding": "proto", "message": "!", "base64": "1"},
        {"encoding": "proto", "message": "AA", "base64": "1", "compression": "gzip"},
    ):
        assert ona.get(path, params=query).json()["code"] == "invalid_argument"
    assert ona.get(path, params={"encoding": "xml", "message": ""}).status_code == 415


@pytest.mark.parametrize(
    ("method", "body", "place"),
    [
        ("GetTask", b"\xff\xff", ""),
        ("GetTask", b"\x12\x01x", "field 2"),
        ("CreateTask", b"\x12\x03\x52\x01x", "metadata: has field 10"),
        ("GetTask", b"", "id"),
        ("GetTask", b"\x0a\x02\xff\xfe", ""),
    ],
)
def test_bytes_that_are_no_request_are_an_invalid_argument(ona: Client, method: str, body: bytes, place: str) -> None:
    response = ona.post(CALLS + method, content=body, headers={"Content-Type": "application/proto"})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")
    assert place in response.json()["message"]
