"""The sequence that stops a run, with time handed in, and a start that fails."""

import signal

import pytest

from worker.execution.stop_sequence import StopSequence
from worker.processes.commands import Spawner
from worker.processes.handle import Launch, SpawnFailed


def test_the_ladder_asks_waits_and_kills_each_once() -> None:
    stop_sequence = StopSequence(signal.SIGINT, graceful_s=10)
    assert (stop_sequence.due(5), stop_sequence.wait_s(5)) == (0, None)
    stop_sequence.begin(100)
    assert stop_sequence.wait_s(100) == 0
    assert [stop_sequence.due(100), stop_sequence.due(100), stop_sequence.due(109.9)] == [signal.SIGINT, 0, 0]
    assert stop_sequence.wait_s(104) == 6
    assert [stop_sequence.due(110), stop_sequence.due(111)] == [signal.SIGKILL, 0]
    assert (stop_sequence.step, stop_sequence.wait_s(111)) == ("killed", None)


def test_begun_again_the_ladder_is_not_prolonged() -> None:
    stop_sequence = StopSequence(graceful_s=10)
    stop_sequence.begin(100)
    assert stop_sequence.due(100) == signal.SIGTERM
    stop_sequence.begin(109)
    assert stop_sequence.due(110) == signal.SIGKILL


def test_begun_again_with_less_time_the_ladder_is_shorter() -> None:
    stop_sequence = StopSequence(graceful_s=100)
    stop_sequence.begin(0)
    assert stop_sequence.due(0) == signal.SIGTERM
    stop_sequence.begin(10, graceful_s=2)
    assert [stop_sequence.due(11), stop_sequence.due(12)] == [0, signal.SIGKILL]


def test_a_ladder_without_grace_kills_at_once() -> None:
    stop_sequence = StopSequence(graceful_s=0)
    stop_sequence.begin(7)
    assert stop_sequence.due(7) == signal.SIGKILL


def test_a_closed_spawner_starts_nothing() -> None:
    spawner = Spawner.start()
    spawner.close()
    with pytest.raises(SpawnFailed, match="cannot send the request"):
        spawner.spawn(Launch(argv=("true",), env={}, run_id="late"))
