"""Stopping: heard within a second, polite first, then sure; and nothing that a run started outlives it."""

import time

import pytest

from tests.conftest import Measured
from tests.system.fleet import Fleet, Json
from tests.system.processes import is_alive

HEARD_S = 1.0
TASKS = """
[defaults]
graceful_stop = "1s"

[tasks.polite]
run = 'trap "echo goodbye; exit 3" TERM; echo "$RUNFLEET_RUN_ID began" >> $HISTORY; while :; do sleep 0.1; done'
retry_attempts = 3

[tasks.deaf]
run = 'trap "" TERM; echo "$RUNFLEET_RUN_ID began" >> $HISTORY; while :; do sleep 60 || :; done'

[tasks.family]
# A child in its group, a daemon in a session of its own, and a daemon's daemon.
run = '''
sleep 61 &
setsid sh -c 'setsid sleep 62 & sleep 63' &
sleep 0.2
echo "$RUNFLEET_RUN_ID began" >> $HISTORY
sleep 60
'''

[tasks.leaves]
# Ends at once, but what it leaves behind has its output open.
run = "setsid sleep 64 & echo done"

[tasks.interrupted]
run = 'trap "exit 7" INT; echo "$RUNFLEET_RUN_ID began" >> $HISTORY; while :; do sleep 0.1; done'
stop_signal = "SIGINT"

[tasks.timely]
run = "sleep 60"
timeout = "300ms"
retry_attempts = 1
retry_delay = "1ms"

[tasks.narrow]
run = 'echo "$RUNFLEET_RUN_ID began" >> $HISTORY; sleep 60'
max_concurrent = 1
replicas = 2
"""


def begin(fleet: Fleet, task: str) -> Json:
    """A run of *task* that is under way."""
    run = fleet.trigger(task)
    fleet.wait_for_word(run["id"], "began")
    return run


def test_a_running_run_gets_a_stop_within_a_second_and_is_not_retried(fleet: Fleet) -> None:
    run = begin(fleet, "polite")
    asked_s = time.monotonic()
    fleet.post(f"/api/runs/{run['id']}/stop")
    ended = fleet.ended(run)
    assert time.monotonic() - asked_s < HEARD_S
    assert (ended["end_reason"], ended["exit_code"], ended["message"]) == ("stopped", 3, "stopped by a person")
    assert "goodbye" in fleet.log(run)
    assert len(fleet.chain(run)) == 1


def test_a_pending_run_is_stopped_at_once_and_never_runs(fleet: Fleet) -> None:
    run = fleet.trigger("polite", delay_ms=60_000)
    stopped = fleet.post(f"/api/runs/{run['id']}/stop")
    assert (stopped["status"], stopped["end_reason"], stopped["exit_code"]) == ("ended", "stopped", -1)
    assert "start_at" not in stopped
    again = fleet.http.post(f"/api/runs/{run['id']}/stop")
    assert again.status_code == 409
    assert f"run {run['id']} is ended (stopped)" in again.json()["detail"]


def test_a_process_that_ignores_the_signal_is_killed_after_the_grace_period(fleet: Fleet) -> None:
    run = begin(fleet, "deaf")
    asked_s = time.monotonic()
    fleet.post(f"/api/runs/{run['id']}/stop")
    ended = fleet.ended(run)
    assert 1.0 <= time.monotonic() - asked_s < 3.0
    assert (ended["end_reason"], ended["exit_code"]) == ("stopped", 137)


def test_force_does_not_wait_for_grace(fleet: Fleet) -> None:
    run = begin(fleet, "deaf")
    asked_s = time.monotonic()
    fleet.post(f"/api/runs/{run['id']}/stop?force=true")
    assert fleet.ended(run)["exit_code"] == 137
    assert time.monotonic() - asked_s < HEARD_S


def test_a_task_chooses_its_signal(fleet: Fleet) -> None:
    run = begin(fleet, "interrupted")
    fleet.post(f"/api/runs/{run['id']}/stop")
    assert fleet.ended(run)["exit_code"] == 7


def test_stop_ends_children_daemons_and_daemons_of_daemons(fleet: Fleet) -> None:
    """F11: when a run is stopped."""
    run = begin(fleet, "family")
    everybody = fleet.run_processes(run["id"])
    assert len(everybody) >= 5
    fleet.post(f"/api/runs/{run['id']}/stop")
    assert fleet.ended(run)["end_reason"] == "stopped"
    assert not any(map(is_alive, everybody))  # when the end is on record, they are gone already


def test_a_process_that_keeps_the_output_open_does_not_delay_the_end(fleet: Fleet, measured: Measured) -> None:
    """F11, F42: when a run ends by itself."""
    asked_s = time.monotonic()
    ended = fleet.perform("leaves")
    measured("F42", "end", time.monotonic() - asked_s, 2.0)
    assert (ended["end_reason"], fleet.log(ended)) == ("success", ["done"])
    assert not fleet.run_processes(ended["id"])


def test_a_timeout_is_of_each_attempt(fleet: Fleet) -> None:
    chain = fleet.chain_of(fleet.trigger("timely"), 2)
    assert [run["end_reason"] for run in chain] == ["timeout"] * 2
    assert chain[0]["message"] == "ran longer than timeout = 300ms"
    assert all(300 <= run["duration_ms"] < 1300 for run in chain)


@pytest.mark.parametrize("way", ["executions/{execution_id}", "tasks/{task_name}"])
def test_stopping_more_than_one_stops_every_replica_and_what_waits(fleet: Fleet, way: str) -> None:
    run = begin(fleet, "narrow")
    waiting = fleet.trigger("narrow")
    assert waiting["status"] == "pending"
    fleet.post("/api/" + way.format(**run) + "/stop")
    assert [one["end_reason"] for one in fleet.chain_of(run, 2)] == ["stopped"] * 2
    if way.startswith("executions"):
        fleet.wait_for_word(waiting["id"], "began")  # the place is free, the next execution starts
        fleet.post(f"/api/executions/{waiting['execution_id']}/stop")
    assert [one["end_reason"] for one in fleet.chain_of(waiting, 2)] == ["stopped"] * 2
