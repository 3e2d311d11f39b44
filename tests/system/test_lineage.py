"""What a fleet tells OpenLineage of its own runs, heard by itself: every start and every end, whoever made it."""

import signal
import time
from datetime import datetime
from typing import Any

import pytest

from tests.system.conftest import StartFleet
from tests.system.fleet import TOKEN, Fleet, Json
from tests.waiting import wait_until

TASKS = """
[tasks.works]
run = "true"
description = "Does what it should"

[tasks.fails]
run = "exit 3"
retry_attempts = 1
retry_delay = "1ms"

[tasks.after]
run = "true"
depends_on = ["fails"]

[tasks.slow]
run = "exec sleep 60"
timeout = "300ms"

[tasks.long]
run = 'echo "$RUNFLEET_RUN_ID began" >> $HISTORY; exec sleep 60'
max_concurrent = 1
on_overlap = "skip"

[tasks.waits]
run = "true"
queue = "nobody"
"""


def lineage_of(fleet: Fleet, run: Json, last: str, timeout_s: float = 20.0) -> list[Json]:
    """The events told of a run, in the order of their times, once the *last* is there."""

    def told() -> list[Json]:
        found = fleet.get("/api/v1/events/lineage", sortDirection="asc", limit=1000)["events"]
        mine = [event for event in found if event["run"]["runId"] == run["id"]]
        return mine if mine and mine[-1]["eventType"] == last else []

    return wait_until(told, f"{run['task_name']} is told of as {last}", timeout_s)


def types(events: list[Json]) -> list[str]:
    return [event["eventType"] for event in events]


@pytest.fixture
def telling(make_fleet: StartFleet) -> Fleet:
    """A fleet that tells itself."""
    fleet = make_fleet(TASKS)
    (web,) = fleet.start("web")
    assert web
    fleet.env |= {"OPENLINEAGE_URL": str(fleet.http.base_url), "OPENLINEAGE_API_KEY": TOKEN}
    fleet.start("scheduler", "worker")
    return fleet


def facet(event: Json) -> Any:
    return event["run"]["facets"]["runfleet"]


def test_every_start_and_every_end_is_emitted(telling: Fleet) -> None:
    well = telling.perform("works")
    started, ended = lineage_of(telling, well, "COMPLETE")
    assert (started["eventType"], started["eventTime"]) == ("START", well["start_at"])
    assert abs(_seconds(ended["eventTime"]) - _seconds(well["end_at"])) < 0.5
    assert ended["job"]["facets"]["documentation"]["description"] == "Does what it should"
    assert facet(ended)["exitCode"] == 0
    assert ended["run"]["facets"]["tags"]  # the vendor's client was here

    first, second = telling.chain_of(telling.trigger("fails"), 2)
    for attempt, run in enumerate((first, second)):
        told = lineage_of(telling, run, "FAIL")
        assert (types(told), facet(told[1])["attempt"]) == (["START", "FAIL"], attempt)
        assert told[1]["run"]["facets"]["errorMessage"]["message"] == "exited with code 3"

    assert types(lineage_of(telling, telling.perform("slow"), "FAIL")) == ["START", "FAIL"]

    long = telling.trigger("long")
    telling.wait_for_word(long["id"], "began")
    skipped = telling.trigger("long")
    told = lineage_of(telling, skipped, "ABORT")
    assert (types(told), facet(told[0])["endReason"]) == (["ABORT"], "skipped")
    telling.post(f"/api/runs/{long['id']}/stop")
    assert types(lineage_of(telling, long, "ABORT")) == ["START", "ABORT"]

    waits = telling.trigger("waits")
    telling.post(f"/api/runs/{waits['id']}/stop")
    assert types(lineage_of(telling, waits, "ABORT")) == ["ABORT"]

    telling.trigger("after")
    never = wait_until(lambda: telling.runs(task_name="after"), "the step that nothing leads to is on record")[0]
    told = lineage_of(telling, never, "ABORT")
    assert (types(told), facet(told[0])["endReason"]) == (["ABORT"], "skipped")

    shown = telling.get(f"/api/v1/jobs/runs/{well['id']}")
    assert (shown["state"], shown["facets"]["processing_engine"]["name"]) == ("COMPLETED", "runfleet")


def test_the_scheduler_emits_lost_runs_and_a_draining_worker_its_own(telling: Fleet) -> None:
    lost = telling.trigger("long")
    telling.wait_for_word(lost["id"], "began")
    lineage_of(telling, lost, "START")
    telling.of("worker").signal_group(signal.SIGKILL)
    told = lineage_of(telling, lost, "FAIL", 40)
    assert (types(told), facet(told[-1])["endReason"]) == (["START", "FAIL"], "crashed")

    (worker,) = telling.start("worker")
    run = telling.trigger("long")
    telling.wait_for_word(run["id"], "began")
    worker.popen.terminate()
    assert worker.wait() == 0
    assert types(lineage_of(telling, run, "FAIL")) == ["START", "FAIL"]
    assert not worker.events("lineage.dropped")


def test_a_backend_that_is_not_there_delays_and_fails_nothing(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, OPENLINEAGE_URL="http://127.0.0.1:9", OPENLINEAGE_API_KEY="x").start_all()
    began_s = time.monotonic()
    for _ in range(20):
        assert fleet.perform("works")["end_reason"] == "success"
    assert time.monotonic() - began_s < 10
    worker = fleet.of("worker")
    began_s = time.monotonic()
    worker.popen.terminate()
    assert worker.wait() == 0
    assert time.monotonic() - began_s < 8
    assert " in_all=" in worker.events("lineage.dropped")[-1]


def _seconds(text: str) -> float:

    return datetime.fromisoformat(text).timestamp()
