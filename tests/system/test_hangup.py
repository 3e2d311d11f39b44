"""SIGHUP: a scheduler reads its task file again, everybody else drains. Processes as the Procfile starts them."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Process
from tests.waiting import wait_until

ONE = '[tasks.one]\nrun = "true"\n'
TWO = ONE + '[tasks.two]\nrun = "true"\n'
SLOW = '[tasks.slow]\nrun = "echo began >> $HISTORY; sleep 1; echo done >> $HISTORY"\n'


def names(fleet: Fleet) -> list[str]:
    return [task["name"] for task in fleet.get("/api/tasks")["tasks"]]


def rewrite(fleet: Fleet, text: str) -> None:
    path = fleet.folder / "runfleet.toml"
    path.write_text(text)
    later = time.time() + 60
    os.utime(path, (later, later))


def hang_up(process: Process) -> None:
    process.popen.send_signal(signal.SIGHUP)


def test_a_leading_scheduler_applies_the_file_that_it_reads_again(make_fleet: StartFleet) -> None:
    fleet = make_fleet(ONE, "web", "scheduler")
    rewrite(fleet, TWO)
    hang_up(fleet.of("scheduler"))
    wait_until(lambda: names(fleet) == ["one", "two"], "the file was applied")
    assert fleet.of("scheduler").popen.poll() is None


def disposition(process: Process) -> str:
    """What SIGHUP does to it now: "kills", "ignored" or "heard"."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    bits = {
        line.split(":")[0]: int(line.split()[1], 16) & 1
        for line in status.splitlines()
        if line.startswith(("SigIgn", "SigCgt"))
    }
    return "ignored" if bits["SigIgn"] else "heard" if bits["SigCgt"] else "kills"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_scheduler_that_is_starting_does_not_die_of_it(make_fleet: StartFleet) -> None:
    fleet = make_fleet(ONE)
    scheduler = fleet.launch("scheduler")
    deadline_s = time.monotonic() + 10
    while disposition(scheduler) == "kills" and time.monotonic() < deadline_s:
        time.sleep(0.001)  # the time in which it is ignored is short
    assert disposition(scheduler) == "ignored"  # its imports are to come
    hang_up(scheduler)
    scheduler.wait_for("definitions.applied")
    assert disposition(scheduler) == "heard"


def test_a_standby_only_says_that_it_has_read_it(make_fleet: StartFleet) -> None:
    fleet = make_fleet(ONE, "web", "scheduler")
    (standby,) = fleet.start("scheduler")
    rewrite(fleet, TWO)
    hang_up(standby)
    standby.wait_for("definitions.standby")
    assert not standby.events("definitions.applied")
    assert names(fleet) == ["one"]
    fleet.of("scheduler").popen.send_signal(signal.SIGTERM)
    standby.wait_for("definitions.applied", 10)  # now that it leads
    assert names(fleet) == ["one", "two"]


def test_an_empty_file_that_is_read_again_removes_nothing(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TWO, "web", "scheduler")
    rewrite(fleet, "")
    hang_up(fleet.of("scheduler"))
    said = fleet.of("scheduler").wait_for("definitions.left_alone")
    assert "would remove 2 of 2 tasks (one, two)" in said
    assert "level=error" in said
    assert names(fleet) == ["one", "two"]


def test_a_worker_drains(make_fleet: StartFleet) -> None:
    fleet = make_fleet(SLOW, grace_s=20).start_all()
    run = fleet.trigger("slow")
    fleet.wait_for_word("began")
    worker = fleet.of("worker")
    hang_up(worker)
    assert worker.wait(10) == 0
    assert fleet.ended(run)["end_reason"] == "success"


@pytest.mark.parametrize("what", ["idle", "busy"])
def test_an_api_process_drains(make_fleet: StartFleet, what: str) -> None:
    fleet = make_fleet(ONE, "web")
    if what == "busy":
        assert names(fleet) == []
    web = fleet.of("web")
    hang_up(web)
    assert web.wait(10) == 0
    assert web.events("api.stopped")
