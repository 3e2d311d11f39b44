"""The thread that renews a worker's leases, when what it asks is refused."""

from __future__ import annotations

import time

import pytest

from shared import ids
from shared.settings import Settings
from shared.store.call import Call, Key, as_is
from shared.store.fleet import About
from shared.store.threads import Store
from tests.waiting import wait_until
from worker.leases import Held, Leases

ABOUT = About(host="h", pid=7, version="1", queues=("default",), slots=1, started_us=5)


@pytest.mark.damaged
def test_a_wish_list_that_cannot_be_read_is_not_asked_all_the_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, asked_s = Store(settings), list[float]()
    store.do(Call("SET", (Key("wake:w"), "no list"), as_is))
    block = store.block

    def counted(call: Call[bool], seconds: float) -> bool:
        asked_s.append(time.monotonic())
        return block(call, seconds)

    monkeypatch.setattr(store, "block", counted)
    leases = Leases(store, "w", ABOUT, on_drain=lambda: None, on_loss=lambda _: None)
    leases.start()
    try:
        leases.hold(Held(ids.new_id(1), 1, lambda _: None, lambda: False, time.monotonic()))
        wait_until(lambda: len(asked_s) >= 7, "it asked some times")
    finally:
        leases.stop()
        store.close()
    assert asked_s[6] - asked_s[0] > 0.3
