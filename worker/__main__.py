"""``python -m worker``: the launcher, or with ``--process`` one worker process of it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from shared.errors import Misconfigured
from shared.settings import Settings, read_settings
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
    _be_deaf()
    return code


def _serve(settings: Settings) -> int:
    from worker.app import WorkerProcess

    process = WorkerProcess(settings)

    def leave(number: int, frame: FrameType | None) -> None:
        process.drain()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    _follow_launcher()
    code = process.run()
    _be_deaf()
    return code


def _be_deaf() -> None:
    """Ignore further signals: an interpreter that shuts down would die of them, and it drained as it should."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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
