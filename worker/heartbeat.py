"""
One thread that renews the leases of all runs of this worker process, and hears what is wished of them.

A beat is one round trip a second, however many runs there are. While runs are live the thread waits on the worker's
wake-up list between beats, so a wish to stop is heard at once; an idle worker only beats.
"""

from __future__ import annotations

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

Wish = Literal["stop", "kill", "lost"]
BEAT_S: Final = BEAT_MS / 1000
STRICT_S: Final = LEASE_MS / 1000 * 0.7
"""A ``strict_lease`` run that could not renew for this long kills itself: well before anybody may rescue it."""
FROZEN_S: Final = LEASE_MS / 1000 * 0.78
"""When its worker does not even do that, the spawner kills it after this long without a fresh renewal."""
SURE_S: Final = LEASE_MS / 1000 * 0.5
"""A lease that nobody has heard of for this long is asked for before a process is started on it."""
FRESH_S: Final = LEASE_MS / 1000 * 0.17
"""A renewal that was sent longer ago is no news for the spawner: both together stay below a lease."""


@dataclass(slots=True)
class Held:
    """
    A lease that a run thread holds, renewed at measured time ``renewed_s`` or later. ``tell`` is called from the
    beating thread with every new wish, ``restore`` when the store has forgotten everything; it answers whether the run
    is there again.
    """

    run_id: UUID
    token: int
    tell: Callable[[Wish], None]
    restore: Callable[[], bool]
    renewed_s: float

    def is_stale(self, now_s: float) -> bool:
        """Whether a strict run has to die now, because it could not renew."""
        return now_s - self.renewed_s > STRICT_S


class Heartbeat:
    """The leases of this worker process. ``hold`` and ``let_go`` are called by run threads."""

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
        self._about: About | None = about
        self._introduction = about
        self._on_drain = on_drain
        self._on_loss = on_loss
        self._losses = 0
        self._instance = ""
        self._held: dict[UUID, Held] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._away_since_s: float | None = None
        self._thread = threading.Thread(target=self._beat_on, name="leases", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the thread still beats."""
        return self._thread.is_alive()

    def hold(self, held: Held) -> None:
        """Renew this lease from now on."""
        with self._lock:
            self._held[held.run_id] = held
        self._wake.set()

    def let_go(self, run_id: UUID) -> None:
        """Renew it no more."""
        with self._lock:
            self._held.pop(run_id, None)

    def stop(self) -> None:
        """Say goodbye to the store and end the thread; at most a few seconds."""
        self._stopping = True
        self._wake.set()
        if self._away_since_s is None:
            with suppress(RunfleetError):  # it may be waiting for a wish, for a second
                self._store.run(Call("LPUSH", (Key("wake:worker:" + self._worker), ""), int))
        self._thread.join(3)
        with suppress(RunfleetError):  # then it is forgotten after a minute
            self._store.run(fleet.gone(self._worker))

    def introduce(self, unfit: str) -> None:
        """Say with the next beat why this worker executes nothing, "" when it does."""
        self._introduction = self._about = msgspec.structs.replace(self._introduction, unfit=unfit)
        self._wake.set()

    def _beat_on(self) -> None:
        while not self._stopping:
            try:
                with self._store.dedicated_connection():  # the leases of all runs depend on it
                    self._beat_until_stopped()
            except Exception:  # whatever it is: without this thread every run here would be lost
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
        """Until the next beat, or until somebody wishes something of a live run."""
        if not self._held or self._away_since_s is not None:
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
        """After something failed: a wake-up from before it failed ends no pause, or it would fail all the time."""
        self._wake.clear()
        if not self._stopping:
            self._wake.wait(seconds)

    def _beat(self) -> None:
        with self._lock:
            held = list(self._held.values())
        sent_s = time.monotonic()
        try:
            about = self._about
            beat = self._store.run(fleet.beat(self._worker, [(one.run_id, one.token) for one in held], about))
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
            self._about = self._introduction
        elif self._about is about:
            self._about = None
        wiped, self._instance = bool(self._instance) and beat.instance != self._instance, beat.instance
        if wiped:
            log.warning("store.wiped", runs=len(held))
        for one, verdict in zip(held, beat.verdicts, strict=True):
            try:
                self._heed(one, verdict, wiped, sent_s)
            except Exception:  # one run's trouble is not that of the others
                log.exception("worker.heartbeat_failed", run_id=str(one.run_id))
        if self._store.losses != self._losses:
            self._on_loss(lost_s)
            self._losses = self._store.losses
        if beat.drain:
            self._on_drain()

    def _heed(self, one: Held, verdict: Wish | Literal[""], wiped: bool, sent_s: float) -> None:
        """Take in what the store says of one lease."""
        if verdict == "lost" and wiped and one.restore():
            return
        if verdict != "lost":
            one.renewed_s = sent_s
        if verdict:
            one.tell(verdict)
