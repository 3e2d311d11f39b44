"""Ends that a failed primary kept to itself are said again: all of them, in portions, beside everything else."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from shared import ops
from shared.runs import Reason, Status
from shared.settings import LEASE_MS, Settings
from shared.store import open_store, runs, tasks
from shared.store.listing import Filter, page
from shared.store.redis.call import Call
from shared.store.redis.sync_store import Store
from shared.store.runs import Ended, Facts, Wanted
from shared.tasks import Task, define
from tests.system.proxy import Proxy
from tests.waiting import wait_until
from worker import replay
from worker.replay import EndReplay


@pytest.fixture
def messages(store: Store) -> Iterator[EndReplay]:
    """What remembers them, for ``store``."""
    made = EndReplay(store)
    yield made
    made.stop()


@pytest.fixture
def asked(settings: Settings) -> Iterator[Store]:
    """Another store for what the test itself asks, so that round trips can be told apart."""
    opened = open_store(settings)
    yield opened
    opened.close()


def kept_back(store: Store, count: int, outputs: str = "") -> list[Call[Ended]]:
    """Ends of as many running runs, of which the store has not heard."""
    task = Task(name="a", run="true")
    store.run(tasks.apply([(task, define(task))]))
    store.run(ops.trigger(ops.Catalog(), "a", ops.Request(replicas=count)))
    ends = []
    for number in range(count):
        held = store.run(runs.claim(Wanted("w", str(number), "1", LEASE_MS * 1000, ["default"])))
        assert held is not None
        facts = Facts(outputs=outputs)
        ends.append(runs.end(held.id, held.record.token, Reason.SUCCESS, 0, "", facts=facts))
    return ends


def left(store: Store) -> int:
    """How many runs are still running as far as the store knows."""
    return store.run(page(Filter(status=(Status.RUNNING,)))).total


@pytest.mark.parametrize(("count", "bytes_each", "trips"), [(1, 0, 1), (251, 0, 4), (12, 100 * 1024, 7)])
def test_all_ends_are_replayed_in_batches(
    store: Store, asked: Store, messages: EndReplay, count: int, bytes_each: int, trips: int
) -> None:
    ends = kept_back(asked, count, '{"a":"' + "x" * bytes_each + '"}')
    for end in ends:
        messages.add(end)
    asked.run(ends[0])  # the script is known
    messages.replay(time.monotonic())
    messages.stop()
    assert (left(asked), store.round_trips) == (0, trips)


def test_a_server_without_the_script_gets_it_once(store: Store, asked: Store, messages: EndReplay) -> None:
    for end in kept_back(asked, 50):
        messages.add(end)
    asked.run(Call("SCRIPT", ("FLUSH",), bool))
    messages.replay(time.monotonic())
    messages.stop()
    assert (left(asked), store.round_trips) == (0, 3)


def test_ends_long_before_the_loss_are_not_replayed(asked: Store, messages: EndReplay) -> None:
    early, late = kept_back(asked, 2)
    messages.add(early)
    between_s = time.monotonic()
    messages.add(late)
    messages.replay(between_s + replay.BEFORE_S)
    wait_until(lambda: left(asked) < 2, "one has ended")
    (run,) = asked.run(page(Filter(status=(Status.RUNNING,)))).runs
    assert run.id.bytes == early.args[1]


def test_only_so_many_bytes_are_remembered(asked: Store, messages: EndReplay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MOST_BYTES", 5 * 10_000)
    for end in kept_back(asked, 9, '{"a":"' + "x" * 9_000 + '"}'):
        messages.add(end)
    messages.replay(time.monotonic())
    wait_until(lambda: left(asked) == 4, "the last five have ended")


def test_leases_do_not_wait_for_an_unavailable_store_and_reach_it_later(
    settings: Settings, asked: Store, short_path: Path
) -> None:
    ends = kept_back(asked, 3)
    with Proxy(short_path / "p", Path(settings.redis_url.removeprefix("unix://"))).serving() as proxy:
        store = open_store(msgspec.structs.replace(settings, redis_url=proxy.url, redis_timeout_s=0.3))
        messages = EndReplay(store)
        for end in ends:
            messages.add(end)
        proxy.swallow()
        asked_s = time.monotonic()
        messages.replay(asked_s)
        assert time.monotonic() - asked_s < 0.2
        wait_until(lambda: store.losses >= 2, "it is tried again and again")
        proxy.pass_on()
        wait_until(lambda: left(asked) == 0, "all have ended")
        messages.stop()
        store.close()
