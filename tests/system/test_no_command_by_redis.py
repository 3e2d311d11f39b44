"""Write access to Redis gives no command: what somebody without the secret may plant, and what comes of it."""

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
import redis

from shared.signing import Keys
from shared.tasks import Task, define
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet
from tests.system.test_trust import SENTENCE, waits_with_a_reason

TASKS = """
[tasks.honest]
run = "true"

[tasks.powerful]
run = "echo powerful >> $HISTORY"
"""
PREFIX = "{runfleet}"
EVIL = "echo evil >> $HISTORY"
OTHER_SECRETS = ("", "a secret that somebody made up")
ONA = "/api/gitpod.v1.EnvironmentAutomationService/"
ENVIRONMENT = "5b0b5d0e-6f5a-4d0c-9c0b-5b8f1d0f7a11"


@pytest.fixture
def fleet(make_fleet: StartFleet) -> Iterator[Fleet]:
    """A fleet of all three processes in which tasks may be defined through the API."""
    fleet = make_fleet(TASKS, RUNFLEET_API_TASKS="on")
    yield fleet.start_all()
    assert fleet.wrote("evil") == []


@pytest.fixture
def intruder(fleet: Fleet) -> Iterator[redis.Redis]:
    """Somebody who may write to Redis, and does not know the secret."""
    with fleet.redis.client() as client:
        yield client


def status_with(fleet: Fleet, text: str) -> int:
    """What somebody gets who tries to define a command with that token."""
    header = {"Authorization": f"Bearer {text}"}
    return fleet.http.put("/api/tasks/planted", json={"run": EVIL}, headers=header).status_code


def ona(fleet: Fleet, method: str, **body: Any) -> httpx.Response:
    return fleet.http.post(ONA + method, json=body)


def a_task_of_ona(fleet: Fleet, reference: str = "build") -> str:
    """The id of a task that an admin made."""
    spec, metadata = {"command": "echo good >> $HISTORY"}, {"reference": reference, "name": reference}
    made = ona(fleet, "CreateTask", environmentId=ENVIRONMENT, metadata=metadata, spec=spec)
    assert made.status_code == 200, made.text
    return str(made.json()["task"]["id"])


def field(intruder: redis.Redis, key: str, name: str) -> bytes:
    """A field of one of the store's hashes."""
    value = intruder.hget(f"{PREFIX}:{key}", name)
    assert isinstance(value, bytes)
    return value


def name_of(intruder: redis.Redis, id_: str) -> str:
    """What that task is called in the catalog."""
    return str(msgspec.msgpack.decode(field(intruder, "ona:tasks", id_))[0])


def entry_of(intruder: redis.Redis, name: str) -> list[Any]:
    """The entry of a task in the catalog: its definition's hash, and what belongs to it."""
    return list(msgspec.msgpack.decode(field(intruder, "tasks", name)))


@pytest.mark.parametrize("secret", OTHER_SECRETS)
def test_a_minted_token_is_refused(fleet: Fleet, intruder: redis.Redis, secret: str) -> None:
    text = "rf_" + secrets.token_urlsafe(32)
    digest = hashlib.sha256(text.encode()).hexdigest()
    token = b'{"id":"1","name":"me","scope":"admin","created_at":"2026-01-01T00:00:00Z"}'
    signed = msgspec.json.encode({"token": msgspec.Raw(token), "signature": Keys(secret).sign("token", digest, token)})
    for row in (token, signed):
        intruder.hset(f"{PREFIX}:tokens", digest, row)
        assert status_with(fleet, text) == 401
    assert status_with(fleet, secrets.token_urlsafe(32)) == 401


def test_a_token_whose_scope_was_changed_is_refused(fleet: Fleet, intruder: redis.Redis) -> None:
    text = fleet.post("/api/tokens", {"name": "low", "scope": "read"})["token"]
    digest = hashlib.sha256(text.encode()).hexdigest()
    row = field(intruder, "tokens", digest)
    assert status_with(fleet, text) == 403
    intruder.hset(f"{PREFIX}:tokens", digest, row.replace(b'"read"', b'"admin"'))
    # The process may know the token by heart for two seconds more; it never becomes more than it was.
    assert status_with(fleet, text) in (401, 403)


def test_without_any_token_in_the_store_every_request_is_refused(fleet: Fleet, intruder: redis.Redis) -> None:
    fleet.post("/api/tokens", {"name": "low", "scope": "read"})
    intruder.delete(f"{PREFIX}:tokens")
    answer = httpx.put(f"{fleet.http.base_url}/api/tasks/planted", json={"run": EVIL})
    assert answer.status_code == 401


