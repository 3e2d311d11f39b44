"""Who waits for a log or for events is woken, and finds everything that happened meanwhile."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import redis

from shared import ops
from shared.settings import Settings
from shared.store import events, logs
from shared.store.redis import async_store
from shared.store.redis.async_store import AsyncStore, Subscription
from shared.store.redis.call import Call, Key
from tests.store.harness import StoreHarness, with_async_store
from tests.system.proxy import Proxy
from tests.waiting import wait_until


def test_events_are_published_in_order(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=1, retry_delay_ms=(0,))
    start = harness.run(events.recent_id())
    held = harness.started()
    harness.run(ops.stop("a#1"))
    harness.end(held)
    harness.run(ops.delete("a#1"))
    harness.run(ops.pause("a"))
    harness.run(ops.resume("a"))
    told = harness.run(events.events_after(start, 100))
    assert [event.type for event in told] == [
        "run.created",
        "run.started",
        "run.stop_requested",
        "run.ended",
        "execution.ended",
        "run.deleted",
        "task.paused",
        "task.resumed",
    ]
    created, started, _, ended, over, *_ = told
    assert (created.run_id, created.execution_id, created.task) == (held.id, held.id, "a")
    assert (started.data, ended.data) == ("w", "success")
    assert (over.run_id, over.execution_id) == (None, held.id)
    assert entry.name == "a"
    assert harness.run(events.events_after(told[2].id, 2)) == told[3:5]


def test_an_empty_stream_has_ids_too(harness: StoreHarness) -> None:
    assert harness.run(events.recent_id()) == harness.run(events.oldest_id()) == "0-0"
    harness.task()
    assert harness.run(events.recent_id()) == harness.run(events.oldest_id()) != "0-0"


def test_a_waiter_for_events_is_woken(settings: Settings, harness: StoreHarness) -> None:
    harness.task()

    async def scene(store: AsyncStore) -> None:
        waiting = asyncio.create_task(store.wait_events("$", 10))
        while not store._subscriptions:  # noqa: ASYNC110  # the store tells nobody that it listens
            await asyncio.sleep(0.001)
        await asyncio.to_thread(harness.trigger)
        assert [event.type for event in await waiting] == ["run.created"]
        assert not store._subscriptions, "nobody listens any more"

    with_async_store(settings, scene)


def test_a_late_follower_gets_missed_events_at_once(settings: Settings, harness: StoreHarness) -> None:
    harness.task()
    after = harness.run(events.recent_id())
    harness.trigger()
    harness.trigger()

    async def scene(store: AsyncStore) -> None:
        assert len(await store.wait_events(after, 10)) == 2

    with_async_store(settings, scene)


def test_a_wait_that_times_out_returns(settings: Settings, harness: StoreHarness) -> None:
    async def scene(store: AsyncStore) -> None:
        assert await store.wait_events("$", 0.05) == []

    with_async_store(settings, scene)


def test_many_follow_a_log_through_one_connection(settings: Settings, harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()

    async def follow(store: AsyncStore) -> list[str]:
        seen: list[str] = []
        with store.subscribe_log(held.id) as ear:
            while True:
                window = await store.run(logs.window(held.id, len(seen), 100))
                seen += [line.text for line in window.lines]
                if window.finalized:
                    return seen
                await ear.wait()

    async def scene(store: AsyncStore) -> None:
        readers = [asyncio.create_task(follow(store)) for _ in range(30)]
        for n in range(10):
            await asyncio.to_thread(harness.append, held, n, f"line {n}")
        await asyncio.to_thread(harness.end, held)
        for seen in await asyncio.gather(*readers):
            assert seen == [f"line {n}" for n in range(10)]
        assert not store._subscriptions

    with_async_store(settings, scene)


def test_a_log_follower_is_woken_by_the_end(settings: Settings, harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()

    async def scene(store: AsyncStore) -> None:
        with store.subscribe_log(held.id) as ear:
            await ear.wait()
            await asyncio.to_thread(harness.append, held, 0, "line")
            await ear.wait()  # what follows is heard for sure
            waiting = asyncio.create_task(ear.wait(60))
            await asyncio.to_thread(harness.end, held)
            _, still = await asyncio.wait([waiting], timeout=5)
            assert not still, "nothing rang"

    with_async_store(settings, scene)


def _is_there(token: bytes | None) -> bool:
    return token is not None


def test_the_scheduler_is_woken_for_a_run_that_is_due_before_all_others(harness: StoreHarness) -> None:
    harness.task()

    def is_woken() -> bool:
        return harness.run(Call("LPOP", (Key("wake:scheduler"),), _is_there))

    woken = []
    for delay_ms in (5000, 9000, 1000):
        harness.trigger(delay_ms=delay_ms)
        woken.append(is_woken())
    assert woken == [True, False, True]


def test_a_lost_wakeup_connection_costs_no_log_line(settings: Settings, harness: StoreHarness, valkey_url: str) -> None:
    harness.task()
    held = harness.started()

    async def scene(store: AsyncStore) -> None:
        with store.subscribe_log(held.id) as ear, redis.Redis.from_url(valkey_url) as client:
            await ear.wait()
            client.client_kill_filter(_type="pubsub")
            await asyncio.to_thread(harness.append, held, 0, "line")
            for _ in range(10):
                if (await store.run(logs.window(held.id, 0, 10))).lines:
                    return
                await ear.wait()
            raise AssertionError("the line was never seen")

    with_async_store(settings, scene)


def test_a_silent_wakeup_connection_is_reopened(
    settings: Settings, harness: StoreHarness, valkey_url: str, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_store, "PING_S", 0.2)
    harness.task()
    held = harness.started()
    with Proxy(short_path / "p", Path(valkey_url.removeprefix("unix://"))).serving() as proxy:

        async def scene(store: AsyncStore) -> None:
            with store.subscribe_log(held.id) as ear:
                await ear.wait()
                before = store._pubsub_connection
                assert before is not None
                proxy.swallow()
                await asyncio.to_thread(wait_until, lambda: store._pubsub_connection is not before, "it is given up")
                proxy.pass_on()
                await _rings(store, ear, lambda: harness.append(held, 0, "line"))

        with_async_store(msgspec.structs.replace(settings, redis_url=proxy.url, redis_timeout_s=0.5), scene)


def test_a_wakeup_connection_is_reopened_whatever_closed_it(
    settings: Settings, harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_store, "PATIENCE_S", 0.05)
    harness.task()
    held = harness.started()
    real, failures = AsyncStore._listen_once, [ValueError("unforeseen"), RuntimeError("unforeseen as well")]

    async def listen_once(store: AsyncStore) -> None:
        if failures:
            raise failures.pop()
        await real(store)

    monkeypatch.setattr(AsyncStore, "_listen_once", listen_once)

    async def scene(store: AsyncStore) -> None:
        with store.subscribe_log(held.id) as ear:
            await asyncio.to_thread(wait_until, lambda: not failures, "it was tried again")
            await _rings(store, ear, lambda: harness.append(held, 0, "line"))

    with_async_store(settings, scene)


async def _rings(store: AsyncStore, ear: Subscription, act: Callable[[], object]) -> None:
    """Fails unless *act* is heard, once there is a connection on which it can be."""
    await asyncio.to_thread(wait_until, lambda: store._pubsub_connection is not None, "there is a connection again")
    await ear.wait(0.5)  # until the channel is subscribed to
    await asyncio.to_thread(act)
    async with asyncio.timeout(5):
        await ear.wait(60)


def test_closing_wakes_all_waiters(settings: Settings, harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()

    async def scene(store: AsyncStore) -> None:
        with store.subscribe_log(held.id) as ear:
            await ear.wait()
            waiting = asyncio.create_task(ear.wait(60))
            await asyncio.sleep(0)
            await store.close()
            async with asyncio.timeout(5):
                await waiting

    with_async_store(settings, scene)
