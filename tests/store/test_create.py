"""Runs are made in one step, once, and numbered."""

from uuid import UUID

import pytest

from shared import ops
from shared.clock import from_datetime
from shared.errors import Conflict, DefinitionChanged, Forbidden, Invalid, NotFound
from shared.runs import Reason, Run, Status
from shared.store import creation, runs, wakeups
from shared.store.redis.sync_store import Store
from tests.store.consistency import check_store, dump, snapshot
from tests.store.harness import SECOND, START, StoreHarness


def test_a_run_is_created_pending_with_what_its_task_says(harness: StoreHarness) -> None:
    entry = harness.task("a", queue="q", priority=3, tags=("nightly",), labels={"team": "x"})
    run = harness.trigger(
        "a", tags=("extra",), labels={"why": "test"}, triggered_by="cloud", external_execution_id="e1"
    )
    assert (run.status, run.task_name, run.queue, run.priority, run.number) == (Status.PENDING, "a", "q", 3, 1)
    assert (run.tags, run.labels, run.triggered_by) == (["nightly", "extra"], {"team": "x", "why": "test"}, "cloud")
    assert (run.external_execution_id, run.definition, run.execution_id) == ("e1", entry.definition.hash, run.id)
    assert from_datetime(run.created_at) == START


def test_replicas_share_an_execution_and_are_numbered(harness: StoreHarness) -> None:
    harness.task("a", replicas=3)
    harness.trigger()
    run = harness.trigger(replicas=2)
    made = harness.run(runs.execution_runs(run.id))
    assert [(one.replica_index, one.replica_count, one.number) for one in made] == [(0, 2, 4), (1, 2, 5)]
    assert {one.execution_id for one in made} == {run.id}


def test_a_repeated_create_makes_nothing(harness: StoreHarness) -> None:
    entry = harness.task()
    what = ops.creation(entry, ops.Request(), harness.now)
    first = harness.run(creation.create(what))
    before = snapshot(harness)
    again = harness.run(creation.create(what))
    assert (first.verdict, again.verdict, again.run) == ("created", "exists", first.run)
    assert snapshot(harness) == before


def test_a_repeated_key_answers_the_first_run(harness: StoreHarness) -> None:
    harness.task()
    request = ops.Request(idempotency_key="k", body_digest="d")
    first = harness.run(ops.trigger(harness.catalog, "a", request))
    harness.end(harness.claimed())
    again = harness.run(ops.trigger(harness.catalog, "a", request))
    assert (first.repeated, again.repeated, again.run.id, again.run.status) == (False, True, first.run.id, "ended")


def test_keys_are_kept_apart_by_task(harness: StoreHarness) -> None:
    harness.task("a")
    harness.task("b")
    one = harness.trigger("a", idempotency_key="k", body_digest="d")
    two = harness.trigger("b", idempotency_key="k", body_digest="d")
    assert one.id != two.id


def test_a_key_used_for_another_body_is_refused(harness: StoreHarness) -> None:
    harness.task()
    harness.trigger(idempotency_key="k", body_digest="one")
    before = snapshot(harness)
    with pytest.raises(Invalid, match="another request"):
        harness.trigger(idempotency_key="k", body_digest="two")
    assert snapshot(harness) == before


def test_a_key_whose_run_was_deleted_is_refused(harness: StoreHarness) -> None:
    harness.task()
    run = harness.trigger(idempotency_key="k", body_digest="d")
    harness.end(harness.claimed())
    harness.run(ops.delete(str(run.id)))
    with pytest.raises(Conflict, match="deleted"):
        harness.trigger(idempotency_key="k", body_digest="d")


def test_an_old_definition_is_refused_and_read_again(harness: StoreHarness) -> None:
    old = harness.task("a", priority=1)
    harness.trigger()
    new = harness.task("a", priority=2)
    with pytest.raises(DefinitionChanged):
        harness.run(creation.create(ops.creation(old, ops.Request(), harness.now)))
    assert harness.trigger().definition == new.definition.hash


