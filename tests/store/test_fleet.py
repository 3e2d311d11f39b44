"""Who is there, what waits, and how long it has waited."""

import pytest

from shared import ops
from shared.errors import NotFound
from shared.settings import Settings
from shared.store import events, fleet, health, leadership, scoped_fleet, wakeups
from shared.store.fleet import About
from shared.store.redis.call import Call, Key, RawKey
from tests.store.consistency import check_store, dump
from tests.store.harness import SECOND, StoreHarness

ABOUT = About(host="h", pid=7, version="1", queues=("default", "q"), slots=4, started_us=5, broker="b1")


@pytest.fixture
def harness(settings: Settings) -> StoreHarness:
    """A desk whose clock is Redis's, which the figures of the fleet are told by."""
    opened = StoreHarness(settings)
    opened.now = opened.run(fleet.clock())
    return opened


def test_a_worker_introduces_itself_and_is_known(harness: StoreHarness) -> None:
    assert harness.run(fleet.heartbeat("w", [], None))[:3] == (False, False, [])
    assert harness.run(fleet.heartbeat("w", [], ABOUT))[:3] == (True, False, [])
    assert harness.run(fleet.heartbeat("w", [], None))[:3] == (True, False, [])
    (worker,) = harness.run(fleet.workers())
    assert (worker.id, worker.host, worker.pid, worker.queues, worker.slots) == ("w", "h", 7, ("default", "q"), 4)
    assert (worker.alive, worker.draining, worker.running) == (True, False, [])
    assert _types(harness) == ["worker.joined"]


def test_a_worker_shows_what_it_runs(harness: StoreHarness) -> None:
    harness.task()
    harness.run(fleet.heartbeat("w", [], ABOUT))
    one, two = harness.started(), harness.started()
    (worker,) = harness.run(fleet.workers())
    assert set(worker.running) == {one.id, two.id}
    harness.end(one)
    (worker,) = harness.run(fleet.workers())
    assert worker.running == [two.id]


def test_a_silent_worker_is_dead_and_then_forgotten(harness: StoreHarness) -> None:
    now = harness.now
    harness.run(fleet.heartbeat("old", [], ABOUT, now=now - 61 * SECOND))
    harness.run(fleet.heartbeat("dead", [], ABOUT, now=now - 10 * SECOND))
    harness.run(fleet.heartbeat("alive", [], ABOUT))
    assert {worker.id: worker.alive for worker in harness.run(fleet.workers())} == {
        "alive": True,
        "dead": False,
        "old": False,
    }
    assert harness.run(fleet.worker_gone()) == ["old"]
    check_store(harness)
    assert [worker.id for worker in harness.run(fleet.workers())] == ["alive", "dead"]


def test_a_process_that_signs_off_leaves_nothing(harness: StoreHarness) -> None:
    harness.task()
    before = {key for key in dump(harness) if key.startswith((b"worker", b"claims", b"wake", b"dramatiq"))}
    harness.run(fleet.heartbeat("w", [], ABOUT))
    held = harness.started()
    harness.run(ops.stop("a#1"))
    harness.end(held)
    harness.run(fleet.worker_gone("w"))
    after = {key for key in dump(harness) if key.startswith((b"worker", b"claims", b"wake:worker:"))}
    assert after == before
    assert "worker.left" in _types(harness)


def test_a_worker_receives_a_drain_request(harness: StoreHarness) -> None:
    with pytest.raises(NotFound, match="there is no worker w"):
        harness.run(fleet.drain("w"))
    harness.run(fleet.heartbeat("w", [], ABOUT))
    harness.run(fleet.drain("w"))
    assert harness.run(fleet.heartbeat("w", [], None))[1]
    (worker,) = harness.run(fleet.workers())
    assert worker.draining
    check_store(harness)


def test_a_queue_shows_who_waits_and_how_long(harness: StoreHarness) -> None:
    harness.task("a", queue="q")
    now = harness.now
    harness.run(fleet.heartbeat("dead", [], ABOUT, now=now - 10 * SECOND))
    harness.run(fleet.heartbeat("w", [], ABOUT))
    harness.now = now - 9 * SECOND
    harness.trigger(priority=1)
    harness.now = now - 5 * SECOND
    harness.trigger(priority=9)
    default, queue = harness.run(fleet.queues())
    assert (queue.name, queue.depth, queue.running, queue.slots, queue.workers) == ("q", 2, 0, 4, 1)
    assert 9000 <= queue.latency_ms < 12_000, "the longest wait, though another goes first"
    assert (default.name, default.depth, default.latency_ms) == ("default", 0, 0)
    harness.now = now
    harness.claimed("w", "q")
    harness.claimed("w", "q")
    _, queue = harness.run(fleet.queues())
    assert (queue.depth, queue.running, queue.latency_ms) == (0, 2, 0)


def test_a_delayed_run_has_waited_since_it_was_due(harness: StoreHarness) -> None:
    harness.task()
    now = harness.now
    harness.now = now - 100 * SECOND
    harness.trigger(delay_ms=97_000)
    harness.now = now
    harness.run(ops.enqueue_due())
    (queue,) = harness.run(fleet.queues())
    assert 3000 <= queue.latency_ms < 6000


