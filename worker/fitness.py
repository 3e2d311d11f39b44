"""
The self-check of a worker process: an unfit worker claims no runs, and reports why.

It runs at the start, after a run could not be started for a reason that may be the worker's, and, the cheap part, every
second. Runs fail only for their own faults; if the worker is at fault, another worker gets them.
"""

import contextlib
import errno
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from shared.errors import RunfleetError
from shared.signing import Keys
from shared.store import tasks
from shared.store.redis.sync_store import Store
from shared.tasks import Task, is_trusted
from shared.telemetry import get_logger
from worker.processes.commands import UNRESPONSIVE_S, Spawner
from worker.processes.handle import Launch, SpawnFailed, Unanswered

log = get_logger("worker")

CHECK_S: Final = 1.0
AGAIN_S: Final = 5.0
"""How often a worker that cannot execute checks whether it can again."""

SPAWNER_S: Final = 20.0
"""A spawner that has not answered for this long is killed, and this process replaced."""

STUCK_S: Final = 20.0
"""When the check itself takes longer than this, something that it needs hangs: mostly a disk."""

TRY_S: Final = 5.0
SAMPLE: Final = 20
"""How many definitions are read, of which this worker must be able to verify one."""

BASE_FILES: Final = 64
FILES_A_RUN: Final = 8
"""Descriptors that a worker process needs at most: without runs, and for each run."""

_WORKERS: Final = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.EAGAIN,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
        errno.ESTALE,
    }
)
"""Errors of a start that are the machine's fault, not the run's."""


