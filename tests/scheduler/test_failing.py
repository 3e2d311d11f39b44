"""Whatever a part of the scheduler raises: the others go on, it is told, and it is tried again."""

from typing import Any

import pytest

from shared.errors import Invalid, Problem, RunfleetError, StoreFull, StoreUnavailable, Unreadable
from shared.store import tasks
from shared.store.health import stored_health
from shared.store.redis.call import Call
from tests.scheduler.failing_store import PAIR, OddError, PairedWork, name_of

PARTS = {
    # call: the jobs that cannot be done while it fails
    "HGETALL": {"fire"},
    "SMEMBERS": {"fire"},
    "create": {"fire"},
    "GET": {"compact"},
    "read_records": {"rescue"},
    "HMGET": {"fire", "rescue", "prune"},
    "HGET": set[str](),
    "INFO": set[str](),
    "SMISMEMBER": {"prune"},
    "enqueue_due": {"enqueue_due"},
    "wake_queues": {"rescue"},
    "rescue": {"rescue"},
    "SPOP": {"prune"},
    "prune": {"prune"},
    "ZRANGEBYSCORE": {"compact"},
    "XRANGE": {"compact"},
    "compact": {"compact"},
    "unreported_ends": {"emit"},
    "ZRANGE": {"workers"},
    "worker_gone": {"workers"},
    "trim_lineage_events": set[str](),
}


def test_a_round_without_faults_does_everything(work: PairedWork) -> None:
    assert len(work.undone()) == 6 * len(PAIR) + 1
    work.loop.tick()
    assert work.undone() == set()
    assert work.loop.troubles.current() == {}


def test_every_call_of_a_round_is_tried_with_a_fault(work: PairedWork) -> None:
    work.harness.asked.clear()
    work.loop.tick()
    assert set(work.harness.asked) - {"scheduler_poll"} <= PARTS.keys()


@pytest.mark.parametrize("error", [OddError("odd"), RunfleetError("Redis refused a command"), StoreFull("full")])
@pytest.mark.parametrize("part", PARTS)
def test_a_call_that_fails_keeps_no_other_job_from_being_done(work: PairedWork, part: str, error: Exception) -> None:
    work.harness.fault = lambda call: error if name_of(call) == part else None
    for _ in range(2):
        work.loop.tick()
        work.harness.pass_s(1)
    assert {what.split()[0] for what in work.undone()} <= PARTS[part]
    work.harness.fault = lambda call: None
    assert work.tick_until_done() == set()


@pytest.mark.parametrize("part", PARTS)
def test_a_call_for_which_redis_is_away_keeps_no_other_job_from_being_done(work: PairedWork, part: str) -> None:
    away = StoreUnavailable("Redis refuses this user")
    work.harness.fault = lambda call: away if name_of(call) == part else None
    for _ in range(8):
        try:
            work.loop.tick()
        except StoreUnavailable:
            work.harness.pass_s(0.5)
    assert {what.split()[0] for what in work.undone()} <= PARTS[part]
    work.harness.fault = lambda call: None
    assert work.tick_until_done() == set()


@pytest.mark.parametrize("script", ["create", "rescue", "prune", "compact"])
@pytest.mark.parametrize(
    "error", [OddError("odd"), Invalid([Problem("params.x", "is wrong")]), Unreadable("of a newer release")]
)
def test_one_failure_delays_no_other_and_is_reported(work: PairedWork, script: str, error: Exception) -> None:
    marks = {
        "create": b"tick-bad",
        "rescue": work.lost["bad"].bytes,
        "prune": b"past-bad",
        "compact": work.logs["bad"].bytes,
    }

    def fault(call: Call[Any]) -> Exception | None:
        args = b" ".join(one if isinstance(one, bytes) else str(one).encode() for one in call.args)
        return error if name_of(call) == script and marks[script] in args else None

    work.harness.fault = fault
    work.loop.tick()
    named = {"create": "fire", "prune": "prune"}.get(script, script)
    assert work.undone() == {f"{named} bad"}
    told = work.loop.troubles.current()
    assert len(told) == 1, told
    [(what, why)] = told.items()
    assert what.startswith(named)
    assert str(error) in why
    failures = work.loop.troubles.failures[named]
    for _ in range(30):
        work.harness.pass_s(1)
        work.loop.tick()
    assert work.loop.troubles.failures[named] - failures <= 5, "it is left alone for longer and longer"
    said = work.harness.run(stored_health())
    assert said is not None
    assert list(said.failing) == [what]
    work.harness.fault = lambda call: None
    assert work.tick_until_done() == set()
    assert work.loop.troubles.current() == {}


def test_a_receiver_that_fails_for_one_run_gets_the_others(work: PairedWork) -> None:
    work.listener.deaf_to = work.told["bad"]
    work.loop.tick()
    assert work.undone() == {"emit bad"}
    work.listener.told.append(work.told["bad"])


def test_a_schedule_whose_tick_keeps_failing_is_overdue_until_it_fires(work: PairedWork) -> None:
    """F56: it stays in the timetable, however often it fails."""

    def fault(call: Call[Any]) -> Exception | None:
        is_bad = name_of(call) == "create" and any(isinstance(one, bytes) and b"tick-bad" in one for one in call.args)
        return OddError("odd") if is_bad else None

    work.harness.fault = fault
    for _ in range(80):
        work.loop.tick()
        work.harness.pass_s(1)
    said = work.harness.run(stored_health())
    assert said is not None
    assert (said.schedules, said.overdue, said.overdue_tasks) == (2, 1, ["tick-bad"])
    work.harness.fault = lambda call: None
    assert work.tick_until_done() == set()
    work.harness.pass_s(1)
    work.loop.tick()
    work.loop.tick()
    said = work.harness.run(stored_health())
    assert said is not None
    assert said.overdue == 0


def test_a_job_whose_time_is_over_leaves_the_rest_to_the_next_round(
    work: PairedWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the leadership is renewed in time, however much there is to do."""
    with monkeypatch.context() as patch:
        patch.setattr("scheduler.loop.JOB_S", -1.0)
        work.loop.tick()
        limited = {f"{job} {which}" for job in ("fire", "rescue", "prune", "compact", "emit") for which in PAIR}
        assert limited <= work.undone()
    work.loop.tick()
    assert work.undone() == set()


def test_history_is_forgotten_by_its_age_though_nothing_happens_in_its_task(work: PairedWork) -> None:
    assert work.tick_until_done() == set()
    harness = work.harness
    harness.task("aged", keep_for_ms=3_600_000, queue="aside")
    harness.trigger("aged")
    harness.end(harness.claimed("w", "aside"))
    for _ in range(3):
        harness.pass_s(1)
        work.loop.tick()
    assert harness.run(tasks.counts(["aged"]))["aged"].total == 1, "it is tidy, and young"
    harness.pass_s(3_601)
    for _ in range(30 * 31):  # each half a minute one more task is looked at
        harness.pass_s(1)
        work.loop.tick()
    assert harness.run(tasks.counts(["aged"]))["aged"].total == 0
