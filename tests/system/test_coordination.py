"""Many runs at once: overlap, replicas, retries, priorities, pauses, and each wish granted once."""

import time
from datetime import datetime, timedelta

from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Json
from tests.waiting import wait_until

TASKS = """
[tasks.queue]
run = '''
echo "$RUNFLEET_RUN_ID began" >> $HISTORY
while [ ! -e "go-$RUNFLEET_RUN_ID" ]; do sleep 0.05; done
echo "$RUNFLEET_RUN_ID ended" >> $HISTORY
'''
max_concurrent = 1
max_queued = 2

[tasks.skip]
run = 'echo "$RUNFLEET_RUN_ID began" >> $HISTORY; while [ ! -e "go-$RUNFLEET_RUN_ID" ]; do sleep 0.05; done'
max_concurrent = 1
on_overlap = "skip"

[tasks.kill]
run = 'echo "$RUNFLEET_RUN_ID began" >> $HISTORY; while [ ! -e "go-$RUNFLEET_RUN_ID" ]; do sleep 0.05; done'
max_concurrent = 1
on_overlap = "kill"

[tasks.replicas]
run = 'test $RUNFLEET_REPLICA_INDEX != 1 || test $RUNFLEET_RETRY_ATTEMPT = 1'
replicas = 3
retry_attempts = 2
retry_delay = "1ms"

[tasks.failing]
run = "exit 9"
retry_attempts = 2
retry_delay = ["100ms", "400ms"]

[tasks.picky]
run = "exit 4"
retry_attempts = 2
retry_delay = "1ms"
retry_on = ["exit:5-9"]

[tasks.aside]
run = 'echo "order $RUNFLEET_RUN_ID" >> $HISTORY'
queue = "aside"

[tasks.quick]
run = "true"

[tasks.kept]
run = "echo something"
keep_runs = 3
"""


def begin(fleet: Fleet, task: str) -> Json:
    run = fleet.trigger(task)
    fleet.wait_for_word(run["id"], "began")
    return run


def let_go(fleet: Fleet, run: Json) -> None:
    (fleet.folder / f"go-{run['id']}").touch()


def test_queued_executions_wait_in_order_and_a_full_queue_refuses(fleet: Fleet) -> None:
    runs = [begin(fleet, "queue"), fleet.trigger("queue"), fleet.trigger("queue")]
    refused = fleet.trigger("queue")
    assert (refused["status"], refused["end_reason"], refused["exit_code"]) == ("ended", "skipped", -1)
    assert refused["message"]
    for run in runs:
        fleet.wait_for_word(run["id"], "began")
        let_go(fleet, run)
        assert fleet.ended(run)["end_reason"] == "success"
    mine = {run["id"] for run in runs}
    words = [line for line in fleet.wrote() if line[0] in mine]
    assert words == [[run["id"], word] for run in runs for word in ("began", "ended")]  # never two at once


def test_a_trigger_that_overlaps_may_be_skipped_and_says_why(fleet: Fleet) -> None:
    first = begin(fleet, "skip")
    second = fleet.trigger("skip")
    assert (second["end_reason"], second["exit_code"]) == ("skipped", -1)
    assert f"skip#{first['number']} was still running" in second["message"]
    let_go(fleet, first)
    assert fleet.ended(first)["end_reason"] == "success"
    assert len(fleet.chain(second)) == 1


def test_a_trigger_that_overlaps_may_take_the_place_of_the_oldest(fleet: Fleet) -> None:
    first = begin(fleet, "kill")
    second = fleet.trigger("kill")
    ended = fleet.ended(first)
    assert (ended["end_reason"], ended["exit_code"]) == ("stopped", 143)
    assert ended["message"] != "stopped by a person"
    fleet.wait_for_word(second["id"], "began")
    let_go(fleet, second)
    done = fleet.ended(second)
    assert done["end_reason"] == "success"
    assert datetime.fromisoformat(done["start_at"]) >= datetime.fromisoformat(ended["end_at"])


