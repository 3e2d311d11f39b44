"""At the limit: queue, skip or kill; shared limits; and nobody overtakes."""

from __future__ import annotations

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
from tests.store.checking import check_store
from tests.store.desk import Desk


def test_without_a_limit_everything_starts(desk: Desk) -> None:
    desk.task("a")
    ids = [desk.trigger().id for _ in range(5)]
    assert [held.id for held in _claim_all(desk)] == ids


def test_queue_waits_in_the_order_of_arrival(desk: Desk) -> None:
    desk.task("a", max_concurrent=2)
    ids = [desk.trigger().id for _ in range(6)]
    order: list[object] = []
    while live := _claim_all(desk):
        assert len(live) <= 2
        order += [held.id for held in live]
        for held in live:
            desk.end(held)
            check_store(desk)
    assert order == ids


def test_a_later_trigger_does_not_overtake_when_there_is_room_for_a_moment(desk: Desk) -> None:
    desk.task("a", max_concurrent=1)
    desk.task("b", limits={"db": 1})
    desk.task("a", max_concurrent=2, limits={"db": 1})
    other = desk.started("b")
    first = desk.trigger("a")  # its own gate has room, the shared one has not
    desk.task("a", max_concurrent=2)
    second = desk.trigger("a")  # would fit, but the first waits at the same gate
    assert desk.claim() is None
    desk.end(other)
    assert [held.id for held in _claim_all(desk)] == [first.id, second.id]


def test_a_full_queue_refuses_and_says_so(desk: Desk) -> None:
    desk.task("a", max_concurrent=1, max_queued=2)
    for _ in range(3):
        desk.trigger()
    refused = desk.trigger()
    assert (refused.end_reason, refused.exit_code) == (Reason.SKIPPED, -1)
    assert refused.message == "skipped: 2 executions of a were waiting already (max_queued = 2)"
    assert refused.end_at == refused.created_at


def test_skip_refuses_and_names_who_was_running(desk: Desk) -> None:
    desk.task("a", max_concurrent=1, on_overlap="skip")
    desk.started()
    refused = desk.trigger()
    assert (refused.end_reason, refused.message) == (Reason.SKIPPED, "skipped: a#1 was still running")
    check_store(desk)


def test_skip_names_the_execution_when_its_first_run_is_not_what_runs(desk: Desk) -> None:
    desk.task("before")
    entry = desk.task("a", depends_on=("before",), max_concurrent=1, on_overlap="skip", retry_attempts=1)
    held = desk.started("a")
    assert desk.trigger("a").message == "skipped: the execution of a that began with before#1 was still running"
    desk.end(held)
    desk.fail(desk.claimed(), entry)
    assert desk.trigger("a").message == "skipped: the execution of a that began with before#1 was still running"
    desk.task("a", max_concurrent=1, on_overlap="skip", retry_attempts=1)
    desk.run(ops.stop_task("a"))
    held = desk.started("a")
    number = held.record.number
    assert desk.trigger("a").message == f"skipped: a#{number} was still running"
    desk.fail(held, entry)
    assert desk.trigger("a").message == f"skipped: the execution of a that began with a#{number} was still running"
    check_store(desk)


def test_kill_stops_a_waiting_oldest_at_once_and_starts(desk: Desk) -> None:
    desk.task("a", max_concurrent=1, on_overlap="kill")
    old = desk.trigger()
    new = desk.trigger()
    assert desk.state(old.id) == Reason.STOPPED
    assert desk.get(old.id).message == "stopped: a newer trigger of a took its place"
    assert desk.claimed().id == new.id


def test_kill_asks_a_running_oldest_and_starts_when_it_is_gone(desk: Desk) -> None:
    desk.task("a", max_concurrent=2, on_overlap="kill")
    first, second = desk.started(), desk.started()
    new = desk.trigger()
    assert desk.beat(first, second) == ["stop", ""]
    assert desk.claim() is None
    desk.end(first, Reason.STOPPED, 143)
    assert desk.claimed().id == new.id
    assert desk.get(first.id).message == "stopped: a newer trigger of a took its place"


def test_kill_lets_only_the_newest_wait(desk: Desk) -> None:
    desk.task("a", max_concurrent=1, on_overlap="kill")
    held = desk.started()
    waiting = [desk.trigger() for _ in range(4)]
    assert [desk.state(run.id) for run in waiting] == [Reason.STOPPED] * 3 + ["pending"]
    desk.end(held, Reason.STOPPED)
    assert desk.claimed().id == waiting[-1].id


def test_a_shared_limit_holds_across_tasks(desk: Desk) -> None:
    desk.task("a", limits={"db": 2})
    desk.task("b", limits={"db": 2})
    ids = [desk.trigger(name).id for name in "ababa"]
    seen: list[object] = []
    while live := _claim_all(desk):
        assert len(live) <= 2
        seen += [held.id for held in live]
        desk.end(live[0])
        check_store(desk)
        for held in live[1:]:
            desk.end(held)
    assert sorted(map(str, seen)) == sorted(map(str, ids))


