"""The attempt that follows: made in the step that ends the one before, and only when it is owed."""

import msgspec
import pytest

from shared import ops
from shared.runs import Reason
from shared.store import runs
from shared.store.runs import Facts
from shared.tasks import Param
from tests.store.consistency import check_store, snapshot
from tests.store.harness import SECOND, StoreHarness


def test_a_retry_exists_from_the_instant_its_run_ended(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=2, retry_delay_ms=(3000,), priority=4, queue="q")
    harness.trigger(tags=("t",), labels={"l": "1"}, external_execution_id="e", triggered_by="cloud")
    held = harness.claimed("w", "q")
    harness.append(held, 0, "line")
    harness.pass_s(1)
    harness.fail(held, entry)
    first, retry = harness.run(runs.execution_runs(held.id))
    assert (first.end_reason, retry.status, retry.retry_attempt) == (Reason.FAILED, "pending", 1)
    assert (retry.retry_of_run_id, retry.execution_id, retry.number) == (held.id, held.id, 2)
    assert (retry.tags, retry.labels, retry.queue, retry.priority) == (["t"], {"l": "1"}, "q", 4)
    assert (retry.triggered_by, retry.external_execution_id) == ("cloud", "e")
    assert (retry.log_lines, retry.log_bytes) == (0, 0)
    stored = harness.record(retry.id)
    assert (stored.due_us, stored.created_us, stored.token, stored.worker) == (
        harness.now + 3 * SECOND,
        harness.now,
        0,
        "",
    )


def test_a_retry_has_nothing_of_what_became_of_the_attempt_before(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=1, retry_delay_ms=(0,), params={"x": Param(default="1")})
    made = harness.record(harness.trigger(tags=("t",), external_execution_id="e").id)
    held = harness.claimed()
    harness.append(held, 0, "one", "two", "three", first_kept=1)
    harness.pass_s(2)
    facts = Facts('{"rows":3}', log_bytes=10, log_lines=3, log_truncated=1, log_first=1, peak_memory=4096, cpu_ms=12)
    harness.end(
        held, Reason.FAILED, 7, retry=harness.owed(held, entry, Reason.FAILED), facts=facts, message="exited with 7"
    )
    own = {"number": 2, "attempt": 1, "retry_of": str(held.id), "execution": str(held.id)}
    times = {"created_us": harness.now, "due_us": harness.now}
    expected = msgspec.structs.asdict(made) | own | times
    assert msgspec.structs.asdict(harness.record(harness.run(runs.find("a#2")).id)) == expected


def test_attempts_have_no_gaps_and_end_with_the_budget(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=3, retry_delay_ms=(0,))
    held = harness.started()
    execution = held.id
    for _ in range(3):
        harness.fail(held, entry)
        check_store(harness)
        held = harness.claimed()
    assert harness.fail(held, entry).verdict == "ended"
    assert harness.claim() is None
    made = harness.run(runs.execution_runs(execution))
    assert [run.retry_attempt for run in made] == [0, 1, 2, 3]
    assert [run.retry_of_run_id for run in made[1:]] == [run.id for run in made[:-1]]
    assert harness.run(runs.is_over(execution))


@pytest.mark.parametrize("reason", [Reason.SUCCESS, Reason.STOPPED])
def test_successful_and_stopped_runs_are_not_retried(harness: StoreHarness, reason: Reason) -> None:
    entry = harness.task("a", retry_attempts=3)
    held = harness.started()
    assert harness.owed(held, entry, reason) is None


def test_an_exit_code_can_decide(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=1, retry_on=("exit:75",))
    held = harness.started()
    assert harness.owed(held, entry, Reason.FAILED, 1) is None
    assert harness.owed(held, entry, Reason.FAILED, 75) is not None


def test_a_stop_request_forbids_the_retry_not_the_reason(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=3)
    held = harness.started()
    retry = harness.owed(held, entry, Reason.FAILED)
    harness.run(ops.stop(str(held.id)))
    harness.end(held, Reason.FAILED, 1, retry=retry)
    assert harness.state(held.id) == Reason.FAILED
    assert len(harness.run(runs.execution_runs(held.id))) == 1
    assert harness.run(runs.is_over(held.id))


def test_a_repeated_end_makes_no_second_retry(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=3)
    held = harness.started()
    retry = harness.owed(held, entry, Reason.FAILED)
    harness.end(held, Reason.FAILED, 1, retry=retry)
    before = snapshot(harness)
    assert harness.end(held, Reason.FAILED, 1, retry=retry).verdict == "already_ended"
    assert snapshot(harness) == before


def test_a_replica_is_tried_again_alone(harness: StoreHarness) -> None:
    entry = harness.task("a", replicas=2, retry_attempts=1, retry_delay_ms=(0,))
    one, two = harness.started(), harness.claimed()
    harness.end(one)
    harness.fail(two, entry)
    retry = harness.claimed()
    assert (retry.record.replica_index, retry.record.attempt, retry.record.execution) == (1, 1, str(one.id))
    assert not harness.run(runs.is_over(one.id))
    harness.end(retry)
    assert harness.run(runs.is_over(one.id))


@pytest.mark.parametrize(("policy", "attempt", "reruns"), [("retry", 1, 0), ("rerun", 0, 1)])
def test_an_interrupted_run_is_made_again_at_once(
    harness: StoreHarness, policy: str, attempt: int, reruns: int
) -> None:
    entry = harness.task("a", retry_attempts=1, on_interrupt=policy)
    held = harness.started()
    retry = ops.next_attempt(held.id, held.record, entry.task, Reason.CRASHED, -2, interrupted=entry.task.on_interrupt)
    harness.run(runs.end(held.id, held.record.token, Reason.CRASHED, -2, "", retry=retry, transition="interrupt"))
    again = harness.claimed()
    assert (again.record.attempt, again.record.reruns) == (attempt, reruns)


def test_reruns_come_to_an_end(harness: StoreHarness) -> None:
    entry = harness.task("a", on_interrupt="rerun")
    held = harness.started()
    for made in range(10):  # noqa: B007  # how far it came is asserted below
        retry = ops.next_attempt(held.id, held.record, entry.task, Reason.CRASHED, -2, interrupted="rerun")
        harness.run(runs.end(held.id, held.record.token, Reason.CRASHED, -2, "", retry=retry, transition="interrupt"))
        following = harness.claim()
        if following is None:
            break
        held = following
    assert made == 5


def test_a_delayed_retry_is_offered_when_it_is_due(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=1, retry_delay_ms=(3000,), max_concurrent=1)
    held = harness.started()
    harness.fail(held, entry)
    assert harness.claim() is None
    harness.pass_s(3)
    harness.run(ops.enqueue_due())
    assert harness.claimed().record.attempt == 1


def test_a_retry_displaces_no_other_execution(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=3)
    other = harness.started()
    held = harness.started()
    owed = harness.owed(held, entry, Reason.FAILED)
    assert owed is not None
    harness.end(held, Reason.FAILED, 1, retry=msgspec.structs.replace(owed, id=other.id))
    assert harness.state(other.id) == "running"
