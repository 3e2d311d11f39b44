"""Both executors: a lost script or connection is nobody's business but theirs, and a full Redis still lets runs end."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from shared import ids, ops
from shared.errors import Misconfigured, NotFound, RunfleetError, StoreFull, StoreUnavailable
from shared.runs import Reason
from shared.settings import Settings
from shared.store import fleet, open_async_store, open_store, retention, runs, stops, tasks
from shared.store.redis.async_store import AsyncStore
from shared.store.redis.call import Call, Key, as_is, each, together
from shared.store.redis.sync_store import Store
from tests.store.harness import StoreHarness, out_of_memory, with_async_store
from tests.waiting import in_threads


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    """A connection beside the store's, to do things to the server."""
    with redis.Redis.from_url(valkey_url) as opened:
        yield opened


def test_flushed_scripts_are_handed_over_again(harness: StoreHarness, client: redis.Redis) -> None:
    """F23: one script."""
    harness.task()
    harness.trigger()
    client.script_flush()
    assert harness.claim() is not None
    assert harness.claim() is None


def test_a_script_may_be_missing_inside_a_pipeline(store: Store, harness: StoreHarness, client: redis.Redis) -> None:
    harness.task()
    runs_made = [harness.trigger() for _ in range(3)]
    client.script_flush()
    before = store.round_trips
    answers = store.run(
        together(runs.bare_record(runs_made[0].id), tasks.counts(["a"]), fleet.ping(), tasks.counts(["b"]))
    )
    assert answers[0] is not None
    assert answers[0].number == runs_made[0].number
    assert (answers[1]["a"].pending, answers[3]["b"].total) == (3, 0)
    assert store.round_trips - before <= 3
    before = store.round_trips
    store.run(each([tasks.counts(["a"])] * 5))
    assert store.round_trips - before == 1


def test_flushed_scripts_are_nothing_to_the_event_loop_either(
    settings: Settings, harness: StoreHarness, client: redis.Redis
) -> None:
    harness.task()
    harness.trigger()

    async def scene(store: AsyncStore) -> None:
        client.script_flush()
        counts = await asyncio.gather(*(store.run(tasks.counts(["a"])) for _ in range(20)))
        assert {each["a"].pending for each in counts} == {1}
        found, none = await store.run(together(tasks.counts(["a"]), runs.record(ids.new_id(1))))
        assert (found["a"].pending, none) == (1, None)

    with_async_store(settings, scene)


def test_killed_connections_are_replaced_unnoticed(settings: Settings, client: redis.Redis) -> None:
    store = open_store(settings)
    barrier, wrong = threading.Barrier(6), list[Exception]()

    def use() -> None:
        try:
            for round_ in range(3):
                store.run(fleet.ping())
                if barrier.wait() == 0:
                    client.client_kill_filter(_type="normal", skipme=True)
                barrier.wait()
                assert store.run(Call("INCR", (Key("counter"),), int)) > round_
        except Exception as error:
            wrong.append(error)
            barrier.abort()

    in_threads(*[use] * 6)
    store.close()
    assert wrong == []
    assert int(client.get(f"{settings.key_prefix}:counter") or 0) == 18


def test_a_killed_connection_of_the_event_loop_is_replaced(settings: Settings, client: redis.Redis) -> None:
    async def scene(store: AsyncStore) -> None:
        for _ in range(3):
            await asyncio.gather(*(store.run(fleet.ping()) for _ in range(10)))
            client.client_kill_filter(_type="normal", skipme=True)
            assert await store.run(fleet.clock()) > 0

    with_async_store(settings, scene)


