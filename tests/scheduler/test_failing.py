"""Whatever a part of the scheduler raises: the others go on, it is told, and it is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import Invalid, Problem, RunfleetError, StoreFull, StoreUnavailable, Unreadable
from shared.settings import Settings
from shared.store import tasks
from shared.store.health import health
from shared.store.redis.call import Call
from tests.scheduler.scenes import PAIR, Faulty, OddError, Scene, name_of
from tests.store.checking import check_store

PARTS = {
    # call: the jobs that cannot be done while it fails
    "HGETALL": {"fire"},
    "SMEMBERS": {"fire"},
    "create": {"fire"},
    "GET": {"compact"},
    "read_records": {"rescue"},
    "HMGET": {"fire", "rescue", "forget"},
    "HGET": set[str](),
    "INFO": set[str](),
    "SMISMEMBER": {"forget"},
    "enqueue_due": {"release"},
    "wake_queues": {"rescue"},
    "rescue": {"rescue"},
    "SPOP": {"forget"},
    "prune": {"forget"},
    "ZRANGEBYSCORE": {"compact"},
    "XRANGE": {"compact"},
    "compact": {"compact"},
    "unreported_ends": {"tell"},
    "ZRANGE": {"workers"},
    "worker_gone": {"workers"},
    "trim_events": set[str](),
}


@pytest.fixture
def scene(settings: Settings) -> Iterator[Scene]:
    """A scheduler with work in each of its jobs; everything in its store has an owner at the end."""
    desk = Faulty(settings)
    yield Scene(desk)
    desk.fault = lambda call: None
    check_store(desk)
    desk.close()


def test_a_round_without_faults_does_everything(scene: Scene) -> None:
    assert len(scene.undone()) == 6 * len(PAIR) + 1
    scene.loop.tick()
    assert scene.undone() == set()
    assert scene.loop.troubles.told() == {}


def test_every_call_of_a_round_is_tried_with_a_fault(scene: Scene) -> None:
    scene.desk.asked.clear()
    scene.loop.tick()
    assert set(scene.desk.asked) - {"scheduler_poll"} <= PARTS.keys()


@pytest.mark.parametrize("error", [OddError("odd"), RunfleetError("Redis refused a command"), StoreFull("full")])
@pytest.mark.parametrize("part", PARTS)
def test_a_call_that_fails_keeps_no_other_job_from_being_done(scene: Scene, part: str, error: Exception) -> None:
    scene.desk.fault = lambda call: error if name_of(call) == part else None
    for _ in range(2):
        scene.loop.tick()
        scene.desk.pass_s(1)
    assert {what.split()[0] for what in scene.undone()} <= PARTS[part]
    scene.desk.fault = lambda call: None
    assert scene.tick_until_done() == set()


@pytest.mark.parametrize("part", PARTS)
def test_a_call_for_which_redis_is_away_keeps_no_other_job_from_being_done(scene: Scene, part: str) -> None:
    away = StoreUnavailable("Redis refuses this user")
    scene.desk.fault = lambda call: away if name_of(call) == part else None
    for _ in range(8):
        try:
            scene.loop.tick()
        except StoreUnavailable:
            scene.desk.pass_s(0.5)
    assert {what.split()[0] for what in scene.undone()} <= PARTS[part]
    scene.desk.fault = lambda call: None
    assert scene.tick_until_done() == set()


@pytest.mark.parametrize("script", ["create", "rescue", "prune", "compact"])
@pytest.mark.parametrize(
    "error", [OddError("odd"), Invalid([Problem("params.x", "is wrong")]), Unreadable("of a newer release")]
)
def test_one_bad_thing_holds_up_no_other_and_is_told(scene: Scene, script: str, error: Exception) -> None:
    marks = {
        "create": b"tick-bad",
        "rescue": scene.lost["bad"].bytes,
        "prune": b"past-bad",
        "compact": scene.logs["bad"].bytes,
    }

    def fault(call: Call[Any]) -> Exception | None:
        args = b" ".join(one if isinstance(one, bytes) else str(one).encode() for one in call.args)
        return error if name_of(call) == script and marks[script] in args else None

    scene.desk.fault = fault
    scene.loop.tick()
    named = {"create": "fire", "prune": "forget"}.get(script, script)
    assert scene.undone() == {f"{named} bad"}
    told = scene.loop.troubles.told()
    assert len(told) == 1, told
    [(what, why)] = told.items()
    assert what.startswith(named)
    assert str(error) in why
    failures = scene.loop.troubles.failures[named]
    for _ in range(30):
        scene.desk.pass_s(1)
        scene.loop.tick()
    assert scene.loop.troubles.failures[named] - failures <= 5, "it is left alone for longer and longer"
    said = scene.desk.run(health())
    assert said is not None
    assert list(said.failing) == [what]
    scene.desk.fault = lambda call: None
    assert scene.tick_until_done() == set()
    assert scene.loop.troubles.told() == {}


def test_a_listener_that_fails_at_one_run_hears_of_the_others(scene: Scene) -> None:
    scene.listener.deaf_to = scene.told["bad"]
    scene.loop.tick()
    assert scene.undone() == {"tell bad"}
    scene.listener.told.append(scene.told["bad"])


def test_a_schedule_whose_tick_keeps_failing_is_overdue_until_it_fires(scene: Scene) -> None:
    """F56: it stays in the timetable, however often it fails."""

    def fault(call: Call[Any]) -> Exception | None:
        is_bad = name_of(call) == "create" and any(isinstance(one, bytes) and b"tick-bad" in one for one in call.args)
        return OddError("odd") if is_bad else None

    scene.desk.fault = fault
    for _ in range(80):
        scene.loop.tick()
        scene.desk.pass_s(1)
    said = scene.desk.run(health())
    assert said is not None
    assert (said.schedules, said.overdue, said.overdue_tasks) == (2, 1, ["tick-bad"])
    scene.desk.fault = lambda call: None
    assert scene.tick_until_done() == set()
    scene.desk.pass_s(1)
    scene.loop.tick()
    scene.loop.tick()
    said = scene.desk.run(health())
    assert said is not None
    assert said.overdue == 0


def test_a_job_whose_time_is_over_leaves_the_rest_to_the_next_round(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the leadership is renewed in time, however much there is to do."""
    with monkeypatch.context() as patch:
        patch.setattr("scheduler.loop.JOB_S", -1.0)
        scene.loop.tick()
        limited = {f"{job} {which}" for job in ("fire", "rescue", "forget", "compact", "tell") for which in PAIR}
        assert limited <= scene.undone()
    scene.loop.tick()
    assert scene.undone() == set()


def test_history_is_forgotten_by_its_age_though_nothing_happens_in_its_task(scene: Scene) -> None:
    assert scene.tick_until_done() == set()
    desk = scene.desk
    desk.task("aged", keep_for_ms=3_600_000, queue="aside")
    desk.trigger("aged")
    desk.end(desk.claimed("w", "aside"))
    for _ in range(3):
        desk.pass_s(1)
        scene.loop.tick()
    assert desk.run(tasks.counts(["aged"]))["aged"].total == 1, "it is tidy, and young"
    desk.pass_s(3_601)
    for _ in range(30 * 31):  # each half a minute one more task is looked at
        desk.pass_s(1)
        scene.loop.tick()
    assert desk.run(tasks.counts(["aged"]))["aged"].total == 0
