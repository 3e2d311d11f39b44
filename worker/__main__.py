"""``python -m worker``: the launcher, or with ``--process`` one worker process of it."""

from __future__ import annotations

import os
import sys
import threading

from shared.errors import Misconfigured
from shared.settings import Settings, read_settings
from shared.signals import be_deaf, heed
from shared.telemetry import configure, configure_later, get_logger

log = get_logger("worker")


def main() -> int:
    """Run the launcher, or one worker process; the exit code."""
    try:
        settings = read_settings()
        if not settings.redis_url:
            raise Misconfigured(
                "no Redis is set: write RUNFLEET_REDIS_URL=redis://host:6379/0 (or start `runfleet up`)"
            )
        if "--process" in sys.argv[1:]:
            configure(settings)
            return _serve(settings)
        configure_later(settings)  # the launcher stays lean
    except Misconfigured as error:
        print(error, file=sys.stderr)  # noqa: T201  # the operator reads this before there is a log
        return 2
    from worker.launcher import Launcher

    if not settings.secret:
        log.warning("definitions.unsigned")
    code = Launcher(settings).run()
    be_deaf()
    return code


def _serve(settings: Settings) -> int:
    from worker.app import WorkerProcess

    process = WorkerProcess(settings)
    heed(process.drain)
    _follow_launcher()
    code = process.run()
    be_deaf()
    return code


def _follow_launcher() -> None:
    """Go at once when the launcher is gone: the keeper then kills the children, and the runs are rescued elsewhere."""
    from worker.launcher import LAUNCHER_FD

    text = os.environ.pop(LAUNCHER_FD, "")
    if not text:
        return
    fd = int(text)
    os.set_inheritable(fd, False)

    def wait() -> None:
        os.read(fd, 1)
        os._exit(3)

    threading.Thread(target=wait, name="launcher", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
