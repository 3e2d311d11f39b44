"""
``runfleet api``, ``worker``, ``scheduler``: one process, isolated from the user's Python path and working directory.

Our import packages have plain names (``api``, ``worker``…), so a user's own ``api/`` must not be found first. A process
therefore starts as ``python -P -m <name>`` with ``PYTHONPATH`` taken out of its environment; what it was is handed on
in ``RUNFLEET_USER_PYTHONPATH`` for the worker to give back to the children of runs.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

USER_PYTHONPATH: Final = "RUNFLEET_USER_PYTHONPATH"
"""The variable that carries the user's ``PYTHONPATH`` ("" when there was none) past our own interpreters."""

LEAN: Final = frozenset(["PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"])
"""Variables that any program may need to run at all."""


def api() -> NoReturn:
    """Run the API and the dashboard (as `python -m api` does)."""
    _become("api")


def worker() -> NoReturn:
    """Run a worker: claim runs and execute them (as `python -m worker` does)."""
    _become("worker")


def scheduler() -> NoReturn:
    """Run the scheduler: cron ticks, retries, lost workers, retention (as `python -m scheduler` does)."""
    _become("scheduler")


def command(package: str, *arguments: str) -> list[str]:
    """The argument vector that starts *package* in an interpreter of its own."""
    return [sys.executable, "-P", "-m", package, *arguments]


def isolated(environ: Mapping[str, str]) -> dict[str, str]:
    """*environ* for one of our own processes: without the user's ``PYTHONPATH``, which ``USER_PYTHONPATH`` keeps."""
    env = dict(environ)
    theirs = env.pop("PYTHONPATH", "")
    env.setdefault(USER_PYTHONPATH, theirs)
    root = str(Path(__file__).parents[2])
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        env["PYTHONPATH"] = root  # a checkout: `-P` would not find us through the working directory
    return env


def lean(environ: Mapping[str, str]) -> dict[str, str]:
    """*environ* for a program that is to know none of our settings and no secret: the guardian, the store."""
    return {name: value for name, value in environ.items() if name in LEAN or name.startswith("LC_")}


def _become(package: str) -> NoReturn:
    os.execve(sys.executable, command(package), isolated(os.environ))
