"""Lines come out as they went in: numbered, once, whether the log is live, trimmed or compressed."""

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.errors import NotFound
from shared.settings import Settings
from shared.store import logs, open_store, retention
from shared.store.log_record import StoredLine
from shared.store.redis.call import Call, Operation
from shared.store.redis.scripts import Script
from shared.store.runs import Claimed, Facts
from tests.store.consistency import check_store, dump
from tests.store.harness import SECOND, StoreHarness, driven
from tests.waiting import in_threads

T = TypeVar("T")


def test_lines_are_read_while_the_run_lives(harness: StoreHarness) -> None:
    held = _held(harness)
    assert harness.run(logs.window(held.id, 0, 10)).lines == []
    assert harness.append(held, 0, "one", "two") == "stored"
    assert harness.append(held, 2, "three") == "stored"
    window = harness.run(logs.window(held.id, 0, 10))
    assert [(line.n, line.text, line.stream) for line in window.lines] == [
        (0, "one", "stdout"),
        (1, "two", "stdout"),
        (2, "three", "stdout"),
    ]
    assert (window.first_available, window.total_lines, window.truncated, window.finalized) == (0, 3, False, False)
    harness.end(held, facts=Facts(log_lines=3, log_bytes=11))
    assert harness.run(logs.window(held.id, 0, 10)).finalized


def test_a_chunk_that_comes_twice_is_stored_once(harness: StoreHarness) -> None:
    held = _held(harness)
    assert [harness.append(held, 0, "one"), harness.append(held, 0, "one")] == ["stored", "already_stored"]
    assert harness.append(held, 1, "two") == "stored"
    assert harness.append(held, 0, "one") == "already_stored"
    assert _texts(harness, held, 0, 10) == ["one", "two"]


def test_a_chunk_that_grew_before_it_was_repeated_loses_nothing(harness: StoreHarness) -> None:
    held = _held(harness)
    assert harness.append(held, 0, "zero", "one") == "stored", "an answer that never arrived"
    assert harness.append(held, 0, "zero", "one", "two", "drei ß") == "stored"
    assert harness.append(held, 1, "one", "two", "drei ß") == "already_stored"
    assert harness.append(held, 3, "drei ß", "four") == "stored"
    assert _texts(harness, held, 0, 10) == ["zero", "one", "two", "drei ß", "four"]
    assert [line.n for line in harness.run(logs.window(held.id, 0, 10)).lines] == [0, 1, 2, 3, 4]


def test_a_worker_that_lost_the_run_adds_nothing(harness: StoreHarness) -> None:
    held = _held(harness)
    harness.append(held, 0, "one")
    harness.pass_s(7)
    harness.rescue(held.id)
    assert harness.append(held, 1, "late") == "lost"
    assert _texts(harness, held, 0, 10) == ["one"]


def test_a_stranger_adds_nothing(harness: StoreHarness) -> None:
    held = _held(harness)
    line = StoredLine(0, harness.now, 0, "strange", False)
    assert harness.run(logs.append(held.id, held.record.token - 1, [line], first_kept=0, kept_bytes=7)) == "lost"
    assert _texts(harness, held, 0, 10) == []


def test_an_unknown_log_is_not_found(harness: StoreHarness) -> None:
    with pytest.raises(NotFound):
        harness.run(logs.window(UUID(int=1), 0, 10))


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("start", [0, 1, 4, 5, 9, 10, 23, 24, 25, 100, -1, -3, -25, -100])
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_a_window_is_what_was_asked_for(harness: StoreHarness, start: int, limit: int, compacted: bool) -> None:
    held = _held(harness)
    for first in range(0, 25, 5):
        harness.append(held, first, *(f"line {first + n}" for n in range(5)))
    harness.end(held)
    if compacted:
        assert harness.run(logs.compact(held.id))
    everything = [f"line {n}" for n in range(25)]
    begin = max(0, 25 + start) if start < 0 else start
    assert _texts(harness, held, start, limit) == everything[begin : begin + limit]


@pytest.mark.parametrize("compacted", [False, True])
def test_what_was_let_go_is_not_shown(harness: StoreHarness, compacted: bool) -> None:
    held = _held(harness)
    for first in range(0, 20, 5):
        harness.append(held, first, *(f"{first + n}" for n in range(5)), first_kept=max(0, first - 3))
    assert len(dump(harness)[b"log:" + held.id.bytes].content) == 2, (
        "whole chunks before the first kept line are dropped"
    )
    harness.end(held)
    if compacted:
        harness.run(logs.compact(held.id))
    window = harness.run(logs.window(held.id, 0, 100))
    assert [line.n for line in window.lines] == list(range(12, 20))
    assert (window.first_available, window.total_lines, window.truncated) == (12, 20, True)
    assert _texts(harness, held, -2, 10) == ["18", "19"]


def test_a_log_with_a_hole_is_read_around_it(harness: StoreHarness) -> None:
    held = _held(harness)
    harness.append(held, 0, "one")
    harness.append(held, 50, "fifty-one")
    assert _texts(harness, held, 0, 10) == ["one", "fifty-one"]
    assert _texts(harness, held, 10, 10) == ["fifty-one"]
    harness.end(held)
    harness.run(logs.compact(held.id))
    assert _texts(harness, held, 0, 10) == ["one", "fifty-one"]
    assert _texts(harness, held, 10, 10) == ["fifty-one"]


