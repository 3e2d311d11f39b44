"""A run that a worker claims and whose record it cannot read: others wait for nothing, and it ends on record."""

import time
from uuid import UUID

import msgspec
import pytest

from shared.runs import FIELDS
from shared.store.redis.call import Call, Key, RawKey, as_is
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Json
from tests.waiting import wait_until

pytestmark = pytest.mark.damaged

TASKS = """
[tasks.bad]
run = "true"
retry_attempts = 1

[tasks.good]
run = "sleep 0.2"
"""


def spoil(fleet: Fleet, run: Json, value: bytes = b"") -> None:
    """Give its record a field that is only right in another release; or make the record *value*."""
    key = RawKey(b"run:" + UUID(run["id"]).bytes)
    values = list(msgspec.msgpack.decode(fleet.store.run(Call("GET", (key,), as_is))))
    values[FIELDS.index("step")] = "of a newer release"
    fleet.store.run(Call("SET", (key, value or msgspec.msgpack.encode(values)), bool))


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"\x93\x01\x02\x03", b"text"])
def test_a_claimed_run_that_cannot_be_read_is_passed_over_and_named_once(
    make_fleet: StartFleet, garbage: bytes
) -> None:
    """F57: whether it is claimed by itself or together with the end of another."""
    fleet = make_fleet(TASKS, "web", "scheduler", threads=1)
    runs = [fleet.trigger(name) for name in ("bad", "good", "bad", "good")]
    bad, good = runs[::2], runs[1::2]
    for run in bad:
        spoil(fleet, run, garbage)
    (worker,) = fleet.start("worker")
    began_s = time.monotonic()
    for run in good:
        assert fleet.ended(run, 2)["end_reason"] == "success"
    assert time.monotonic() - began_s < 2, "what cannot be read holds up what can"
    if not garbage:
        wait_until(lambda: not fleet.store.run(Call("ZCARD", (Key("leases"),), int)), "the runs are over", 10)
        crashed = fleet.store.run(Call("ZRANGE", (Key("ix:t:bad:crashed:created"), 0, -1), as_is))
        assert set(crashed) == {UUID(run["id"]).bytes for run in bad}
        assert not fleet.store.run(Call("ZCARD", (Key("due"),), int)), "it is retried"
    named = worker.events("run.unreadable")
    assert [sum(run["id"] in line for line in named) for run in bad] == [1, 1]
    assert not worker.events("worker.claim_failed")
    assert not worker.events("run.broken")


def test_a_claimed_run_that_became_no_record_does_not_keep_its_slot(make_fleet: StartFleet) -> None:
    """F57: nor do the other runs of its worker lose their leases."""
    fleet = make_fleet(TASKS, "web", "scheduler", threads=1)
    (worker,) = fleet.start("worker")
    run = fleet.started(fleet.trigger("good"))
    spoil(fleet, run, b"\xc1")
    later = fleet.trigger("good")
    assert fleet.ended(later, 3)["end_reason"] == "success"
    assert not worker.events("worker.heartbeat_failed"), "the other runs of its worker would lose their leases"
    assert len(worker.events("run.lost")) == 1