def test_who_waited_behind_another_moves_up_when_that_one_starts(desk: Desk) -> None:
    desk.task("x", limits={"one": 1})
    desk.task("y", limits={"two": 2})
    desk.task("both", limits={"one": 1, "two": 2})
    blocker = desk.started("x")
    both, behind = desk.trigger("both"), desk.trigger("y")
    assert desk.claim() is None
    desk.end(blocker)
    assert [held.id for held in _claim_all(desk)] == [both.id, behind.id]


def test_who_is_first_at_one_gate_waits_for_who_is_first_at_the_other(desk: Desk) -> None:
    limits = {"wide": 2, "one": 1, "two": 1}
    desk.apply(limits)
    desk.task("busy-one", limits={"one": 1})
    desk.task("busy-two", limits={"two": 1})
    desk.task("p", limits={"wide": 2, "one": 1})
    desk.task("q", limits={"wide": 2, "two": 1})
    one, two = desk.started("busy-one"), desk.started("busy-two")
    p, q = desk.trigger("p"), desk.trigger("q")
    desk.end(two)
    assert desk.claim() is None, "q overtook p at the wide gate"
    desk.end(one)
    assert [held.id for held in _claim_all(desk)] == [p.id, q.id]


@pytest.mark.parametrize("limits", [{"db": 3}, {}])
def test_a_raised_or_removed_limit_lets_the_waiting_through(desk: Desk, limits: dict[str, int]) -> None:
    desk.task("a", limits={"db": 1})
    desk.started()
    waiting = [desk.trigger().id for _ in range(2)]
    desk.run(tasks.apply([], remove=False, limits=limits))
    assert [held.id for held in _claim_all(desk)] == waiting


def test_a_delayed_trigger_meets_its_rule_when_it_is_due(desk: Desk) -> None:
    desk.task("a", max_concurrent=1, on_overlap="skip", replicas=2)
    run = desk.trigger(delay_ms=1000)
    held = desk.started(replicas=1)
    desk.pass_s(1)
    assert desk.state(run.id) == "pending"
    desk.run(ops.release())
    check_store(desk)
    assert desk.get(run.id).message == f"skipped: a#{held.record.number} was still running"
    assert desk.state(run.id) == Reason.SKIPPED


def test_a_delayed_trigger_that_is_refused_ran_nothing(desk: Desk) -> None:
    desk.task("a", max_concurrent=1, on_overlap="skip")
    delayed = desk.trigger(delay_ms=1000)
    desk.started()
    desk.pass_s(1)
    desk.run(ops.release())
    refused = desk.record(delayed.id)
    assert (refused.reason, refused.exit_code, refused.end_us) == (Reason.SKIPPED, NOTHING_RAN, desk.now)


def test_skip_names_the_oldest_of_several_that_run(desk: Desk) -> None:
    desk.task("a", max_concurrent=2, on_overlap="skip")
    desk.started()
    desk.started()
    assert desk.trigger().message == "skipped: a#1 was still running"


def test_skip_waits_when_only_a_shared_limit_is_full(desk: Desk) -> None:
    desk.task("b", limits={"db": 1})
    desk.task("a", max_concurrent=2, on_overlap="skip", limits={"db": 1})
    other = desk.started("b")
    run = desk.trigger("a")
    assert (run.status, desk.claim()) == ("pending", None)
    desk.end(other)
    assert desk.claimed().id == run.id


def test_kill_knows_no_bound_of_those_that_wait(desk: Desk) -> None:
    desk.task("a", max_concurrent=1, max_queued=1, on_overlap="kill")
    desk.started()
    desk.trigger()
    newest = desk.trigger()
    assert newest.status == "pending"


def test_a_delayed_trigger_does_not_count_before_it_is_due(desk: Desk) -> None:
    desk.task("a", max_concurrent=1)
    desk.trigger(delay_ms=1000)
    assert desk.started().record.number == 2


def test_replicas_count_as_one(desk: Desk) -> None:
    desk.task("a", replicas=3, max_concurrent=1)
    desk.trigger()
    desk.trigger()
    live = _claim_all(desk)
    assert [held.record.number for held in live] == [1, 2, 3]
    desk.end(live[0])
    desk.end(live[1])
    assert desk.claim() is None
    desk.end(live[2])
    assert len(_claim_all(desk)) == 3


def test_a_retry_belongs_to_its_execution_and_waits_for_nobody(desk: Desk) -> None:
    entry = desk.task("a", max_concurrent=1, retry_attempts=1, retry_delay_ms=(0,))
    held = desk.started()
    newer = desk.trigger()
    desk.fail(held, entry)
    retry = desk.claimed()
    assert retry.record.retry_of == str(held.id)
    assert desk.state(newer.id) == "pending"
    desk.end(retry)
    assert desk.claimed().id == newer.id


def test_stopping_who_waits_lets_the_next_through(desk: Desk) -> None:
    desk.task("x", limits={"one": 1})
    desk.task("y", limits={"two": 1})
    desk.task("both", limits={"one": 1, "two": 1})
    desk.started("x")
    both, behind = desk.trigger("both"), desk.trigger("y")
    desk.run(ops.stop(str(both.id)))
    assert desk.claimed().id == behind.id


