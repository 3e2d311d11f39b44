"""A process that is told to leave hears it, whatever its main thread is doing just then."""

import sys
from pathlib import Path

import pytest

from tests.commands import run_command

WAITING_WITH_THE_LOCK = """
import os, signal, sys, threading
from shared.signals import on_shutdown

told = threading.Event()
on_shutdown(told.set)
with told._cond:  # as `wait` does for a moment each time
    for _ in range(5):
        os.kill(os.getpid(), signal.{name})
print("heard" if told.wait(10) else "deaf", flush=True)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_during_the_lock_of_an_event_is_handled(name: str) -> None:
    command = [sys.executable, "-c", WAITING_WITH_THE_LOCK.format(name=name)]
    told = run_command(command, cwd=Path(__file__).parents[2])
    assert told.stdout == "heard\n", told.stderr
