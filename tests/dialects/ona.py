"""An API that lets tasks be defined, called in Ona's words: what the tests of that dialect share."""

import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from api.dialects.ona.errors import CALLS
from shared.settings import Settings
from shared.store import tasks
from shared.store.redis.sync_store import Store
from shared.tasks import define
from tests.http.conftest import BASE, TASKS, TOKEN
from tests.store.consistency import check_store

Client = TestClient[Litestar]
SECRET = "a secret that only processes know"
HOME = "00000000-0000-0000-0000-000000000000"
Json = Any


@pytest.fixture
def kept(store: Store) -> Iterator[Store]:
    """The store with ``TASKS`` in it; whole when the test is over."""
    store.run(tasks.apply([(task, define(task)) for task in TASKS]))
    yield store
    check_store(store)


@pytest.fixture
def ona(settings: Settings, kept: Store) -> Iterator[Client]:
    """A client with scope ``admin`` of an API that lets tasks be defined."""
    allowed = msgspec.structs.replace(settings, open=False, token=TOKEN, secret=SECRET, api_tasks=True)
    with TestClient(create_app(allowed), base_url=BASE) as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield client


@pytest.fixture
def env() -> str:
    """An environment of the test's own."""
    return str(uuid.uuid4())


def call(client: Client, method: str, body: Json, code: str = "", query: str = "") -> Json:
    """The answer; with *code* the error that is expected instead."""
    response = client.post(CALLS + method + query, json=body)
    answer = response.json()
    assert response.headers["content-type"] == "application/json"
    assert answer.get("code", "") == code if isinstance(answer.get("code"), str) else not code, answer
    assert (response.status_code == 200) == (not code), answer
    return answer


def make(client: Client, env: str, reference: str, code: str = "", **fields: Json) -> Json:
    """A new task, whose command succeeds unless *fields* say otherwise."""
    body = {
        "environmentId": env,
        "metadata": {"reference": reference, "name": reference.title(), **fields.pop("metadata", {})},
        "spec": {"command": "true", **fields.pop("spec", {})},
        **fields,
    }
    answer = call(client, "CreateTask", body, code)
    return answer if code else answer["task"]


def references(answer: Json) -> list[str]:
    """What the tasks of a list are called."""
    return [task["metadata"]["reference"] for task in answer["tasks"]]
