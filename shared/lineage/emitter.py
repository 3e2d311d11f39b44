"""
Sends OpenLineage events of our runs, and never makes anybody wait for it.

Whoever has something to tell puts it into a bounded queue and goes on; one thread has it sent (``sender.py``) as the
environment says that all users of OpenLineage's client share (``OPENLINEAGE_URL``, ``OPENLINEAGE_API_KEY``, …). What
finds no room, or no listener, is dropped and counted, and the log says how many.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol
from uuid import UUID

import msgspec

from shared import lineage
from shared.runs import Reason, Record, Status
from shared.tasks import Task
from shared.telemetry import get_logger

log = get_logger("lineage")

MOST_WAITING: Final = 10_000
"""Events that wait to be sent; what comes then is dropped."""

FLUSH_S: Final = 3.0
"""How long a process that leaves goes on sending what waits."""

GATHER_S: Final = 0.02
"""Events that come within this time are sent one after another: a thread that wakes for each is in the way of runs."""

REST_FROM_S: Final = 0.002
"""After so much CPU time the thread rests, so that runs have the interpreter; not when the process leaves."""

REST: Final = 1.0
"""How long it rests, as a multiple of the CPU time that it took."""

SAY_AGAIN_S: Final = 10.0
"""The log says at most so often that events are dropped."""

Told = tuple[UUID, Record, Task | None]


class Sender(Protocol):
    """What is used of ``sender.py``, by one thread."""

    def send(self, run_id: UUID, record: Record, task: Task | None) -> None:
        """Tell how a run stands. Raises whatever it likes when that fails."""

    def close(self, timeout_s: float) -> None:
        """Wait for what is under way."""


class Emitter:
    """A queue, and a thread that sends what is in it. May be used from any thread; its methods raise nothing."""

    def __init__(self, make_sender: Callable[[], Sender], most: int = MOST_WAITING) -> None:
        self.sent = 0
        self.dropped = 0
        self._make_sender = make_sender
        self._waiting: queue.Queue[Told | None] = queue.Queue(most)
        self._lock = threading.Lock()
        self._leaving = threading.Event()
        self._said_s = float("-inf")
        self._unsaid = 0
        self._why = ""
        self._thread = threading.Thread(target=self._send, name="lineage", daemon=True)
        self._thread.start()

    def tell(self, run_id: UUID, record: Record, task: Task | None = None) -> None:
        """A run stands as its record says; *task* is told of too if it is at hand."""
        try:
            self._waiting.put_nowait((run_id, record, task))
        except queue.Full:
            self._drop(1, f"{self._waiting.maxsize} events wait already")

    def ended(
        self, run_id: UUID, record: Record, reason: Reason, exit_code: int, message: str, end_us: int, task: Task | None
    ) -> None:
        """A run ended; *record* is as it was while it ran, *end_us* stored time."""
        over = msgspec.structs.replace(
            record, status=Status.ENDED, reason=reason, exit_code=exit_code, message=message, end_us=end_us
        )
        self.tell(run_id, over, task)

    def close(self, patience_s: float = FLUSH_S) -> None:
        """Send what waits, as far as *patience_s* allows, and say what was dropped."""
        end_s = time.monotonic() + patience_s
        self._leaving.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=patience_s)
        self._thread.join(max(0.0, end_s - time.monotonic()))
        left = sum(told is not None for told in list(self._waiting.queue))
        if left:
            self._drop(left, "the process left before they were sent")
        self._say(end_s)

    def _send(self) -> None:
        sender: Sender | None = None
        worked_s = 0.0
        while (told := self._next()) is not None:
            began_s = time.thread_time()
            try:
                if sender is None:
                    sender = self._make_sender()
                sender.send(*told)
                self.sent += 1
            except Exception as error:  # whatever the library, the network or the backend think of
                self._drop(1, f"{type(error).__name__}: {error}"[:300])
            worked_s += time.thread_time() - began_s
            if worked_s >= REST_FROM_S:
                self._leaving.wait(worked_s * REST)
                worked_s = 0.0
        if sender is not None:
            with contextlib.suppress(Exception):
                sender.close(FLUSH_S)

    def _next(self) -> Told | None:
        with contextlib.suppress(queue.Empty):
            return self._waiting.get_nowait()
        told = self._waiting.get()
        self._leaving.wait(GATHER_S)
        return told

    def _drop(self, count: int, why: str) -> None:
        with self._lock:
            self.dropped += count
            self._unsaid += count
            self._why = why
        self._say(time.monotonic() - SAY_AGAIN_S)

    def _say(self, unless_since_s: float) -> None:
        with self._lock:
            if not self._unsaid or self._said_s > unless_since_s:
                return
            count, self._unsaid, self._said_s = self._unsaid, 0, time.monotonic()
            total, why = self.dropped, self._why
        log.warning("lineage.dropped", events=count, in_all=total, why=why)


def open_emitter(environ: Mapping[str, str] | None = None) -> Emitter | None:
    """
    An emitter, if the environment says where lineage goes to, and None otherwise.

    That is ``OPENLINEAGE_URL``, ``OPENLINEAGE_CONFIG`` or an ``OPENLINEAGE__TRANSPORT…`` variable, as for every user of
    OpenLineage's client. ``OPENLINEAGE_NAMESPACE`` names the namespace; ``OPENLINEAGE_DISABLED=true`` turns it off.
    """
    env = os.environ if environ is None else environ
    is_set = env.get("OPENLINEAGE_URL") or env.get("OPENLINEAGE_CONFIG")
    if not is_set and not any(name.startswith("OPENLINEAGE__TRANSPORT") for name in env):
        return None
    if env.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return None
    if importlib.util.find_spec("openlineage") is None:
        log.warning("lineage.unavailable")
        return None
    return Emitter(partial(_open_sender, env.get("OPENLINEAGE_NAMESPACE") or lineage.NAMESPACE))


def _open_sender(namespace: str) -> Sender:
    # Here, because its library takes a third of a second to be loaded, and writes variables into os.environ.
    from shared.lineage.sender import open_sender

    return open_sender(namespace)
