"""Whatever is sent to Ona's calls: a refusal that says why, never an unexpected error, and nothing written."""

import os
import sys
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
from api.dialects.ona.codec import Field, fields_of
from api.dialects.ona.connect_rpc import DIALECT
from api.dialects.ona.errors import CALLS
from api.dialects.ona.wire import Message
from shared.settings import Settings
from shared.store.dialects import ona_tasks
from shared.store.redis.sync_store import Store
from tests.commands import run_command
from tests.dialects.ona import HOME, SECRET, Client
from tests.http.conftest import TOKEN, serving
from tests.waiting import in_threads

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


forty_examples = bounded(
    max_examples=40, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("method", METHODS)
def test_odd_messages_are_answered_and_never_unexpectedly(ona: Client, method: str) -> None:
    @forty_examples
    @given(messages(REQUESTS[method]))
    def send(body: dict[str, Any]) -> None:
        content = msgspec.json.encode(_encodable(body))
        response = ona.post(CALLS + method, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code in (200, 400, 403, 404, 409), response.text
        assert response.status_code == 200 or response.json()["message"]

    send()


@pytest.mark.parametrize("method", METHODS)
def test_odd_bytes_are_answered_and_never_unexpectedly(ona: Client, method: str) -> None:
    @forty_examples
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
    routes = [route for routes in dialect.ROUTES for route in routes.endpoints]
    assert all(route.scope is not None and route.dialect is DIALECT for route in routes)
    assert {route.path.removeprefix(CALLS) for route in routes if route.path.startswith(CALLS)} == set(METHODS)


WITHOUT = """
import sys
sys.modules["google.protobuf"] = None
from api.dialects.ona import binary, bodies
from api.http.problems import WrongMediaType
try:
    binary.from_binary(bodies.GetTaskRequest, b"")
except WrongMediaType as error:
    print(error)
"""


def run(code: str) -> str:
    done = run_command([sys.executable, "-c", code], check=True, env=os.environ)
    return done.stdout


def test_without_protobuf_the_binary_form_is_refused_and_the_extra_named() -> None:
    assert "runfleet[ona]" in run(WITHOUT)


def test_protobuf_is_loaded_only_when_it_is_asked_for() -> None:
    assert run("import sys, api.app; api.app.dialect_endpoints(); print('google.protobuf' in sys.modules)") == "False\n"
    assert binary.to_binary(bodies.GetTaskRequest(id="x")) == b"\x0a\x01x"


def test_one_of_many_creates_of_the_same_task_succeeds(settings: Settings, kept: Store) -> None:
    env = str(uuid.uuid4())
    body = {"environmentId": env, "metadata": {"reference": "a"}, "spec": {"command": "true"}}
    codes = Counter[int]()
    allowed = msgspec.structs.replace(settings, open=False, token=TOKEN, secret=SECRET, api_tasks=True)
    with serving(allowed) as served:
        with httpx.Client(base_url=served.url + CALLS, headers={"Authorization": f"Bearer {TOKEN}"}) as client:

            def create() -> None:
                codes[client.post("CreateTask", json=body).status_code] += 1

            in_threads(*[create] * 12)
    assert codes == {200: 1, 409: 11}
    assert len(kept.run(ona_tasks.newest(None, None, 10))) == 1
