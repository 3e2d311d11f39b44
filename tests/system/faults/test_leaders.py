"""A leading scheduler that is killed right before a tick, or frozen over three of them."""

import signal
import time
from datetime import datetime, timedelta
from itertools import pairwise

from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet
from tests.waiting import wait_until

EVERY_S = 1
LATE_S = 12.0
TASKS = f"""
[tasks.tick]
run = 'echo "tick $RUNFLEET_SCHEDULED_FOR" >> $HISTORY'
cron = "@every {EVERY_S}s"
"""


def fired(fleet: Fleet) -> dict[datetime, float]:
    """Tick → how many seconds late it was fired; each must have been fired once."""
    runs = fleet.runs(task_name="tick")
    found = {
        datetime.fromisoformat(run["scheduled_for"]): (
            datetime.fromisoformat(run["created_at"]) - datetime.fromisoformat(run["scheduled_for"])
        ).total_seconds()
        for run in runs
    }
    assert len(found) == len(runs)
    return found


def test_a_leader_lost_at_a_tick_delays_it_and_no_more(make_fleet: StartFleet, measured: Measured) -> None:
    """F30: killed ten milliseconds before one; then its heir is frozen over three, and wakes up to be none."""
    fleet = make_fleet(TASKS, "web", "worker")
    (first,) = fleet.start("scheduler")
    first.wait_for("scheduler.leading")
    (second,) = fleet.start("scheduler")
    wait_until(lambda: fired(fleet), "it ticks")
    time.sleep((EVERY_S - 0.01 - time.time()) % EVERY_S)  # until right before a tick
    first.kill()
    so_far = len(fired(fleet))
    second.wait_for("scheduler.leading", 6)
    wait_until(lambda: len(fired(fleet)) > so_far, "it ticks again")

    (third,) = fleet.start("scheduler")
    second.popen.send_signal(signal.SIGSTOP)
    so_far = len(fired(fleet))
    third.wait_for("scheduler.leading", 6)
    wait_until(lambda: len(fired(fleet)) > so_far, "the third ticks")
    second.popen.send_signal(signal.SIGCONT)
    wait_until(lambda: len(second.events("scheduler.standby")) == 2, "the second finds itself deposed")
    so_far = len(fired(fleet))
    wait_until(lambda: len(fired(fleet)) > so_far + 1, "it goes on")

    found = fired(fleet)
    assert {later - earlier for earlier, later in pairwise(sorted(found))} == {timedelta(seconds=EVERY_S)}
    measured("F30", "slowest tick", max(found.values()), LATE_S)
    wait_until(lambda: len(fleet.wrote("tick")) >= len(found), "all were executed")
    executed = [line[1] for line in fleet.wrote("tick")]
    assert len(executed) == len(set(executed))
