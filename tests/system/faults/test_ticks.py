"""
Three hundred schedules while Redis is killed, full, read-only or slow around their ticks, at random moments.

``RUNFLEET_TICKS_SECONDS`` is how long it goes on, ``RUNFLEET_TICKS_SEED`` the seed of an earlier run to replay.
"""

import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

import pytest
import redis

from shared.errors import StoreUnavailable
from shared.runs import Run
from shared.store import tasks
from shared.store.health import Health, stored_health
from shared.store.listing import Filter, page
from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet
from tests.waiting import wait_until

SECONDS: Final = float(os.environ.get("RUNFLEET_TICKS_SECONDS", "35"))
SEED: Final = int(os.environ.get("RUNFLEET_TICKS_SEED", str(random.SystemRandom().randrange(10**6))))
pytestmark = pytest.mark.timeout(300 + SECONDS)
SCHEDULES: Final = 300
PERIOD_S: Final = 5
RECOVERED_S: Final = 30.0
TASKS: Final = "".join(
    f'[tasks.t{number}]\nrun = "true"\ncron = "*/{PERIOD_S} * * * * *"\n' for number in range(SCHEDULES)
)
MISSED = re.compile(r"skipped: missed (\d+) ticks? \((\S+?)(?: to (\S+))?\) while .+")


def killed(fleet: Fleet, pause_s: float) -> None:
    """SIGKILL of Redis, and a start of it with what it had."""
    fleet.redis.kill()
    time.sleep(pause_s)
    fleet.redis.start()


def slow(fleet: Fleet, pause_s: float) -> None:
    """Redis says nothing for a while, at times for longer than its clients wait."""
    fleet.redis.freeze()
    time.sleep(pause_s if pause_s < 2 else 3 * pause_s)
    fleet.redis.thaw()


def full(fleet: Fleet, pause_s: float) -> None:
    """Redis has no memory."""
    with fleet.redis.client() as client:
        client.config_set("maxmemory", 1)
        time.sleep(pause_s)
        client.config_set("maxmemory", 0)


def read_only(fleet: Fleet, pause_s: float) -> None:
    """Redis is a replica, of a primary that is not there."""
    with fleet.redis.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        time.sleep(pause_s)
        client.execute_command("REPLICAOF", "NO", "ONE")


FAULTS: Final[list[Callable[[Fleet, float], None]]] = [killed, slow, full, read_only]


def ticked(fleet: Fleet) -> list[Run]:
    """All runs and records of ticks; new ones come while they are listed."""
    found: dict[UUID, Run] = {}
    cursor = ""
    while True:
        listed = fleet.store.run(page(Filter(), limit=1000, cursor=cursor))
        found |= {run.id: run for run in listed.runs}
        cursor = listed.next_cursor
        if not cursor:
            return list(found.values())


def seen_to(run: Run) -> list[int]:
    """The ticks, in seconds, that a run is for or a record counts."""
    told = MISSED.fullmatch(run.message) if isinstance(run.message, str) else None
    if told is None:
        assert isinstance(run.scheduled_for, datetime)
        return [round(run.scheduled_for.timestamp())]
    first, last = (round(datetime.fromisoformat(text).timestamp()) for text in (told[2], told[3] or told[2]))
    counted = list(range(first, last + 1, PERIOD_S))
    assert len(counted) == int(told[1]), run.message
    return counted


def least_cursor_s(fleet: Fleet) -> float:
    """The tick up to which every schedule is seen to; 0 while Redis can't say."""
    try:
        cursors = fleet.store.run(tasks.cursors())
    except (StoreUnavailable, redis.RedisError):
        return 0.0
    return min(cursors.values()) / 1_000_000 if len(cursors) == SCHEDULES else 0.0


def test_every_tick_runs_or_is_on_record_whatever_redis_does_around_it(
    make_fleet: StartFleet, measured: Measured
) -> None:
    """F56: with a leader and a standby; also under random faults none of the schedules is lost or doubled."""
    dice = random.Random(SEED)
    print(f"RUNFLEET_TICKS_SEED={SEED} RUNFLEET_TICKS_SECONDS={SECONDS:g}")  # noqa: T201  # to replay it
    fleet = make_fleet(TASKS)
    fleet.apply(TASKS)
    first_s = min(fleet.store.run(tasks.cursors()).values()) / 1_000_000
    fleet.start("scheduler", "scheduler")
    wait_until(lambda: least_cursor_s(fleet) >= first_s + PERIOD_S, "it ticks", 60)
    end_s = time.monotonic() + SECONDS
    done: Counter[str] = Counter()
    while time.monotonic() < end_s:
        # Around a tick: from a little before it to when most are fired.
        time.sleep((PERIOD_S - time.time() % PERIOD_S - 0.02 + dice.uniform(0, 0.25)) % PERIOD_S)
        fault = dice.choice(FAULTS) if len(done) == len(FAULTS) else FAULTS[len(done)]
        done[fault.__name__] += 1
        fault(fleet, dice.uniform(0.2, 2.5))
    healed_s = time.time()
    wait_until(lambda: least_cursor_s(fleet) > healed_s, "every schedule ticks again", RECOVERED_S)
    measured("F56", "all schedules tick again", time.time() - healed_s, RECOVERED_S)
    last_s = round(least_cursor_s(fleet))
    runs = ticked(fleet)
    wanted = set(range(int(first_s - first_s % PERIOD_S) + PERIOD_S, last_s + 1, PERIOD_S))
    for number in range(SCHEDULES):
        own = [run for run in runs if run.task_name == f"t{number}"]
        ticks = Counter(tick for run in own for tick in seen_to(run))
        twice = [f"{run.scheduled_for} {run.message}" for run in own if any(ticks[tick] > 1 for tick in seen_to(run))]
        assert twice == [], f"t{number}, seed {SEED}, after {dict(done)}"
        assert wanted - ticks.keys() == set(), f"t{number}, seed {SEED}, after {dict(done)}"

    def is_well() -> bool:
        said: Health | None = fleet.store.run(stored_health())
        return said is not None and (said.schedules, said.overdue, dict(said.failing)) == (SCHEDULES, 0, {})

    wait_until(is_well, "the leader says that all is well")
    repairs = [line for process in fleet.processes for line in process.events("schedule.repaired")]
    assert repairs == [], "no schedule was lost that the check of each minute had to find"
