"""An end is final, is made once, and moves everything on in the same step."""

import pytest

from shared.runs import Reason
from shared.store import retention, runs
from shared.store.runs import Facts
from tests.store.consistency import check_store, snapshot
from tests.store.harness import SECOND, StoreHarness


def test_an_end_writes_down_what_is_known(harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()
    harness.pass_s(2.5)
    facts = Facts(outputs='{"rows":3}', log_bytes=10, log_lines=2, log_truncated=1, peak_memory=4096, cpu_ms=12)
    harness.end(held, Reason.FAILED, 7, facts=facts, message="exited with 7")
    run = harness.get(held.id)
    assert (run.status, run.end_reason, run.exit_code, run.message) == ("ended", Reason.FAILED, 7, "exited with 7")
    assert (run.duration_ms, run.outputs, run.peak_memory_bytes, run.cpu_time_ms) == (2500, {"rows": 3}, 4096, 12)
    assert (run.log_bytes, run.log_lines, run.log_truncated) == (10, 2, True)
    assert harness.record(held.id).end_us == harness.now


def test_an_end_that_knows_nothing_of_the_log_leaves_its_figures(harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()
    harness.append(held, 0, "one", "two")
    harness.end(held)
    run = harness.get(held.id)
    assert (run.log_lines, run.log_bytes) == (2, 6)


def test_a_repeated_end_is_again_and_claims_once(harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()
    following = harness.trigger()
    harness.trigger()
    wanted = harness.wanted()
    first = harness.end(held, wanted=wanted)
    before = snapshot(harness)
    again = harness.end(held, wanted=wanted)
    assert (first.verdict, again.verdict) == ("ended", "already_ended")
    assert first.claimed is not None
    assert again.claimed is not None
    assert first.claimed.id == again.claimed.id == following.id
    assert snapshot(harness) == before


@pytest.mark.parametrize("other", [Reason.FAILED, Reason.STOPPED, Reason.CRASHED])
def test_the_first_end_is_kept(harness: StoreHarness, other: Reason) -> None:
    harness.task()
    held = harness.started()
    harness.end(held, Reason.SUCCESS)
    before = snapshot(harness)
    refused = harness.end(held, other, 1)
    assert (refused.verdict, refused.state) == ("refused", Reason.SUCCESS)
    assert snapshot(harness) == before


def test_a_refused_end_claims_nothing_because_its_worker_may_be_dead(harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()
    following = harness.trigger()
    harness.pass_s(7)
    harness.rescue(held.id)
    ended = harness.end(held, wanted=harness.wanted())
    assert (ended.verdict, ended.state, ended.claimed) == ("refused", Reason.CRASHED, None)
    assert harness.claimed().id == following.id


def test_an_end_that_is_refused_when_it_is_repeated_keeps_the_run_it_claimed(harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()
    following = harness.trigger()
    wanted = harness.wanted()
    harness.end(held, wanted=wanted)
    harness.run(retention.delete(harness.get(held.id)))
    again = harness.end(held, wanted=wanted)
    assert (again.verdict, again.state) == ("refused", "gone")
    assert again.claimed is not None
    assert again.claimed.id == following.id


def test_the_next_execution_starts_in_the_same_step(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1)
    held = harness.started()
    following = harness.trigger()
    ended = harness.end(held, wanted=harness.wanted())
    assert ended.claimed is not None
    assert ended.claimed.id == following.id
    assert ended.ready == {"default": 1}


def test_an_end_returns_the_queues_to_wake(harness: StoreHarness) -> None:
    harness.task("a", limits={"db": 1}, queue="one")
    harness.task("b", limits={"db": 1}, queue="two")
    harness.trigger("a")
    held = harness.claimed("w", "one")
    harness.trigger("b")
    assert harness.end(held).ready == {"two": 1}


def test_an_execution_is_over_with_its_last_run(harness: StoreHarness) -> None:
    harness.task("a", replicas=2)
    one, two = harness.started(), harness.claimed()
    harness.end(one)
    assert not harness.run(runs.is_over(one.id))
    check_store(harness)
    harness.end(two)
    assert harness.run(runs.is_over(one.id))


def test_a_run_that_ended_is_not_running_in_any_sense(harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()
    harness.now += SECOND
    harness.end(held)
    assert harness.heartbeat(held) == ["lost"]
    assert harness.append(held, 0, "late") == "lost"
    assert harness.claim() is None
