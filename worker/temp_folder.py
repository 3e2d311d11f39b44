"""
The temporary folder of a worker process, removed at its end, however it ends.

The process removes it when it exits; its spawner when the process was killed; its launcher when both were; and the next
worker on this machine when all of them were. A lock that the process holds on it shows that it is in use.
"""

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
"""A folder younger than this is left alone: its process may be about to lock it."""

MARK: Final = "RUNFLEET_FOLDER_MARK"
"""The variable with what is in the folder's name, by which the launcher knows it."""

_held: list[int] = []


def make() -> Path:
    """
    Create a folder for this process, after removing those of killed ones.

    Raises Misconfigured when none can be created, and exits with 1 when the disk is full, because that passes.
    """
    mark = os.environ.pop(MARK, "")
    with contextlib.suppress(OSError):
        _sweep(Path(tempfile.gettempdir()))
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{mark}-" if mark else PREFIX))
    except OSError as error:
        places = [place for place in (os.environ.get("TMPDIR"), "/tmp", "/var/tmp") if place]
        if any(os.access(place, os.W_OK) for place in places):
            sys.exit(f"the disk of {places[0]} is full: a worker cannot keep there what runs write ({error.strerror})")
        raise Misconfigured(
            f"a worker needs a folder for what runs write, and none of {', '.join(places)} can be written: set TMPDIR "
            "to one that can (where the file system is read-only, mount a tmpfs on /tmp)"
        ) from None
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with contextlib.suppress(OSError):  # a file system without locks: others may remove it after a minute
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _held.append(fd)
    return folder


def remove(mark: str) -> bool:
    """
    Remove the folder of a dead worker process that was started with *mark*; whether none is left.

    A run that is still dying may write to it: then try again.
    """
    try:
        for folder in _folders_of(mark):
            _remove_unheld(folder)
        return not _folders_of(mark)
    except OSError:
        return True  # it is not readable


def _folders_of(mark: str) -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"{PREFIX}{mark}-*"))


def _sweep(place: Path) -> None:
    """Remove folders that no process holds."""
    now_s = time.time()
    for folder in place.glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            if now_s - folder.lstat().st_mtime >= NEW_S:
                _remove_unheld(folder)


def _remove_unheld(folder: Path) -> None:
    """Remove an unlocked folder of this user. One that cannot be read or removed stays."""
    with contextlib.suppress(OSError):
        if folder.lstat().st_uid != os.getuid():
            return
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(fd)
