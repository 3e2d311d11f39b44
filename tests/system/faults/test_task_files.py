"""A task file that is applied in the wrong place, at the wrong time, or without the secret: nothing stops."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.commands import run_command
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet
from tests.waiting import wait_until

TICKING = """
[tasks.tick]
run = "true"
cron = "@every 1s"

[tasks.hello]
run = "echo hello"
"""
MORE = TICKING + '[tasks.more]\nrun = "echo more"\n'
OTHER = "another secret of sixteen or more"


def apply(fleet: Fleet, text: str, *flags: str, **env: str | None) -> tuple[int, str]:
    """`runfleet apply` of a file elsewhere: its exit code and what it said."""
    path = fleet.folder / "elsewhere.toml"
    path.write_text(text)
    environ = {name: value for name, value in (fleet.env | env).items() if value is not None}
    done = run_command([sys.executable, "-m", "shared", "apply", str(path), *flags], env=environ)
    return done.returncode, done.stdout + done.stderr


def names(fleet: Fleet) -> list[str]:
    return [task["name"] for task in fleet.get("/api/tasks")["tasks"]]


def ticks(fleet: Fleet) -> int:
    return len(fleet.runs(task_name="tick", end_reason="success"))


def it_still_ticks(fleet: Fleet) -> None:
    before = ticks(fleet)
    wait_until(lambda: ticks(fleet) > before, "it still ticks")


@pytest.mark.parametrize(
    ("secret", "said"),
    [(None, "are signed, and RUNFLEET_SECRET is not set here"), (OTHER, "are signed with another secret")],
    ids=["without a secret", "with another secret"],
)
def test_a_fleet_outlives_an_apply_with_the_wrong_secret(make_fleet: StartFleet, secret: str | None, said: str) -> None:
    """F60: nothing is applied, exit 5; a worker that is started afterwards executes everything."""
    fleet = make_fleet(TICKING).start_all()
    code, text = apply(fleet, TICKING, RUNFLEET_SECRET=secret)
    assert (code, said in text) == (5, True), text
    fleet.of("worker").popen.send_signal(signal.SIGTERM)
    fleet.start("worker")
    assert fleet.perform("hello")["end_reason"] == "success"
    it_still_ticks(fleet)


def test_a_secret_is_rotated_without_a_failed_run(make_fleet: StartFleet) -> None:
    """F60: processes take both, one apply signs anew, then the old one is forgotten."""
    fleet = make_fleet(TICKING).start_all()
    wait_until(lambda: ticks(fleet) > 0, "it ticks")
    old = fleet.env["RUNFLEET_SECRET"]
    both = {"RUNFLEET_SECRET": OTHER, "RUNFLEET_SECRET_OLD": old}
    replace(fleet, "worker", **both)
    it_still_ticks(fleet)
    code, text = apply(fleet, TICKING, **both)
    assert (code, "2 unchanged, 2 signatures replaced" in text) == (0, True), text
    it_still_ticks(fleet)
    replace(fleet, "worker", RUNFLEET_SECRET=OTHER)
    it_still_ticks(fleet)
    assert fleet.runs(task_name="tick", end_reason="failed") == []


def replace(fleet: Fleet, name: str, **env: str) -> None:
    fleet.of(name).popen.send_signal(signal.SIGTERM)
    fleet.of(name).wait(15)
    fleet.start(name, **env)


@pytest.mark.parametrize("role", ["leader", "standby"])
def test_a_scheduler_with_an_older_file_changes_nothing(make_fleet: StartFleet, role: str) -> None:
    """F61: whether it leads at once or later; it says so as an error."""
    fleet = make_fleet(TICKING, "web", "worker", "scheduler")
    assert apply(fleet, MORE)[0] == 0
    first = fleet.of("scheduler")
    if role == "leader":
        replace(fleet, "scheduler")
    else:
        (second,) = fleet.start("scheduler")
        first.kill()
        second.wait_for("scheduler.leading", 10)
    said = fleet.of("scheduler").wait_for("definitions.left_alone", 10)
    assert "level=error" in said
    assert "it was applied as number 1" in said
    assert names(fleet) == ["hello", "more", "tick"]
    it_still_ticks(fleet)


@pytest.mark.parametrize("content", ["", "# nothing\n", "[tasks"], ids=["empty", "a comment", "not TOML"])
def test_a_scheduler_that_starts_with_nothing_removes_nothing(make_fleet: StartFleet, content: str) -> None:
    """F61: an empty or unreadable file, however new."""
    fleet = make_fleet(TICKING, "web", "worker", "scheduler")
    path = fleet.folder / "runfleet.toml"
    path.write_text(content)
    later = time.time() + 60
    os.utime(path, (later, later))
    fleet.of("scheduler").popen.send_signal(signal.SIGTERM)
    (second,) = [fleet.launch("scheduler")]
    second.wait_for_any("definitions.left_alone", "definitions.refused")
    second.wait_for("scheduler.leading", 10)
    it_still_ticks(fleet)
    assert names(fleet) == ["hello", "tick"]


def test_release_needs_the_same_flags(make_fleet: StartFleet) -> None:
    """F61: the release phase refuses an empty file, and a person who means it says so."""
    fleet = make_fleet(TICKING, "web", "scheduler")
    path = Path(fleet.env["RUNFLEET_CONFIG"])
    path.write_text("")
    release = fleet.launch("release")
    assert release.wait() == 5
    assert "would remove 2 of 2 tasks (hello, tick)" in release.said()
    assert names(fleet) == ["hello", "tick"]
    assert apply(fleet, "", "--allow-removals")[0] == 0
    assert names(fleet) == []


@pytest.mark.parametrize("who", ["leader", "standby"])
def test_after_a_wipe_the_tasks_that_were_applied_last_come_back(make_fleet: StartFleet, who: str) -> None:
    """F62: not those of the file that a scheduler once read; also when the leader dies with it."""
    fleet = make_fleet(TICKING).start_all()
    first = fleet.of("scheduler")
    if who == "standby":
        fleet.start("scheduler")
    assert apply(fleet, MORE)[0] == 0
    wait_until(lambda: remembered(fleet) >= (2 if who == "standby" else 1), "the schedulers have seen it", 15)
    with fleet.redis.client() as client:
        if who == "standby":
            first.kill()
        client.flushall()
    wait_until(lambda: names(fleet) == ["hello", "more", "tick"], "the tasks are back", 15)
    assert fleet.of("scheduler").wait_for("definitions.restored")
    assert fleet.perform("more")["end_reason"] == "success"
    it_still_ticks(fleet)


def remembered(fleet: Fleet) -> int:
    """How many schedulers have taken note of the second file."""
    alive = [one for one in fleet.processes if one.name == "scheduler" and one.popen.poll() is None]
    return sum(any("number=2" in line for line in one.events("definitions.seen")) for one in alive)
