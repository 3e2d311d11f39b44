"""Runs that attack what watches over them: each gets an end with its own reason, and nobody else feels it."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet

JOBS = '''
import os, socket, time

def forge(what):
    """Write to every socket that this process has: one leads to the worker."""
    while True:
        for fd in range(3, 64):
            try:
                with socket.socket(fileno=os.dup(fd)) as one:
                    one.setblocking(False)
                    one.send(what.encode("latin-1"))
            except OSError:
                continue

def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value

def patient():
    time.sleep(1.5)
    return "undisturbed"
'''
TASKS = """
[tasks.forge]
call = "jobs:forge"

[tasks.nested]
call = "jobs:nested"

[tasks.patient]
call = "jobs:patient"
env = { OWN = "interpreter" }

[tasks.folder]
run = 'mkdir "$RUNFLEET_OUTPUT"; echo fine'

[tasks.link]
run = 'ln -s /proc/self/environ "$RUNFLEET_OUTPUT"'

[tasks.gone]
run = 'rm -rf "$(dirname "$RUNFLEET_OUTPUT")"; echo fine'

[tasks.outputs]
run = 'echo rows=12 >> "$RUNFLEET_OUTPUT"'
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet"), TASKS, grace_s=1.0) as made:
        (made.folder / "jobs.py").write_text(JOBS)
        yield made.start_all()


@pytest.mark.parametrize(
    "what", ["\xff\xff\xff\xf0" + "x" * 4096, '\0\0\0\x0b{"pid": 12}', "\0\0\0\x09not JSON."], ids=repr
)
def test_a_call_that_writes_to_its_workers_socket_fails_and_disturbs_no_other(fleet: Fleet, what: str) -> None:
    """F68: a length of 4 GB, messages without end, and what is no message."""
    worker = fleet.of("worker").worker_process()
    other = fleet.started(fleet.trigger("patient"))
    run = fleet.perform("forge", params={"what": what})
    assert (run["end_reason"], run["exit_code"]) == ("failed", 137)
    assert run["message"].startswith("killed: it wrote to the socket between its interpreter and the worker")
    assert not fleet.run_processes(run["id"])
    assert fleet.ended(other)["outputs"] == {"return": "undisturbed"}
    assert fleet.of("worker").worker_process() == worker


def test_a_value_that_is_nested_too_deep_fails_its_run_in_words(fleet: Fleet) -> None:
    """F68: as deep as Python can write it, and deeper."""
    for depth in (101, 900, 100_000):
        run = fleet.perform("nested", params={"depth": depth})
        assert (run["end_reason"], run["exit_code"]) == ("failed", 1)
        assert "returned a list that is nested more than 100 deep" in fleet.log(run)[-1]


@pytest.mark.parametrize(
    ("task", "said"), [("folder", "is not a plain file any more"), ("link", "it is a symbolic link")]
)
def test_a_replaced_output_file_is_logged(fleet: Fleet, task: str, said: str) -> None:
    """F68: the run itself did what it was to do."""
    run = fleet.perform(task)
    assert run["end_reason"] == "success"
    assert "outputs" not in run
    assert said in fleet.log(run)[-1]


def test_a_worker_whose_temporary_folder_was_removed_makes_it_anew(fleet: Fleet) -> None:
    """F68: by a run, or by what clears away old files."""
    assert fleet.perform("gone")["end_reason"] == "success"
    run = fleet.perform("outputs")
    assert (run["end_reason"], run.get("outputs")) == ("success", {"rows": "12"})


def test_nothing_of_it_stays_with_the_worker(make_fleet: StartFleet) -> None:
    """F68: descriptors above all."""
    fleet = make_fleet(TASKS, threads=1).start_all()
    (fleet.folder / "jobs.py").write_text(JOBS)
    tasks: dict[str, dict[str, Any]] = {"folder": {}, "link": {}, "forge": {"what": "\0\0\0\x09not JSON."}}

    def descriptors() -> int:
        """Of the worker process; root and its parent may look."""
        return len(os.listdir(f"/proc/{fleet.of('worker').worker_process()}/fd"))

    def attack(times: int) -> None:
        for _ in range(times):
            for task, params in tasks.items():
                fleet.perform(task, params=params)

    attack(4)  # each of its threads has what it needs
    before = descriptors()
    attack(4)
    assert descriptors() <= before
