"""Prefect's rules, as they were measured on its own server (3.8.8 with PostgreSQL)."""

import random
from datetime import timedelta
from statistics import mean
from typing import Any
from uuid import UUID

import pytest

from api.dialects.prefect.bodies import Details, Policy, State, StateCreate, proposed
from api.dialects.prefect.orchestration import Decision, Flow, decide, jittered
from api.dialects.prefect.states import default_name
from shared.clock import to_datetime

NOW = 1_800_000_000_000_000
ID = UUID(int=1)
TYPES = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING", "COMPLETED", "FAILED", "CRASHED", "CANCELLED")

MATRIX = {
    "SCHEDULED": "AAAAAAAAA",
    "PENDING": "AAAAAAAAA",
    "PAUSED": "AAAAAAAAA",
    "CANCELLING": "AAAAAAAAA",
    "RUNNING": "AAAAAAAAA",
    "COMPLETED": "AAA--AA-A",
    "FAILED": "AAA--AA-A",
    "CRASHED": "AAA--AA-A",
    "CANCELLED": "AAA--AA-A",
    "COMPLETED with a result": "RRR--RR-R",
}
"""From (rows) and to (columns, as in TYPES): A for ACCEPT, R for REJECT, - for ABORT."""


def state(kind: Any, name: str = "", data: object = None, **details: Any) -> State:
    return State(ID, kind, name or default_name(kind), NOW, None, data, Details(**details))


def decided(initial: State, wanted: State, **given: Any) -> Decision:
    defaults: dict[str, Any] = {
        "run_count": 0,
        "policy": Policy(),
        "flow": None,
        "flow_run_run_count": 0,
        "cached": None,
        "force": False,
        "now_us": NOW,
        "dice": lambda: 0.5,
    }
    return decide(initial, wanted, **{**defaults, **given})


@pytest.mark.parametrize("source", MATRIX)
@pytest.mark.parametrize("target", TYPES)
def test_the_measured_matrix(source: str, target: str) -> None:
    kind, _, has_result = source.partition(" ")
    initial = state(kind, data={"type": "reference"} if has_result else None)
    expected = {"A": "ACCEPT", "R": "REJECT", "-": "ABORT"}[MATRIX[source][TYPES.index(target)]]
    decision = decided(initial, state(target), run_count=1)
    assert decision.answer == expected
    assert (decision.state is not None) == (expected == "ACCEPT")


@pytest.mark.parametrize("source", TYPES)
def test_a_deferred_run_is_claimed_once(source: str) -> None:
    decision = decided(state(source), state("PENDING", deferred=True))
    assert (decision.answer == "ABORT") == (source in ("PENDING", "RUNNING", "CANCELLING", "CANCELLED"))


def test_a_pending_run_may_get_on_under_another_name() -> None:
    at = to_datetime(NOW)
    decision = decided(state("PENDING", scheduled_time=at), state("PENDING", "Submitting", deferred=True))
    assert decision.state is not None
    assert decision.state.details.scheduled_time == at


@pytest.mark.parametrize("data", ["text", 7, ["x"], True, None, {}, {"type": "unpersisted"}])
def test_data_that_is_no_stored_result_blocks_no_run(data: object) -> None:
    assert decided(state("COMPLETED", data=data), state("RUNNING")).answer == "ACCEPT"


def test_leaving_an_end_counts_anew() -> None:
    for target in ("RUNNING", "PENDING", "SCHEDULED"):
        assert decided(state("FAILED"), state(target), run_count=3).restarts
    assert not decided(state("FAILED"), state("COMPLETED"), run_count=3).restarts
    assert not decided(state("PENDING"), state("RUNNING"), run_count=3).restarts


@pytest.mark.parametrize(("ahead_ms", "delay_s"), [(60_000, 60), (59_400, 59), (59_600, 60), (400, 0), (-5_000, 0)])
@pytest.mark.parametrize("source", ["SCHEDULED", "PENDING"])
def test_nothing_runs_before_its_time(source: str, ahead_ms: int, delay_s: int) -> None:
    at = to_datetime(NOW + ahead_ms * 1000)
    decision = decided(state(source, scheduled_time=at), state("RUNNING"))
    assert (decision.answer, decision.delay_s) == (("WAIT", delay_s) if delay_s else ("ACCEPT", 0))


def test_pending_keeps_the_scheduled_time() -> None:
    at = to_datetime(NOW + 60_000_000)
    pending = decided(state("SCHEDULED", scheduled_time=at), state("PENDING"))
    assert pending.state is not None
    assert pending.state.details.scheduled_time == at
    own = decided(state("SCHEDULED", scheduled_time=at), state("PENDING", scheduled_time=to_datetime(NOW)))
    assert own.state is not None
    assert own.state.details.scheduled_time == to_datetime(NOW)


