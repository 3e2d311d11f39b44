"""
The secrets that a worker knows: variables to withhold from runs of other tasks, and values to mask.

The variables come from the store, read at the start of a run, at most once a second; their values from this process's
environment. A secret stays known until the process exits, so that writing to Redis cannot unmask it.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from shared.errors import RunfleetError, StoreUnavailable
from shared.settings import REDIS_URL_NAMES
from shared.store import secret_variables
from shared.store.redis.sync_store import Store
from shared.telemetry import get_logger
from worker.execution.environment import NEEDED
from worker.logs.masking import Mask, is_maskable, mask

log = get_logger("worker")

FRESH_S: Final = 1.0
"""The variables that other tasks make secrets of are at most this old when a run starts."""

WHOLE_S: Final = 60.0
"""After this long all are read again, whatever the version is."""

_OURS: Final = ("RUNFLEET_SECRET", "RUNFLEET_SECRET_OLD", "RUNFLEET_TOKEN", "OPENLINEAGE_API_KEY")


class KnownSecrets:
    """The secrets that this worker process knows. Thread-safe."""

    def __init__(self, store: Store, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._environ = environ
        self._clock = clock
        self._lock = threading.Lock()
        self._version: bytes | None = None
        self._checked_s = self._read_s = float("-inf")
        self.variables: frozenset[str] = frozenset()
        """Names of variables that no run inherits unless its task makes a secret of them."""
        ours = [environ.get(name, "") for name in _OURS]
        ours += [part for name in REDIS_URL_NAMES for part in _passwords(environ.get(name, ""))]
        self.values: frozenset[str] = frozenset(filter(None, ours))
        """Secret values, of tasks and our own."""

    def refresh(self) -> None:
        """
        Read which variables tasks use as secrets, unless that was done a moment ago.

        Raises StoreUnavailable only if they were never read before, also when they are unreadable: neither an outage
        nor a foreign write to Redis may unmask a secret, nor prevent starts.
        """
        now_s = self._clock()
        if now_s - self._checked_s < FRESH_S:
            return
        try:
            version = self._store.run(secret_variables.version())
            if version != self._version or now_s - self._read_s > WHOLE_S:
                self.add(self._store.run(secret_variables.names()))
                self._version, self._read_s = version, now_s
        except StoreUnavailable:
            if self._version is None:
                raise
        except RunfleetError as error:
            log.exception("worker.secrets_unknown")
            if self._version is None:
                raise StoreUnavailable(f"what tasks make secrets of cannot be read: {error}") from None
        self._checked_s = now_s

    def add(self, variables: frozenset[str], values: frozenset[str] = frozenset()) -> None:
        """Withhold *variables* from runs of other tasks, and mask their values and *values*."""
        with self._lock:
            new = variables - self.variables - NEEDED
            held = {self._environ[name] for name in new if name in self._environ}
            shown = frozenset(filter(is_maskable, held | values)) - self.values
            if new:
                self.variables |= new
            if shown:
                self.values |= shown

    def mask(self, own: frozenset[str] = frozenset()) -> Mask:
        """The mask of a run whose own secrets are *own*."""
        return mask(own, self.values)


def _passwords(url: str) -> list[str]:
    """The password in *url*, as written and decoded."""
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return []
    return [password, unquote(password)]