class Fitness:
    """
    The reason why this worker process can execute nothing, as of the last check. Every processor reads ``unfit``.

    *on_change* is called with the reason, "" when it is fit again, from the thread that checks.
    """

    def __init__(
        self, spawner: Spawner, store: Store, keys: Keys, folder: Path, threads: int, on_change: Callable[[str], None]
    ) -> None:
        self._spawner, self._store, self._keys = spawner, store, keys
        self._folder, self._threads, self._on_change = folder, threads, on_change
        self._why = ""
        self._alive_s = time.monotonic()
        self._checked_s = float("-inf")
        self._checking = threading.Lock()
        self._stopping = threading.Event()
        self._was_stopped = False
        self._thread = threading.Thread(target=self._run, name="fitness", daemon=True)

    @property
    def unfit(self) -> str:
        """Why nothing can be executed here; "" when it can."""
        if self._thread.is_alive() and time.monotonic() - self._alive_s > STUCK_S:
            return f"its self-check has taken {STUCK_S:g} s: a disk that it uses does not answer"
        return self._why

    def start(self) -> None:
        """Check once, then start the thread."""
        raise_file_limit(self._threads)
        self.check()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(1)

    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def is_at_fault(self, error: SpawnFailed, task: Task) -> bool:
        """Whether a failed start is probably the worker's fault, not the run's."""
        if isinstance(error, Unanswered):
            return True
        if error.errno == errno.ENOMEM and task.address_space_limit is not None:
            return False
        if error.errno in _WORKERS:
            return True
        return not task.working_dir and not os.path.isdir(self._spawner.cwd)

    def check(self) -> str:
        """Check everything; why nothing can be executed, "" when it can. Takes a few milliseconds."""
        with self._checking:
            self._checked_s = time.monotonic()
            return self._conclude(self._check_all())

    def _run(self) -> None:
        while not self._stopping.wait(CHECK_S):
            try:
                self._spawner.ping()
                is_stopped = self._spawner.resume()
                if is_stopped and not self._was_stopped:
                    log.warning("worker.spawner_stopped")
                self._was_stopped = is_stopped
                if self._spawner.unresponsive_s > SPAWNER_S and not self._spawner.was_killed:
                    log.error("worker.spawner_unresponsive", silent_s=round(self._spawner.unresponsive_s))
                    self._spawner.kill()
                if self._why and time.monotonic() - self._checked_s >= AGAIN_S:
                    self.check()
                elif not self._why:
                    with self._checking:
                        self._conclude(self._spawner_trouble() or self._directory_trouble() or self._folder_trouble())
            except Exception:
                log.exception("worker.check_failed")
            self._alive_s = time.monotonic()

    def _conclude(self, why: str) -> str:
        if why != self._why:
            self._why = why
            if why:
                log.error("worker.unfit", why=why)
            else:
                log.info("worker.fit")
            self._on_change(why)
        return why

    def _check_all(self) -> str:
        try:
            return (
                self._spawner_trouble()
                or self._directory_trouble()
                or self._folder_trouble()
                or self._descriptor_trouble()
                or self._spawn_trouble()
                or self._signature_trouble()
            )
        except Exception as error:
            log.exception("worker.check_failed")
            return f"its self-check failed: {type(error).__name__}: {error}"

    def _spawner_trouble(self) -> str:
        # Without the waiting time, which grows, or each check would report a new reason.
        is_silent = self._spawner.unresponsive_s > UNRESPONSIVE_S
        return f"its spawner has not answered for more than {UNRESPONSIVE_S:.0f} s" if is_silent else ""

    def _directory_trouble(self) -> str:
        if os.path.isdir(self._spawner.cwd):
            return ""
        return f"the directory that it was started in is gone: {self._spawner.cwd}; start it in one that stays"

    def _folder_trouble(self) -> str:
        path = self._folder / "can-write"  # cleaners of temporary files leave recently written files alone
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(b"\0" * 4096)
            path.unlink()
        except OSError as error:
            return f"it cannot write to its folder {self._folder}: {error.strerror}"
        return ""

    def _descriptor_trouble(self) -> str:
        opened = []
        try:
            opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(FILES_A_RUN)]
        except OSError as error:
            return f"it cannot open files: {error.strerror} (ulimit -n)"
        finally:
            for fd in opened:
                os.close(fd)
        allowed = file_limit()
        if allowed < files_needed(self._threads):
            return (
                f"only {allowed} files may be open here, and {self._threads} runs at once need "
                f"{files_needed(self._threads)} (ulimit -n)"
            )
        return ""

    def _spawn_trouble(self) -> str:
        launch = Launch(argv=(sys.executable, "-I", "-S", "-c", ""), env={}, run_id="self-check")
        try:
            child = self._spawner.spawn(launch)
            try:
                child.started(TRY_S)
                end_s = time.monotonic() + TRY_S
                while (ended := child.read_exit()) is None and time.monotonic() < end_s:
                    child.wait(end_s - time.monotonic())
            finally:
                child.close()
        except SpawnFailed as error:
            return f"it cannot start processes: {error}"
        if ended is None:
            return f"{sys.executable} does not finish an empty program"
        return f"{sys.executable} ends an empty program with code {ended.code}" if ended.code else ""

    def _signature_trouble(self) -> str:
        if not self._keys:
            return ""
        try:
            sample = self._store.run(tasks.sample(SAMPLE))
        except RunfleetError:
            return self._why if SECRET in self._why else ""  # unknown while Redis is unavailable
        if not sample or any(is_trusted(one, self._keys, name) for name, one in sample):
            return ""
        return f"none of {len(sample)} definitions that it read is signed with its {SECRET}"


SECRET: Final = "RUNFLEET_SECRET"


def files_needed(threads: int) -> int:
    """How many descriptors a worker process with that many threads may have to open."""
    return BASE_FILES + FILES_A_RUN * threads


def file_limit() -> int:
    """How many descriptors this process may have; a large number where there is no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 30


def raise_file_limit(threads: int) -> None:
    """Raise the limit of descriptors to the number that this process needs, if permitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files_needed(threads):
        most = files_needed(threads) if hard == resource.RLIM_INFINITY else min(hard, files_needed(threads))
        with contextlib.suppress(OSError, ValueError):  # then the check says what is missing
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
