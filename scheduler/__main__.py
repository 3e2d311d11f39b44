"""``python -m scheduler``: read the settings, apply the task file if there is one, go round until told to stop."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Ours are found before a package of the user's that has the same name, in the working directory or on PYTHONPATH.
    sys.path.insert(0, str(Path(__file__).absolute().parents[1]))
    from shared.dumpable import become_undumpable
    from shared.isolation import isolate

    become_undumpable()  # before the imports that take their time: until then its environment can be read
    isolate()
    del sys.path[0]

import os
import secrets
import socket
from typing import TYPE_CHECKING

from shared.errors import ConfigInvalid, Misconfigured, StoreUnavailable
from shared.settings import Settings, read_settings
from shared.signals import be_deaf, heed
from shared.telemetry import configure, get_logger

if TYPE_CHECKING:
    from scheduler.loop import Loop
    from shared.config import Config
    from shared.store.threads import Store

log = get_logger("scheduler")


def main() -> int:
    """Run a scheduler; its exit code."""
    from scheduler.loop import Loop
    from shared.lineage.emitter import open_emitter
    from shared.store import open_store

    try:
        settings = read_settings()
        configure(settings)
        store = open_store(settings)
        config = _read_config(settings)
    except Misconfigured as error:
        print(error, file=sys.stderr)  # noqa: T201  # the operator reads this before there is a log
        return 2
    if not settings.secret:
        log.warning("definitions.unsigned")
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    emitter = open_emitter()
    loop = Loop(store, name, on_wiped=lambda: _apply(settings, store, config, loop), emitter=emitter)
    heed(loop.stop)
    try:
        _apply(settings, store, config, loop)
        loop.run()
    except Misconfigured as error:
        print(error, file=sys.stderr)  # noqa: T201  # as above
        return 2
    be_deaf()
    if emitter is not None:
        emitter.close()
    store.close()
    return 0


def _read_config(settings: Settings) -> Config | None:
    from shared.config import read_config

    path = Path(settings.config)
    if not path.exists():
        log.info("definitions.absent", path=str(path))
        return None
    try:
        return read_config(path, os.environ)
    except ConfigInvalid as error:
        # A bad edit must not stop the schedules of all tasks: the release phase is where it is refused.
        log.error("definitions.refused", path=str(path), problems=str(error))
        return None


def _apply(settings: Settings, store: Store, config: Config | None, loop: Loop) -> None:
    """Make the file's tasks the catalog, however long Redis needs to be there."""
    from shared import ops

    if config is None:
        return
    while not loop.stopping.is_set():
        try:
            applied = store.run(ops.apply_config(config, settings.keys))
        except StoreUnavailable as error:
            log.warning("store.away", error=str(error))
            loop.stopping.wait(1)
        else:
            log.info(
                "definitions.applied",
                added=len(applied.added),
                changed=len(applied.changed),
                removed=len(applied.removed),
                unchanged=len(applied.unchanged),
            )
            return


if __name__ == "__main__":
    sys.exit(main())
