"""A run whose worker was lost is ended by the scheduler: not too early, not twice, not after an outage."""

from __future__ import annotations

from shared import ops
from shared.ids import new_id
from shared.runs import FATE_UNKNOWN, Reason
from shared.store import fleet, runs
from shared.store.redis.call import Call, Key, as_is
from tests.store.checking import check_store
from tests.store.desk import LEASE, SECOND, Desk


def test_a_leader_of_a_time_before_the_clock_went_back_is_followed(desk: Desk) -> None:
    """F58: the leader is lost at that moment."""
    desk.run(fleet.pulse("one"))
    desk.pass_s(-3600)
    assert desk.run(fleet.schedulers(desk.now)).leader == "", "nobody has been heard of at this time"
    assert desk.run(fleet.pulse("two")).token == 0, "it may live"
    desk.pass_s(4)
    assert desk.run(fleet.pulse("two")).token


def test_a_lost_run_is_rescued_although_the_clock_went_back(desk: Desk) -> None:
    """F58: also once it had been an hour ahead for one look."""
    entry = desk.task()
    held = desk.started()
    desk.run(fleet.pulse("s"))
    desk.pass_s(3600)
    desk.beat(held)
    assert desk.run(fleet.pulse("s")).expired == []
    desk.pass_s(-3600)
    desk.run(fleet.pulse("s"))
    for _ in range(13):
        desk.pass_s(1)
        expired = desk.run(fleet.pulse("s")).expired
    assert [run_id for run_id, _ in expired] == [held.id]
    assert desk.rescue(held.id, entry).state == "crashed"


def test_a_worker_of_a_time_before_the_clock_went_back_is_not_alive_for_ever(desk: Desk) -> None:
    """F58."""
    desk.beat()
    desk.pass_s(-3600)
    desk.run(fleet.pulse("s"))
    desk.pass_s(7)
    assert [worker.alive for worker in desk.run(fleet.workers())] == [False]


def test_a_lease_that_is_renewed_is_respected(desk: Desk) -> None:
    desk.task()
    held = desk.started()
    for _ in range(10):
        desk.pass_s(2)
        assert desk.beat(held) == [""]
        assert desk.run(fleet.pulse("s")).expired == []
    assert desk.rescue(held.id).verdict == "refused"


def test_a_lost_run_is_crashed_when_its_lease_is_over(desk: Desk) -> None:
    entry = desk.task("a", retry_attempts=1, retry_delay_ms=(0,))
    held = desk.started()
    assert _seconds_until_expired(desk) == LEASE // SECOND
    assert desk.rescue(held.id, entry).state == Reason.CRASHED
    run = desk.get(held.id)
    assert (run.exit_code, run.message) == (FATE_UNKNOWN, "crashed: worker w was lost")
    assert desk.claimed().record.attempt == 1
    assert desk.run(fleet.pulse("s")).expired == []


def test_a_worker_that_wakes_up_late_is_told(desk: Desk) -> None:
    entry = desk.task("a", retry_attempts=1, retry_delay_ms=(0,))
    held = desk.started()
    _seconds_until_expired(desk)
    desk.rescue(held.id, entry)
    assert desk.beat(held) == ["lost"]
    assert desk.append(held, 0, "late") == "lost"
    ended = desk.end(held)
    assert (ended.verdict, ended.state) == ("refused", Reason.CRASHED)


def test_a_second_rescue_is_refused(desk: Desk) -> None:
    entry = desk.task("a", retry_attempts=5)
    held = desk.started()
    record = desk.record(held.id)
    _seconds_until_expired(desk)
    assert desk.run(ops.rescue(held.id, record, entry.task)).verdict == "ended"
    assert desk.run(ops.rescue(held.id, record, entry.task)).verdict == "refused"
    assert len(desk.run(runs.execution_runs(held.id))) == 2


def test_after_a_gap_nothing_is_rescued_for_one_lease(desk: Desk) -> None:
    desk.task()
    held = desk.started()
    desk.run(fleet.pulse("s"))
    desk.pass_s(20)
    pulse = desk.run(fleet.pulse("s"))
    assert pulse.expired == []
    assert desk.rescue(held.id).state == "held"
    desk.pass_s(1)
    desk.run(fleet.pulse("s2"))
    assert desk.beat(held) == [""], "the worker was there all the time"
    assert _seconds_until_expired(desk) >= 5
    assert desk.rescue(held.id).verdict == "ended"


def test_the_next_leader_obeys_the_hold_too(desk: Desk) -> None:
    desk.task()
    desk.started()
    desk.run(fleet.pulse("one"))
    desk.pass_s(20)
    desk.run(fleet.pulse("one"))
    desk.run(fleet.resign("one"))
    pulse = desk.run(fleet.pulse("two"))
    assert (pulse.token > 0, pulse.expired) == (True, [])


def test_a_run_that_was_asked_to_stop_is_stopped_not_crashed(desk: Desk) -> None:
    entry = desk.task("a", retry_attempts=5)
    held = desk.started()
    desk.run(ops.stop("a#1"))
    _seconds_until_expired(desk)
    ended = desk.rescue(held.id, entry)
    assert ended.state == Reason.STOPPED
    assert len(desk.run(runs.execution_runs(held.id))) == 1
    check_store(desk)


def test_three_crashes_in_a_row_are_the_end_of_it(desk: Desk) -> None:
    entry = desk.task("a", retry_attempts=10, retry_delay_ms=(0,))
    desk.trigger()
    crashes, last = 0, None
    while held := desk.claim():
        _seconds_until_expired(desk)
        assert desk.rescue(held.id, entry).verdict == "ended"
        crashes, last = crashes + 1, held
    assert crashes == 3
    assert last is not None
    assert desk.get(last.id).message == "crashed: worker w was lost; not tried again after 3 crashes in a row"


def test_another_ending_between_starts_the_count_anew(desk: Desk) -> None:
    entry = desk.task("a", retry_attempts=10, retry_delay_ms=(0,))
    held = desk.started()
    for crash in (True, True, False, True, True):
        if crash:
            _seconds_until_expired(desk)
            desk.rescue(held.id, entry)
        else:
            desk.fail(held, entry)
        held = desk.claimed()
    assert held.record.attempt == 5


def test_a_run_whose_definition_is_gone_ends_without_a_retry(desk: Desk) -> None:
    desk.task("a", retry_attempts=5)
    held = desk.started()
    _seconds_until_expired(desk)
    assert desk.rescue(held.id, None).state == Reason.CRASHED
    assert desk.claim() is None


def test_the_lease_of_a_run_that_is_gone_goes_too(desk: Desk) -> None:
    gone = new_id(desk.now)
    desk.run(Call("ZADD", (Key("leases"), desk.now, gone.bytes), as_is))  # as after a store that lost its last writes
    assert [run_id for run_id, _ in desk.run(fleet.pulse("s")).expired] == [gone]
    assert desk.run(runs.rescue(gone, "crashed", None)).state == "gone"
    assert desk.run(fleet.pulse("s")).expired == []


def _seconds_until_expired(desk: Desk) -> int:
    """Let time pass with a scheduler pulsing every second, as it does, until a lease is over."""
    for seconds in range(30):
        if desk.run(fleet.pulse("s")).expired:
            return seconds
        desk.pass_s(1)
    raise AssertionError("no lease was ever over")
