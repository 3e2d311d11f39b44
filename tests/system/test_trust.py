"""Who can write to Redis can still not make a worker run a command: definitions are signed."""

from uuid import UUID

import msgspec
import pytest

from shared.runs import FIELDS
from shared.tasks import Task, define
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Json
from tests.waiting import wait_until

TASKS = """
[tasks.honest]
run = "true"

[tasks.other]
run = "true"
"""
SENTENCE = "is not signed with the RUNFLEET_SECRET of a worker that took it"


def waits_with_a_reason(fleet: Fleet, run: Json) -> Json:
    """The run, once a worker has given it back because it cannot verify it."""
    return wait_until(
        lambda: found if (found := fleet.run(run["id"])).get("message") and found["status"] == "pending" else {},
        "it was given back",
    )


@pytest.mark.parametrize("forged", ["the body is another", "it is signed with another secret", "it is not signed"])
def test_a_forged_definition_is_not_executed_and_its_run_says_what_it_waits_for(
    make_fleet: StartFleet, forged: str
) -> None:
    fleet = make_fleet(TASKS, "web", "scheduler")
    run = fleet.trigger("honest")
    evil = define(Task(name="honest", run="echo evil >> $HISTORY"))
    with fleet.redis.client() as client:
        (key,) = [
            key for key in client.keys("{runfleet}:def:*") if b'"name":"honest"' in (client.hget(key, "body") or b"")
        ]
        client.hset(key, mapping={"body": evil.body})
        if not forged.startswith("the body"):
            client.hset(key, mapping={"signature": "0" * 64 if forged.startswith("it is signed") else ""})
    (worker,) = fleet.start("worker")
    assert SENTENCE in waits_with_a_reason(fleet, run)["message"]
    assert fleet.perform("other")["end_reason"] == "success"  # its worker goes on
    assert worker.events("definition.untrusted")
    assert fleet.run(run["id"])["status"] in ("pending", "running")
    assert fleet.wrote("evil") == []


PLANTED = """
[tasks.honest]
run = "true"
params.what = { choices = ["good", "better"] }

[tasks.other]
run = "echo other $RUNFLEET_PARAM_WHAT >> $HISTORY"
params.what = { choices = ["good"] }
"""


def planted(fleet: Fleet, field: str, value: str) -> Json:
    """A run of ``honest`` in whose record somebody wrote *value*."""
    fleet.perform("other", params={"what": "good"})  # its definition is known, and was verified
    fleet.post("/api/queues/default/pause")
    run = fleet.trigger("honest", params={"what": "better"})
    with fleet.redis.client() as client:
        key = b"{runfleet}:run:" + UUID(run["id"]).bytes
        record = msgspec.msgpack.decode(client.get(key) or b"")
        record[FIELDS.index(field)] = value
        client.set(key, msgspec.msgpack.encode(record))
    fleet.post("/api/queues/default/resume")
    return run


def test_parameters_that_the_task_refuses_are_refused_by_the_worker(make_fleet: StartFleet) -> None:
    fleet = make_fleet(PLANTED).start_all()
    ended = fleet.ended(planted(fleet, "params", '{"what":"$(reboot)"}'))
    assert (ended["end_reason"], ended["exit_code"]) == ("failed", -1)
    assert "task honest does not accept the parameters of this run: params.what must be one of" in ended["message"]
    assert fleet.wrote() == [["other", "good"]]


@pytest.mark.parametrize("secret", ["a secret of sixteen letters", ""])
def test_a_run_is_not_executed_by_the_definition_of_another_task(make_fleet: StartFleet, secret: str) -> None:
    fleet = make_fleet(PLANTED, RUNFLEET_SECRET=secret).start_all()
    with fleet.redis.client() as client:
        hash_ = msgspec.msgpack.decode(client.hget("{runfleet}:tasks", "other") or b"")[0]
    run = planted(fleet, "definition", hash_)
    assert f"its definition {hash_}" in waits_with_a_reason(fleet, run)["message"]
    assert fleet.wrote() == [["other", "good"]]
