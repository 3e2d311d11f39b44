"""How a process that ended is judged: the order of reasons, and the sentence that says why."""

import itertools
import signal
from typing import get_args

import pytest

from shared.runs import FATE_UNKNOWN, Reason
from shared.tasks import MB, Task
from worker.execution.verdict import Cause, judge, stronger
from worker.processes.handle import LOST, Exit

TASK = Task(name="t", run="x", timeout_ms=90_000, log_max_size=64 * 1024)


def test_a_clean_exit_needs_no_sentence() -> None:
    assert judge(TASK, Exit(code=0), None, b"") == (Reason.SUCCESS, 0, "", False)


def test_success_codes_are_successes_and_nothing_else_is() -> None:
    task = Task(name="t", run="x", success_codes=(3, 4))
    assert [judge(task, Exit(code=code), None, b"").reason for code in (0, 3, 4, 5)] == [
        Reason.FAILED,
        Reason.SUCCESS,
        Reason.SUCCESS,
        Reason.FAILED,
    ]


def test_a_signal_is_no_success_even_if_its_code_is_one() -> None:
    task = Task(name="t", run="x", success_codes=(143,))
    assert judge(task, Exit(code=143, signal=signal.SIGTERM), None, b"").reason is Reason.FAILED


@pytest.mark.parametrize(
    ("cause", "reason", "sentence"),
    [
        ("stop", Reason.STOPPED, "stopped"),
        ("timeout", Reason.TIMEOUT, "ran longer than timeout = 1m30s"),
        ("overflow", Reason.LOG_OVERFLOW, "printed more than log_max_size = 64kb"),
        ("shutdown", Reason.CRASHED, "interrupted: its worker was shut down"),
    ],
)
def test_what_made_it_end_is_the_reason_whatever_its_exit_code(cause: Cause, reason: Reason, sentence: str) -> None:
    for code in (0, 1, 143):
        verdict = judge(TASK, Exit(code=code), cause, b"")
        assert (verdict.reason, verdict.exit_code, verdict.message) == (reason, code, sentence)
        assert verdict.interrupted == (cause == "shutdown")


def test_the_strongest_of_several_causes_counts() -> None:
    stop_sequence: list[Cause] = ["lost", "stop", "timeout", "overflow", "shutdown"]
    assert set(stop_sequence) == set(get_args(Cause))
    for higher, lower in itertools.combinations(stop_sequence, 2):
        assert stronger(higher, lower) == stronger(lower, higher) == higher
    assert stronger(None, "shutdown") == "shutdown"


def test_a_process_whose_spawner_died_has_an_unknown_fate() -> None:
    for cause in (None, "overflow", "shutdown"):
        verdict = judge(TASK, LOST, cause, b"")
        assert (verdict.reason, verdict.exit_code, verdict.interrupted) == (Reason.CRASHED, FATE_UNKNOWN, False)


def test_a_process_whose_spawner_died_while_it_was_stopped_has_ended_for_that() -> None:
    assert judge(TASK, LOST, "stop", b"")[:2] == (Reason.STOPPED, FATE_UNKNOWN)
    assert judge(TASK, LOST, "timeout", b"")[:2] == (Reason.TIMEOUT, FATE_UNKNOWN)


def test_an_unexplained_kill_may_be_out_of_memory() -> None:
    verdict = judge(TASK, Exit(code=137, signal=9), None, b"")
    assert verdict.message == "killed by signal 9 (SIGKILL), possibly out of memory"


def test_a_message_about_a_limit_names_the_limit() -> None:
    task = Task(name="t", run="x", memory_limit=64 * MB, address_space_limit=128 * MB, cpu_limit_s=5)
    hungry = judge(task, Exit(code=137, signal=9, memory_used=70 * MB), None, b"")
    assert hungry.message == "killed: its processes had 70mb of memory, more than memory_limit = 64mb"
    memory = judge(task, Exit(code=1), None, b"Traceback:\nMemoryError\n")
    assert memory.message == "exited with code 1: ran out of memory at address_space_limit = 128mb"
    cpu = judge(task, Exit(code=152, signal=signal.SIGXCPU, cpu_time_ms=5003), None, b"")
    assert cpu.message == "killed by signal 24 (SIGXCPU): used more than cpu_limit = 5 s of CPU time"
    assert judge(task, Exit(code=1), None, b"no such file").message == "exited with code 1"
