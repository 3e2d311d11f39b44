"""The thread that renews a worker's leases, when what it asks is refused."""

import time
from pathlib import Path

import msgspec
import pytest

from shared import ids, ops
from shared.settings import LEASE_MS, Settings
from shared.store import open_store, runs, tasks
from shared.store.fleet import About
from shared.store.redis.call import Call, Key, as_is
from shared.store.redis.sync_store import Store
from shared.store.runs import Wanted
from shared.tasks import Task, define
from tests.system.proxy import Proxy
from tests.waiting import wait_until
from worker.heartbeat import Heartbeat, Lease

ABOUT = About(host="h", pid=7, version="1", queues=("default",), slots=1, started_us=5)
LATE_S = 0.7


@pytest.mark.damaged
def test_an_unreadable_list_of_stop_requests_is_not_polled_all_the_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, asked_s = Store(settings), list[float]()
    store.run(Call("SET", (Key("wake:worker:w"), "no list"), as_is))
    block = store.block

    def counted(call: Call[bool], seconds: float) -> bool:
        asked_s.append(time.monotonic())
        return block(call, seconds)

    monkeypatch.setattr(store, "block", counted)
    heartbeat = Heartbeat(store, "w", ABOUT, on_drain=lambda: None, on_loss=lambda _: None)
    heartbeat.start()
    try:
        heartbeat.hold(Lease(ids.new_id(1), 1, lambda _: None, lambda: False, time.monotonic()))
        wait_until(lambda: len(asked_s) >= 7, "it asked some times")
    finally:
        heartbeat.stop()
        store.close()
    assert asked_s[6] - asked_s[0] > 0.3


def test_a_lease_is_as_old_as_the_request_that_renewed_it(settings: Settings, short_path: Path) -> None:
    """The answer may be late: somebody else may have the run for as long as it was on its way."""
    with Proxy(short_path / "p", Path(settings.redis_url.removeprefix("unix://"))).serving() as proxy:
        store = open_store(msgspec.structs.replace(settings, redis_url=proxy.url))
        task = Task(name="a", run="true")
        store.run(tasks.apply([(task, define(task))]))
        store.run(ops.trigger(ops.Catalog(), "a", ops.Request()))
        claimed = store.run(runs.claim(Wanted("w", "0", "1", LEASE_MS * 1000, ["default"])))
        assert claimed is not None
        heartbeat = Heartbeat(store, "w", ABOUT, on_drain=lambda: None, on_loss=lambda _: None)
        held = Lease(claimed.id, claimed.record.token, lambda _: None, lambda: False, 0.0)
        heartbeat.hold(held)
        proxy.latency_s = LATE_S
        heartbeat.start()
        try:
            wait_until(lambda: held.renewed_s, "it was renewed")
            assert time.monotonic() - held.renewed_s >= LATE_S
        finally:
            proxy.latency_s = 0.0
            heartbeat.stop()
            store.close()
