"""
The temporary folder of a worker process, which goes with it, however it ends.

The process removes it when it leaves, its keeper when it was killed, and the next worker on this machine when both
were: a lock that the process holds on it says that it is in use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from shared.errors import Misconfigured

PREFIX: Final = "runfleet-worker-"
NEW_S: Final = 60.0
"""A folder younger than this is not looked at: its process may be about to lock it."""

_held: list[int] = []


def make() -> Path:
    """
    A folder of this process's own, after removing what killed ones have left.

    Raises Misconfigured when there is none to be had, and exits with 1 when the disk is full, because that passes.
    """
    with contextlib.suppress(OSError):
        _sweep(Path(tempfile.gettempdir()))
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    except OSError as error:
        places = [place for place in (os.environ.get("TMPDIR"), "/tmp", "/var/tmp") if place]
        if any(os.access(place, os.W_OK) for place in places):
            sys.exit(f"the disk of {places[0]} is full: a worker cannot keep there what runs write ({error.strerror})")
        raise Misconfigured(
            f"a worker needs a folder for what runs write, and none of {', '.join(places)} can be written: set TMPDIR "
            "to one that can (where the file system is read-only, mount a tmpfs on /tmp)"
        ) from None
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with contextlib.suppress(OSError):  # a file system without locks: then the sweep finds it free after a minute
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _held.append(fd)
    return folder


def _sweep(place: Path) -> None:
    """Remove folders of this user that no process holds. What cannot be looked at or removed stays."""
    now_s = time.time()
    for folder in place.glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if found.st_uid != os.getuid() or now_s - found.st_mtime < NEW_S:
                continue
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(fd)
