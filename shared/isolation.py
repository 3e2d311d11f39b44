"""
Keeps our own processes apart from the user's Python path and working directory.

Our import packages have plain names (``api``, ``worker``…), so a user's own ``api/`` must not be found first. Our
processes therefore run as ``python -P -m <name>``, with a ``PYTHONPATH`` that leads to us and nowhere else; what it was
is handed on in ``RUNFLEET_USER_PYTHONPATH`` for the worker to give back to the children of runs.
"""

import os
import sys
import sysconfig
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

USER_PYTHONPATH: Final = "RUNFLEET_USER_PYTHONPATH"
"""The variable that carries the user's ``PYTHONPATH`` ("" when there was none) past our own interpreters."""

ROOT: Final = str(Path(__file__).absolute().parents[1])
"""The folder that our packages are in: ``site-packages``, or a checkout."""


def command(package: str, *arguments: str) -> list[str]:
    """The argument vector that starts *package* in an interpreter of its own."""
    return [sys.executable, "-P", "-m", package, *arguments]


def isolated(environ: Mapping[str, str]) -> dict[str, str]:
    """*environ* for one of our own processes: without the user's ``PYTHONPATH``, which ``USER_PYTHONPATH`` keeps."""
    env = dict(environ)
    theirs = env.pop("PYTHONPATH", "")
    env.setdefault(USER_PYTHONPATH, theirs)
    ours = our_path()
    if ours:
        env["PYTHONPATH"] = os.pathsep.join(ours)
    return env


def our_path() -> list[str]:
    """The folders in which ``-P`` would not find us and what we need: a checkout, or a ``pip install --target``."""
    own = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    places = [ROOT]
    library = find_spec("msgspec")  # stands for all that we depend on: every process needs it
    if library is not None and library.origin:
        places.append(str(Path(library.origin).absolute().parents[1]))
    return [place for place in dict.fromkeys(places) if place not in own]


def isolate() -> None:
    """
    Restart this process in isolated mode, once. For the first lines of a ``__main__``, before other imports.

    Its process id stays. The caller has seen to it that this module is ours; what would be imported next might not be.
    """
    if sys.flags.ignore_environment or (sys.flags.safe_path and USER_PYTHONPATH in os.environ):
        return
    searched = {place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place}
    if not sys.flags.safe_path:
        with suppress(FileNotFoundError):  # a working directory that was deleted holds nothing
            searched.add(os.getcwd())
    if searched <= {ROOT} or searched <= {ROOT, *our_path()}:
        return
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-P", *sys.orig_argv[1:]], isolated(os.environ))
