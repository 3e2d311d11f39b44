"""An end is final, is made once, and moves everything on in the same step."""

from __future__ import annotations

import pytest

from shared.runs import Reason
from shared.store import retention, runs
from shared.store.runs import Facts
from tests.store.checking import check_store, snapshot
from tests.store.desk import SECOND, Desk


def test_an_end_writes_down_what_is_known(desk: Desk) -> None:
    desk.task()
    held = desk.started()
    desk.pass_s(2.5)
    facts = Facts(outputs='{"rows":3}', log_bytes=10, log_lines=2, log_truncated=1, peak_memory=4096, cpu_ms=12)
    desk.end(held, Reason.FAILED, 7, facts=facts, message="exited with 7")
    run = desk.get(held.id)
    assert (run.status, run.end_reason, run.exit_code, run.message) == ("ended", Reason.FAILED, 7, "exited with 7")
    assert (run.duration_ms, run.outputs, run.peak_memory_bytes, run.cpu_time_ms) == (2500, {"rows": 3}, 4096, 12)
    assert (run.log_bytes, run.log_lines, run.log_truncated) == (10, 2, True)
    assert desk.record(held.id).end_us == desk.now


def test_an_end_that_knows_nothing_of_the_log_leaves_its_figures(desk: Desk) -> None:
    desk.task()
    held = desk.started()
    desk.append(held, 0, "one", "two")
    desk.end(held)
    run = desk.get(held.id)
    assert (run.log_lines, run.log_bytes) == (2, 6)


def test_a_repeated_end_is_again_and_claims_once(desk: Desk) -> None:
    desk.task()
    held = desk.started()
    following = desk.trigger()
    desk.trigger()
    wanted = desk.wanted()
    first = desk.end(held, wanted=wanted)
    before = snapshot(desk)
    again = desk.end(held, wanted=wanted)
    assert (first.verdict, again.verdict) == ("ended", "again")
    assert first.claimed is not None
    assert again.claimed is not None
    assert first.claimed.id == again.claimed.id == following.id
    assert snapshot(desk) == before


@pytest.mark.parametrize("other", [Reason.FAILED, Reason.STOPPED, Reason.CRASHED])
def test_the_first_end_is_kept(desk: Desk, other: Reason) -> None:
    desk.task()
    held = desk.started()
    desk.end(held, Reason.SUCCESS)
    before = snapshot(desk)
    refused = desk.end(held, other, 1)
    assert (refused.verdict, refused.state) == ("refused", Reason.SUCCESS)
    assert snapshot(desk) == before


def test_a_refused_end_claims_nothing_because_its_worker_may_be_dead(desk: Desk) -> None:
    desk.task()
    held = desk.started()
    following = desk.trigger()
    desk.pass_s(7)
    desk.rescue(held.id)
    ended = desk.end(held, wanted=desk.wanted())
    assert (ended.verdict, ended.state, ended.claimed) == ("refused", Reason.CRASHED, None)
    assert desk.claimed().id == following.id


def test_an_end_that_is_refused_when_it_is_said_again_loses_nothing_that_it_claimed(desk: Desk) -> None:
    desk.task()
    held = desk.started()
    following = desk.trigger()
    wanted = desk.wanted()
    desk.end(held, wanted=wanted)
    desk.run(retention.delete(desk.get(held.id)))
    again = desk.end(held, wanted=wanted)
    assert (again.verdict, again.state) == ("refused", "gone")
    assert again.claimed is not None
    assert again.claimed.id == following.id


def test_the_next_execution_starts_in_the_same_step(desk: Desk) -> None:
    desk.task("a", max_concurrent=1)
    held = desk.started()
    following = desk.trigger()
    ended = desk.end(held, wanted=desk.wanted())
    assert ended.claimed is not None
    assert ended.claimed.id == following.id
    assert ended.ready == {"default": 1}


def test_an_end_says_which_queues_to_ring(desk: Desk) -> None:
    desk.task("a", limits={"db": 1}, queue="one")
    desk.task("b", limits={"db": 1}, queue="two")
    desk.trigger("a")
    held = desk.claimed("w", "one")
    desk.trigger("b")
    assert desk.end(held).ready == {"two": 1}


def test_an_execution_is_over_with_its_last_run(desk: Desk) -> None:
    desk.task("a", replicas=2)
    one, two = desk.started(), desk.claimed()
    desk.end(one)
    assert not desk.run(runs.is_over(one.id))
    check_store(desk)
    desk.end(two)
    assert desk.run(runs.is_over(one.id))


def test_a_run_that_ended_is_not_running_in_any_sense(desk: Desk) -> None:
    desk.task()
    held = desk.started()
    desk.now += SECOND
    desk.end(held)
    assert desk.beat(held) == ["lost"]
    assert desk.append(held, 0, "late") == "lost"
    assert desk.claim() is None
