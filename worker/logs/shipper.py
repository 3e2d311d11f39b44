"""
The log shipper: one thread that stores the output of all runs of a worker process.

A run's thread feeds its ``LogBuffer``; the shipper collects new lines from all buffers a few dozen times a second and
appends them in one round trip. While Redis is unavailable a buffer keeps what its limit allows and counts the lines
that it dropped. The last lines are stored with the end of the run, so a quiet run costs the shipper nothing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Literal
from uuid import UUID

from shared.errors import RunfleetError, StoreFull, StoreUnavailable
from shared.runs import Record
from shared.store import logs
from shared.store.log_record import StoredLine
from shared.store.redis.call import Call
from shared.store.redis.sync_store import Store
from shared.tasks import Task
from shared.telemetry import get_logger
from worker.logs.line_buffer import LineBuffer
from worker.logs.masking import Mask

log = get_logger("worker")

GATHER_S: Final = 0.03
"""Lines that come within this time are sent together; a reader sees a line well within 200 ms."""

AWAY_BYTES: Final = 16 * 1024 * 1024
"""A buffer keeps at most so much while Redis is unavailable; older lines are dropped and counted."""

UNFINISHED_S: Final = 0.25
"""An unfinished line is shown after this long, and updated at most this often."""

AGAIN_S: Final = logs.UNFINISHED_MS / 1000 / 2
"""An unfinished line is sent again after this long, before the store drops it."""

COMPACT_S: Final = 0.05
"""Logs are compressed for about so long at a time, so that new lines never wait for it."""

MOST_TO_COMPACT: Final = 10_000
"""Ended runs whose logs this process is to compress; those beyond are left to the scheduler."""

_STREAMS: Final[tuple[Literal["stdout"], Literal["stderr"]]] = ("stdout", "stderr")

CHUNK_LINES: Final = 2000
CHUNK_BYTES: Final = 256 * 1024


FAILED_S: Final = 0.5
"""How long the shipper waits after a failure."""


class LogBuffer:
    """
    The captured output of one run. Its run's thread feeds it; the shipper empties it, and finally the run's thread.
    """

    def __init__(
        self, log_shipper: LogShipper, run_id: UUID, record: Record, claimed_s: float, capture: LineBuffer, mask: Mask
    ) -> None:
        self._log_shipper, self._run_id, self._token = log_shipper, run_id, record.token
        self._start_us, self._claimed_s = record.start_us, claimed_s
        self.line_buffer = capture
        self.mask = mask
        """Applied to all that the run prints."""
        self._lock = threading.Lock()
        self.sending = threading.Lock()
        self._unsent: list[StoredLine] = []
        self._sent: list[list[StoredLine]] = []
        self._begun = (b"", b"")
        self._shown: list[logs.Unfinished] = []
        self._shown_before = 0
        self._shown_s = 0.0
        self._changed_s: float | None = None
        self._showing = False
        self.dropped = 0
        """Lines that were dropped because Redis, or this buffer, was full."""

    def show_unfinished(self, now_s: float) -> float | None:
        """
        Prepare unfinished lines to be shown if they are due; else the measured time when they are, None if never.

        They are due after ``UNFINISHED_S``, at most that often, and again before the store drops them.
        """
        with self._lock:
            begun, place = self.line_buffer.begun, self.line_buffer.produced
            stands = begun == self._begun
            if stands and (place == self._shown_before or not self._shown):
                self._changed_s = None
                due_s = self._shown_s + AGAIN_S if self._shown else None
            else:
                self._changed_s = now_s if self._changed_s is None else self._changed_s
                # When lines of the other stream come meanwhile, its new place after them is shown at once.
                due_s = now_s if stands else self._changed_s + UNFINISHED_S
            if due_s is None or now_s < due_s:
                return due_s
            lines = [
                logs.Unfinished(stream, text) for stream in _STREAMS if (text := self.line_buffer.unfinished(stream))
            ]
        self._showing = bool(lines or self._shown)
        self._begun, self._changed_s = begun, None
        self._shown, self._shown_before, self._shown_s = lines, place, now_s
        return now_s + AGAIN_S if lines else None

    @property
    def truncated(self) -> bool:
        """Whether lines are missing."""
        return self.line_buffer.truncated or self.dropped > 0

    def feed(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Add what the process wrote."""
        with self._lock:
            self.line_buffer.feed(stream, data, self._now_us())
        self._log_shipper.wake()

    def system(self, text: str) -> None:
        """Add a line of our own."""
        with self._lock:
            self.line_buffer.system(text, self._now_us())

    def finish(self) -> None:
        """Close the last, unfinished lines, and add how many lines are missing."""
        now_us = self._now_us()
        with self._lock:
            self.line_buffer.finish(now_us)
            if self.dropped:
                why = "Redis was unavailable for too long, or full"
                self.line_buffer.system(f"{self.dropped} lines are missing: {why}", now_us)

    def _now_us(self) -> int:
        """Stored time, from the start that Redis stamped and this host's measured time: its clock may be wrong."""
        return self._start_us + round((time.monotonic() - self._claimed_s) * 1_000_000)

    def final(self) -> list[Call[Any]]:
        """The calls that store the remaining lines; they may be repeated until they succeed."""
        with self.sending:
            return self.calls()

    def settle(self, answers: Sequence[Any]) -> None:
        """
        Process the results of the last calls, with the lock of ``sending`` held.

        Does nothing when the other thread has processed them already.
        """
        if any(isinstance(answer, RunfleetError) and not isinstance(answer, StoreFull) for answer in answers):
            while self._unsent and sum(len(line.text) for line in self._unsent) > AWAY_BYTES:
                self.dropped += len(self._unsent) // 2
                self._unsent = self._unsent[len(self._unsent) // 2 :]
        elif self._sent:
            # A full Redis takes no logs: the end reports the missing lines.
            refused = [
                chunk for chunk, answer in zip(self._sent, answers, strict=False) if isinstance(answer, StoreFull)
            ]
            self.dropped += sum(len(chunk) for chunk in refused)
            self._unsent, self._sent = [], []

    def calls(self) -> list[Call[Any]]:
        """The calls that store new lines. The lock of ``sending`` must be held until they are settled."""
        with self._lock:
            while taken := self.line_buffer.take():
                self._unsent += taken
            first_kept, kept_bytes = self.line_buffer.first_kept, self.line_buffer.bytes
        self._unsent = [line for line in self._unsent if line.n >= first_kept]
        self._sent = _chunks(self._unsent)
        calls: list[Call[Any]] = [
            logs.append(self._run_id, self._token, chunk, first_kept=first_kept, kept_bytes=kept_bytes)
            for chunk in self._sent
        ]
        if self._showing:
            self._showing = False
            calls.append(logs.show_unfinished(self._run_id, self._token, self._shown, self._shown_before))
        return calls


class LogShipper:
    """All log buffers of a worker process, and the thread that stores them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._buffers: set[LogBuffer] = set()
        self._to_compact: deque[UUID] = deque(maxlen=MOST_TO_COMPACT)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the thread; the runs have ended and stored their last lines themselves."""
        self._stopping = True
        self._wake.set()
        self._thread.join(3)

    def add(self, run_id: UUID, record: Record, claimed_s: float, task: Task, mask: Mask) -> LogBuffer:
        """A buffer for a run that starts; it was claimed at measured time *claimed_s*."""
        capture = LineBuffer(task.log_max_size, task.log_on_full, mask)
        log_buffer = LogBuffer(self, run_id, record, claimed_s, capture, mask)
        with self._lock:
            self._buffers.add(log_buffer)
        return log_buffer

    def remove(self, log_buffer: LogBuffer) -> None:
        """Forget the buffer of a run that has ended."""
        with self._lock:
            self._buffers.discard(log_buffer)

    def compact_soon(self, run_id: UUID) -> None:
        """Compress the log of a run that has ended. If this worker never does, a scheduler does."""
        self._to_compact.append(run_id)
        self._wake.set()

    def wake(self) -> None:
        """Wake the thread, because a buffer has new lines."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            try:
                with (
                    self._store.dedicated_connection()
                ):  # what it sends may be long, and ends and claims are not to wait behind it
                    self._write_until_stopped()
            except Exception:  # any error: without this thread no run of this process would have a live log
                log.exception("worker.log_failed")
                time.sleep(FAILED_S)
                self._wake.set()

    def _write_until_stopped(self) -> None:
        wait_s: float | None = None
        while not self._stopping:
            if not self._to_compact:
                self._wake.wait(wait_s)
                time.sleep(GATHER_S)
            self._wake.clear()
            try:
                wait_s = self._send()
                self._compact(COMPACT_S)
            except RunfleetError:
                time.sleep(FAILED_S)
                self._wake.set()

    def _compact(self, seconds: float) -> None:
        """Compress logs of ended runs, block by block, for about this long. Raises StoreUnavailable."""
        end_s = time.monotonic() + seconds
        while self._to_compact and time.monotonic() < end_s:
            try:
                more = self._store.run(logs.compact_block(self._to_compact[0]))
            except StoreUnavailable:
                raise
            except Exception:
                more = False  # it is unreadable: the scheduler reports that
            if not more:
                self._to_compact.popleft()

    def _send(self) -> float | None:
        """
        Store new lines of all buffers in one round trip; seconds until the next time if nothing else happens.

        Raises StoreUnavailable; everything is kept then.
        """
        with self._lock:
            buffers = list(self._buffers)
        now_s = time.monotonic()
        dues = [due_s for log_buffer in buffers if (due_s := log_buffer.show_unfinished(now_s)) is not None]
        with contextlib.ExitStack() as held:
            parts: list[tuple[LogBuffer, list[Call[Any]]]] = []
            for log_buffer in buffers:
                held.enter_context(log_buffer.sending)
                calls = log_buffer.calls()
                if calls:
                    parts.append((log_buffer, calls))
            answers: list[Any] = []
            error: RunfleetError | None = None
            try:
                answers = self._store.settle([call for _, calls in parts for call in calls])
            except RunfleetError as away:
                error = away
            for log_buffer, calls in parts:
                mine, answers = ([error] if error else answers[: len(calls)]), answers[len(calls) :]
                log_buffer.settle(mine)
            if error is not None:
                raise error
        return max(0.0, min(dues) - time.monotonic()) if dues else None


def _chunks(lines: list[StoredLine]) -> list[list[StoredLine]]:
    chunks: list[list[StoredLine]] = []
    size = CHUNK_BYTES
    for line in lines:
        if size >= CHUNK_BYTES or len(chunks[-1]) >= CHUNK_LINES:
            chunks.append([])
            size = 0
        chunks[-1].append(line)
        size += len(line.text) + 16
    return chunks
