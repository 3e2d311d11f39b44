"""Commands that misbehave: fork without end, eat memory, or print fifty megabytes without a newline."""

import re

from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet
from tests.system.processes import is_alive
from tests.waiting import wait_until

MEGABYTES = 50
TASKS = f"""
[defaults]
graceful_stop = "300ms"

[tasks.bomb]
# Each of its processes starts others, some in sessions of their own, up to 300.
run = ["python3", "-c", '''
import os, time
made = os.open(os.environ["HISTORY"] + ".bomb", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
while os.fstat(made).st_size < 300:
    os.write(made, b"!")
    if os.fork() == 0 and os.fstat(made).st_size % 3 == 0:
        os.setsid()
time.sleep(60)  # all of them are to be there when the run is ended
''']

[tasks.hungry]
run = '''
python3 -c "import os, time; held = os.urandom(150_000_000); time.sleep(60)" &
python3 -c "import os, time; held = os.urandom(150_000_000); time.sleep(60)"
'''
memory_limit = "200mb"

[tasks.endless]
run = ["python3", "-c", '''
import sys
block = bytes(range(256)).replace(bytes([10]), b"").replace(bytes([13]), b"") * 4096
for _ in range({MEGABYTES} * 1024 * 1024 // len(block)):
    sys.stdout.buffer.write(block)
''']
log_max_size = "2mb"

[tasks.fine]
run = "echo fine"
"""


def test_a_fork_bomb_ends_with_its_run_and_the_worker_lives(make_fleet: StartFleet) -> None:
    """F43: no process of it is left when the end is on record."""
    fleet = make_fleet(TASKS, grace_s=1.0).start_all()
    worker = fleet.of("worker").worker_process()
    run = fleet.trigger("bomb")
    wait_until(lambda: len(fleet.run_processes(run["id"])) >= 250, "it has grown", 20)
    processes = fleet.run_processes(run["id"])
    fleet.post(f"/api/runs/{run['id']}/stop")
    assert fleet.ended(run)["end_reason"] == "stopped"
    assert not any(map(is_alive, processes))
    assert fleet.log(fleet.perform("fine")) == ["fine"]
    assert fleet.of("worker").worker_process() == worker


def test_a_command_that_needs_too_much_memory_fails_with_the_reason(fleet: Fleet) -> None:
    """F43: its worker lives."""
    worker = fleet.of("worker").worker_process()
    run = fleet.perform("hungry")
    assert run["end_reason"] == "failed"
    assert re.fullmatch(r"killed: its processes had \d+mb of memory, more than memory_limit = 200mb", run["message"])
    assert not fleet.run_processes(run["id"])
    assert fleet.perform("fine")["end_reason"] == "success"
    assert fleet.of("worker").worker_process() == worker


def test_megabytes_without_a_newline_are_cut_into_lines(fleet: Fleet) -> None:
    """F41: every byte that there is, but for the two that end lines."""
    run = fleet.trigger("endless")
    ended = fleet.ended(run, 60)
    assert (ended["end_reason"], ended["log_truncated"]) == ("success", True)
    page = fleet.get(f"/api/runs/{run['id']}/log", limit=10000)
    lines = page["lines"]
    numbers = [line["n"] for line in lines]
    assert numbers == list(range(page["first_available"], page["total_lines"]))
    printed = [line for line in lines if line["stream"] == "stdout"]
    assert [line.get("continued", False) for line in printed] == [True] * (len(printed) - 1) + [False]
    assert sum(len(line["text"].encode()) for line in printed) <= 2 * 1024 * 1024 + 65536
    assert "\x00" not in fleet.http.get(f"/api/runs/{run['id']}/log/raw").text
    assert fleet.perform("fine")["end_reason"] == "success"
