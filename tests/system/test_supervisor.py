"""The supervisor of ``runfleet up``, with small real programs: what it starts lives, and nothing is left behind."""

import os
import pty
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.commands import run_command
from tests.system.processes import command_line
from tests.waiting import wait_until

# A supervisor of two programs that write their process ids (and that they were asked to end) into the folder.
FLEET = """
import sys
from pathlib import Path
from shared.cli.data_dir import DataFolder
from shared.cli.child import Child
from shared.cli.supervisor import Supervisor

folder = Path(sys.argv[1])
program = sys.argv[2]
data = DataFolder(folder / "data")
data.lock(patience_s=10)
with Supervisor(grace_s=2, lock_fd=data.lock_fd, out=sys.stdout) as fleet:
    for order, name in enumerate(("work", "store")):
        argv = [sys.executable, "-c", program, str(folder), name]
        fleet.start(Child(name, argv, {}, order=order, spared=order == 1, reloads=order == 0))
    fleet.until(lambda: False, every_s=60)
    sys.exit(0 if fleet.drain() else 1)
"""
OBEDIENT = """
import os, signal, sys
folder, name = sys.argv[1:]
with open(f"{folder}/{name}.pids", "a") as file:
    file.write(f"{os.getpid()}\\n")
print(name, "is here", flush=True)
number = signal.sigwait([signal.SIGTERM])
with open(f"{folder}/ended", "a") as file:
    file.write(name + "\\n")
"""
OBEDIENT = OBEDIENT.replace("import os, signal, sys\n", "import os, signal, sys\nsignal.pthread_sigmask(0, [15])\n")
READER = OBEDIENT.replace("sigmask(0, [15])", "sigmask(0, [1, 15])").replace(
    "number =", "while signal.sigwait([1, 15]) == 1:\n    print(name, 'reads again', flush=True)\nnumber = 0 and"
)
STUBBORN = OBEDIENT.replace("number =", "number = name == 'work' and [signal.sigwait([15]) for _ in range(99)] or")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def pids(folder: Path, name: str) -> list[int]:
    path = folder / f"{name}.pids"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def both_are_up(folder: Path) -> bool:
    return all(pids(folder, name) for name in ("work", "store"))


class Fleet:
    """A supervisor running in a process of its own."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder
        self.out: IO[str] = (folder / "out").open("w+")
        self.process = subprocess.Popen([sys.executable, "-c", FLEET, str(folder), program], stdout=self.out)
        wait_until(lambda: both_are_up(folder), "both programs are up")

    def said(self) -> str:
        return (self.folder / "out").read_text()

    def children(self) -> list[int]:
        return [pid for name in ("work", "store") for pid in pids(self.folder, name)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Fleet]]:
    fleets: list[Fleet] = []

    def start_fleet(program: str) -> Fleet:
        fleets.append(Fleet(tmp_path, program))
        return fleets[-1]

    yield start_fleet
    for fleet in fleets:
        if fleet.process.poll() is None:
            fleet.process.kill()
            fleet.process.wait()
        fleet.out.close()
    left = [pid for fleet in fleets for pid in fleet.children()]
    wait_until(lambda: not any(map(is_alive, left)), "nothing is left")


def test_a_signal_ends_all_in_order(start: Callable[[str], Fleet], tmp_path: Path) -> None:
    fleet = start(OBEDIENT)
    fleet.process.send_signal(signal.SIGINT)
    assert fleet.process.wait(15) == 0
    assert (tmp_path / "ended").read_text().split() == ["work", "store"]
    assert not any(map(is_alive, fleet.children()))
    assert "work      | work is here" in fleet.said()


def test_two_signals_at_once_are_one_request(start: Callable[[str], Fleet], tmp_path: Path) -> None:
    fleet = start(OBEDIENT)
    fleet.process.send_signal(signal.SIGTERM)
    fleet.process.send_signal(signal.SIGINT)
    assert fleet.process.wait(15) == 0
    assert (tmp_path / "ended").read_text().split() == ["work", "store"]


def test_a_second_request_kills_remaining_processes_and_spares_the_store(
    start: Callable[[str], Fleet], tmp_path: Path
) -> None:
    fleet = start(STUBBORN)
    fleet.process.send_signal(signal.SIGINT)
    time.sleep(0.6)  # a person's second Ctrl-C; two at once would be one wish
    fleet.process.send_signal(signal.SIGINT)
    assert fleet.process.wait(3) == 1
    assert (tmp_path / "ended").read_text().split() == ["store"]
    assert not any(map(is_alive, fleet.children()))


def test_a_child_that_dies_is_started_again(start: Callable[[str], Fleet], tmp_path: Path) -> None:
    fleet = start(OBEDIENT)
    os.kill(pids(tmp_path, "work")[0], signal.SIGKILL)
    wait_until(lambda: len(pids(tmp_path, "work")) == 2, "work was started again")
    assert "work was killed by SIGKILL; restarting it in 0.5 s" in fleet.said()


def test_a_killed_supervisor_leaves_no_orphans_and_the_store_goes_last(
    start: Callable[[str], Fleet], tmp_path: Path
) -> None:
    fleet = start(OBEDIENT)
    fleet.process.kill()
    wait_until(lambda: not any(map(is_alive, fleet.children())), "no child is left")
    assert (tmp_path / "ended").read_text().split() == ["work", "store"]


def test_a_killed_supervisor_and_a_stubborn_child_leave_no_orphans(start: Callable[[str], Fleet]) -> None:
    fleet = start(STUBBORN)
    fleet.process.kill()
    wait_until(lambda: not any(map(is_alive, fleet.children())), "no child is left")


def test_a_start_after_a_kill_waits_until_the_old_processes_are_gone(
    start: Callable[[str], Fleet], tmp_path: Path
) -> None:
    old = start(STUBBORN)
    before = old.children()
    old.process.kill()
    old.process.wait()
    (tmp_path / "store.pids").unlink()
    (tmp_path / "work.pids").unlink()
    start(OBEDIENT)
    assert not any(map(is_alive, before))


def test_a_folder_has_one_user_and_the_second_learns_who_it_is(start: Callable[[str], Fleet], tmp_path: Path) -> None:
    fleet = start(OBEDIENT)
    second = run_command([sys.executable, "-c", FLEET, str(tmp_path), OBEDIENT])
    assert second.returncode == 1
    assert f"already running here: process {fleet.process.pid}" in second.stderr


def test_sighup_is_passed_on_to_who_reads_a_file_again_and_ends_nothing(
    start: Callable[[str], Fleet], tmp_path: Path
) -> None:
    fleet = start(READER)
    fleet.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "work reads again" in fleet.said(), "the program heard of it")
    fleet.process.send_signal(signal.SIGTERM)
    assert fleet.process.wait(15) == 0
    assert "store reads again" not in fleet.said()
    assert len(fleet.children()) == 2  # nobody was started twice


def test_a_terminal_that_is_closed_ends_all(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests themselves run under nohup
        os.execv(sys.executable, [sys.executable, "-c", FLEET, str(tmp_path), READER])
    try:
        wait_until(lambda: both_are_up(tmp_path), "both programs are up")
        children = [one for name in ("work", "store") for one in pids(tmp_path, name)]
    finally:
        os.close(terminal)  # the kernel sends SIGHUP
    wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, "the supervisor has ended", 15)
    assert not any(map(is_alive, children))
    assert (tmp_path / "ended").read_text().split() == ["work", "store"]


@contextmanager
def no_descriptors_left(pid: int) -> Iterator[None]:
    """Whatever wants one more descriptor in process *pid* fails, as on a machine that has too many open."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def test_a_child_that_cannot_start_is_retried_and_the_others_keep_running(
    start: Callable[[str], Fleet], tmp_path: Path
) -> None:
    fleet = start(OBEDIENT)
    with no_descriptors_left(fleet.process.pid):
        os.kill(pids(tmp_path, "work")[0], signal.SIGKILL)
        wait_until(lambda: "work could not be started (Too many open files)" in fleet.said(), "it was tried in vain")
        assert is_alive(pids(tmp_path, "store")[0])
    wait_until(lambda: len(pids(tmp_path, "work")) == 2, "work was started again")