@pytest.mark.parametrize(("policy", "most"), [("queue", 1), ("queue", 3), ("skip", 1), ("skip", 3), ("kill", 3)])
def test_of_200_triggers_from_4_threads_never_more_than_max_are_live(
    settings: Settings, desk: Desk, policy: str, most: int
) -> None:
    """F39: every policy, one and three at once."""
    desk.task("a", max_concurrent=most, on_overlap=policy, max_queued=100)
    made: list[Run] = []

    def trigger() -> None:
        store, catalog = open_store(settings), ops.Catalog()
        made.extend(store.run(ops.trigger(catalog, "a", ops.Request())).run for _ in range(50))
        store.close()

    threads = [threading.Thread(target=trigger) for _ in range(4)]
    for thread in threads:
        thread.start()
    done: list[int] = []
    while any(thread.is_alive() for thread in threads) or _counts(desk).pending:
        live = _claim_all(desk)
        assert len(live) <= most
        assert _counts(desk).running <= most
        for held in live:
            done.append(held.record.number)
            desk.end(held)
    for thread in threads:
        thread.join()
    counts = _counts(desk)
    assert counts.total == len(made) == 200
    assert counts.running == counts.pending == 0
    assert sum(counts.by_reason.values()) == 200
    assert counts.by_reason["success"] == len(done)
    assert done == sorted(done), "a later trigger overtook"
    if policy == "queue":
        assert len(done) >= 100


def _claim_all(desk: Desk) -> list[Claimed]:
    found = []
    while held := desk.claim():
        found.append(held)
    return found


def _counts(desk: Desk) -> tasks.Counts:
    found = desk.run(tasks.counts(["a"]))["a"]
    assert msgspec.structs.asdict(found)
    return found


def test_kill_stops_no_execution_of_another_task_that_depends_on_it(desk: Desk) -> None:
    desk.task("dep", max_concurrent=1, on_overlap="kill")
    desk.task("report", depends_on=("dep",))
    report = desk.trigger("report")
    held = desk.claimed()
    mine = desk.trigger("dep")
    assert not desk.get(held.id).stop_requested
    newer = desk.trigger("dep")
    assert desk.get(mine.id).end_reason == "stopped"  # it waited, and a newer one took its place
    assert desk.get(newer.id).status == "pending"
    desk.end(held)
    step = desk.claimed()
    assert step.record.task == "report"
    assert desk.get(report.id).end_reason == "success"


def test_kill_stops_none_that_waits_for_another_task(desk: Desk) -> None:
    desk.task("dep", max_concurrent=1, on_overlap="kill")
    desk.task("report", depends_on=("dep",))
    first = desk.started("dep")
    waiting = desk.trigger("report")
    desk.trigger("dep")
    assert desk.get(first.id).stop_requested
    assert desk.get(waiting.id).status == "pending"


def test_a_max_that_is_raised_lets_in_those_who_wait(desk: Desk) -> None:
    desk.task("a", max_concurrent=1)
    desk.started()
    for _ in range(3):
        desk.trigger()
    assert desk.claim() is None
    desk.task("a", max_concurrent=3)
    assert [desk.claimed(), desk.claimed()]
    assert desk.claim() is None


def test_a_max_that_is_taken_away_lets_all_in(desk: Desk) -> None:
    desk.task("a", max_concurrent=1)
    desk.started()
    for _ in range(3):
        desk.trigger()
    desk.task("a")
    assert [desk.claimed(), desk.claimed(), desk.claimed()]


def test_a_max_that_is_lowered_holds_for_those_who_wait(desk: Desk) -> None:
    desk.task("a", max_concurrent=2)
    held = [desk.started(), desk.started()]
    desk.trigger()
    desk.task("a", max_concurrent=1)
    desk.end(held[0])
    assert desk.claim() is None
    desk.end(held[1])
    assert desk.claim() is not None


def test_who_waits_for_a_removed_task_waits_by_its_last_max(desk: Desk) -> None:
    desk.task("b")
    desk.task("a", max_concurrent=1)
    held = desk.started()
    desk.trigger()
    desk.trigger()
    desk.remove("a")
    desk.end(held)
    assert desk.claim() is not None
    assert desk.claim() is None


def test_those_who_wait_for_a_shared_limit_are_bounded(desk: Desk) -> None:
    desk.task("a", limits={"db": 1})
    desk.started()
    crowd = {uuid.uuid4().bytes: float(number) for number in range(10_000)}
    pairs = [part for member, score in crowd.items() for part in (score, member)]
    desk.run(Call("ZADD", (Key("limit:shared:db:waiters"), *pairs), int))
    refused = desk.trigger()
    assert refused.end_reason == "skipped"
    assert refused.message == "skipped: 10000 executions were waiting for the limit db already"
    desk.run(Call("DEL", (Key("limit:shared:db:waiters"),), int))
