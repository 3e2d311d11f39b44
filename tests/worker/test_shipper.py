"""From captured output to the store: in time whatever else there is to do, and bounded while Redis is away."""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from shared import ops
from shared.runs import Reason
from shared.settings import LEASE_MS, Settings
from shared.store import logs, open_store, runs, tasks
from shared.store.log_record import StoredLine
from shared.store.redis.sync_store import Store
from shared.store.runs import Claimed, Facts, Wanted
from shared.tasks import MB, Task, define
from tests.system.proxy import Proxy
from tests.waiting import wait_until
from worker.logs import shipper as module
from worker.logs.masking import NOTHING
from worker.logs.shipper import LogBuffer, LogShipper

LOUD = Task(name="loud", run="true", log_max_size=64 * MB)


@pytest.fixture
def log_shipper(store: Store) -> Iterator[LogShipper]:
    made = LogShipper(store)
    made.start()
    yield made
    made.stop()


def running(store: Store, task: Task = LOUD) -> Claimed:
    """A running run."""
    store.run(tasks.apply([(task, define(task))]))
    store.run(ops.trigger(ops.Catalog(), task.name, ops.Request()))
    claimed = store.run(runs.claim(Wanted("w", str(time.monotonic_ns()), "1", LEASE_MS * 1000, ["default"])))
    assert claimed is not None
    return claimed


def tape_of(log_shipper: LogShipper, claimed: Claimed, task: Task = LOUD) -> LogBuffer:
    return log_shipper.add(claimed.id, claimed.record, time.monotonic(), task, NOTHING)


def texts(store: Store, run_id: UUID) -> list[str]:
    return [line.text for line in store.run(logs.window(run_id, 0, 10_000)).lines]


def ended_with_log(store: Store, size: int) -> UUID:
    """A run that has ended, and whose log of so many bytes is not compressed yet."""
    claimed = running(store)
    chunk = [StoredLine(n, 1, 0, f"{n} {'x' * 60_000}", False) for n in range(size // 60_000)]
    for first in range(0, len(chunk), 16):
        part = chunk[first : first + 16]
        store.run(logs.append(claimed.id, claimed.record.token, part, first_kept=0, kept_bytes=size))
    facts = Facts(log_lines=len(chunk), log_bytes=size)
    store.run(runs.end(claimed.id, claimed.record.token, Reason.SUCCESS, 0, "", facts=facts))
    return claimed.id


def test_live_lines_do_not_wait_for_the_compression_of_ended_logs(store: Store, log_shipper: LogShipper) -> None:
    """F70: it is done in portions."""
    ended = [ended_with_log(store, 12 * MB) for _ in range(4)]
    live = running(store)
    log_buffer = tape_of(log_shipper, live)
    began_s = time.monotonic()
    for one in ended:
        log_shipper.compact_soon(one)
    slowest_s, number = 0.0, 0
    while store.run(logs.compacting(10, 1 << 60)):
        number += 1
        fed_s = time.monotonic()
        log_buffer.feed("stdout", b"line %d\n" % number)
        wait_until(lambda number=number: f"line {number}" in texts(store, live.id), "it is there", 30)  # type: ignore[misc]
        slowest_s = max(slowest_s, time.monotonic() - fed_s)
    assert number >= 3, "the lines came when all was compressed: this shows nothing"
    assert slowest_s < max(0.5, (time.monotonic() - began_s) / 3), "it had to wait for much of the work"


def test_while_redis_is_away_a_tape_keeps_the_newest_lines_and_counts_the_others(
    store: Store, settings: Settings, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY_BYTES", 100_000)
    real = Path(settings.redis_url.removeprefix("unix://"))
    with Proxy(short_path / "p", real).serving() as proxy:
        away = open_store(msgspec.structs.replace(settings, redis_url=proxy.url, redis_timeout_s=0.5))
        log_shipper = LogShipper(away)
        log_shipper.start()
        try:
            live = running(store)
            log_buffer = tape_of(log_shipper, live)
            log_buffer.feed("stdout", b"first\n")
            wait_until(lambda: texts(store, live.id) == ["first"], "it is there")
            proxy.lead_to(short_path / "nowhere")
            for number in range(4000):
                log_buffer.feed("stdout", b"line %04d %s\n" % (number, b"x" * 90))
            wait_until(lambda: log_buffer.dropped, "lines are dropped")
            wait_until(lambda: sum(len(line.text) for line in log_buffer._unsent) <= 100_000, "what is kept is bounded")
            proxy.lead_to(real)
            log_buffer.feed("stdout", b"last\n")
            wait_until(lambda: "last" in texts(store, live.id), "it is back", 20)
            kept = texts(store, live.id)[1:-1]
            numbers = [int(text.split()[1]) for text in kept]
            assert numbers == list(range(numbers[0], 4000))
            assert log_buffer.dropped == numbers[0]
            assert log_buffer.truncated
            log_buffer.finish()
            calls = log_buffer.final()
            log_buffer.settle(store.settle(calls))
            assert texts(store, live.id)[-1].startswith(
                f"{log_buffer.dropped} lines are missing: Redis was unavailable"
            )
        finally:
            log_shipper.stop()
            away.close()
