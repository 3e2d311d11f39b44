"""`make install` sets up a checkout wherever it is and whatever pip is set to, or says what is in its way."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.commands import run_command
from tests.packages import checkout


def make(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_command(["make", *words], cwd=folder, env=checkout.surroundings(**settings), timeout=180)


def version(folder: Path) -> str:
    return run_command([folder / ".venv" / "bin" / "runfleet", "version"], check=True).stdout


@pytest.mark.parametrize("name", ["app", "with a space"])
def test_settings_of_pip_that_lead_elsewhere_are_not_followed(name: str, tmp_path: Path) -> None:
    folder = checkout.make(tmp_path / name)
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\nuser = yes\n")
    elsewhere = tmp_path / "elsewhere"
    done = make(folder, "install", PIP_CONFIG_FILE=str(settings), PIP_TARGET=str(elsewhere), PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert version(folder).startswith("runfleet ")
    assert not elsewhere.exists()


def test_a_setting_of_pip_that_cannot_be_undone_is_named(tmp_path: Path) -> None:
    folder = checkout.make(tmp_path / "app")
    settings = tmp_path / "pip.conf"
    settings.write_text(f"[global]\ntarget = {tmp_path}\n")
    done = make(folder, "install", PIP_CONFIG_FILE=str(settings))
    assert done.returncode == 2
    assert "global.target=" in done.stdout
    assert "remove that line" in done.stderr


def test_a_checkout_that_was_moved_is_set_up_again(tmp_path: Path) -> None:
    folder = checkout.make(tmp_path / "app")
    (folder / ".venv" / "ready").touch()
    assert "is made again" not in make(folder, "--dry-run", "install").stdout
    moved = folder.rename(tmp_path / "moved")
    assert "is made again" in make(moved, "--dry-run", "install").stdout


def test_a_machine_without_a_fit_python_learns_what_it_needs(tmp_path: Path) -> None:
    folder = checkout.make(tmp_path / "app")
    done = make(folder, "install", "PYTHON=/nowhere/python3", "MOVED=yes")
    assert done.returncode == 2
    assert "Python 3.11 or later" in done.stderr
    assert "python3-venv" in done.stderr


def test_a_checkout_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    if not shutil.which("unshare"):
        pytest.skip("there is no unshare to mount something with")
    folder = checkout.make(tmp_path / "app")
    kind = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
    script = "mount --bind . . && mount -o remount,ro,bind . || exit 77; cd . && exec make install"
    done = run_command(
        ["unshare", *kind, "sh", "-c", f"cd {shlex.quote(str(folder))} && {script}"],
        cwd=folder,
        env=checkout.surroundings(),
    )
    if done.returncode in (1, 77):
        pytest.skip(f"nothing may be mounted here: {done.stderr}")
    assert done.returncode == 2
    assert f"{folder} cannot be written" in done.stderr