@hypothesis_settings(max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunks=st.lists(st.lists(st.text(max_size=30), min_size=1, max_size=8), min_size=1, max_size=12),
    start=st.integers(-60, 60),
    limit=st.integers(1, 60),
    kept=st.integers(0, 40),
)
def test_compaction_changes_nothing_that_is_seen(
    harness: StoreHarness, chunks: list[list[str]], start: int, limit: int, kept: int
) -> None:
    held = _held(harness)
    number = 0
    for chunk in chunks:
        lines = [
            StoredLine(number + n, harness.now + n, (number + n) % 3, text, n % 2 == 0) for n, text in enumerate(chunk)
        ]
        number += len(chunk)
        harness.run(
            logs.append(held.id, held.record.token, lines, first_kept=min(kept, number - len(chunk)), kept_bytes=number)
        )
    harness.end(held)
    before = harness.run(logs.window(held.id, start, limit))
    assert harness.run(logs.compact(held.id))
    assert harness.run(logs.window(held.id, start, limit)) == before
    assert not harness.run(logs.compact(held.id)), "there is nothing left to do"
    assert b"log:" + held.id.bytes not in dump(harness)


def test_a_long_log_becomes_several_blocks(harness: StoreHarness) -> None:
    held = _held(harness)
    for first in range(0, 5000, 500):
        harness.append(held, first, *(f"line {first + n}" for n in range(500)))
    harness.end(held)
    harness.run(logs.compact(held.id))
    assert len(dump(harness)[b"logz:" + held.id.bytes].content) == 3
    assert _texts(harness, held, 3999, 3) == ["line 3999", "line 4000", "line 4001"]
    assert len(_texts(harness, held, 0, 10_000)) == 5000


def test_a_log_is_compacted_a_block_at_a_time_and_reads_the_same_after_each(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "BLOCK_LINES", 10)
    held = _held(harness)
    for first in range(0, 60, 4):
        harness.append(held, first, *(f"line {n}" for n in range(first, first + 4)))
    harness.end(held)
    whole = harness.run(logs.window(held.id, 0, 100)).lines
    assert len(whole) == 60
    steps = 0
    while harness.run(logs.compact_block(held.id)):
        steps += 1
        for start in range(60):
            assert harness.run(logs.window(held.id, start, 100)).lines == whole[start:], f"from {start} after {steps}"
            assert harness.run(logs.window(held.id, start, 3)).lines == whole[start : start + 3]
        assert harness.run(logs.window(held.id, -7, 100)).lines == whole[-7:]
        check_store(harness)
    assert steps == 5
    assert harness.run(logs.compacting(10, harness.now + SECOND)) == []


def test_a_part_that_another_one_compacted_is_left_alone(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "BLOCK_LINES", 2)
    held = _held(harness)
    for first in range(0, 8, 2):
        harness.append(held, first, "a", "b")
    harness.end(held)
    whole = harness.run(logs.window(held.id, 0, 100)).lines

    def look(call: Call[Any]) -> None:
        if isinstance(call.what, Script):
            harness.run(logs.compact_block(held.id))  # another one was faster

    assert _interrupted(harness, logs.compact_block(held.id), look) is False
    assert harness.run(logs.window(held.id, 0, 100)).lines == whole
    harness.run(logs.compact(held.id))
    assert harness.run(logs.window(held.id, 0, 100)).lines == whole
    check_store(harness)


def test_two_may_compact_at_once(settings: Settings, harness: StoreHarness) -> None:
    helds = []
    for _ in range(5):
        held = _held(harness)
        harness.append(held, 0, *(f"line {n}" for n in range(300)))
        harness.end(held)
        helds.append(held)
    done: list[bool] = []

    def compact() -> None:
        store = open_store(settings)
        done.extend(store.run(logs.compact(held.id)) for held in helds)
        store.close()

    in_threads(*[compact] * 3)
    assert sum(done) == 5
    for held in helds:
        assert _texts(harness, held, 0, 1000) == [f"line {n}" for n in range(300)]


def test_a_reader_finds_the_lines_while_the_log_is_compacted(harness: StoreHarness) -> None:
    held = _held(harness)
    harness.append(held, 0, "one", "two")
    harness.end(held)

    def look(call: Call[Any]) -> None:
        if call.what == "XREVRANGE":
            harness.run(logs.compact(held.id))  # between the two looks of the reader

    window = _interrupted(harness, logs.window(held.id, 0, 10), look)
    assert [line.text for line in window.lines] == ["one", "two"]


def test_logs_that_their_worker_left_behind_are_found(harness: StoreHarness) -> None:
    held, empty = _held(harness), _held(harness)
    harness.append(held, 0, "one")
    harness.pass_s(7)
    harness.rescue(held.id)
    harness.end(empty)
    assert harness.run(logs.compacting(10, harness.now - SECOND)) == []
    assert harness.run(logs.compacting(10, harness.now)) == [held.id]
    harness.run(logs.compact(held.id))
    assert harness.run(logs.compacting(10, harness.now)) == []
    check_store(harness)


def test_the_log_of_a_deleted_run_cannot_be_compacted(harness: StoreHarness) -> None:
    held = _held(harness)
    harness.append(held, 0, "one")
    harness.end(held)

    def look(call: Call[Any]) -> None:
        if isinstance(call.what, Script):
            harness.run(retention.delete(harness.get(held.id)))

    assert _interrupted(harness, logs.compact(held.id), look) is False
    check_store(harness)


def _interrupted(harness: StoreHarness, operation: Operation[T], look: Callable[[Call[Any]], None]) -> T:
    """An operation's result when *look* is called before each of its calls."""
    return driven(harness, operation, lambda calls: look(*calls))


def _held(harness: StoreHarness) -> Claimed:
    harness.task()
    return harness.started()


def _texts(harness: StoreHarness, held: Claimed, start: int, limit: int) -> list[str]:
    return [line.text for line in harness.run(logs.window(held.id, start, limit)).lines]
