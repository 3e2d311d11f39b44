"""Few connections carry many threads: everybody gets their own answer, whatever becomes of a line."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import redis

from shared.errors import RunfleetError, StoreUnavailable
from shared.settings import Settings
from shared.store import fleet, open_async_store, open_store
from shared.store.redis.call import Call, Key, as_is, each
from shared.store.redis.sync_store import Store
from tests.waiting import wait_until


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    """A connection beside the store's, to do things to the server."""
    with redis.Redis.from_url(valkey_url) as opened:
        yield opened


@pytest.fixture
def narrow(settings: Settings) -> Iterator[Store]:
    """A store whose threads share a single connection."""
    store = open_store(msgspec.structs.replace(settings, redis_pool=1))
    yield store
    store.close()


def in_threads(count: int, do: Callable[[int], None]) -> None:
    """Have *do* done by so many threads at once. Raises the first error of any."""
    wrong: list[BaseException] = []
    ready = threading.Barrier(count)

    def work(number: int) -> None:
        try:
            ready.wait(10)
            do(number)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    if wrong:
        raise wrong[0]


def echo(text: str) -> Call[Any]:
    return Call("ECHO", (text,), as_is)


def connections(client: redis.Redis) -> int:
    return len(client.client_list()) - 1


def hold_up(client: redis.Redis, seconds: float) -> None:
    """Answer nobody for so long."""
    client.execute_command("CLIENT", "PAUSE", str(int(seconds * 1000)), "ALL")  # type: ignore[no-untyped-call]


def test_thirty_two_threads_share_what_was_allowed(settings: Settings, client: redis.Redis) -> None:
    store = open_store(msgspec.structs.replace(settings, redis_pool=3))
    before = connections(client)

    def use(number: int) -> None:
        for turn in range(100):
            text = f"{number}.{turn}"
            assert store.run(each([echo(text), echo(text + "!")])) == [text.encode(), text.encode() + b"!"]

    in_threads(32, use)
    assert connections(client) - before <= 3
    store.close()


def test_one_thread_needs_one_connection(settings: Settings, client: redis.Redis) -> None:
    store = open_store(settings)
    before = connections(client)
    for _ in range(20):
        store.run(fleet.ping())
    assert connections(client) - before == 1
    store.close()


def test_waiting_calls_go_out_in_one_round_trip(narrow: Store, client: redis.Redis) -> None:
    narrow.run(fleet.ping())
    hold_up(client, 0.3)
    before = narrow.round_trips
    in_threads(20, lambda number: _is_echoed(narrow, number))
    assert narrow.round_trips - before <= 4, "the first one's, and that of all who came while it was under way"


def _is_echoed(store: Store, number: int) -> None:
    assert store.run(echo(str(number))) == str(number).encode()


def test_a_refusal_reaches_only_its_caller(narrow: Store, client: redis.Redis) -> None:
    client.set("text", "no list")

    def use(number: int) -> None:
        for _ in range(20):
            if number % 3:
                _is_echoed(narrow, number)
            else:
                with pytest.raises(RunfleetError, match="WRONGTYPE"):
                    narrow.run(Call("LLEN", ("text",), int))

    in_threads(12, use)
    client.delete("text")


def test_a_lost_line_is_nobodys_business(narrow: Store, client: redis.Redis) -> None:
    def use(number: int) -> None:
        for turn in range(30):
            if number == 0 and turn % 3 == 0:
                client.client_kill_filter(_type="normal", skipme=True)
            _is_echoed(narrow, number)

    in_threads(8, use)
    assert narrow.losses > 0


def test_all_waiting_callers_learn_that_the_store_is_away(settings: Settings, client: redis.Redis) -> None:
    store = open_store(msgspec.structs.replace(settings, redis_pool=1, redis_timeout_s=0.2))
    store.run(fleet.ping())
    hold_up(client, 1.0)

    def use(number: int) -> None:
        with pytest.raises(StoreUnavailable):
            store.run(echo(str(number)))

    began_s = time.monotonic()
    in_threads(8, use)
    assert time.monotonic() - began_s < 0.9, "who waited asked together, not one after another"
    wait_until(lambda: _answers(store), "it is there again")
    in_threads(8, lambda number: _is_echoed(store, number))
    store.close()


def _answers(store: Store) -> bool:
    try:
        return bool(store.run(echo("there")) == b"there")
    except StoreUnavailable:
        return False


def test_a_thread_with_its_own_connection_waits_for_no_other(narrow: Store, client: redis.Redis) -> None:
    before = connections(client)
    narrow.run(fleet.ping())
    slow = threading.Thread(target=lambda: narrow.run(Call("BLPOP", (Key("nothing"), 2), as_is)))
    slow.start()  # holds the one that all share
    wait_until(lambda: any(one["cmd"] == "blpop" for one in client.client_list()), "it is held")
    with narrow.dedicated_connection():
        began_s = time.monotonic()
        assert narrow.run(echo("mine")) == b"mine"
        assert narrow.block(Call("BLPOP", (Key("nothing else"), 0.01), as_is), 0.01) is None
        assert time.monotonic() - began_s < 1
        assert connections(client) - before == 2
    wait_until(lambda: connections(client) - before == 1, "it is given back")
    client.lpush(f"{narrow.prefix.decode()}:nothing", "x")
    slow.join(5)


HALF: str = "\ud800"
"""Half a character: it has no bytes in UTF-8."""


def test_a_call_that_cannot_be_packed_fails_alone(narrow: Store, client: redis.Redis) -> None:
    failed: list[int] = []

    def use(number: int) -> None:
        if number % 8:
            assert narrow.run(echo(str(number))) == str(number).encode()
            return
        with pytest.raises(RunfleetError, match="cannot be sent"):
            narrow.run(echo(HALF))
        failed.append(number)

    hold_up(client, 0.3)  # so that they wait for each other and go out together
    in_threads(32, use)
    assert len(failed) == 4


def test_a_call_of_the_event_loop_that_cannot_be_packed_fails_alone(settings: Settings) -> None:
    async def ask() -> list[Any]:
        store = open_async_store(settings)
        answers = await asyncio.gather(*(store.run(echo(text)) for text in ("a", HALF, "b")), return_exceptions=True)
        await store.close()
        return answers

    first, odd, last = asyncio.run(ask())
    assert (first, last) == (b"a", b"b")
    assert isinstance(odd, RunfleetError)
    assert "cannot be sent" in str(odd)


def test_lines_of_their_own_are_not_the_pools(settings: Settings, client: redis.Redis) -> None:
    """A process may lose and make any number of them: the pool of the Sentinels makes no more than 256."""
    store = open_store(settings)
    pool = store._blocking
    before = len(pool._connections)
    for _ in range(300):
        with store.dedicated_connection():
            store.run(fleet.ping())
    assert len(pool._connections) == before
    assert len(store._lines._made) == 0
    store.close()


def test_a_connection_that_could_not_be_made_leaves_room_for_the_next(settings: Settings) -> None:
    """Else a process would wait for ever after as many failures as there may be connections."""
    store = open_store(msgspec.structs.replace(settings, redis_pool=2))
    make = store._lines._connect
    failures = 0

    def fail() -> Any:
        nonlocal failures
        failures += 1
        raise redis.exceptions.MaxConnectionsError("Too many connections")

    store._lines._connect = fail
    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            store.run(fleet.ping())
    store._lines._connect = make
    store.run(fleet.ping())
    store.close()
    assert failures == 5
