"""The Procfile is what a platform starts: each of its lines works as it stands."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from shared.isolation import isolated
from tests.commands import run_command
from tests.system.conftest import StartFleet
from tests.system.fleet import procfile


def test_every_line_starts_what_it_says_and_release_applies_the_tasks_first(make_fleet: StartFleet) -> None:
    fleet = make_fleet('[tasks.hello]\nrun = "echo hello"\n')
    assert set(procfile()) == {"web", "worker", "scheduler", "release"}
    release = fleet.launch("release")
    assert release.wait() == 0, release.said()
    assert "added hello" in release.said()
    fleet.start("web", "worker")
    assert fleet.log(fleet.perform("hello")) == ["hello"]  # without a scheduler, too
    fleet.start("scheduler")
    assert "added=0 changed=0 removed=0 unchanged=1" in fleet.of("scheduler").wait_for("definitions.applied")


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("127.0.0.1", "on 127.0.0.1 is taken by another program; set RUNFLEET_PORT"),
        ("nowhere.invalid", "RUNFLEET_HOST"),
    ],
)
def test_an_address_that_the_api_cannot_have_is_named_with_the_cure(host: str, said: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        env = isolated(os.environ) | {"RUNFLEET_HOST": host, "RUNFLEET_PORT": str(taken.getsockname()[1])}
        env |= {"RUNFLEET_REDIS_URL": f"unix://{tmp_path}/nobody", "RUNFLEET_TOKEN": "rf_system_tests_0123456789"}
        ended = run_command(procfile()["web"], cwd=tmp_path, env=env)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
    assert said in ended.stderr


READ_ONLY = """
for place in /tmp /var/tmp; do
    mount --bind $place $place && mount -o remount,ro,bind $place || exit 77
done
cd /proc
exec "$@"
"""


def test_a_worker_without_a_folder_to_write_says_so(tmp_path: Path) -> None:
    if not shutil.which("unshare"):
        pytest.skip("there is no unshare to hide folders with")
    kind = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
    command = ["unshare", *kind, "sh", "-c", READ_ONLY, "sh", *procfile()["worker"]]
    env = isolated({name: value for name, value in os.environ.items() if name != "TMPDIR"})
    env |= {"RUNFLEET_REDIS_URL": f"unix://{tmp_path}/nobody", "RUNFLEET_SECRET": "a secret of the tests, long enough"}
    said = run_command(command, env=env)
    if said.returncode in (1, 77) and "mount" in said.stderr + said.stdout:
        pytest.skip(f"nothing may be mounted here: {said.stderr}")
    assert said.returncode == 2, said.stderr
    assert "set TMPDIR to one that can" in said.stderr
    assert "Traceback" not in said.stderr
