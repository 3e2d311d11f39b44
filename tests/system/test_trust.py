"""Who can write to Redis can still not make a worker run a command: definitions are signed."""

from __future__ import annotations

import pytest

from shared.signing import Keys
from shared.tasks import Task, define
from tests.system.conftest import StartFleet

TASKS = """
[tasks.honest]
run = "true"
"""
SENTENCE = "is not signed with this worker's RUNFLEET_SECRET; nothing was executed"


@pytest.mark.parametrize("forged", ["the body is another", "it is signed with another secret", "it is not signed"])
def test_a_forged_definition_is_not_executed(make_fleet: StartFleet, forged: str) -> None:
    fleet = make_fleet(TASKS)
    fleet.start("web", "scheduler")
    evil = define(
        Task(name="honest", run="echo evil >> $HISTORY"),
        Keys("a secret that somebody made up" if forged.startswith("it is signed") else ""),
    )
    run = fleet.trigger("honest")
    with fleet.redis.client() as client:
        (key,) = [key for key in client.keys("{runfleet}:def:*") if b"run" in (client.hget(key, "body") or b"run")]
        fields = client.hgetall(key)
        assert fields[b"body"] == define(Task(name="honest", run="true")).body
        client.hset(key, mapping={"body": evil.body})
        if not forged.startswith("the body"):
            client.hset(key, mapping={"signature": evil.signature})
    fleet.start("worker")
    ended = fleet.ended(run)
    assert (ended["end_reason"], ended["exit_code"]) == ("failed", -1)
    assert SENTENCE in ended["message"]
    assert fleet.wrote("evil") == []


def test_a_worker_with_another_secret_executes_nothing(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS)
    fleet.start("web", "scheduler")
    (worker,) = fleet.start("worker", RUNFLEET_SECRET="another secret of sixteen or more")
    ended = fleet.perform("honest")
    assert (ended["end_reason"], ended["exit_code"]) == ("failed", -1)
    assert SENTENCE in ended["message"]
    assert worker.events("definition.untrusted")