@pytest.mark.parametrize("secret", OTHER_SECRETS)
@pytest.mark.parametrize("is_moved", [False, True], ids=["in its place", "under a hash of its own"])
def test_an_update_through_ona_signs_nothing_that_was_planted(
    fleet: Fleet, intruder: redis.Redis, secret: str, is_moved: bool
) -> None:
    id_ = a_task_of_ona(fleet)
    name = name_of(intruder, id_)
    entry = entry_of(intruder, name)
    evil = define(Task(name=name, run=EVIL), Keys(secret))
    key = evil.hash if is_moved else entry[0]
    intruder.hset(f"{PREFIX}:def:{key}", mapping={"body": evil.body, "signature": evil.signature, "refs": 9})
    intruder.hset(f"{PREFIX}:tasks", name, msgspec.msgpack.encode([key, *entry[1:]]))
    before = intruder.hgetall(f"{PREFIX}:def:{key}")
    for change in (
        {"metadata": {"description": "new"}},
        {"spec": {"env": [{"name": "A", "value": "1"}]}},
        {"spec": {"command": "echo good >> $HISTORY"}},
    ):
        refused = ona(fleet, "UpdateTask", id=id_, **change)
        assert refused.status_code == 400, refused.text
        assert "not signed" in refused.json()["message"]
    file = {"tasks": {"build": {"name": "New", "command": "echo good >> $HISTORY"}}}
    refused = ona(fleet, "UpsertAutomationsFile", environmentId=ENVIRONMENT, automationsFile=file)
    assert "not signed" in refused.json()["message"]
    assert intruder.hgetall(f"{PREFIX}:def:{key}") == before
    assert SENTENCE in waits_with_a_reason(fleet, fleet.trigger(name))["message"]


def test_the_definition_of_one_task_is_not_executed_as_another(fleet: Fleet, intruder: redis.Redis) -> None:
    fleet.perform("powerful")
    assert len(fleet.wrote("powerful")) == 1, "the worker has verified that definition by now"
    powerful, honest = entry_of(intruder, "powerful"), entry_of(intruder, "honest")
    intruder.hset(f"{PREFIX}:tasks", "honest", msgspec.msgpack.encode([powerful[0], *honest[1:]]))
    refused = fleet.http.post("/api/tasks/honest/run")
    assert (refused.status_code, "apply the task file again" in refused.text) == (409, True), refused.text
    assert fleet.runs(task_name="honest") == []
    id_ = a_task_of_ona(fleet)
    own = entry_of(intruder, name_of(intruder, id_))
    intruder.hset(f"{PREFIX}:tasks", name_of(intruder, id_), msgspec.msgpack.encode([powerful[0], *own[1:]]))
    refused = ona(fleet, "UpdateTask", id=id_, metadata={"description": "new"})
    assert "not signed" in refused.json()["message"]
    assert len(fleet.wrote("powerful")) == 1


def test_an_id_of_ona_that_leads_to_another_task_changes_no_command(fleet: Fleet, intruder: redis.Redis) -> None:
    first, second = a_task_of_ona(fleet, "first"), a_task_of_ona(fleet, "second")
    target = name_of(intruder, second)
    record = msgspec.msgpack.decode(field(intruder, "ona:tasks", first))
    intruder.hset(f"{PREFIX}:ona:tasks", first, msgspec.msgpack.encode([target, *record[1:]]))
    intruder.hset(f"{PREFIX}:ona:names", target, first)
    ona(fleet, "UpdateTask", id=first, metadata={"description": "new"})
    definition = fleet.get(f"/api/tasks/{target}")["definition"]
    assert definition["run"] == "echo good >> $HISTORY"


def test_limits_and_messages_that_were_planted_start_nothing(fleet: Fleet, intruder: redis.Redis) -> None:
    intruder.hset(f"{PREFIX}:limits", mapping={"db": EVIL, "$(x)": "1"})
    intruder.hset(f"{PREFIX}:limits:api", "db", base64.b64encode(EVIL.encode()))
    message = {
        "queue_name": "default",
        "actor_name": "os.system",
        "args": [EVIL],
        "kwargs": {},
        "options": {},
        "message_id": "1",
        "message_timestamp": 1,
    }
    for key in intruder.keys("*dramatiq*default*") or [f"{PREFIX}:dramatiq:default".encode()]:
        if intruder.type(key) == b"list":
            intruder.lpush(key, "1")
        elif intruder.type(key) == b"hash":
            intruder.hset(key, "1", json.dumps(message))
    assert fleet.perform("powerful")["end_reason"] == "success", "the fleet works on"
    assert len(fleet.wrote("powerful")) == 1