def test_replicas_run_and_are_retried_each_for_itself(fleet: Fleet) -> None:
    chain = fleet.chain_of(fleet.trigger("replicas"), 4)
    ends = {(run["replica_index"], run["retry_attempt"]): run["end_reason"] for run in chain}
    assert ends == {(0, 0): "success", (1, 0): "failed", (1, 1): "success", (2, 0): "success"}
    assert {run["replica_count"] for run in chain} == {3}


def test_each_retry_has_its_delay_and_the_last_failure_stands(fleet: Fleet) -> None:
    first, second, third = fleet.chain_of(fleet.trigger("failing"), 3)
    assert [run["retry_attempt"] for run in (first, second, third)] == [0, 1, 2]
    assert second["retry_of_run_id"] == first["id"]
    assert third["retry_of_run_id"] == second["id"]
    for before, after, delay_ms in ((first, second, 100), (second, third, 400)):
        waited = datetime.fromisoformat(after["start_at"]) - datetime.fromisoformat(before["end_at"])
        assert timedelta(milliseconds=delay_ms) <= waited < timedelta(milliseconds=delay_ms + 1500)
    assert {run["triggered_by"] for run in (first, second, third)} == {"api"}


def test_only_what_is_listed_is_retried(fleet: Fleet) -> None:
    run = fleet.perform("picky")
    assert fleet.chain(run) == [fleet.run(run["id"])]


def test_a_paused_queue_keeps_its_runs_and_the_highest_priority_goes_first(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, threads=1).start_all()
    fleet.post("/api/queues/aside/pause")
    runs = [fleet.trigger("aside", priority=priority) for priority in (1, 0, 9, 1)]
    assert fleet.perform("quick")["end_reason"] == "success"  # other queues go on
    assert {fleet.run(run["id"])["status"] for run in runs} == {"pending"}
    fleet.post("/api/queues/aside/resume")
    for run in runs:
        assert fleet.ended(run)["end_reason"] == "success"
    assert [line[1] for line in fleet.wrote("order")] == [runs[place]["id"] for place in (2, 0, 3, 1)]


def test_a_repeated_request_gets_its_run_again_from_another_api_process_too(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS).start_all()
    first = fleet.post("/api/tasks/quick/run", {"tags": ["a"]}, key="the-same-wish")
    fleet.of("web").kill()
    fleet.start("web")
    again = fleet.post("/api/tasks/quick/run", {"tags": ["a"]}, key="the-same-wish")
    assert again["id"] == first["id"]
    assert len(fleet.runs(task_name="quick")) == 1
    other = fleet.http.post("/api/tasks/quick/run", json={"tags": ["b"]}, headers={"Idempotency-Key": "the-same-wish"})
    assert other.status_code == 422


def test_a_task_keeps_so_many_runs_and_their_logs_go_with_them(fleet: Fleet) -> None:
    runs = [fleet.perform("kept") for _ in range(6)]
    kept = wait_until(lambda: _of_length(3, fleet.runs(task_name="kept")), "the oldest are forgotten")
    assert [run["id"] for run in kept] == [run["id"] for run in runs[3:]]
    assert fleet.http.get(f"/api/runs/{runs[0]['id']}").status_code == 404
    assert fleet.http.get(f"/api/runs/{runs[0]['id']}/log").status_code == 404


def test_runs_whose_wake_up_was_lost_start_soon(make_fleet: StartFleet, measured: Measured) -> None:
    """F35: the scheduler rings again."""
    fleet = make_fleet(TASKS).start_all()
    assert fleet.perform("quick")["end_reason"] == "success"
    fleet.post("/api/queues/default/pause")
    runs = [fleet.trigger("quick") for _ in range(20)]
    with fleet.redis.client() as client:
        client.srem("{runfleet}:queues:paused", "default")  # behind everybody's back: nobody rings
        bells = [key for pattern in ("dramatiq:*", "wake:queue:*") for key in client.keys("{runfleet}:" + pattern)]
        if bells:
            client.delete(*bells)
    asked_s = time.monotonic()
    assert {fleet.ended(run)["end_reason"] for run in runs} == {"success"}
    measured("F35", "20 runs over", time.monotonic() - asked_s, 3)


def _of_length(length: int, runs: list[Json]) -> list[Json]:
    return runs if len(runs) == length else []
