"""The ladder that stops a run, with time handed in, and a start that fails."""

from __future__ import annotations

import signal

import pytest

from worker.execution.stop_sequence import Ladder
from worker.processes.commands import Spawner
from worker.processes.handle import Launch, SpawnFailed


def test_the_ladder_asks_waits_and_kills_each_once() -> None:
    ladder = Ladder(signal.SIGINT, graceful_s=10)
    assert (ladder.due(5), ladder.wait_s(5)) == (0, None)
    ladder.begin(100)
    assert ladder.wait_s(100) == 0
    assert [ladder.due(100), ladder.due(100), ladder.due(109.9)] == [signal.SIGINT, 0, 0]
    assert ladder.wait_s(104) == 6
    assert [ladder.due(110), ladder.due(111)] == [signal.SIGKILL, 0]
    assert (ladder.step, ladder.wait_s(111)) == ("killed", None)


def test_begun_again_the_ladder_is_not_prolonged() -> None:
    ladder = Ladder(graceful_s=10)
    ladder.begin(100)
    assert ladder.due(100) == signal.SIGTERM
    ladder.begin(109)
    assert ladder.due(110) == signal.SIGKILL


def test_begun_again_with_less_time_the_ladder_is_shorter() -> None:
    ladder = Ladder(graceful_s=100)
    ladder.begin(0)
    assert ladder.due(0) == signal.SIGTERM
    ladder.begin(10, graceful_s=2)
    assert [ladder.due(11), ladder.due(12)] == [0, signal.SIGKILL]


def test_a_ladder_without_grace_kills_at_once() -> None:
    ladder = Ladder(graceful_s=0)
    ladder.begin(7)
    assert ladder.due(7) == signal.SIGKILL


def test_a_closed_spawner_starts_nothing() -> None:
    spawner = Spawner.start()
    spawner.close()
    with pytest.raises(SpawnFailed, match="cannot hand over"):
        spawner.spawn(Launch(argv=("true",), env={}, run_id="late"))
