"""Who gets which run: one of many, in order of priority and arrival."""

from collections import Counter
from functools import partial
from uuid import UUID

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.settings import Settings
from shared.store import fleet, leadership, open_store, runs
from shared.store.redis.call import Call, Key, as_is
from shared.store.runs import Wanted
from tests.store.consistency import snapshot
from tests.store.harness import LEASE, StoreHarness
from tests.waiting import in_threads


def test_one_of_many_claims_wins(settings: Settings, harness: StoreHarness) -> None:
    harness.task()
    wanted = {harness.trigger().id for _ in range(40)}
    won: Counter[UUID] = Counter()

    def work(name: str) -> None:
        store = open_store(settings)
        turn = 0
        while held := store.run(runs.claim(Wanted(name, "0", str(turn), LEASE, ["default"]))):
            won[held.id] += 1
            turn += 1
        store.close()

    in_threads(*(partial(work, f"w{n}") for n in range(6)))
    assert set(won) == wanted
    assert set(won.values()) == {1}


def test_a_claim_starts_the_run_with_a_lease_and_a_token_of_its_own(harness: StoreHarness) -> None:
    harness.task()
    one, two = harness.started(), harness.started()
    run = harness.get(one.id)
    assert (run.status, run.worker) == ("running", "w")
    assert harness.record(one.id).start_us == harness.now
    assert 0 < one.record.token < two.record.token
    assert harness.run(leadership.poll("s")).expired == []
    harness.now += LEASE
    assert {run_id for run_id, _ in harness.run(leadership.poll("t", now=harness.now - LEASE)).expired} == set()
    assert {run_id for run_id, _ in harness.run(leadership.poll("s", now=harness.now + LEASE)).expired} == set(), (
        "the gap holds"
    )


def test_the_same_turn_gets_the_same_run(harness: StoreHarness) -> None:
    harness.task()
    harness.trigger()
    harness.trigger()
    first = harness.claim(turn="one")
    before = snapshot(harness)
    again = harness.claim(turn="one")
    assert first is not None
    assert again is not None
    assert (again.id, again.record) == (first.id, first.record)
    assert snapshot(harness) == before
    other = harness.claim(turn="two")
    assert other is not None
    assert other.id != first.id


def test_the_turn_of_a_run_that_is_over_gets_the_next(harness: StoreHarness) -> None:
    harness.task()
    harness.trigger()
    second = harness.trigger()
    first = harness.claim(turn="one")
    assert first is not None
    harness.end(first)
    held = harness.claim(turn="one")
    assert held is not None
    assert held.id == second.id


def test_slots_have_turns_of_their_own(harness: StoreHarness) -> None:
    harness.task()
    harness.trigger()
    harness.trigger()
    one, two = harness.claim(slot="0", turn="t"), harness.claim(slot="1", turn="t")
    assert one is not None
    assert two is not None
    assert one.id != two.id


@hypothesis_settings(max_examples=15, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(priorities=st.lists(st.integers(0, 9), max_size=12))
def test_a_higher_priority_goes_first_and_equals_keep_their_order(harness: StoreHarness, priorities: list[int]) -> None:
    harness.task()
    made = [(priority, harness.trigger(priority=priority).number) for priority in priorities]
    order = []
    while held := harness.claim():
        order.append((held.record.priority, held.record.number))
    assert order == sorted(made, key=lambda pair: (-pair[0], pair[1]))


def test_a_paused_queue_gives_nothing_and_keeps_everything(harness: StoreHarness) -> None:
    harness.task()
    run = harness.trigger()
    harness.run(fleet.pause_queue("default", True))
    assert harness.claim() is None
    assert harness.run(leadership.poll("s")).waiting == {}
    harness.run(fleet.pause_queue("default", False))
    assert harness.run(leadership.poll("s")).waiting == {"default": 1}
    assert harness.claimed().id == run.id


def test_queues_are_taken_in_the_order_asked_for(harness: StoreHarness) -> None:
    harness.task("a", queue="slow")
    harness.task("b", queue="fast")
    slow, fast = harness.trigger("a"), harness.trigger("b")
    assert harness.claim("w", "other") is None
    assert harness.claimed("w", "fast", "slow").id == fast.id
    assert harness.claimed("w", "fast", "slow").id == slow.id
    assert harness.claim("w", "fast", "slow") is None


def test_a_claim_says_how_many_still_wait(harness: StoreHarness) -> None:
    harness.task()
    for _ in range(3):
        harness.trigger()
    assert [harness.claimed().waiting for _ in range(3)] == [2, 1, 0]


def test_what_stands_in_a_queue_but_does_not_wait_is_passed_over(harness: StoreHarness) -> None:
    harness.task()
    ended = harness.started()
    harness.end(ended)
    waiting = harness.trigger()
    for stale in (ended.id.bytes, UUID(int=7).bytes):
        harness.run(Call("ZADD", (Key("queue:default"), 0, stale), as_is))
    assert harness.claimed().id == waiting.id
    assert harness.state(ended.id) == "success"


def test_a_claim_that_a_failed_primary_kept_to_itself_is_not_taken_for_the_next_one(harness: StoreHarness) -> None:
    """F24: the replica that took over gives the run again, and who had it before is told."""
    harness.task()
    harness.trigger()
    everything = harness.run(Call("KEYS", ("*",), list))
    dumps = {key: harness.run(Call("DUMP", (key,), bytes)) for key in everything}
    first = harness.claimed("one")
    harness.run(Call("FLUSHALL", (), as_is))
    for key, value in dumps.items():
        harness.run(Call("RESTORE", (key, 0, value), as_is))
    harness.now += 1500
    second = harness.claimed("two")
    assert (second.id, second.record.worker) == (first.id, "two")
    assert harness.heartbeat(first, worker="one") == ["lost"]
    assert harness.heartbeat(second, worker="two") == [""]
