"""Who can write to Redis can still not make a worker run a command: definitions are signed."""

from __future__ import annotations

import pytest

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
    fleet = make_fleet(TASKS)
    fleet.start("web", "scheduler")
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
