"""That Redis is away is said once, and once that it is back, whoever notices."""

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from shared.errors import StoreFull, StoreUnavailable
from shared.settings import Settings
from shared.store import fleet, open_async_store, open_store
from shared.store.redis import outage
from shared.store.redis.outage import Outage


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """What is logged of outages: the event and its cause, if it names one."""
    lines: list[tuple[str, object]] = []

    class Log:
        def warning(self, event: str, **values: object) -> None:
            lines.append((event, values.get("error")))

        info = warning

    monkeypatch.setattr(outage, "log", Log())
    return lines


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Measured time, in one place to be changed."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_each_new_cause_is_logged_once(said: list[tuple[str, object]], clock: list[float]) -> None:
    away = Outage()
    for port in (5001, 5002):
        away.failed(StoreUnavailable(f"refused, from port {port}"))
    away.failed(StoreUnavailable("loading"))
    away.failed(StoreUnavailable("refused, from port 5003"))
    assert said == [("store.unavailable", "refused, from port 5001"), ("store.unavailable", "loading")]


def test_it_is_back_when_all_connections_have_been_well_for_a_moment(
    said: list[tuple[str, object]], clock: list[float]
) -> None:
    away = Outage()
    away.failed(StoreUnavailable("refused"))
    away.worked()  # an answer that was under way
    clock[0] += 0.9
    away.failed(StoreUnavailable("refused"))
    clock[0] += 0.9
    away.worked()
    assert [event for event, _ in said] == ["store.unavailable"]
    clock[0] += 0.2
    away.worked()
    away.worked()
    assert [event for event, _ in said] == ["store.unavailable", "store.recovered"]
    away.failed(StoreUnavailable("refused"))
    assert [event for event, _ in said] == ["store.unavailable", "store.recovered", "store.unavailable"]


def test_refused_writes_are_one_outage_while_reads_work(said: list[tuple[str, object]], clock: list[float]) -> None:
    away = Outage()
    for script in ("1f, on @user_script:3", "2e, on @user_script:14"):
        away.failed(StoreUnavailable(f"Redis cannot be used right now: READONLY You can't write. script: {script}."))
        clock[0] += 2
        away.worked()  # a read
    assert [event for event, _ in said] == ["store.unavailable"]
    clock[0] += 4
    away.worked()
    assert [event for event, _ in said] == ["store.unavailable", "store.recovered"]


def test_a_full_redis_is_not_away(said: list[tuple[str, object]]) -> None:
    away = Outage()
    away.failed(StoreFull("no memory"))
    assert said == []


def test_all_stores_of_a_process_say_it_together(tmp_path: Path, said: list[tuple[str, object]]) -> None:
    settings = msgspec.structs.replace(Settings(), redis_url=f"unix://{tmp_path}/nobody")

    async def ask() -> None:
        store = open_async_store(settings)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await store.run(fleet.ping())
        await store.close()

    store = open_store(settings)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            store.run(fleet.ping())
    asyncio.run(ask())
    store.close()
    assert [event for event, _ in said] == ["store.unavailable"]
