"""A store that was wiped under running work: what runs is written back, and nothing else is invented."""

from __future__ import annotations

from shared import ops
from shared.runs import Reason
from shared.store import fleet, runs
from shared.store.call import Call
from tests.store.checking import dump
from tests.store.desk import Desk


def wipe(desk: Desk) -> None:
    desk.do(Call("FLUSHALL", (), bool))


def restore(desk: Desk, held: runs.Claimed, gates: list[tuple[str, int]] | None = None) -> str:
    return desk.do(runs.restore(held.id, held.record, gates or []))


def test_a_wiped_store_has_another_name(desk: Desk) -> None:
    before = desk.do(fleet.beat("w", [], None)).instance
    assert desk.do(fleet.beat("w", [], None)).instance == before
    wipe(desk)
    desk.pass_s(1)
    assert desk.do(fleet.beat("w", [], None)).instance != before
    assert desk.do(fleet.pulse("s")).instance == desk.do(fleet.beat("w", [], None)).instance


def test_a_run_is_written_back_and_can_end(desk: Desk) -> None:
    """F14: in the store."""
    desk.task(retry_attempts=1)
    held = desk.started()
    wipe(desk)
    assert restore(desk, held) == "restored"
    desk.apply()
    assert restore(desk, held) == "there"
    assert desk.beat(held) == [""]
    assert desk.end(held).verdict == "ended"
    assert desk.trigger().number == held.record.number + 1


def test_a_failed_run_that_was_written_back_is_tried_again(desk: Desk) -> None:
    entry = desk.task(retry_attempts=1, retry_delay_ms=(0,))
    held = desk.started()
    wipe(desk)
    restore(desk, held)
    desk.apply()
    desk.fail(held, entry)
    assert desk.claimed().record.attempt == 1


def test_replicas_that_are_written_back_are_one_execution_at_one_gate(desk: Desk) -> None:
    entry = desk.task(max_concurrent=1, replicas=2)
    first, second = desk.started(), desk.claimed()
    wipe(desk)
    for held in (first, second):
        assert restore(desk, held, ops.gates(entry.task)) == "restored"
    desk.apply()
    desk.trigger()
    assert desk.claim() is None, "the execution that was written back still holds its place"
    desk.end(first)
    assert desk.claim() is None
    desk.end(second)
    assert desk.claimed()


def test_what_the_store_knows_better_is_left_alone(desk: Desk) -> None:
    desk.task()
    held = desk.started()
    desk.end(held, Reason.SUCCESS)
    before = dump(desk)
    assert restore(desk, held) == "refused"
    assert dump(desk) == before
