"""At the limit: queue, skip or kill; shared limits; and nobody overtakes."""

import threading
import uuid

import msgspec
import pytest

from shared import ops
from shared.runs import NOTHING_RAN, Reason, Run
from shared.settings import Settings
from shared.store import open_store, tasks
from shared.store.redis.call import Call, Key
from shared.store.runs import Claimed
from tests.store.consistency import check_store
from tests.store.harness import StoreHarness


def test_without_a_limit_everything_starts(harness: StoreHarness) -> None:
    harness.task("a")
    ids = [harness.trigger().id for _ in range(5)]
    assert [held.id for held in _claim_all(harness)] == ids


def test_queue_waits_in_the_order_of_arrival(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=2)
    ids = [harness.trigger().id for _ in range(6)]
    order: list[object] = []
    while live := _claim_all(harness):
        assert len(live) <= 2
        order += [held.id for held in live]
        for held in live:
            harness.end(held)
            check_store(harness)
    assert order == ids


def test_a_later_trigger_does_not_overtake_when_there_is_room_for_a_moment(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1)
    harness.task("b", limits={"db": 1})
    harness.task("a", max_concurrent=2, limits={"db": 1})
    other = harness.started("b")
    first = harness.trigger("a")  # its own gate has room, the shared one has not
    harness.task("a", max_concurrent=2)
    second = harness.trigger("a")  # would fit, but the first waits at the same gate
    assert harness.claim() is None
    harness.end(other)
    assert [held.id for held in _claim_all(harness)] == [first.id, second.id]


def test_a_full_queue_refuses_and_says_so(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1, max_queued=2)
    for _ in range(3):
        harness.trigger()
    refused = harness.trigger()
    assert (refused.end_reason, refused.exit_code) == (Reason.SKIPPED, -1)
    assert refused.message == "skipped: 2 executions of a were waiting already (max_queued = 2)"
    assert refused.end_at == refused.created_at


def test_skip_refuses_and_names_who_was_running(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1, on_overlap="skip")
    harness.started()
    refused = harness.trigger()
    assert (refused.end_reason, refused.message) == (Reason.SKIPPED, "skipped: a#1 was still running")
    check_store(harness)


def test_skip_names_the_execution_when_its_first_run_is_not_what_runs(harness: StoreHarness) -> None:
    harness.task("before")
    entry = harness.task("a", depends_on=("before",), max_concurrent=1, on_overlap="skip", retry_attempts=1)
    held = harness.started("a")
    assert harness.trigger("a").message == "skipped: the execution of a that began with before#1 was still running"
    harness.end(held)
    harness.fail(harness.claimed(), entry)
    assert harness.trigger("a").message == "skipped: the execution of a that began with before#1 was still running"
    harness.task("a", max_concurrent=1, on_overlap="skip", retry_attempts=1)
    harness.run(ops.stop_task("a"))
    held = harness.started("a")
    number = held.record.number
    assert harness.trigger("a").message == f"skipped: a#{number} was still running"
    harness.fail(held, entry)
    assert harness.trigger("a").message == f"skipped: the execution of a that began with a#{number} was still running"
    check_store(harness)


def test_kill_stops_a_waiting_oldest_at_once_and_starts(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1, on_overlap="kill")
    old = harness.trigger()
    new = harness.trigger()
    assert harness.state(old.id) == Reason.STOPPED
    assert harness.get(old.id).message == "stopped: a newer trigger of a took its place"
    assert harness.claimed().id == new.id


def test_kill_asks_a_running_oldest_and_starts_when_it_is_gone(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=2, on_overlap="kill")
    first, second = harness.started(), harness.started()
    new = harness.trigger()
    assert harness.heartbeat(first, second) == ["stop", ""]
    assert harness.claim() is None
    harness.end(first, Reason.STOPPED, 143)
    assert harness.claimed().id == new.id
    assert harness.get(first.id).message == "stopped: a newer trigger of a took its place"


def test_kill_lets_only_the_newest_wait(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1, on_overlap="kill")
    held = harness.started()
    waiting = [harness.trigger() for _ in range(4)]
    assert [harness.state(run.id) for run in waiting] == [Reason.STOPPED] * 3 + ["pending"]
    harness.end(held, Reason.STOPPED)
    assert harness.claimed().id == waiting[-1].id


def test_a_shared_limit_holds_across_tasks(harness: StoreHarness) -> None:
    harness.task("a", limits={"db": 2})
    harness.task("b", limits={"db": 2})
    ids = [harness.trigger(name).id for name in "ababa"]
    seen: list[object] = []
    while live := _claim_all(harness):
        assert len(live) <= 2
        seen += [held.id for held in live]
        harness.end(live[0])
        check_store(harness)
        for held in live[1:]:
            harness.end(held)
    assert sorted(map(str, seen)) == sorted(map(str, ids))


