"""Runs as another user of the operating system: only whom the worker names, with nothing of the worker's own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.conftest import StartFleet
from tests.system.processes import is_alive
from tests.system.reading import ORDINARY
from tests.waiting import wait_until

USER = "nobody"
IDS = pwd.getpwnam(USER)
PYTHON = next(
    (
        path
        for path in filter(None, [shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")])
        if os.geteuid() == 0 and subprocess.run([path, "-V"], user=USER, group=IDS.pw_gid, check=False).returncode == 0
    ),
    "",
)
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="changing users needs root")
TASKS = f"""
[tasks.who]
run = '''
echo "ids=$(id -u):$(id -g):$(id -G)" >> $RUNFLEET_OUTPUT
echo "names=$USER:$LOGNAME:$HOME" >> $RUNFLEET_OUTPUT
echo "seen by /dev/stdout" > /dev/stdout
touch "$(dirname $RUNFLEET_OUTPUT)/mine" || echo "nothing else there is mine"
ls "$(dirname $RUNFLEET_OUTPUT)" || echo "nor to be listed"
cat /proc/$PPID/environ || echo "my keeper is not to be read"
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

[tasks.absent]
run = "id -u"
user = "no-such-user"
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
        "my keeper is not to be read",
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
@pytest.mark.skipif(not PYTHON, reason="the other user can start no Python here")
def test_a_callable_has_the_user_of_its_task(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, RUNFLEET_RUN_USERS=USER).start_all()
    run = fleet.perform("call")
    assert run["end_reason"] == "success", fleet.log(run)
    assert run["outputs"] == {"return": IDS.pw_uid}


def test_a_user_that_the_worker_does_not_name_or_have_fails_at_once(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, RUNFLEET_RUN_USERS=f"{USER},no-such-user").start_all()
    for task, sentence in {
        "other": "task other is to run as the user daemon, whom RUNFLEET_RUN_USERS of this worker does not name",
        "absent": "task absent is to run as the user no-such-user, whom this worker's machine does not have",
    }.items():
        run = fleet.perform(task)
        assert (run["end_reason"], run["exit_code"], run["message"]) == ("failed", -1, sentence)


def test_a_worker_without_the_right_to_change_users_says_what_it_lacks(make_fleet: StartFleet, tmp_path: Path) -> None:
    fleet = make_fleet(TASKS, RUNFLEET_RUN_USERS=USER)
    fleet.start("web", "scheduler")
    fleet.through = ORDINARY
    fleet.start("worker")
    run = fleet.perform("who")
    assert (run["end_reason"], run["exit_code"]) == ("failed", -1)
    assert run["message"] == (
        f"task who is to run as the user {USER}, but this worker may not change users: "
        "it needs root, or the capabilities CHOWN, KILL, SETGID, SETUID"
    )
