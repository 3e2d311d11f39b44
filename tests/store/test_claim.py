"""Who gets which run: one of many, in order of priority and arrival."""

from __future__ import annotations

import threading
from collections import Counter
from uuid import UUID

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.settings import Settings
from shared.store import fleet, open_store, runs
from shared.store.redis.call import Call, Key, as_is
from shared.store.runs import Wanted
from tests.store.checking import snapshot
from tests.store.desk import LEASE, Desk


def test_of_many_claims_one_wins(settings: Settings, desk: Desk) -> None:
    desk.task()
    wanted = {desk.trigger().id for _ in range(40)}
    won: Counter[UUID] = Counter()

    def work(name: str) -> None:
        store = open_store(settings)
        turn = 0
        while held := store.run(runs.claim(Wanted(name, "0", str(turn), LEASE, ["default"]))):
            won[held.id] += 1
            turn += 1
        store.close()

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(won) == wanted
    assert set(won.values()) == {1}


def test_a_claim_starts_the_run_with_a_lease_and_a_token_of_its_own(desk: Desk) -> None:
    desk.task()
    one, two = desk.started(), desk.started()
    run = desk.get(one.id)
    assert (run.status, run.worker) == ("running", "w")
    assert desk.record(one.id).start_us == desk.now
    assert 0 < one.record.token < two.record.token
    assert desk.run(fleet.pulse("s")).expired == []
    desk.now += LEASE
    assert {run_id for run_id, _ in desk.run(fleet.pulse("t", now=desk.now - LEASE)).expired} == set()
    assert {run_id for run_id, _ in desk.run(fleet.pulse("s", now=desk.now + LEASE)).expired} == set(), "the gap holds"


def test_the_same_turn_gets_the_same_run(desk: Desk) -> None:
    desk.task()
    desk.trigger()
    desk.trigger()
    first = desk.claim(turn="one")
    before = snapshot(desk)
    again = desk.claim(turn="one")
    assert first is not None
    assert again is not None
    assert (again.id, again.record) == (first.id, first.record)
    assert snapshot(desk) == before
    other = desk.claim(turn="two")
    assert other is not None
    assert other.id != first.id


def test_the_turn_of_a_run_that_is_over_gets_the_next(desk: Desk) -> None:
    desk.task()
    desk.trigger()
    second = desk.trigger()
    first = desk.claim(turn="one")
    assert first is not None
    desk.end(first)
    held = desk.claim(turn="one")
    assert held is not None
    assert held.id == second.id


def test_slots_have_turns_of_their_own(desk: Desk) -> None:
    desk.task()
    desk.trigger()
    desk.trigger()
    one, two = desk.claim(slot="0", turn="t"), desk.claim(slot="1", turn="t")
    assert one is not None
    assert two is not None
    assert one.id != two.id


@hypothesis_settings(max_examples=15, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(priorities=st.lists(st.integers(0, 9), max_size=12))
def test_a_higher_priority_goes_first_and_equals_keep_their_order(desk: Desk, priorities: list[int]) -> None:
    desk.task()
    made = [(priority, desk.trigger(priority=priority).number) for priority in priorities]
    order = []
    while held := desk.claim():
        order.append((held.record.priority, held.record.number))
    assert order == sorted(made, key=lambda pair: (-pair[0], pair[1]))


def test_a_paused_queue_gives_nothing_and_keeps_everything(desk: Desk) -> None:
    desk.task()
    run = desk.trigger()
    desk.run(fleet.pause_queue("default", True))
    assert desk.claim() is None
    assert desk.run(fleet.pulse("s")).waiting == {}
    desk.run(fleet.pause_queue("default", False))
    assert desk.run(fleet.pulse("s")).waiting == {"default": 1}
    assert desk.claimed().id == run.id


def test_queues_are_taken_in_the_order_asked_for(desk: Desk) -> None:
    desk.task("a", queue="slow")
    desk.task("b", queue="fast")
    slow, fast = desk.trigger("a"), desk.trigger("b")
    assert desk.claim("w", "other") is None
    assert desk.claimed("w", "fast", "slow").id == fast.id
    assert desk.claimed("w", "fast", "slow").id == slow.id
    assert desk.claim("w", "fast", "slow") is None


def test_a_claim_says_how_many_still_wait(desk: Desk) -> None:
    desk.task()
    for _ in range(3):
        desk.trigger()
    assert [desk.claimed().waiting for _ in range(3)] == [2, 1, 0]


def test_what_stands_in_a_queue_but_does_not_wait_is_passed_over(desk: Desk) -> None:
    desk.task()
    ended = desk.started()
    desk.end(ended)
    waiting = desk.trigger()
    for stale in (ended.id.bytes, UUID(int=7).bytes):
        desk.run(Call("ZADD", (Key("queue:default"), 0, stale), as_is))
    assert desk.claimed().id == waiting.id
    assert desk.state(ended.id) == "success"


def test_a_claim_that_a_failed_primary_kept_to_itself_is_not_taken_for_the_next_one(desk: Desk) -> None:
    """F24: the replica that took over gives the run again, and who had it before is told."""
    desk.task()
    desk.trigger()
    everything = desk.run(Call("KEYS", ("*",), list))
    dumps = {key: desk.run(Call("DUMP", (key,), bytes)) for key in everything}
    first = desk.claimed("one")
    desk.run(Call("FLUSHALL", (), as_is))
    for key, value in dumps.items():
        desk.run(Call("RESTORE", (key, 0, value), as_is))
    desk.now += 1500
    second = desk.claimed("two")
    assert (second.id, second.record.worker) == (first.id, "two")
    assert desk.beat(first, worker="one") == ["lost"]
    assert desk.beat(second, worker="two") == [""]
