"""Lines on their way out: whoever does not read them holds up nobody."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from shared.outlet import Outlet
from tests.commands import run_command
from tests.waiting import wait_until


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def drained(read: int, until: str) -> str:
    text = ""
    while until not in text:
        text += os.read(read, 65536).decode()
    return text


def test_lines_come_out_whole_and_in_order(pipe: tuple[int, int]) -> None:
    read, write = pipe
    outlet = Outlet(lambda lines: None)
    for number in range(500):
        outlet.put(write, f"line {number}\n")
    assert drained(read, "line 499\n").splitlines() == [f"line {number}" for number in range(500)]
    assert outlet.flush(5)


def test_unread_log_lines_are_dropped_and_counted_for_the_next_reader(pipe: tuple[int, int]) -> None:
    read, write = pipe
    said: list[int] = []
    outlet = Outlet(said.append, most_lines=50)
    line = "x" * 9_999 + "\n"
    for _ in range(200):
        outlet.put(write, line)  # returns at once: this test ends
    lost = outlet.dropped
    assert lost >= 200 - 50 - 101  # what the queue holds, and what is being written
    assert not outlet.flush(0.05)
    reader = threading.Thread(target=lambda: drained(read, "the last one"))
    reader.start()
    wait_until(lambda: said, "it says how many were lost")
    outlet.put(write, "the last one\n")
    reader.join(10)
    assert said == [lost]
    assert outlet.dropped == 0


def test_a_process_that_ends_writes_its_last_lines() -> None:
    code = (
        "from shared import telemetry as t; from shared.settings import Settings;"
        "t.configure(Settings(log_format='logfmt')); t.get_logger('worker').info('worker.stopped', worker='w')"
    )
    done = run_command([sys.executable, "-c", code], check=True)
    assert "event=worker.stopped worker=w" in done.stdout


def test_a_process_whose_log_is_not_read_still_ends(pipe: tuple[int, int]) -> None:
    _, write = pipe
    code = (
        "from shared import telemetry as t; from shared.settings import Settings;"
        "t.configure(Settings(log_format='logfmt')); log = t.get_logger('worker');"
        "[log.info('worker.stopped', worker='w' * 1000) for _ in range(1000)]; raise SystemExit(7)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=write, check=False, timeout=30).returncode == 7


def test_an_event_that_cannot_be_rendered_is_logged_and_raises_nothing() -> None:
    code = """
from shared import telemetry as t
from shared.settings import Settings
t.configure(Settings(log_format="logfmt"))
class Odd:
    def __str__(self): raise ValueError("no")
    __repr__ = lambda self: "odd"
t.get_logger("worker").error("run.broken", value=Odd())
"""
    done = run_command([sys.executable, "-c", code], check=True)
    assert "run.broken" in done.stdout
    assert "odd" in done.stdout