def test_a_paused_queue_says_so(harness: StoreHarness) -> None:
    harness.run(fleet.pause_queue("q", True))
    assert [(queue.name, queue.paused) for queue in harness.run(fleet.queues())] == [("q", True)]


def test_the_facts_name_the_leader_and_count(harness: StoreHarness) -> None:
    harness.task()
    harness.task("b", cron=("* * * * *",))
    harness.started()
    harness.trigger()
    harness.trigger(delay_ms=60_000)
    harness.run(leadership.poll("one"))
    harness.run(leadership.poll("two"))
    facts = harness.run(fleet.facts())
    assert (facts.leader, facts.standbys) == ("one", ["two"])
    assert isinstance(facts.scheduler_lag_ms, int)
    assert facts.scheduler_lag_ms < 3000
    assert facts.counts == {"pending": 2, "running": 1, "delayed": 1, "tasks": 2}
    assert facts.redis is not None
    assert facts.redis.eviction_policy == "noeviction"
    assert facts.redis.memory_bytes > 0


def test_without_a_scheduler_there_is_no_leader(harness: StoreHarness) -> None:
    facts = harness.run(fleet.facts())
    assert (facts.leader or "", facts.scheduler_lag_ms or 0, facts.standbys) == ("", 0, [])


def test_the_pulse_says_what_is_to_be_done(harness: StoreHarness) -> None:
    entry = harness.task("a", queue="q")
    harness.trigger()
    harness.trigger()
    harness.trigger(delay_ms=5000)
    poll = harness.run(leadership.poll("s"))
    assert (poll.waiting, poll.next_due_us) == ({"q": 2}, harness.now + 5 * SECOND)
    version = poll.catalog
    harness.end(harness.claimed("w", "q"))
    assert harness.run(leadership.poll("s")).prune_candidates == 1
    harness.task("a", priority=3, queue="q")
    assert harness.run(leadership.poll("s")).catalog == version, "no schedule came, went or changed"
    harness.task("a", cron=("@daily",))
    assert harness.run(leadership.poll("s")).catalog > version
    assert entry.task.queue == "q"


def test_wakeups_are_not_sent_more_often_than_is_useful(harness: StoreHarness) -> None:
    harness.run(wakeups.wake_queues({"q": 1000, "r": 1}))
    assert len(dump(harness)[b"dramatiq:q"].content) == wakeups.AT_ONCE
    for _ in range(wakeups.MOST):
        harness.run(wakeups.wake_queues({"q": 1000}))
    everything = dump(harness)
    assert [len(everything[key].content) for key in (b"dramatiq:q", b"dramatiq:q.msgs", b"wake:queue:q")] == [
        wakeups.MOST
    ] * 3
    assert len(everything[b"dramatiq:r"].content) == 1


def _types(harness: StoreHarness) -> list[str]:
    return [event.type for event in harness.run(events.events_after("0-0", 100))]


def test_a_token_for_some_tasks_sees_their_schedules_only(harness: StoreHarness) -> None:
    whole = health.Health(
        schedules=9,
        overdue=2,
        overdue_tasks=["mine.a", "yours.b"],
        unreadable=1,
        unreadable_tasks=["yours.c"],
        failing={"fire yours.b": "it raised"},
    )
    harness.run(leadership.poll("s", health=whole.packed()))
    assert harness.run(fleet.facts()).health == whole
    shared = harness.run(scoped_fleet.facts(lambda name: name.startswith("mine."))).health
    assert shared == health.Health(overdue=1, overdue_tasks=["mine.a"])


def test_the_stored_health_expires_without_a_leader(harness: StoreHarness) -> None:
    harness.run(leadership.poll("s", health=health.Health(overdue=1).packed()))
    left_ms: int = harness.run(Call("PTTL", (Key("health"),), int))
    assert 170_000 < left_ms <= 180_000
    harness.run(leadership.poll("s"))
    assert harness.run(health.stored_health()) == health.Health(overdue=1), "a poll without news leaves it"


@pytest.mark.damaged
def test_foreign_values_fail_neither_heartbeat_nor_poll(harness: StoreHarness) -> None:
    entry = harness.task()
    lost = harness.started()
    for key in ("queue:\u00e9".encode() + b"\xff", b"queue:default"):
        harness.run(Call("ZADD", (RawKey(key), 1, b"\xff\xfe"), bool))
    harness.run(Call("SADD", (Key("queues"), b"\xc3\xa9\xff"), bool))
    harness.run(Call("ZADD", (Key("leases"), 1, b"\xff\xfe"), bool))
    harness.run(Call("SET", (Key("store-id"), b"\xff\xfe"), bool))
    assert harness.run(fleet.heartbeat("w", [(lost.id, lost.record.token)], ABOUT)).verdicts == [""]
    for _ in range(30):  # nobody was away meanwhile
        harness.pass_s(2)
        poll = harness.run(leadership.poll("s"))
    assert poll.token
    assert [run_id for run_id, _ in poll.expired] == [lost.id]
    assert harness.rescue(lost.id, entry).verdict == "ended"
    assert harness.run(leadership.poll("s")).store_id == harness.run(fleet.heartbeat("w", [], ABOUT)).store_id