def test_an_orphan_guard_that_cannot_be_started_is_tried_again(start: Callable[[str], Fleet]) -> None:
    fleet = start(OBEDIENT)
    first = orphan_guard(fleet)
    with no_descriptors_left(fleet.process.pid):
        os.kill(first, signal.SIGKILL)
        wait_until(
            lambda: "no orphan guard could be started (Too many open files)" in fleet.said(), "it was tried in vain"
        )
    wait_until(lambda: orphan_guard(fleet) not in (0, first), "there is another one")


def orphan_guard(fleet: Fleet) -> int:
    """The process id of the supervisor's orphan guard; 0 when there is none."""
    own = fleet.process.pid
    children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
    return next((int(pid) for pid in children if "orphan_guard.py" in command_line(int(pid)) and is_alive(int(pid))), 0)


def test_a_child_may_die_by_a_signal_that_has_no_name(start: Callable[[str], Fleet], tmp_path: Path) -> None:
    fleet = start(OBEDIENT)
    os.kill(pids(tmp_path, "work")[0], 40)
    wait_until(lambda: len(pids(tmp_path, "work")) == 2, "work was started again")
    assert "work was killed by signal 40; restarting it" in fleet.said()


def test_a_child_may_print_what_the_terminal_cannot(
    start: Callable[[str], Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    foreign = 'sys.stdout.buffer.write("caf\\u00e9\\n".encode())\n'
    fleet = start(OBEDIENT.replace('print(name, "is here"', foreign + 'print(name, "is here"'))
    wait_until(lambda: "store is here" in fleet.said(), "both have spoken")
    assert "caf\\xe9" in fleet.said()


def test_what_a_child_prints_controls_no_terminal_but_for_its_colours(start: Callable[[str], Fleet]) -> None:
    odd = "\\x1b[31mred\\x1b[0m \\x1b[2J\\x9b31m\\u202egnp\\u200b\\x07\\r"
    foreign = f"sys.stdout.buffer.write('{odd}\\n'.encode())\n"
    fleet = start(OBEDIENT.replace('print(name, "is here"', foreign + 'print(name, "is here"'))
    wait_until(lambda: "store is here" in fleet.said(), "both have spoken")
    assert "work      | \x1b[31mred\x1b[0m \u241b[2J\\x9b31m\\u202egnp\\u200b\u2407\u240d\n" in fleet.said()
