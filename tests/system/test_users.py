"""Runs as another user of the operating system: only whom the worker names, with nothing of the worker's own."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from shared.tasks import Task
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet
from tests.system.processes import is_alive
from tests.system.unprivileged import ORDINARY
from tests.waiting import wait_until
from worker.execution.environment import Unprepared
from worker.execution.users import account
from worker.processes.interpreter import INTERPRETER_FILE

USER = "nobody"
IDS = pwd.getpwnam(USER)


def _reads_our_code(python: str) -> bool:
    """Whether the other user can start that Python, and may read this checkout with it."""
    command = [python, "-c", f"open({str(INTERPRETER_FILE)!r})"]
    return os.geteuid() == 0 and subprocess.run(command, user=USER, group=IDS.pw_gid, check=False).returncode == 0


_FOUND = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
PYTHON = _FOUND if _FOUND and _reads_our_code(_FOUND) else ""
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="changing users needs root")
TASKS = f"""
[tasks.who]
run = '''
echo "ids=$(id -u):$(id -g):$(id -G)" >> $RUNFLEET_OUTPUT
echo "names=$USER:$LOGNAME:$HOME" >> $RUNFLEET_OUTPUT
echo "seen by /dev/stdout" > /dev/stdout
touch "$(dirname $RUNFLEET_OUTPUT)/mine" || echo "nothing else there is mine"
ls "$(dirname $RUNFLEET_OUTPUT)" || echo "nor to be listed"
cat /proc/$PPID/environ || echo "my spawner is not to be read"
'''
user = "{USER}"

[tasks.own]
run = "id -u"

[tasks.stubborn]
run = '''trap "" TERM; setsid sleep 600 & sleep 600'''
user = "{USER}"
graceful_stop = "100ms"

[tasks.call]
call = "os:getuid"
python = "{PYTHON}"
user = "{USER}"

[tasks.other]
run = "id -u"
user = "daemon"
"""


@NEEDS_ROOT
def test_a_run_has_the_user_of_its_task_and_nothing_of_the_workers(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, RUNFLEET_RUN_USERS=USER)
    for folder in (Path(fleet.env["TMPDIR"]), Path(fleet.env["TMPDIR"]).parent):
        folder.chmod(0o711)  # as /tmp is: others get through
    run = fleet.start_all().perform("who")
    groups = " ".join(map(str, os.getgrouplist(USER, IDS.pw_gid)))
    assert run["end_reason"] == "success", fleet.log(run)
    assert run["outputs"] == {
        "ids": f"{IDS.pw_uid}:{IDS.pw_gid}:{groups}",
        "names": f"{USER}:{USER}:{IDS.pw_dir}",
    }
    said = fleet.log(run)
    for line in (
        "seen by /dev/stdout",
        "nothing else there is mine",
        "nor to be listed",
        "my spawner is not to be read",
    ):
        assert line in said
    assert fleet.log(fleet.perform("own")) == ["0"]


@NEEDS_ROOT
def test_a_run_of_another_user_is_stopped_with_all_it_started(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, RUNFLEET_RUN_USERS=USER).start_all()
    run = fleet.started(fleet.trigger("stubborn"))
    wait_until(lambda: len(fleet.run_processes(run["id"])) == 3, "the shell has started both others")
    processes = fleet.run_processes(run["id"])
    assert {os.stat(f"/proc/{one.pid}").st_uid for one in processes} == {IDS.pw_uid}
    fleet.post(f"/api/runs/{run['id']}/stop")
    assert fleet.ended(run)["end_reason"] == "stopped"
    assert not any(map(is_alive, processes))


@NEEDS_ROOT
@pytest.mark.skipif(not PYTHON, reason="the other user can start no Python here, or may not read this checkout")
def test_a_callable_has_the_user_of_its_task(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, RUNFLEET_RUN_USERS=USER).start_all()
    run = fleet.perform("call")
    assert run["end_reason"] == "success", fleet.log(run)
    assert run["outputs"] == {"return": IDS.pw_uid}


def test_a_user_that_the_worker_does_not_name_fails_at_once(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS).start_all()
    run = fleet.perform("other")
    sentence = "task other has user = daemon, which RUNFLEET_RUN_USERS of this worker does not list"
    assert (run["end_reason"], run["exit_code"], run["message"]) == ("failed", -1, sentence)


def test_a_user_that_is_gone_since_the_worker_started_is_named() -> None:
    task = Task(name="absent", run="id -u", user="no-such-user")
    with pytest.raises(Unprepared, match="user = no-such-user, which does not exist on this worker's machine"):
        account(task, ("no-such-user",))


def refused(fleet: Fleet) -> str:
    """What a worker says that does not start."""
    worker = fleet.launch("worker")
    assert worker.wait(20) == 2
    assert not worker.events("worker.restarted")
    return worker.said()


def test_a_worker_with_a_user_that_is_not_there_does_not_start(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, RUNFLEET_RUN_USERS=f"{pwd.getpwuid(os.geteuid()).pw_name},no-such-user")
    assert refused(fleet) == (
        "RUNFLEET_RUN_USERS lists the user no-such-user, which does not exist on this machine: create or remove it\n"
    )


def test_a_worker_without_the_right_to_change_users_does_not_start(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, RUNFLEET_RUN_USERS=USER)
    fleet.through = ORDINARY
    assert refused(fleet) == (
        f"RUNFLEET_RUN_USERS lists the user {USER}, but this worker may not change users: start it as root or "
        f"with the capabilities CHOWN, KILL, SETGID, SETUID, or remove {USER}\n"
    )


def test_a_worker_needs_no_right_for_its_own_user(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, RUNFLEET_RUN_USERS=pwd.getpwuid(os.geteuid()).pw_name)
    fleet.through = ORDINARY
    fleet.start("worker")
