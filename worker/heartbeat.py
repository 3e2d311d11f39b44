"""
The heartbeat: one thread that renews the leases of all runs of this worker process and receives their stop requests.

A heartbeat is one round trip a second, however many runs there are. Between heartbeats the thread waits on the worker's
wake-up list while there are runs, so a stop request arrives at once; an idle worker only sends heartbeats.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

import msgspec

from shared.errors import RunfleetError, StoreUnavailable
from shared.settings import BEAT_MS, LEASE_MS
from shared.store import fleet
from shared.store.fleet import About
from shared.store.redis.call import Call, Key
from shared.store.redis.sync_store import Store
from shared.telemetry import get_logger

log = get_logger("worker")

StopRequest = Literal["stop", "kill", "lost"]
BEAT_S: Final = BEAT_MS / 1000
STRICT_S: Final = LEASE_MS / 1000 * 0.7
"""A ``strict_lease`` run whose lease was not renewed for this long is killed: well before it may be rescued."""
FROZEN_S: Final = LEASE_MS / 1000 * 0.78
"""When its worker does not kill it, the spawner does after this long without a fresh renewal."""
SURE_S: Final = LEASE_MS / 1000 * 0.5
"""A lease that was renewed longer ago than this must be confirmed before a process is started."""
FRESH_S: Final = LEASE_MS / 1000 * 0.17
"""A renewal that was sent longer ago is not passed on to the spawner: both together stay below a lease."""


@dataclass(slots=True)
class Lease:
    """
    The lease of a run, renewed at measured time ``renewed_s`` or later. The heartbeat's thread calls ``request_stop``
    with every new request, and ``restore`` when the store has lost all its data; it returns whether the run is back.
    """

    run_id: UUID
    token: int
    request_stop: Callable[[StopRequest], None]
    restore: Callable[[], bool]
    renewed_s: float

    def is_stale(self, now_s: float) -> bool:
        """Whether a run with ``strict_lease`` has to be killed now, because its lease could not be renewed."""
        return now_s - self.renewed_s > STRICT_S


class Heartbeat:
    """Renews the leases of this worker process. Run threads call ``hold`` and ``release``."""

    def __init__(
        self,
        store: Store,
        worker: str,
        about: About,
        *,
        on_drain: Callable[[], None],
        on_loss: Callable[[float], None],
    ) -> None:
        self._store = store
        self._worker = worker
        self._unsent_about: About | None = about
        self._latest_about = about
        self._on_drain = on_drain
        self._on_loss = on_loss
        self._losses = 0
        self._store_id = ""
        self._leases: dict[UUID, Lease] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._away_since_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def hold(self, lease: Lease) -> None:
        """Start renewing this lease."""
        with self._lock:
            self._leases[lease.run_id] = lease
            is_first = len(self._leases) == 1
        if is_first:  # from now on the thread waits on the wake-up list
            self._wake.set()

    def release(self, run_id: UUID) -> None:
        """Stop renewing this lease."""
        with self._lock:
            self._leases.pop(run_id, None)

    def stop(self) -> None:
        """End the thread and remove this worker from the store; takes at most a few seconds."""
        self._stopping = True
        self._wake.set()
        if self._away_since_s is None:
            with suppress(RunfleetError):  # it may be waiting on that list, for a second
                self._store.run(Call("LPUSH", (Key("wake:worker:" + self._worker), ""), int))
        self._thread.join(3)
        with suppress(RunfleetError):  # the store then forgets it after a minute
            self._store.run(fleet.worker_gone(self._worker))

    def report_unfit(self, unfit: str) -> None:
        """Send with the next heartbeat why this worker executes nothing, "" when it does."""
        self._latest_about = self._unsent_about = msgspec.structs.replace(self._latest_about, unfit=unfit)
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            try:
                with self._store.dedicated_connection():  # the leases of all runs depend on it
                    self._beat_until_stopped()
            except Exception:  # any error: without this thread every run of this process would be lost
                log.exception("worker.heartbeat_failed")
                self._pause(BEAT_S / 2)

    def _beat_until_stopped(self) -> None:
        next_beat_s = time.monotonic()
        while not self._stopping:
            now_s = time.monotonic()
            if now_s >= next_beat_s:
                next_beat_s = max(next_beat_s + BEAT_S, now_s + BEAT_S / 2)
                self._beat()
                continue
            self._wait(next_beat_s - now_s)

    def _wait(self, seconds: float) -> None:
        """Wait for the next heartbeat, or for a stop request."""
        if not self._leases or self._away_since_s is not None:
            self._wake.wait(seconds)
            self._wake.clear()
            return
        try:
            woken = self._store.block(
                Call("BLPOP", (Key("wake:worker:" + self._worker), max(seconds, 0.01)), bool), seconds
            )
        except RunfleetError:
            self._pause(min(seconds, 0.2))
        else:
            if woken:
                self._beat()

    def _pause(self, seconds: float) -> None:
        """Wait after a failure. Earlier wake-ups are ignored, or the failure would repeat without a pause."""
        self._wake.clear()
        if not self._stopping:
            self._wake.wait(seconds)

    def _beat(self) -> None:
        with self._lock:
            held = list(self._leases.values())
        sent_s = time.monotonic()
        try:
            about = self._unsent_about
            beat = self._store.run(fleet.heartbeat(self._worker, [(one.run_id, one.token) for one in held], about))
        except StoreUnavailable:
            if self._away_since_s is None:
                self._away_since_s = sent_s
            return
        except RunfleetError:
            log.exception("worker.heartbeat_failed")
            return
        lost_s = sent_s
        if self._away_since_s is not None:
            lost_s, self._away_since_s = self._away_since_s, None
        if not beat.known:
            self._unsent_about = self._latest_about
        elif self._unsent_about is about:
            self._unsent_about = None
        wiped, self._store_id = bool(self._store_id) and beat.store_id != self._store_id, beat.store_id
        if wiped:
            log.warning("store.wiped", runs=len(held))
        for one, verdict in zip(held, beat.verdicts, strict=True):
            try:
                self._apply(one, verdict, wiped, sent_s)
            except Exception:  # an error of one run must not affect the others
                log.exception("worker.heartbeat_failed", run_id=str(one.run_id))
        if self._store.losses != self._losses:
            self._on_loss(lost_s)
            self._losses = self._store.losses
        if beat.drain:
            self._on_drain()

    def _apply(self, one: Lease, verdict: StopRequest | Literal[""], wiped: bool, sent_s: float) -> None:
        """Apply the store's answer for one lease."""
        if verdict == "lost" and wiped and one.restore():
            return
        if verdict != "lost":
            one.renewed_s = sent_s
        if verdict:
            one.request_stop(verdict)
