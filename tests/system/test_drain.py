"""Being told to stop: nothing new is taken, what runs may finish, what can't is reported, and nothing is lost."""

import signal
import time

from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.fleet import Process
from tests.waiting import wait_until

GRACE_S = 4.0
TASKS = """
[defaults]
graceful_stop = "1s"

[tasks.short]
run = 'echo "short began" >> $HISTORY; sleep 1'

[tasks.retry]
run = 'echo "$RUNFLEET_RUN_ID began" >> $HISTORY; [ $RUNFLEET_RETRY_ATTEMPT = 1 ] || sleep 60'
retry_attempts = 1

[tasks.rerun]
run = '''
echo "$RUNFLEET_RUN_ID began" >> $HISTORY
if grep -q "^rerun again" $HISTORY; then exit 0; fi
echo "rerun again" >> $HISTORY
sleep 60
'''
on_interrupt = "rerun"

[tasks.end]
run = 'echo "$RUNFLEET_RUN_ID began" >> $HISTORY; sleep 60'
on_interrupt = "end"
retry_attempts = 5

[tasks.deaf]
run = 'trap "" TERM; echo "$RUNFLEET_RUN_ID began" >> $HISTORY; while :; do sleep 60 || :; done'
on_interrupt = "end"

[tasks.queued]
run = "true"
"""


def five_times(process: Process) -> None:
    """SIGTERM to every process of the group, five times within 100 ms, as some platforms do."""
    for _ in range(5):
        process.signal_group(signal.SIGTERM)
        time.sleep(0.02)  # the distance is what is tested


def test_a_drain_loses_nothing_and_ends_in_time(make_fleet: StartFleet, measured: Measured) -> None:
    """F6: with runs of every kind under way."""
    fleet = make_fleet(TASKS, "web", "scheduler", grace_s=GRACE_S, threads=5)
    (worker,) = fleet.start("worker")
    long = {name: fleet.trigger(name) for name in ("retry", "rerun", "end", "deaf")}
    short = fleet.trigger("short")
    for run in long.values():
        fleet.wait_for_word(run["id"], "began")
    fleet.wait_for_word("short")
    queued = [fleet.trigger("queued") for _ in range(3)]
    assert [run["status"] for run in queued] == ["pending"] * 3

    five_times(worker)
    asked_s = time.monotonic()
    assert worker.wait(GRACE_S + 2) == 0
    measured("F6", "drain with a grace of 4 s", time.monotonic() - asked_s, GRACE_S + 0.5)

    assert fleet.run(short["id"])["end_reason"] == "success"
    for run in long.values():
        ended = fleet.run(run["id"])
        assert (ended["end_reason"], ended["message"]) == ("crashed", "interrupted: its worker was shut down")
    assert fleet.run(long["end"]["id"])["exit_code"] == 143
    assert fleet.run(long["deaf"]["id"])["exit_code"] == 137
    assert [fleet.run(run["id"])["status"] for run in queued] == ["pending"] * 3
    assert not any(fleet.run_processes(run["id"]) for run in long.values())

    fleet.start("worker")
    assert {fleet.ended(run)["end_reason"] for run in queued} == {"success"}
    assert [run["retry_attempt"] for run in fleet.chain_of(long["retry"], 2)] == [0, 1]  # an attempt was used up
    assert [run["retry_attempt"] for run in fleet.chain_of(long["rerun"], 2)] == [0, 0]  # none was
    assert len(fleet.chain(long["end"])) == len(fleet.chain(long["deaf"])) == 1
    assert fleet.chain(long["retry"])[1]["end_reason"] == fleet.chain(long["rerun"])[1]["end_reason"] == "success"


def test_a_second_request_later_means_now(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, "web", "scheduler", grace_s=30.0)
    (worker,) = fleet.start("worker")
    run = fleet.trigger("end")
    fleet.wait_for_word(run["id"], "began")
    worker.popen.send_signal(signal.SIGTERM)
    worker.wait_for("worker.drain")
    time.sleep(1.6)  # nearer than that they are one wish
    worker.popen.send_signal(signal.SIGTERM)
    assert worker.wait(4) == 0
    assert fleet.run(run["id"])["message"] == "interrupted: its worker was shut down"


def test_a_worker_can_be_drained_by_the_api(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, grace_s=8.0).start_all()
    worker = fleet.of("worker")
    before = fleet.workers()[0]["id"]
    run = fleet.trigger("short")
    fleet.wait_for_word("short")
    fleet.post(f"/api/workers/{before}/drain")
    worker.wait_for("worker.stopped", 8)
    assert fleet.run(run["id"])["end_reason"] == "success"
    # Its launcher was not asked to leave: it starts another worker process.
    wait_until(lambda: [one["id"] for one in fleet.workers()] not in ([], [before]), "another took its place")
    assert fleet.perform("queued")["end_reason"] == "success"


def test_idle_processes_end_with_zero_at_once_after_any_number_of_signals(make_fleet: StartFleet) -> None:
    """F6: with nothing under way."""
    fleet = make_fleet(TASKS).start_all()
    told = [fleet.of("worker"), fleet.of("scheduler"), fleet.of("web")]
    for process in told:
        five_times(process)
    assert [process.wait(10) for process in told] == [0, 0, 0]


def test_a_worker_that_leaves_takes_its_files_along(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, "web", "scheduler")
    (worker,) = fleet.start("worker")
    fleet.perform("short")
    assert list(fleet.temporary.iterdir()), "its folder is there while it serves"
    worker.popen.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert list(fleet.temporary.iterdir()) == []
