"""
A launcher or worker process into which errors are planted: ``python faulty_worker.py [--process] <point> …``.

A point is ``module:path.of.function``. Its second, third and seventh call raise an error that nobody foresees; of
``module:path.of.function@2-16`` these calls do. At ``hang=module:path.of.function`` the first call ever hangs, which
the file ``hung`` in the working directory says; ``stuck=8`` is after how many seconds a slot that does nothing hangs.
"""

import functools
import itertools
import os
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).absolute().parents[2]))

CALLS = {2, 3, 7}


def plant(point: str) -> None:
    """Have a function raise."""
    hangs = point.startswith("hang=")
    where, _, span = point.removeprefix("hang=").partition("@")
    first, _, last = span.partition("-")
    calls = range(int(first), int(last) + 1) if span else CALLS
    module, _, path = where.partition(":")
    owner: Any = import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    planted: Callable[..., Any] = getattr(owner, name)
    count = itertools.count(1)

    @functools.wraps(planted)
    def raising(*args: Any, **values: Any) -> Any:
        if hangs:
            try:
                os.close(os.open("hung", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return planted(*args, **values)
            threading.Event().wait()
        if next(count) in calls:
            raise RuntimeError(f"planted in {point}")
        return planted(*args, **values)

    setattr(owner, name, raising)


if __name__ == "__main__":
    from shared.settings import read_settings
    from shared.telemetry import configure
    from worker import app, launcher

    settings = read_settings()
    configure(settings)
    for each in sys.argv[1:]:
        if each.startswith("stuck="):
            app.STUCK_S = float(each.partition("=")[2])  # type: ignore[misc]  # final for all others
        elif not each.startswith("--"):
            plant(each)
    if "--everywhere" in sys.argv:  # its worker processes get the same
        words = [sys.executable, "-P", __file__, *sys.argv[1:], "--process"]
        launcher.command = lambda *_: words  # type: ignore[attr-defined]  # it is imported there
    sys.exit(app.serve(settings) if "--process" in sys.argv else launcher.serve(settings))
