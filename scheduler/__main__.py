"""``python -m scheduler``: reads the settings and the task file if there is one, and runs rounds until stopped."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Ours are found before a package of the user's that has the same name, in the working directory or on PYTHONPATH.
    sys.path.insert(0, str(Path(__file__).absolute().parents[1]))
    from shared.dumpable import become_undumpable
    from shared.isolation import isolate

    become_undumpable()  # before slow imports: until then its environment is readable
    isolate()
    import signal

    # It would kill a process that is still starting. Nothing is lost: the file is read when SIGHUP comes again.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    del sys.path[0]

import os
import secrets
import socket

from shared.clock import SECOND_US
from shared.errors import Misconfigured
from shared.settings import read_settings
from shared.signals import ignore_signals, on_shutdown
from shared.startup import begin
from shared.telemetry import configure, get_logger

log = get_logger("scheduler")


def main() -> int:
    """Run a scheduler; its exit code."""
    from scheduler.loop import Loop
    from scheduler.taskfile import TaskFile
    from shared.lineage.emitter import open_emitter
    from shared.store import open_store

    try:
        settings = read_settings()
        configure(settings)
        begin(settings, log)
        store = open_store(settings)
    except Misconfigured as error:
        print(error, file=sys.stderr)  # noqa: T201  # the operator reads this before there is a log
        return 2
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    emitter = open_emitter()
    loop = Loop(
        store,
        name,
        on_wiped=lambda: file.look(),
        on_leading=lambda: file.look(),
        emitter=emitter,
        window_us=round(settings.catch_up_window_s * SECOND_US),
    )
    file = TaskFile(settings, store, name, lambda: loop.leads)
    on_shutdown(loop.stop, read_again=file.read_again)
    try:
        file.start()
        loop.run()
    except Misconfigured as error:
        print(error, file=sys.stderr)  # noqa: T201  # as above
        return 2
    ignore_signals()
    file.stop()
    if emitter is not None:
        emitter.close()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