def test_a_waiter_moves_up_when_the_one_before_it_starts(harness: StoreHarness) -> None:
    harness.task("x", limits={"one": 1})
    harness.task("y", limits={"two": 2})
    harness.task("both", limits={"one": 1, "two": 2})
    blocker = harness.started("x")
    both, behind = harness.trigger("both"), harness.trigger("y")
    assert harness.claim() is None
    harness.end(blocker)
    assert [held.id for held in _claim_all(harness)] == [both.id, behind.id]


def test_the_first_waiter_of_one_limit_waits_for_the_first_of_another(harness: StoreHarness) -> None:
    limits = {"wide": 2, "one": 1, "two": 1}
    harness.apply(limits)
    harness.task("busy-one", limits={"one": 1})
    harness.task("busy-two", limits={"two": 1})
    harness.task("p", limits={"wide": 2, "one": 1})
    harness.task("q", limits={"wide": 2, "two": 1})
    one, two = harness.started("busy-one"), harness.started("busy-two")
    p, q = harness.trigger("p"), harness.trigger("q")
    harness.end(two)
    assert harness.claim() is None, "q overtook p at the wide gate"
    harness.end(one)
    assert [held.id for held in _claim_all(harness)] == [p.id, q.id]


@pytest.mark.parametrize("limits", [{"db": 3}, {}])
def test_a_raised_or_removed_limit_lets_the_waiting_through(harness: StoreHarness, limits: dict[str, int]) -> None:
    harness.task("a", limits={"db": 1})
    harness.started()
    waiting = [harness.trigger().id for _ in range(2)]
    harness.run(tasks.apply([], remove=False, limits=limits))
    assert [held.id for held in _claim_all(harness)] == waiting


def test_a_delayed_trigger_meets_its_rule_when_it_is_due(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1, on_overlap="skip", replicas=2)
    run = harness.trigger(delay_ms=1000)
    held = harness.started(replicas=1)
    harness.pass_s(1)
    assert harness.state(run.id) == "pending"
    harness.run(ops.enqueue_due())
    check_store(harness)
    assert harness.get(run.id).message == f"skipped: a#{held.record.number} was still running"
    assert harness.state(run.id) == Reason.SKIPPED


def test_a_delayed_trigger_that_is_refused_ran_nothing(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1, on_overlap="skip")
    delayed = harness.trigger(delay_ms=1000)
    harness.started()
    harness.pass_s(1)
    harness.run(ops.enqueue_due())
    refused = harness.record(delayed.id)
    assert (refused.reason, refused.exit_code, refused.end_us) == (Reason.SKIPPED, NOTHING_RAN, harness.now)


def test_skip_names_the_oldest_of_several_that_run(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=2, on_overlap="skip")
    harness.started()
    harness.started()
    assert harness.trigger().message == "skipped: a#1 was still running"


def test_skip_waits_when_only_a_shared_limit_is_full(harness: StoreHarness) -> None:
    harness.task("b", limits={"db": 1})
    harness.task("a", max_concurrent=2, on_overlap="skip", limits={"db": 1})
    other = harness.started("b")
    run = harness.trigger("a")
    assert (run.status, harness.claim()) == ("pending", None)
    harness.end(other)
    assert harness.claimed().id == run.id


def test_kill_knows_no_bound_of_those_that_wait(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1, max_queued=1, on_overlap="kill")
    harness.started()
    harness.trigger()
    newest = harness.trigger()
    assert newest.status == "pending"


def test_a_delayed_trigger_does_not_count_before_it_is_due(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1)
    harness.trigger(delay_ms=1000)
    assert harness.started().record.number == 2


def test_replicas_count_as_one(harness: StoreHarness) -> None:
    harness.task("a", replicas=3, max_concurrent=1)
    harness.trigger()
    harness.trigger()
    live = _claim_all(harness)
    assert [held.record.number for held in live] == [1, 2, 3]
    harness.end(live[0])
    harness.end(live[1])
    assert harness.claim() is None
    harness.end(live[2])
    assert len(_claim_all(harness)) == 3


def test_a_retry_belongs_to_its_execution_and_does_not_wait(harness: StoreHarness) -> None:
    entry = harness.task("a", max_concurrent=1, retry_attempts=1, retry_delay_ms=(0,))
    held = harness.started()
    newer = harness.trigger()
    harness.fail(held, entry)
    retry = harness.claimed()
    assert retry.record.retry_of == str(held.id)
    assert harness.state(newer.id) == "pending"
    harness.end(retry)
    assert harness.claimed().id == newer.id


def test_stopping_who_waits_lets_the_next_through(harness: StoreHarness) -> None:
    harness.task("x", limits={"one": 1})
    harness.task("y", limits={"two": 1})
    harness.task("both", limits={"one": 1, "two": 1})
    harness.started("x")
    both, behind = harness.trigger("both"), harness.trigger("y")
    harness.run(ops.stop(str(both.id)))
    assert harness.claimed().id == behind.id


