"""
The emitter of OpenLineage events about runs; it never blocks its callers.

Callers put events into a bounded queue, and one thread sends them (``sender.py``). The environment variables are those
of OpenLineage's client (``OPENLINEAGE_URL``, ``OPENLINEAGE_API_KEY``, …). Events that do not fit into the queue or
cannot be sent are dropped, counted and logged.
"""

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

QUEUE_MAX: Final = 10_000
"""Maximum number of queued events; further ones are dropped."""

FLUSH_S: Final = 3.0
"""How long a stopping process continues to send queued events."""

GATHER_S: Final = 0.02
"""Events within this time are sent together: waking the thread for each one would slow down runs."""

REST_FROM_S: Final = 0.002
"""After this much CPU time the thread pauses, to leave the interpreter to runs; not when the process stops."""

REST: Final = 1.0
"""The length of the pause, as a multiple of that CPU time."""

WARN_EVERY_S: Final = 10.0
"""Minimum time between two log events about dropped events."""

_Item = tuple[UUID, Record, Task | None]


class Sender(Protocol):
    """The interface of ``sender.py``, used by one thread."""

    def send(self, run_id: UUID, record: Record, task: Task | None) -> None:
        """Send the state of a run. May raise any exception."""

    def close(self, timeout_s: float) -> None:
        """Wait for events that are being sent."""


class Emitter:
    """A queue and a thread that sends its events. Its methods can be called from any thread, and never raise."""

    def __init__(self, make_sender: Callable[[], Sender], most: int = QUEUE_MAX) -> None:
        self.sent = 0
        self.dropped = 0
        self._make_sender = make_sender
        self._waiting: queue.Queue[_Item | None] = queue.Queue(most)
        self._lock = threading.Lock()
        self._leaving = threading.Event()
        self._last_warning_s = float("-inf")
        self._unreported = 0
        self._why = ""
        self._thread = threading.Thread(target=self._send, name="lineage", daemon=True)
        self._thread.start()

    def emit(self, run_id: UUID, record: Record, task: Task | None = None) -> None:
        """Queue the state of a run; *task*, if known, adds its description."""
        try:
            self._waiting.put_nowait((run_id, record, task))
        except queue.Full:
            self._drop(1, f"{self._waiting.maxsize} events are queued already")

    def ended(
        self, run_id: UUID, record: Record, reason: Reason, exit_code: int, message: str, end_us: int, task: Task | None
    ) -> None:
        """Queue the end of a run; *record* is from before the end, *end_us* is stored time."""
        over = msgspec.structs.replace(
            record, status=Status.ENDED, reason=reason, exit_code=exit_code, message=message, end_us=end_us
        )
        self.emit(run_id, over, task)

    def close(self, patience_s: float = FLUSH_S) -> None:
        """Send queued events for up to *patience_s*, and log how many were dropped."""
        end_s = time.monotonic() + patience_s
        self._leaving.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=patience_s)
        self._thread.join(max(0.0, end_s - time.monotonic()))
        left = sum(item is not None for item in list(self._waiting.queue))
        if left:
            self._drop(left, "the process stopped before they were sent")
        self._warn(end_s)

    def _send(self) -> None:
        sender: Sender | None = None
        worked_s = 0.0
        while (item := self._next()) is not None:
            began_s = time.thread_time()
            try:
                if sender is None:
                    sender = self._make_sender()
                sender.send(*item)
                self.sent += 1
            except Exception as error:  # of the library, the network or the server
                self._drop(1, f"{type(error).__name__}: {error}"[:300])
            worked_s += time.thread_time() - began_s
            if worked_s >= REST_FROM_S:
                self._leaving.wait(worked_s * REST)
                worked_s = 0.0
        if sender is not None:
            with contextlib.suppress(Exception):
                sender.close(FLUSH_S)

    def _next(self) -> _Item | None:
        with contextlib.suppress(queue.Empty):
            return self._waiting.get_nowait()
        item = self._waiting.get()
        self._leaving.wait(GATHER_S)
        return item

    def _drop(self, count: int, why: str) -> None:
        with self._lock:
            self.dropped += count
            self._unreported += count
            self._why = why
        self._warn(time.monotonic() - WARN_EVERY_S)

    def _warn(self, unless_after_s: float) -> None:
        with self._lock:
            if not self._unreported or self._last_warning_s > unless_after_s:
                return
            count, self._unreported, self._last_warning_s = self._unreported, 0, time.monotonic()
            total, why = self.dropped, self._why
        log.warning("lineage.dropped", events=count, in_all=total, why=why)


def open_emitter(environ: Mapping[str, str] | None = None) -> Emitter | None:
    """
    An emitter, if the environment sets a destination for events, otherwise None.

    The destination is ``OPENLINEAGE_URL``, ``OPENLINEAGE_CONFIG`` or an ``OPENLINEAGE__TRANSPORT…`` variable, as for
    all users of OpenLineage's client. ``OPENLINEAGE_NAMESPACE`` names the namespace; ``OPENLINEAGE_DISABLED=true``
    turns it off.
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
    # Imported here, because its library takes a third of a second to load, and changes os.environ.
    from shared.lineage.sender import open_sender

    return open_sender(namespace)
