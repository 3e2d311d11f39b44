"""A definition, record, schedule or log that a newer release wrote, or a foreign hand: all others go on."""

from uuid import UUID

import msgspec
import pytest

from shared.runs import FIELDS, Reason
from shared.store import runs
from shared.store.health import stored_health
from shared.store.redis.call import Call, Key, RawKey, as_is
from tests.scheduler.failing_store import PairedWork

pytestmark = pytest.mark.damaged


def spoil_definition(work: PairedWork, task: str) -> None:
    definition = work.harness.entry(task).definition
    body = definition.body.replace(b'{"name":', b'{"on_overlap":"of a newer release","name":', 1)
    work.harness.run(Call("HSET", (Key("def:" + definition.hash), "body", body), bool))


def spoil_record(work: PairedWork, run_id: UUID, field: str, value: object) -> None:
    key = RawKey(b"run:" + run_id.bytes)
    values = list(msgspec.msgpack.decode(work.harness.run(Call("GET", (key,), as_is))))
    values[FIELDS.index(field)] = value
    work.harness.run(Call("SET", (key, msgspec.msgpack.encode(values)), bool))


def test_a_lost_run_of_a_definition_that_cannot_be_read_ends_without_a_retry(work: PairedWork) -> None:
    """F57."""
    spoil_definition(work, "lost-bad")
    work.loop.tick()
    assert work.undone() == set()
    ended = work.harness.get(work.lost["bad"])
    assert (ended.end_reason, ended.exit_code) == (Reason.CRASHED, -2)
    assert "not tried again" in str(ended.message)
    assert len(work.harness.run(runs.execution_runs(ended.execution_id))) == 1


def test_a_lost_run_whose_record_cannot_be_read_is_ended_without_a_retry(work: PairedWork) -> None:
    """F57."""
    spoil_record(work, work.lost["bad"], "step", "of a newer release")
    work.loop.tick()
    assert work.harness.get(work.lost["good"]).end_reason == Reason.CRASHED
    leases: list[bytes] = work.harness.run(Call("ZRANGE", (Key("leases"), 0, -1), as_is))
    assert leases == []


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"\x93\x01\x02\x03", b"text"])
def test_a_lost_run_that_is_no_record_at_all_holds_up_no_other(work: PairedWork, garbage: bytes) -> None:
    """F57."""
    work.harness.run(Call("SET", (RawKey(b"run:" + work.lost["bad"].bytes), garbage), bool))
    work.loop.tick()
    assert work.harness.get(work.lost["good"]).end_reason == Reason.CRASHED
    assert any(what.startswith("rescue") for what in work.loop.troubles.current()) or garbage == b""


def test_a_due_run_that_is_no_record_at_all_holds_up_no_other(work: PairedWork) -> None:
    """F57: it is put off, and told of."""
    bad = work.harness.run(runs.find("later-bad#1")).id
    good = work.harness.run(runs.find("later-good#1")).id
    work.harness.run(Call("SET", (RawKey(b"run:" + bad.bytes), b"\xc1"), bool))
    work.loop.tick()
    due: list[bytes] = work.harness.run(Call("ZRANGE", (Key("due"), 0, -1), as_is))
    assert due == [bad.bytes]
    assert work.harness.get(good).status == "pending"
    assert list(work.loop.troubles.current()) == [f"enqueue_due {bad}"]


def test_history_with_a_run_that_is_no_record_at_all_is_forgotten_around_it(work: PairedWork) -> None:
    """F57."""
    bad = work.harness.run(runs.find("past-bad#1")).id
    work.harness.run(Call("SET", (RawKey(b"run:" + bad.bytes), b"\xc1"), bool))
    work.loop.tick()
    numbers: list[bytes] = work.harness.run(
        Call("ZRANGE", (Key("ix:t:past-bad:success:created"), 0, -1, "WITHSCORES"), as_is)
    )
    assert [int(number) for number in numbers[1::2]] == [1, 3]
    assert work.undone() == {"prune bad"}


def test_a_log_that_cannot_be_read_holds_up_no_other(work: PairedWork) -> None:
    """F57."""
    log = RawKey(b"log:" + work.logs["bad"].bytes)
    work.harness.run(Call("XADD", (log, "99-0", "c", 1, "d", b"\xc1"), as_is))
    work.loop.tick()
    assert work.undone() == {"compact bad"}
    assert list(work.loop.troubles.current()) == [f"compact {work.logs['bad']}"]


def test_an_unreadable_task_is_reported_and_the_others_fire(work: PairedWork) -> None:
    """F57: from the start of a scheduler on."""
    spoil_definition(work, "tick-bad")
    work.loop.tick()
    assert work.undone() == {"fire bad"}
    work.harness.pass_s(1)
    work.loop.tick()
    said = work.harness.run(stored_health())
    assert said is not None
    assert (said.schedules, said.unreadable, said.unreadable_tasks) == (1, 1, ["tick-bad"])


def test_an_unreadable_schedule_is_reported_and_the_others_fire(work: PairedWork) -> None:
    """F57: its time zone is not on this machine."""
    work.harness.task("tick-bad", cron=("* * * * *",), timezone="Nowhere/At-all")
    work.loop.tick()
    assert work.undone() == {"fire bad"}
    work.harness.pass_s(1)
    work.loop.tick()
    said = work.harness.run(stored_health())
    assert said is not None
    assert said.unreadable_tasks == ["tick-bad"]