@pytest.mark.parametrize(("policy", "most"), [("queue", 1), ("queue", 3), ("skip", 1), ("skip", 3), ("kill", 3)])
def test_never_more_than_max_of_200_triggers_from_4_threads_are_live(
    settings: Settings, harness: StoreHarness, policy: str, most: int
) -> None:
    """F39: every policy, one and three at once."""
    harness.task("a", max_concurrent=most, on_overlap=policy, max_queued=100)
    made: list[Run] = []

    def trigger() -> None:
        store, catalog = open_store(settings), ops.Catalog()
        made.extend(store.run(ops.trigger(catalog, "a", ops.Request())).run for _ in range(50))
        store.close()

    harness.is_alone = False
    threads = [threading.Thread(target=trigger) for _ in range(4)]
    for thread in threads:
        thread.start()
    done: list[int] = []
    while any(thread.is_alive() for thread in threads) or _counts(harness).pending:
        live = _claim_all(harness)
        assert len(live) <= most
        assert _counts(harness).running <= most
        for held in live:
            done.append(held.record.number)
            harness.end(held)
    for thread in threads:
        thread.join()
    counts = _counts(harness)
    assert counts.total == len(made) == 200
    assert counts.running == counts.pending == 0
    assert sum(counts.by_reason.values()) == 200
    assert counts.by_reason["success"] == len(done)
    assert done == sorted(done), "a later trigger overtook"
    if policy == "queue":
        assert len(done) >= 100


def _claim_all(harness: StoreHarness) -> list[Claimed]:
    found = []
    while held := harness.claim():
        found.append(held)
    return found


def _counts(harness: StoreHarness) -> tasks.Counts:
    found = harness.run(tasks.counts(["a"]))["a"]
    assert msgspec.structs.asdict(found)
    return found


def test_kill_stops_no_execution_of_another_task_that_depends_on_it(harness: StoreHarness) -> None:
    harness.task("dep", max_concurrent=1, on_overlap="kill")
    harness.task("report", depends_on=("dep",))
    report = harness.trigger("report")
    held = harness.claimed()
    mine = harness.trigger("dep")
    assert not harness.get(held.id).stop_requested
    newer = harness.trigger("dep")
    assert harness.get(mine.id).end_reason == "stopped"  # it waited, and a newer one took its place
    assert harness.get(newer.id).status == "pending"
    harness.end(held)
    step = harness.claimed()
    assert step.record.task == "report"
    assert harness.get(report.id).end_reason == "success"


def test_kill_stops_none_that_waits_for_another_task(harness: StoreHarness) -> None:
    harness.task("dep", max_concurrent=1, on_overlap="kill")
    harness.task("report", depends_on=("dep",))
    first = harness.started("dep")
    waiting = harness.trigger("report")
    harness.trigger("dep")
    assert harness.get(first.id).stop_requested
    assert harness.get(waiting.id).status == "pending"


def test_a_max_that_is_raised_lets_in_those_who_wait(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1)
    harness.started()
    for _ in range(3):
        harness.trigger()
    assert harness.claim() is None
    harness.task("a", max_concurrent=3)
    assert [harness.claimed(), harness.claimed()]
    assert harness.claim() is None


def test_a_max_that_is_taken_away_lets_all_in(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1)
    harness.started()
    for _ in range(3):
        harness.trigger()
    harness.task("a")
    assert [harness.claimed(), harness.claimed(), harness.claimed()]


def test_a_max_that_is_lowered_holds_for_those_who_wait(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=2)
    held = [harness.started(), harness.started()]
    harness.trigger()
    harness.task("a", max_concurrent=1)
    harness.end(held[0])
    assert harness.claim() is None
    harness.end(held[1])
    assert harness.claim() is not None


def test_waiters_of_a_removed_task_keep_its_last_max(harness: StoreHarness) -> None:
    harness.task("b")
    harness.task("a", max_concurrent=1)
    held = harness.started()
    harness.trigger()
    harness.trigger()
    harness.remove("a")
    harness.end(held)
    assert harness.claim() is not None
    assert harness.claim() is None


def test_those_who_wait_for_a_shared_limit_are_bounded(harness: StoreHarness) -> None:
    harness.task("a", limits={"db": 1})
    harness.started()
    crowd = {uuid.uuid4().bytes: float(number) for number in range(10_000)}
    pairs = [part for member, score in crowd.items() for part in (score, member)]
    harness.run(Call("ZADD", (Key("limit:shared:db:waiters"), *pairs), int))
    refused = harness.trigger()
    assert refused.end_reason == "skipped"
    assert refused.message == "skipped: 10000 executions were waiting for the limit db already"
    harness.run(Call("DEL", (Key("limit:shared:db:waiters"),), int))