def test_a_removed_task_cannot_be_started(harness: StoreHarness) -> None:
    harness.task("a")
    harness.trigger()
    harness.remove("a")
    with pytest.raises(NotFound, match="there is no task a"):
        harness.trigger()


def test_a_task_not_to_be_started_by_hand_is_refused(harness: StoreHarness) -> None:
    harness.task("a", manual_trigger=False)
    with pytest.raises(Forbidden):
        harness.trigger()


def test_a_delayed_run_waits_until_it_is_due(harness: StoreHarness) -> None:
    harness.task()
    run = harness.trigger(delay_ms=2000)
    assert from_datetime(run.created_at) + 2 * SECOND == START + 2 * SECOND
    assert harness.claim() is None
    assert harness.run(ops.enqueue_due())[:2] == (0, START + 2 * SECOND)
    harness.pass_s(1.999999)
    assert harness.run(ops.enqueue_due())[0] == 0
    harness.pass_s(0.000001)
    assert harness.run(ops.enqueue_due())[:2] == (1, None)
    assert harness.claimed().id == run.id


def test_delayed_replicas_are_released_together_however_small_the_batch(harness: StoreHarness) -> None:
    harness.task("a", replicas=5)
    harness.trigger(delay_ms=1000)
    harness.pass_s(1)
    harness.run(ops.enqueue_due(batch=2))
    check_store(harness)
    assert [harness.claimed().record.number for _ in range(5)] == [1, 2, 3, 4, 5]
    assert harness.run(ops.enqueue_due(batch=2))[:2] == (0, None)


def test_a_run_due_in_the_past_is_ready(harness: StoreHarness) -> None:
    harness.task()
    run = harness.trigger(due_us=START - 1)
    assert harness.claimed().id == run.id


def test_an_external_run_is_offered_to_no_worker(harness: StoreHarness) -> None:
    harness.task("a", run=None, external=True)
    run = harness.trigger(external_execution_id="e")
    harness.trigger(delay_ms=1000)
    harness.pass_s(2)
    harness.run(ops.enqueue_due())
    assert harness.claim() is None
    harness.run(ops.stop(str(run.id)))
    assert harness.state(run.id) == Reason.STOPPED


def test_a_trigger_wakes_its_queue_no_more_than_is_useful(harness: StoreHarness) -> None:
    harness.task("a", queue="q")
    for _ in range(wakeups.MOST + 10):
        harness.trigger()
    everything = dump(harness)
    assert len(everything[b"dramatiq:q"].content) == wakeups.MOST
    assert len(everything[b"dramatiq:q.msgs"].content) == wakeups.MOST
    assert len(everything[b"wake:queue:q"].content) == wakeups.MOST


def test_a_rerun_is_like_its_run(harness: StoreHarness) -> None:
    harness.task("a", call="m:f", run=None, replicas=2)
    run = harness.trigger(params={"x": 1}, tags=("t",), labels={"l": "1"}, replicas=1, external_execution_id="e")
    with pytest.raises(Conflict, match="pending"):
        harness.run(ops.rerun(harness.catalog, str(run.id)))
    harness.end(harness.claimed())
    again = harness.run(ops.rerun(harness.catalog, "a#1")).run
    assert again.id != run.id
    assert (again.params, again.tags, again.labels, again.replica_count) == ({"x": 1}, ["t"], {"l": "1"}, 1)
    assert again.external_execution_id == "e"


def test_the_clock_is_that_of_redis(store: Store, harness: StoreHarness) -> None:
    entry = harness.task()
    made = store.run(creation.create(ops.creation(entry, ops.Request(), 0))).run
    assert isinstance(made, Run)
    assert from_datetime(made.created_at) > START + 86_400 * SECOND
    assert isinstance(made.id, UUID)
