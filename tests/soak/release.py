"""Another release of the product out of this checkout's history, to be mixed with the one that is being tested."""

import os
import subprocess
import sys
from pathlib import Path

from tests.commands import run_command

ROOT = Path(__file__).parents[2]
COMMITS_BACK = 30
EARLIEST = "46ab262"
"""Those before it gave keys other names, so that none of them can share a store with this one."""


def older_commit() -> str:
    """The last tag before this commit, else the commit thirty back or ``EARLIEST``; "" where git knows none."""
    tag = _git("describe", "--tags", "--abbrev=0", "HEAD~1")
    if tag:
        return tag
    back = _git("rev-parse", "--verify", f"HEAD~{COMMITS_BACK}")
    is_fit = back and _git("merge-base", EARLIEST, back) == _git("rev-parse", "--verify", EARLIEST)
    return back if is_fit else _git("rev-parse", "--verify", EARLIEST)


def unpacked(commit: str, folder: Path) -> Path:
    """The tree of a commit in *folder*. Raises CalledProcessError where git or the commit is not there."""
    folder.mkdir()
    tree = subprocess.run(["git", "-C", str(ROOT), "archive", commit], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=tree, check=True)
    return folder


def is_used(folder: Path) -> bool:
    """Whether a process with that folder as ``PYTHONPATH`` is of the release in it."""
    command = [sys.executable, "-P", "-c", "import worker; print(worker.__file__)"]
    env = os.environ | {"PYTHONPATH": str(folder)}
    told = run_command(command, env=env, cwd="/", check=True).stdout
    return Path(told.strip()).is_relative_to(folder)


def _git(*words: str) -> str:
    """What git says; "" when it can't."""
    try:
        said = run_command(["git", "-C", str(ROOT), *words])
    except OSError:
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""
