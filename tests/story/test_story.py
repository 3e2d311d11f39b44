"""
A first hour with Runfleet, through its HTTP API. Read it from top to bottom; every line of it is executed.

A **task** is a named piece of work in ``runfleet.toml``. Something **triggers** it, which makes an **execution**: one
**run** for each replica, and one more for each retry. A run is ``pending``, then ``running``, then ``ended``, and an
ended run says why: ``success``, ``failed``, ``stopped``, ``timeout``, ``crashed``, ``skipped`` or ``log_overflow``.
"""

from tests.system.fleet import Fleet, followed

TASKS = """
[tasks.report]
description = "Counts what there is to count."
# A string goes to the shell. `set -e` is on: the first command that fails ends the run.
run = '''
echo "counting for $RUNFLEET_PARAM_CUSTOMER"
sleep 0.3
echo "42 rows"
echo "rows=42" >> $RUNFLEET_OUTPUT
'''
params.customer = { default = "everybody" }

[tasks.flaky]
# Fails, and succeeds when it is tried again.
run = "echo attempt $RUNFLEET_RETRY_ATTEMPT; test $RUNFLEET_RETRY_ATTEMPT = 1"
retry_attempts = 3
retry_delay = "100ms"

[tasks.hopeless]
run = ["python3", "-c", "raise SystemExit(3)"]

[tasks.forever]
run = "echo working; while true; do sleep 0.1; done"
graceful_stop = "2s"

[tasks.sharded]
run = 'echo "part=$((RUNFLEET_REPLICA_INDEX + 1)) of $RUNFLEET_REPLICA_COUNT" >> $RUNFLEET_OUTPUT'
replicas = 3

[tasks.lonely]
run = "while [ ! -e finish ]; do sleep 0.05; done"
max_concurrent = 1
on_overlap = "skip"

[tasks.build]
run = "echo image=shop:7 >> $RUNFLEET_OUTPUT"

[tasks.check]
run = "test ! -e broken"
depends_on = ["build"]

[tasks.deploy]
run = "echo deploying $RUNFLEET_OUTPUT_BUILD_IMAGE"
depends_on = ["build", "check"]

[tasks.heartbeat]
run = "date"
cron = "* * * * * *"
"""


def test_a_first_hour(fleet: Fleet) -> None:
    fleet.apply(TASKS)  # what `runfleet apply` does

    # Starting a task needs no body. The answer is the run, at once: it waits for a worker, if only for a millisecond.
    run = fleet.post("/api/tasks/report/run")
    assert run["task_name"] == "report"
    assert run["triggered_by"] == "api"
    assert run["retry_attempt"] == run["replica_index"] == 0

    # Its log can be followed while it runs. Lines are numbered from 0 and keep their numbers for good, so a reader
    # whose connection broke goes on where it was. The last event, `done`, carries the run as it ended.
    with followed(fleet, f"/api/runs/{run['id']}/log/stream") as events:
        story = list(events)
    assert [data["text"] for event, data in story if event == "line"] == ["counting for everybody", "42 rows"]
    event, ended = story[-1]
    assert event == "done"
    assert (ended["status"], ended["end_reason"], ended["exit_code"]) == ("ended", "success", 0)

    # What it wrote to $RUNFLEET_OUTPUT is part of its record, and so are its costs; its memory is not, because a shell
    # has less than can be told apart from that of the process that starts it.
    assert ended["outputs"] == {"rows": "42"}
    assert ended["duration_ms"] >= 300
    assert "peak_memory_bytes" not in ended

    # Parameters are declared by the task. They arrive as environment variables or whole arguments; nothing is ever
    # spliced into a command, so this is a customer with an odd name and nothing worse. `wait` answers when it is over.
    run = fleet.post("/api/tasks/report/run?wait=true", {"params": {"customer": "Bobby'; rm -rf /"}})
    assert run["end_reason"] == "success"
    assert fleet.log(run)[0] == "counting for Bobby'; rm -rf /"

    # People call runs by task and number.
    assert run["number"] == 2
    assert fleet.get("/api/runs/report%232")["id"] == run["id"]

    # Every run is in the list, the newest first; filters combine.
    page = fleet.get("/api/runs", task_name="report", status="ended")
    assert page["total"] == 2
    assert [one["number"] for one in page["runs"]] == [2, 1]


