"""``runfleet api``, ``worker``, ``scheduler``: one process, kept apart from the user's Python path and directory."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Final, NoReturn

from shared.isolation import command, isolated

LEAN: Final = frozenset(["PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"])
"""Variables that any program may need to run at all."""


def api() -> NoReturn:
    """Run the API (as `python -m api` does)."""
    _become("api")


def worker() -> NoReturn:
    """Run a worker: claim runs and execute them (as `python -m worker` does)."""
    _become("worker")


def scheduler() -> NoReturn:
    """Run the scheduler: cron ticks, retries, lost workers, retention (as `python -m scheduler` does)."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it hears it, it would be killed by it
    _become("scheduler")


def lean(environ: Mapping[str, str]) -> dict[str, str]:
    """*environ* for a program that is to know none of our settings and no secret: the orphan guard, the store."""
    return {name: value for name, value in environ.items() if name in LEAN or name.startswith("LC_")}


def _become(package: str) -> NoReturn:
    os.execve(sys.executable, command(package), isolated(os.environ))