def test_concurrent_calls_share_round_trips(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    trips: list[int] = []
    exchange = AsyncStore._exchange

    async def counted(self: AsyncStore, commands: list[bytes]) -> list[Any]:
        trips.append(len(commands))
        return await exchange(self, commands)

    monkeypatch.setattr(AsyncStore, "_exchange", counted)

    async def scene(store: AsyncStore) -> None:
        answers = await asyncio.gather(*(store.run(Call("ECHO", (str(n),), int)) for n in range(500)))
        assert answers == list(range(500)), "everybody gets their own answer"
        assert sum(trips) == 500
        assert len(trips) < 50

    with_async_store(settings, scene)


def test_a_caller_that_stops_waiting_harms_no_other(settings: Settings) -> None:
    async def scene(store: AsyncStore) -> None:
        asked = [asyncio.create_task(store.run(Call("ECHO", (str(n),), int))) for n in range(20)]
        await asyncio.sleep(0)
        for task in asked[::2]:
            task.cancel()
        assert await asyncio.gather(*asked[1::2]) == list(range(1, 20, 2))
        assert await store.run(Call("ECHO", ("7",), int)) == 7

    with_async_store(settings, scene)


def test_a_refusal_is_raised_after_all_calls_were_made(harness: StoreHarness) -> None:
    harness.task()
    run = harness.trigger()
    unknown = ids.new_id(1)
    with pytest.raises(NotFound):
        harness.run(each([stops.stop(unknown, "stop", "m"), stops.stop(run.id, "stop", "m")]))
    assert harness.state(run.id) == Reason.STOPPED


def test_settled_calls_stand_beside_each_other(harness: StoreHarness) -> None:
    harness.task()
    run = harness.trigger()
    refused, stopped, broken, seen = harness.settle(
        [
            stops.stop(ids.new_id(1), "stop", "m"),
            stops.stop(run.id, "stop", "m"),
            Call("NO-SUCH-COMMAND", (), as_is),
            runs.get(run.id),
        ]
    )
    assert isinstance(refused, NotFound)
    assert stopped[0] == "stopped"
    assert type(broken) is RunfleetError
    assert seen.end_reason == Reason.STOPPED
    assert harness.settle([]) == harness.run(each([])) == []


def test_a_full_redis_takes_nothing_new_but_lets_runs_end(settings: Settings, harness: StoreHarness) -> None:
    """F21: every script."""
    entry = harness.task("a", retry_attempts=1, retry_delay_ms=(0,))
    ending, stopping, lost = harness.started(), harness.started(), harness.started()
    waiting = harness.trigger()
    harness.heartbeat(ending, stopping, lost)
    with out_of_memory(settings.redis_url):
        with pytest.raises(StoreFull, match="raise maxmemory or lower keep_runs"):
            harness.trigger()
        with pytest.raises(StoreFull):
            harness.append(ending, 0, "a line")
        assert harness.heartbeat(ending, stopping, lost) == ["", "", ""]
        assert harness.fail(ending, entry).verdict == "ended"
        harness.run(ops.stop(str(stopping.id)))
        harness.run(ops.stop(str(waiting.id)))
        assert harness.heartbeat(stopping) == ["stop"]
        harness.pass_s(7)
        assert harness.rescue(lost.id, entry).verdict == "ended"
        assert harness.claim() is not None
        assert harness.run(retention.prune("a", 0, 0)).runs > 0
    assert harness.trigger().status == "pending"


def test_a_full_redis_is_the_same_to_the_event_loop(settings: Settings, harness: StoreHarness) -> None:
    harness.task()

    async def scene(store: AsyncStore) -> None:
        with out_of_memory(settings.redis_url):
            with pytest.raises(StoreFull):
                await store.run(ops.trigger(ops.Catalog(), "a", ops.Request()))
        assert (await store.run(ops.trigger(ops.Catalog(), "a", ops.Request()))).run.number == 1

    with_async_store(settings, scene)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere/at/all"])
def test_a_redis_that_is_away_is_unavailable(url: str) -> None:
    settings = Settings(redis_url=url, redis_timeout_s=0.5)
    store = open_store(settings)
    with pytest.raises(StoreUnavailable, match="Redis cannot be used right now"):
        store.run(fleet.ping())
    with pytest.raises(StoreUnavailable):
        store.block(fleet.ping(), 0.1)
    store.close()

    async def scene(opened: AsyncStore) -> None:
        with pytest.raises(StoreUnavailable):
            await opened.run(fleet.ping())

    with_async_store(settings, scene)


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("", "RUNFLEET_REDIS_URL=redis://"),
        ("http://x", "write redis://"),
        ("redis+sentinel://h:1", "names its service"),
    ],
)
@pytest.mark.parametrize("opened", [open_store, open_async_store])
def test_a_url_that_cannot_be_used_says_what_to_write(url: str, cure: str, opened: Callable[[Settings], Any]) -> None:
    with pytest.raises(Misconfigured, match=cure):
        opened(Settings(redis_url=url))


def test_a_blocking_call_has_a_connection_of_its_own(store: Store) -> None:
    answers: list[Any] = []
    waiting = threading.Thread(
        target=lambda: answers.append(store.block(Call("BLPOP", (Key("wake:scheduler"), 5), as_is), 5))
    )
    waiting.start()
    for _ in range(5):
        store.run(fleet.ping())
    store.run(Call("LPUSH", (Key("wake:scheduler"), "x"), as_is))
    waiting.join(5)
    assert answers[0][1] == b"x"
    assert store.block(Call("BLPOP", (Key("wake:scheduler"), 0.01), as_is), 0.01) is None


def test_a_replica_is_a_store_that_is_away(settings: Settings, harness: StoreHarness, client: redis.Redis) -> None:
    """F25: it says so, and says what is wrong; nothing else is made of it."""
    harness.task()
    held = harness.started()
    harness.heartbeat(held)

    async def scene(store: AsyncStore) -> None:
        with pytest.raises(StoreUnavailable, match="READONLY"):
            await store.run(ops.trigger(ops.Catalog(), "a", ops.Request()))

    harness.run(Call("REPLICAOF", ("127.0.0.1", "1"), as_is))
    try:
        losses = harness.losses
        with pytest.raises(StoreUnavailable, match="READONLY"):
            harness.heartbeat(held)
        with pytest.raises(StoreUnavailable, match="READONLY"):
            harness.block(Call("BLPOP", (Key("wake:worker:w"), 0.1), bool), 0.1)
        with_async_store(settings, scene)
        assert harness.losses > losses, "its connection led to a server that is no primary any more"
    finally:
        harness.run(Call("REPLICAOF", ("NO", "ONE"), as_is))
    assert harness.end(held).verdict == "ended"


def test_a_user_without_rights_learns_so(settings: Settings, client: redis.Redis, valkey_url: str) -> None:
    client.acl_setuser("weak", enabled=True, passwords=["+weak"], keys=["*"], commands=["+ping"])
    try:
        path = valkey_url.removeprefix("unix://")
        store = open_store(Settings(redis_url=f"unix://weak:weak@{path}", key_prefix=settings.key_prefix))
        with pytest.raises(StoreUnavailable, match="refuses this user: NOPERM"):
            store.run(ops.trigger(ops.Catalog(), "a", ops.Request()))
        store.close()
    finally:
        client.acl_deluser("weak")
