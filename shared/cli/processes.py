"""``runfleet api``, ``worker`` and ``scheduler``: start one process, isolated from the user's Python path."""

import os
import signal
import sys
from collections.abc import Mapping
from typing import Final, NoReturn

from shared.isolation import command, isolated

LEAN: Final = frozenset(["PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"])
"""Variables that every program may need."""


def api() -> NoReturn:
    """Run the API (as `python -m api` does)."""
    _become("api")


def worker() -> NoReturn:
    """Run a worker: claim runs and execute them (as `python -m worker` does)."""
    _become("worker")


def scheduler() -> NoReturn:
    """Run the scheduler: cron ticks, retries, lost workers, retention (as `python -m scheduler` does)."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it handles the signal, the signal would kill it
    _become("scheduler")


def lean(environ: Mapping[str, str]) -> dict[str, str]:
    """*environ* without settings and secrets, for the orphan guard and the store."""
    return {name: value for name, value in environ.items() if name in LEAN or name.startswith("LC_")}


def _become(package: str) -> NoReturn:
    os.execve(sys.executable, command(package), isolated(os.environ))
