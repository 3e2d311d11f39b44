"""Whatever is sent to Ona's calls: a refusal that says why, never an unexpected error, and nothing written."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections import Counter
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from api.dialects import ona as dialect
from api.dialects.ona import binary, bodies
from api.dialects.ona.bodies import Message
from api.dialects.ona.calls import DIALECT
from api.dialects.ona.forms import Field, fields_of
from api.dialects.ona.words import CALLS
from shared.settings import Settings
from shared.store import environments, tasks
from shared.store.environments import Furnishing, Listed
from shared.store.threads import Store
from shared.tasks import Task, define
from tests.dialects.ona import HOME, SECRET, Client, call, make
from tests.http.conftest import TOKEN, serving

REQUESTS = {
    kind.__name__.removesuffix("Request"): kind
    for kind in Message.__subclasses__()
    if kind.__name__.endswith("Request") and kind != bodies.PaginationRequest
}
WITH_ID = b"\x0a\x24" + HOME.encode()
"""A first field that is a UUID, in the binary form."""

METHODS = sorted(set(REQUESTS) - {"CreateEnvironmentLogsToken"})

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["\0", "\ud800", HOME, HOME + "\n", "a" * 200, "${X}", "a/b", "é"]),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(0, 3), max_size=2),
)


def likely(field: Field) -> st.SearchStrategy[Any]:
    """Something for *field*, mostly of the right kind."""
    one: st.SearchStrategy[Any]
    if issubclass(field.kind, msgspec.Struct):
        one = messages(field.kind) if issubclass(field.kind, Message) else st.just({})
    else:
        one = st.one_of(st.just(HOME), st.text(max_size=5), st.sampled_from(["a", "b"])) if field.kind is str else odd
    if field.many == "list":
        one = st.lists(one, max_size=2)
    elif field.many == "map":
        one = st.dictionaries(st.sampled_from(["a", "b", "a b"]), one, max_size=2)
    return st.one_of(one, one, one, odd)


def messages(kind: type[Message]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with fields of *kind*, some of them wrong."""
    return st.deferred(
        lambda: st.fixed_dictionaries({}, optional={field.name: likely(field) for field in fields_of(kind)})
    )