def test_when_things_go_wrong(fleet: Fleet) -> None:
    fleet.apply(TASKS)

    # A run that ended tells why, in a sentence. A failure is a result like any other: the API answers 201 all the same.
    run = fleet.perform("hopeless")
    assert (run["end_reason"], run["exit_code"], run["message"]) == ("failed", 3, "exited with code 3")

    # A retry is a new run that points to the one before. It exists from the instant the first one ended, so that no
    # crash of anything can lose it.
    first, second = fleet.chain_of(fleet.trigger("flaky"), 2)
    assert (first["end_reason"], second["end_reason"]) == ("failed", "success")
    assert second["retry_of_run_id"] == first["id"]
    assert second["execution_id"] == first["execution_id"]
    assert fleet.log(second) == ["attempt 1"]

    # A running run can be stopped. Its process group gets SIGTERM and, if it is still there after `graceful_stop`,
    # SIGKILL. Being stopped is not a failure: nothing is tried again.
    run = fleet.started(fleet.trigger("forever"))
    fleet.post(f"/api/runs/{run['id']}/stop")
    run = fleet.ended(run)
    assert (run["end_reason"], run["exit_code"]) == ("stopped", 143)  # 128 + SIGTERM, as shells count
    assert run["message"] == "stopped by a person"

    # Stopping it once more is refused, and the refusal says what is the matter (RFC 9457, problem details).
    again = fleet.http.post(f"/api/runs/{run['id']}/stop")
    assert again.status_code == 409
    assert again.headers["content-type"] == "application/problem+json"
    assert "is ended (stopped)" in again.json()["detail"]

    # Any ended run can be run again: the same task, the same parameters, a new execution.
    rerun = fleet.post(f"/api/runs/{first['id']}/rerun")
    assert rerun["execution_id"] != first["execution_id"]
    assert fleet.chain_of(rerun, 2)[-1]["end_reason"] == "success"


def test_several_at_once(fleet: Fleet) -> None:
    fleet.apply(TASKS)

    # Replicas are parallel copies. Each has a run of its own, and knows which one it is.
    run = fleet.trigger("sharded")
    assert (run["replica_index"], run["replica_count"]) == (0, 3)
    parts = fleet.chain_of(run, 3)
    assert [part["outputs"]["part"] for part in parts] == ["1 of 3", "2 of 3", "3 of 3"]

    # A task may forbid that two executions of it overlap. Then a trigger is never silently lost: it makes a run that
    # ended at once, `skipped`, and says whom it would have disturbed.
    lonely = fleet.started(fleet.trigger("lonely"))
    skipped = fleet.trigger("lonely")
    assert (skipped["status"], skipped["end_reason"]) == ("ended", "skipped")
    assert skipped["message"] == "skipped: lonely#1 was still running"
    (fleet.folder / "finish").touch()
    assert fleet.ended(lonely)["end_reason"] == "success"

    # A request that is sent twice (a time-out, an impatient thumb) starts one run if both carry the same key.
    once, twice = (fleet.post("/api/tasks/report/run", key="invoice-7") for _ in range(2))
    assert once["id"] == twice["id"]

    # A run can wait for its time, and be called off before it.
    later = fleet.trigger("report", delay_ms=3_600_000)
    assert later["status"] == "pending"
    assert fleet.post(f"/api/runs/{later['id']}/stop")["end_reason"] == "stopped"


def test_one_after_another(fleet: Fleet) -> None:
    fleet.apply(TASKS)

    # Starting a task starts what it depends on first. The answer is the first run; the
    # execution has them all, in groups.
    run = fleet.trigger("deploy")
    assert run["task_name"] == "build"
    execution = fleet.over(run)
    assert execution["plan"] == [["build"], ["check"], ["deploy"]]
    assert (execution["task_name"], execution["phase"]) == ("deploy", "succeeded")

    # What a run puts out reaches those that depend on it.
    assert fleet.log(execution["runs"][-1]) == ["deploying shop:7"]

    # When a step fails, what follows is recorded as skipped, and says why.
    (fleet.folder / "broken").touch()
    execution = fleet.over(fleet.trigger("deploy"))
    assert execution["phase"] == "failed"
    assert [step["phase"] for step in execution["steps"]] == ["succeeded", "failed", "skipped"]
    assert execution["steps"][2]["message"] == "skipped: check#2 ended as failed"

    # Once it is mended, the failed part is enough: what succeeded is not run again, and its outputs are still there.
    (fleet.folder / "broken").unlink()
    again = fleet.over(fleet.post(f"/api/executions/{execution['id']}/rerun?failed_only=true"))
    assert [run["task_name"] for run in again["runs"]] == ["check", "deploy"]
    assert fleet.log(again["runs"][-1]) == ["deploying shop:7"]


def test_by_the_clock(fleet: Fleet) -> None:
    fleet.apply(TASKS)

    # A schedule is cron text, with seconds first if there are six fields. The API says it in words, and when it fires.
    task = fleet.get("/api/tasks/heartbeat")
    assert task["schedule"]
    assert len(task["next_ticks"]) == 5

    # One tick makes one execution, whatever the number of schedulers. `scheduled_for` is the instant it stands for.
    with followed(fleet, "/api/events/stream?task=heartbeat&types=run.ended") as events:
        next(events)
        next(events)
    first, second = fleet.runs(task_name="heartbeat", status="ended")[:2]
    assert first["triggered_by"] == second["triggered_by"] == "cron"
    assert first["scheduled_for"] < second["scheduled_for"]

    # A paused schedule does not fire; the task can still be started by hand. Ticks meanwhile are not owed afterwards.
    assert fleet.post("/api/tasks/heartbeat/pause")["paused"] is True
    assert fleet.perform("heartbeat")["triggered_by"] == "api"
    assert fleet.post("/api/tasks/heartbeat/resume")["paused"] is False