@pytest.mark.parametrize(("run_count", "delay_s"), [(1, 3), (2, 7), (3, None)])
def test_a_failure_is_tried_again_with_the_delays_given(run_count: int, delay_s: int | None) -> None:
    policy = Policy(retries=2, retry_delay=[3, 7])
    failed = State(ID, "FAILED", "Failed", NOW, "boom", {"x": 1}, Details())
    decision = decided(state("RUNNING"), failed, run_count=run_count, policy=policy)
    if delay_s is None:
        assert decision.answer == "ACCEPT"
        return
    assert decision.state is not None
    assert (decision.answer, decision.reason, decision.state.name) == ("REJECT", "Retrying", "AwaitingRetry")
    assert (decision.state.type, decision.state.message, decision.state.data) == ("SCHEDULED", "boom", {"x": 1})
    assert decision.state.details.scheduled_time == to_datetime(NOW) + timedelta(seconds=delay_s)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [("RUNNING", state("FAILED", retriable=False)), ("RUNNING", state("CRASHED")), ("PENDING", state("FAILED"))],
)
def test_some_ends_are_not_retried(source: str, wanted: State) -> None:
    assert decided(state(source), wanted, run_count=1, policy=Policy(retries=5)).answer == "ACCEPT"


def test_the_old_names_of_a_policy_count() -> None:
    policy = Policy(max_retries=2, retry_delay_seconds=5)
    assert (policy.retries, policy.retry_delay) == (2, 5)


def test_a_run_that_runs_again_says_so() -> None:
    names = [
        decision.state.name if decision.state else ""
        for decision in (
            decided(state("PENDING"), state("RUNNING")),
            decided(state("RUNNING"), state("RUNNING"), run_count=1),
            decided(state("SCHEDULED", "AwaitingRetry"), state("RUNNING"), run_count=1),
            decided(state("FAILED"), state("RUNNING"), run_count=3),
        )
    ]
    assert names == ["Running", "Rerunning", "Retrying", "Running"]


def test_a_task_runs_only_while_its_flow_does() -> None:
    for kind, answer in (("PENDING", "ABORT"), ("COMPLETED", "ABORT"), ("RUNNING", "ACCEPT"), ("PAUSED", "REJECT")):
        decision = decided(state("PENDING"), state("RUNNING"), flow=Flow(ID, state(kind), 1))
        assert decision.answer == answer
    paused = decided(state("PENDING"), state("RUNNING"), flow=Flow(ID, state("PAUSED", pause_reschedule=True), 1))
    assert paused.state is not None
    assert (paused.state.type, paused.state.name) == ("PAUSED", "NotReady")
    assert paused.state.details.pause_reschedule


def test_a_flow_that_is_retried_retries_its_tasks() -> None:
    flow = Flow(ID, state("RUNNING"), 2)
    decision = decided(state("FAILED"), state("RUNNING"), flow=flow, flow_run_run_count=1, run_count=1)
    assert decision.state is not None
    assert decision.state.name == "Retrying"


def test_the_cache_goes_before_everything_but_force() -> None:
    cached = state("COMPLETED", "Cached", data={"v": 7})
    later = to_datetime(NOW + 60_000_000)
    hit = decided(state("PENDING", scheduled_time=later), state("RUNNING", cache_key="k"), cached=cached)
    assert (hit.answer, hit.reason, hit.state) == ("REJECT", "Retrieved state from cache", cached)
    assert decided(state("PENDING"), state("RUNNING"), cached=cached, force=True).state == state("RUNNING")


def test_a_completed_state_with_a_key_is_cached() -> None:
    assert decided(state("RUNNING"), state("COMPLETED", cache_key="k")).stores
    assert not decided(state("RUNNING"), state("COMPLETED")).stores
    assert not decided(state("RUNNING"), state("FAILED", cache_key="k")).stores


def test_a_key_that_is_too_long_is_logged_and_the_run_ends_all_the_same() -> None:
    decision = decided(state("RUNNING"), state("COMPLETED", cache_key="k" * 2001))
    assert (decision.answer, decision.state is not None, decision.stores) == ("REJECT", True, False)


def test_force_skips_every_rule() -> None:
    decision = decided(state("COMPLETED", data={"type": "reference"}), state("RUNNING"), force=True)
    assert (decision.answer, decision.needs_slots, decision.restarts) == ("ACCEPT", False, False)


def test_slots_are_needed_for_running_unless_it_is_in_the_background() -> None:
    assert decided(state("PENDING"), state("RUNNING")).needs_slots
    assert not decided(state("PENDING"), state("RUNNING", deferred=True)).needs_slots
    assert not decided(state("PENDING"), state("COMPLETED")).needs_slots


def test_jitter_stays_within_its_bounds_and_keeps_the_mean() -> None:
    dice = random.Random(1).random
    drawn = [jittered(10, 0.5, dice) for _ in range(20_000)]
    assert 6.2 < min(drawn) < 6.5
    assert 14.8 < max(drawn) <= 15.001
    assert 9.5 < mean(drawn) < 10.5
    for factor in (1e-9, 60, 1e300):
        assert 0 <= jittered(10, factor, dice) <= 231


def test_a_scheduled_state_without_a_time_is_for_now_and_names_come_from_types() -> None:
    made = proposed(StateCreate(type="SCHEDULED"), ID, NOW)
    assert (made.details.scheduled_time, made.name) == (to_datetime(NOW), "Scheduled")