@pytest.mark.parametrize("method", METHODS)
def test_odd_messages_are_answered_and_never_unexpectedly(ona: Client, method: str) -> None:
    @bounded(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(messages(REQUESTS[method]))
    def send(body: dict[str, Any]) -> None:
        content = msgspec.json.encode(_encodable(body))
        response = ona.post(CALLS + method, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code in (200, 400, 403, 404, 409), response.text
        assert response.status_code == 200 or response.json()["message"]

    send()


@pytest.mark.parametrize("method", METHODS)
def test_odd_bytes_are_answered_and_never_unexpectedly(ona: Client, method: str) -> None:
    @bounded(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(st.binary(max_size=60), st.binary(max_size=30).map(lambda tail: WITH_ID + tail)))
    def send(content: bytes) -> None:
        response = ona.post(CALLS + method, content=content, headers={"Content-Type": "application/proto"})
        assert response.status_code in (200, 400, 403, 404, 409), response.text

    send()


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_encodable(inner) for inner in value]
    return float(value) if isinstance(value, int) and value.bit_length() > 63 else value


def test_every_call_of_the_dialect_needs_a_token() -> None:
    routes = [route for routes in dialect.ROUTES for route in routes.declared]
    assert all(route.scope is not None and route.dialect is DIALECT for route in routes)
    assert {route.path.removeprefix(CALLS) for route in routes if route.path.startswith(CALLS)} == set(METHODS)


WITHOUT = """
import sys
sys.modules["google.protobuf"] = None
from api.dialects.ona import binary, bodies
from api.errors import WrongMediaType
try:
    binary.from_binary(bodies.GetTaskRequest, b"")
except WrongMediaType as error:
    print(error)
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    return done.stdout


def test_without_protobuf_the_binary_form_is_refused_and_the_extra_named() -> None:
    assert "runfleet[ona]" in run(WITHOUT)


def test_protobuf_is_loaded_only_when_it_is_asked_for() -> None:
    assert run("import sys, api.app; api.app.foreign_routes(); print('google.protobuf' in sys.modules)") == "False\n"
    assert binary.to_binary(bodies.GetTaskRequest(id="x")) == b"\x0a\x01x"


def furnishing(name: str, *, before: Listed | None = None, run: str = "true", title: str = "T") -> Furnishing:
    task = Task(name=name, run=run)
    listed = before or Listed(task=name, environment=HOME, reference=name)
    listed = msgspec.structs.replace(listed, title=title, variables=["x" * 40, "y" * 300])
    return Furnishing(id=uuid.uuid4(), listed=listed, before=before, task=task, definition=define(task))


def test_a_write_whose_answer_was_lost_may_be_repeated(kept: Store) -> None:
    new = furnishing("a")
    assert [kept.do(environments.furnish([new], {"a": ""})) for _ in range(3)] == ["done"] * 3
    (listed,) = kept.do(environments.by_id([new.id]))
    assert listed is not None
    assert listed.arrival > 0
    assert listed.created_us > 0
    change = msgspec.structs.replace(furnishing("a", before=listed, run="false"), id=new.id)
    pins = {"a": new.definition.hash}
    assert [kept.do(environments.furnish([change], pins)) for _ in range(3)] == ["done"] * 3
    titled = msgspec.structs.replace(furnishing("a", before=listed, run="false", title="New"), id=new.id)
    pins = {"a": change.definition.hash}
    assert [kept.do(environments.furnish([titled], pins)) for _ in range(3)] == ["done"] * 3
    assert kept.do(environments.newest(None, None, 10)) == [(listed.arrival, new.id)]


def test_a_write_on_what_has_moved_is_refused_as_a_whole(kept: Store) -> None:
    first = furnishing("a")
    assert kept.do(environments.furnish([first], {"a": ""})) == "done"
    (listed,) = kept.do(environments.by_id([first.id]))
    assert listed is not None
    other = furnishing("b")
    stale = msgspec.structs.replace(
        furnishing("a", before=msgspec.structs.replace(listed, title="Old"), title="New"), id=first.id
    )
    assert kept.do(environments.furnish([other, stale], {"b": "", "a": first.definition.hash})) == "moved"
    assert kept.do(environments.furnish([other], {"b": "", "a": "another"})) == "moved"
    assert kept.do(environments.furnish([other, furnishing("a")], {"b": ""})) == "exists"
    assert kept.do(environments.furnish([other, furnishing("example")], {"b": ""})) == "kept"
    assert "b" not in kept.do(tasks.names())


def test_of_many_who_make_the_same_task_one_does(settings: Settings, kept: Store) -> None:
    env = str(uuid.uuid4())
    body = {"environmentId": env, "metadata": {"reference": "a"}, "spec": {"command": "true"}}
    codes = Counter[int]()
    allowed = msgspec.structs.replace(settings, token=TOKEN, secret=SECRET, api_tasks=True)
    with serving(allowed) as served:
        with httpx.Client(base_url=served.url + CALLS, headers={"Authorization": f"Bearer {TOKEN}"}) as client:

            def create() -> None:
                codes[client.post("CreateTask", json=body).status_code] += 1

            threads = [threading.Thread(target=create) for _ in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert codes == {200: 1, 409: 11}
    assert len(kept.do(environments.newest(None, None, 10))) == 1


def test_a_task_that_others_come_to_need_meanwhile_is_not_deleted(ona: Client, kept: Store, env: str) -> None:
    """Deleting looks for dependents and then deletes: one that comes in between is seen."""
    first = make(ona, env, "first")
    name = f"ona.{first['id'][:8]}.first"
    known = kept.do(tasks.authored())
    make(ona, env, "second", dependsOn=[first["id"]])
    assert kept.do(tasks.undefine(name, known))[0] == "moved"
    call(ona, "DeleteTask", {"id": first["id"]}, "failed_precondition")
