"""A fresh clone, without its minute of downloads: `make install` finds what it wants in its ``.venv`` already."""

import os
import shutil
from pathlib import Path

from tests.packages import builds


def make(folder: Path) -> Path:
    """A copy of all that is tracked, with a ``.venv`` that holds the pinned libraries but not us."""
    for path in builds.tracked():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(builds.ROOT / path, folder / path)
    builds.environment(folder / ".venv", lock="requirements-dev.txt", and_more=("pip",))
    return folder


def surroundings(**more: str) -> dict[str, str]:
    """The environment of a person's shell who has set nothing of ours; nothing is downloaded."""
    unwanted = ("RUNFLEET_", "PYTHON", "PIP_", "MAKE", "VIRTUAL_ENV", "REDIS_", "VALKEY_", "PORT", "MFLAGS")
    env = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    path = [place for place in env["PATH"].split(os.pathsep) if ".venv" not in place]
    return env | {"PATH": os.pathsep.join(path), "PIP_NO_INDEX": "1"} | more
