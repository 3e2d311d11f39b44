"""A run whose worker was lost is ended by the scheduler: not too early, not twice, not after an outage."""

from shared import ops
from shared.ids import new_id
from shared.runs import FATE_UNKNOWN, Reason
from shared.store import fleet, leadership, runs
from shared.store.redis.call import Call, Key, as_is
from tests.store.consistency import check_store
from tests.store.harness import LEASE, SECOND, StoreHarness


def test_a_leader_of_a_time_before_the_clock_went_back_is_followed(harness: StoreHarness) -> None:
    """F58: the leader is lost at that moment."""
    harness.run(leadership.poll("one"))
    harness.pass_s(-3600)
    assert harness.run(leadership.schedulers(harness.now)).leader == "", "nobody has been heard of at this time"
    assert harness.run(leadership.poll("two")).token == 0, "it may live"
    harness.pass_s(4)
    assert harness.run(leadership.poll("two")).token


def test_a_lost_run_is_rescued_although_the_clock_went_back(harness: StoreHarness) -> None:
    """F58: also once it had been an hour ahead for one look."""
    entry = harness.task()
    held = harness.started()
    harness.run(leadership.poll("s"))
    harness.pass_s(3600)
    harness.heartbeat(held)
    assert harness.run(leadership.poll("s")).expired == []
    harness.pass_s(-3600)
    harness.run(leadership.poll("s"))
    for _ in range(13):
        harness.pass_s(1)
        expired = harness.run(leadership.poll("s")).expired
    assert [run_id for run_id, _ in expired] == [held.id]
    assert harness.rescue(held.id, entry).state == "crashed"


def test_a_worker_of_a_time_before_the_clock_went_back_is_not_alive_for_ever(harness: StoreHarness) -> None:
    """F58."""
    harness.heartbeat()
    harness.pass_s(-3600)
    harness.run(leadership.poll("s"))
    harness.pass_s(7)
    assert [worker.alive for worker in harness.run(fleet.workers())] == [False]


def test_a_lease_that_is_renewed_is_respected(harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()
    for _ in range(10):
        harness.pass_s(2)
        assert harness.heartbeat(held) == [""]
        assert harness.run(leadership.poll("s")).expired == []
    assert harness.rescue(held.id).verdict == "refused"


def test_a_lost_run_is_crashed_when_its_lease_is_over(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=1, retry_delay_ms=(0,))
    held = harness.started()
    assert _seconds_until_expired(harness) == LEASE // SECOND
    assert harness.rescue(held.id, entry).state == Reason.CRASHED
    run = harness.get(held.id)
    assert (run.exit_code, run.message) == (FATE_UNKNOWN, "crashed: worker w was lost")
    assert harness.claimed().record.attempt == 1
    assert harness.run(leadership.poll("s")).expired == []


def test_a_worker_that_wakes_up_late_learns_so(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=1, retry_delay_ms=(0,))
    held = harness.started()
    _seconds_until_expired(harness)
    harness.rescue(held.id, entry)
    assert harness.heartbeat(held) == ["lost"]
    assert harness.append(held, 0, "late") == "lost"
    ended = harness.end(held)
    assert (ended.verdict, ended.state) == ("refused", Reason.CRASHED)


def test_a_second_rescue_is_refused(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=5)
    held = harness.started()
    record = harness.record(held.id)
    _seconds_until_expired(harness)
    assert harness.run(ops.rescue(held.id, record, entry.task)).verdict == "ended"
    assert harness.run(ops.rescue(held.id, record, entry.task)).verdict == "refused"
    assert len(harness.run(runs.execution_runs(held.id))) == 2


def test_after_a_gap_nothing_is_rescued_for_one_lease(harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()
    harness.run(leadership.poll("s"))
    harness.pass_s(20)
    poll = harness.run(leadership.poll("s"))
    assert poll.expired == []
    assert harness.rescue(held.id).state == "held"
    harness.pass_s(1)
    harness.run(leadership.poll("s2"))
    assert harness.heartbeat(held) == [""], "the worker was there all the time"
    assert _seconds_until_expired(harness) >= 5
    assert harness.rescue(held.id).verdict == "ended"


def test_the_next_leader_obeys_the_hold_too(harness: StoreHarness) -> None:
    harness.task()
    harness.started()
    harness.run(leadership.poll("one"))
    harness.pass_s(20)
    harness.run(leadership.poll("one"))
    harness.run(leadership.resign("one"))
    poll = harness.run(leadership.poll("two"))
    assert (poll.token > 0, poll.expired) == (True, [])


def test_a_run_that_was_asked_to_stop_is_stopped_not_crashed(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=5)
    held = harness.started()
    harness.run(ops.stop("a#1"))
    _seconds_until_expired(harness)
    ended = harness.rescue(held.id, entry)
    assert ended.state == Reason.STOPPED
    assert len(harness.run(runs.execution_runs(held.id))) == 1
    check_store(harness)


def test_three_crashes_in_a_row_are_the_end_of_it(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=10, retry_delay_ms=(0,))
    harness.trigger()
    crashes, last = 0, None
    while held := harness.claim():
        _seconds_until_expired(harness)
        assert harness.rescue(held.id, entry).verdict == "ended"
        crashes, last = crashes + 1, held
    assert crashes == 3
    assert last is not None
    assert harness.get(last.id).message == "crashed: worker w was lost; not tried again after 3 crashes in a row"


def test_another_ending_between_starts_the_count_anew(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=10, retry_delay_ms=(0,))
    held = harness.started()
    for crash in (True, True, False, True, True):
        if crash:
            _seconds_until_expired(harness)
            harness.rescue(held.id, entry)
        else:
            harness.fail(held, entry)
        held = harness.claimed()
    assert held.record.attempt == 5


def test_a_run_whose_definition_is_gone_ends_without_a_retry(harness: StoreHarness) -> None:
    harness.task("a", retry_attempts=5)
    held = harness.started()
    _seconds_until_expired(harness)
    assert harness.rescue(held.id, None).state == Reason.CRASHED
    assert harness.claim() is None


def test_the_lease_of_a_run_that_is_gone_goes_too(harness: StoreHarness) -> None:
    gone = new_id(harness.now)
    harness.run(
        Call("ZADD", (Key("leases"), harness.now, gone.bytes), as_is)
    )  # as after a store that lost its last writes
    assert [run_id for run_id, _ in harness.run(leadership.poll("s")).expired] == [gone]
    assert harness.run(runs.rescue(gone, "crashed", None)).state == "gone"
    assert harness.run(leadership.poll("s")).expired == []


def _seconds_until_expired(harness: StoreHarness) -> int:
    """Let time pass with a scheduler pulsing every second, as it does, until a lease is over."""
    for seconds in range(30):
        if harness.run(leadership.poll("s")).expired:
            return seconds
        harness.pass_s(1)
    raise AssertionError("no lease was ever over")
