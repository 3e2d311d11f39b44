"""
The task file of a scheduler: read at its start and at SIGHUP, applied while it leads, written back after a wipe.

All of this happens in its own thread, so leading never waits for a file, however many tasks it has. A scheduler applies
with care (``ops.applying``): no older file, no removal of more than half of the tasks, and no replacement of another
secret's signature.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from shared import ops
from shared.config import Config, read_config
from shared.errors import ConfigInvalid, Misconfigured, NotApplied, RunfleetError, StoreFull, StoreUnavailable
from shared.settings import Settings
from shared.store import applying, version
from shared.store.applying import Snapshot
from shared.store.redis.sync_store import Store
from shared.telemetry import get_logger

log = get_logger("scheduler")

LOOK_S: Final = 5.0
"""How often it is looked which file was applied last, so that it can be written back after a wipe."""

AGAIN_S: Final = 1.0
"""Time between two tries while Redis does not take it."""


class TaskFile:
    """
    One scheduler's task file.

    *leads* returns whether this scheduler leads; *name* is recorded as the one who applied.
    """

    def __init__(self, settings: Settings, store: Store, name: str, leads: Callable[[], bool]) -> None:
        self._settings = settings
        self._path = Path(settings.config)
        self._store = store
        self._name = name
        self._leads = leads
        self._config: Config | None = None
        self._is_waiting = False
        self._seen: Snapshot | None = None
        self._failure = ""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = threading.Event()

    def start(self) -> None:
        """Read the file, and start the thread."""
        self.read()
        threading.Thread(target=self._keep, name="task file", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self._wake.set()

    def read_again(self) -> None:
        """Read the file again, and apply it once this scheduler leads."""
        self.read()
        if not self._leads():
            log.info("definitions.standby", path=str(self._path))
        self._wake.set()

    def look(self) -> None:
        """Wake the thread: the store may have been wiped, or this scheduler leads now."""
        self._wake.set()

    def read(self) -> None:
        """Read the file; if it is invalid or missing, the last version stays."""
        config = None
        try:
            is_there = self._path.exists()
        except OSError:
            is_there = True  # the reader reports why it cannot be read
        if not is_there:
            # A folder without a task file is normal; one that was named, or was there before, is missing.
            is_missing = self._config is not None or self._settings.config != Settings().config
            if is_missing:
                log.warning("definitions.absent", path=str(self._path))
            else:
                log.info("definitions.absent", path=str(self._path))
        else:
            try:
                config = read_config(self._path, os.environ)
            except ConfigInvalid as error:
                # A bad edit must not stop the schedules of all tasks: it is refused in the release phase.
                log.error("definitions.refused", path=str(self._path), problems=str(error))
        if config is not None:
            with self._lock:
                self._config, self._is_waiting = config, True

    def _keep(self) -> None:
        while not self._ended.is_set():
            wait_s = LOOK_S
            try:
                self.see_to()
                self._failure = ""
            except StoreFull as error:
                wait_s = AGAIN_S
                self._fail(str(error))
            except StoreUnavailable:
                wait_s = AGAIN_S  # the scheduler's loop reports it
            except RunfleetError as error:
                self._fail(str(error))
            except Exception as error:  # any error: the next file may succeed
                self._fail(repr(error))
            self._wake.wait(wait_s)
            self._wake.clear()

    def see_to(self) -> None:
        """
        Once: write back what was wiped and apply a waiting file, if this scheduler leads; remember the applied file.

        Raises Misconfigured when the data is of a newer release.
        """
        self._store.run(version.check())  # a wiped store forgot it, too
        last, paused = self._store.run(applying.look())
        if last is None and self._seen is not None and self._leads():
            self._write_back(self._seen)
            return
        with self._lock:
            config = self._config if self._is_waiting else None
        if config is not None and self._leads():
            self._apply(config)
            last, paused = self._store.run(applying.look())
        if last is None:
            return
        if self._seen is None or self._seen.generation != last:
            self._seen = self._store.run(applying.snapshot())
            log.info("definitions.seen", number=last.number, by=last.by, tasks=len(self._seen.rows))
        elif self._seen.paused != paused:
            self._seen = msgspec.structs.replace(self._seen, paused=paused)

    def _apply(self, config: Config) -> None:
        try:
            change = self._store.run(ops.apply_config(config, self._settings.keys, by=self._name, only_newer=True))
        except (NotApplied, Misconfigured) as error:
            log.error("definitions.left_alone", path=str(self._path), why=str(error))
        else:
            log.info(
                "definitions.applied",
                number=change.number,
                added=len(change.added),
                changed=len(change.changed),
                removed=len(change.removed),
                unchanged=len(change.unchanged),
                signatures=len(change.signatures),
            )
        with self._lock:
            self._is_waiting = self._config is not config

    def _write_back(self, seen: Snapshot) -> None:
        if self._store.run(applying.restore(seen)) == "done" and seen.generation is not None:
            tasks = sum(row.source == "file" for row in seen.rows)
            log.warning("definitions.restored", number=seen.generation.number, tasks=tasks)

    def _fail(self, message: str) -> None:
        if message != self._failure:
            self._failure = message
            log.error("definitions.failed", path=str(self._path), error=message)
