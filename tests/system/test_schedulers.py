"""Several schedulers: one leads, the others wait; every tick becomes one execution, whoever is killed."""

import re
import signal
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet
from tests.waiting import wait_until

TAKEN_OVER_S = 5.0
EVERY_SECOND = """
[tasks.tick]
run = 'echo "tick $RUNFLEET_SCHEDULED_FOR" >> $HISTORY'
cron = "@every 1s"

[tasks.sixfields]
run = "true"
cron = "*/2 * * * * *"
"""


def ticks(fleet: Fleet, **query: str) -> list[datetime]:
    """The instants of all ticks that became runs, in order."""
    runs = fleet.runs(task_name="tick", triggered_by="cron", **query)
    return sorted(datetime.fromisoformat(run["scheduled_for"]) for run in runs)


def test_a_killed_leader_is_followed_and_no_tick_is_lost_or_doubled(make_fleet: StartFleet, measured: Measured) -> None:
    """F30: at whatever moment."""
    fleet = make_fleet(EVERY_SECOND, "web", "worker")
    (first,) = fleet.start("scheduler")
    (second,) = fleet.start("scheduler")
    first.wait_for("scheduler.leading")
    assert not second.events("scheduler.leading")
    wait_until(lambda: len(ticks(fleet)) >= 2, "it ticks")

    first.kill()
    killed_s = time.monotonic()
    second.wait_for("scheduler.leading", TAKEN_OVER_S)
    measured("F30", "leadership", time.monotonic() - killed_s, TAKEN_OVER_S)

    (third,) = fleet.start("scheduler")
    second.popen.send_signal(signal.SIGTERM)
    asked_s = time.monotonic()
    third.wait_for("scheduler.leading", 2.0)  # a leader that leaves hands over
    assert time.monotonic() - asked_s < 2.0
    assert second.wait(3) == 0
    so_far = len(ticks(fleet))
    wait_until(lambda: len(ticks(fleet)) > so_far + 1, "the third ticks")

    fired = ticks(fleet)
    assert {later - earlier for earlier, later in pairwise(fired)} == {timedelta(seconds=1)}
    wait_until(lambda: len(fleet.wrote("tick")) >= len(fired), "all of them were executed")
    executed = [line[1] for line in fleet.wrote("tick")]
    assert len(executed) == len(set(executed))
    even = [datetime.fromisoformat(run["scheduled_for"]).second for run in fleet.runs(task_name="sixfields")]
    assert even
    assert all(second % 2 == 0 for second in even)


def test_ticks_are_fired_within_a_tenth_of_a_second(make_fleet: StartFleet) -> None:
    fleet = make_fleet(EVERY_SECOND).start_all()
    wait_until(lambda: len(ticks(fleet)) >= 4, "it ticks")
    late = sorted(
        datetime.fromisoformat(run["created_at"]) - datetime.fromisoformat(run["scheduled_for"])
        for run in fleet.runs(task_name="tick")
    )
    # The median, because tests share their machine with others.
    assert timedelta(0) <= late[len(late) // 2] < timedelta(milliseconds=100)


def test_after_downtime_the_newest_ticks_run_and_one_record_counts_the_rest(make_fleet: StartFleet) -> None:
    tasks = EVERY_SECOND.replace('"@every 1s"', '"@every 1s"\ncatch_up = 2')
    fleet = make_fleet(tasks)
    fleet.apply(tasks)
    # Instead of waiting through a minute without a scheduler, the last tick that was seen to is put back.
    with fleet.redis.client() as client:
        seen_to_us = client.hincrby("{runfleet}:ticks", "tick", -60_000_000)
    fleet.start("web", "worker", "scheduler")
    (skipped,) = wait_until(lambda: fleet.runs(task_name="tick", end_reason="skipped"), "there is one record of it")
    counted = re.fullmatch(
        r"skipped: missed (\d+) ticks \(.* to .*\) while no scheduler was leading", skipped["message"]
    )
    assert counted
    missed = int(counted[1])
    assert missed > 40
    wait_until(lambda: len(fleet.runs(task_name="tick", end_reason="success")) > 14, "the newest ran, and it goes on")
    fired = ticks(fleet, end_reason="success")
    assert fired[0].timestamp() == seen_to_us // 1_000_000 + missed + 1  # none forgotten, none counted twice
    assert {later - earlier for earlier, later in pairwise(fired)} == {timedelta(seconds=1)}


def test_paused_ticks_are_not_missed_ticks(make_fleet: StartFleet) -> None:
    fleet = make_fleet(EVERY_SECOND).start_all()
    wait_until(lambda: len(ticks(fleet)) >= 1, "it ticks")
    assert fleet.post("/api/tasks/tick/pause")["paused"]
    paused_at = datetime.now(UTC)
    seen = len(fleet.runs(task_name="sixfields"))
    wait_until(lambda: len(fleet.runs(task_name="sixfields")) >= seen + 2, "two seconds and more go by for others")
    assert [tick for tick in ticks(fleet) if tick > paused_at] == []
    assert fleet.perform("tick")["end_reason"] == "success"  # by hand it can be started still
    fleet.post("/api/tasks/tick/resume")
    resumed_at = datetime.now(UTC)
    wait_until(lambda: ticks(fleet)[-1] > resumed_at, "it ticks again")
    between = [tick for tick in ticks(fleet) if paused_at < tick < resumed_at - timedelta(seconds=1)]
    assert between == []
    assert fleet.runs(task_name="tick", end_reason="skipped") == []


def test_delayed_runs_start_on_time_beside_a_standby(make_fleet: StartFleet) -> None:
    """The standby leaves the leader the wake-ups that say of a run which is due before all others."""
    fleet = make_fleet('[tasks.later]\nrun = "true"\n').start_all()
    fleet.start("scheduler")
    late: list[timedelta] = []
    for _ in range(9):
        delayed = fleet.trigger("later", delay_ms=300)
        started_at = datetime.fromisoformat(fleet.ended(delayed)["start_at"])
        late.append(started_at - datetime.fromisoformat(delayed["due_at"]))
    # The median, because tests share their machine with others; with a standby that takes wake-ups it is 190 ms.
    assert sorted(late)[len(late) // 2] < timedelta(milliseconds=100)


def test_a_scheduler_leads_and_fires_while_its_task_file_cannot_be_applied(make_fleet: StartFleet) -> None:
    """F59: Redis is full when it starts, with a file that changes much."""
    fleet = make_fleet(EVERY_SECOND)
    fleet.apply(EVERY_SECOND)
    much = "".join(f'\n[tasks.new{number}]\nrun = "{"x" * 60_000}"\n' for number in range(20))
    (fleet.folder / "runfleet.toml").write_text(EVERY_SECOND + much)
    with fleet.redis.client() as client:
        client.config_set("maxmemory", 1)
        scheduler = fleet.launch("scheduler")
        scheduler.wait_for("scheduler.leading")
        scheduler.wait_for("definitions.failed")
        client.config_set("maxmemory", 0)
    scheduler.wait_for("schedule.fired")
    scheduler.wait_for("definitions.applied")
