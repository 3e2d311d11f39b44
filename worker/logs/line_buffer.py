"""
The output of a run as numbered lines: sanitized (``sanitize.py``), and limited to ``log_max_size``.

A ``LineBuffer`` takes what was read from the pipes and returns lines to store, in batches. It has no clock and does no
I/O. It works on whole blocks, and under ``drop_old`` as late as possible: only the output that is still kept at the
next ``take`` is split into lines.
"""

from collections import deque
from typing import Final, Literal, NamedTuple

from shared.store.log_record import StoredLine as Line
from worker.logs.masking import NOTHING, Mask
from worker.logs.sanitize import LINE_MAX, Cleaner, in_pieces, size_of

TAKE_MAX: Final = 256 * 1024
UNFINISHED_MAX: Final = 4096
"""The last so many characters of an unfinished line are shown."""

STDOUT, STDERR, SYSTEM = 0, 1, 2

Stream = Literal["stdout", "stderr"]


class _Block(NamedTuple):
    """Received, unprocessed lines. ``plain_size`` is 0 if they may become shorter."""

    raw: bytes
    which: int
    at_us: int
    size: int
    plain_size: int


class LineBuffer:
    """
    The output of one run.

    ``log_max_size`` counts UTF-8 bytes of text and one more for each line. ``drop_old`` keeps the newest that fit,
    ``drop_new`` and ``kill`` the oldest; ``kill`` also sets ``overflowed``. *mask* is applied to each line.

    The counts are as of the last ``take`` or ``finish``; only ``pending_bytes`` and ``overflowed`` are current.
    """

    def __init__(
        self, log_max_size: int, on_full: Literal["drop_old", "drop_new", "kill"], mask: Mask = NOTHING
    ) -> None:
        self._limit = log_max_size
        self._on_full = on_full
        self._cleaner = Cleaner(mask)
        self._partial = [b"", b""]
        self._open = [False, False]
        self._pending: deque[Line] = deque()
        self._pending_sizes: deque[int] = deque()
        self._kept_sizes: deque[int] = deque()
        self._full = False
        self._raw: deque[_Block] = deque()
        self._raw_bytes = 0
        self._plain_bytes = 0
        self.produced = 0
        """Numbers given out, which is the number of the next line."""
        self.first_kept = 0
        """The lowest number that is still kept; with ``drop_old`` stored lines before it are to be removed."""
        self.lines = 0
        """Lines kept, stored or pending."""
        self.bytes = 0
        """Their size, as ``log_max_size`` counts it."""
        self._pending_bytes = 0
        self.dropped_lines = 0
        """Lines not kept because of the limit."""
        self.dropped_bytes = 0
        self.truncated = False
        """Whether anything was dropped."""
        self.overflowed = False
        """Whether the limit was reached under ``kill``: the run is to be stopped."""

    @property
    def pending_bytes(self) -> int:
        """About how many bytes were not taken yet."""
        return self._pending_bytes + self._raw_bytes

    def feed(self, stream: Stream, data: bytes, at_us: int) -> None:
        """Add data from a pipe, read at stored time *at_us*. A line without its end waits for the rest."""
        which = STDOUT if stream == "stdout" else STDERR
        if self._full:
            self._count(which, data)
            return
        data = self._partial[which] + data
        end = data.rfind(b"\n")
        if end >= 0:
            self._receive(data[:end], which, at_us)
            data = data[end + 1 :]
        if b"\r" in data:
            data = data[data.rstrip(b"\r").rfind(b"\r") + 1 :]
        while len(data) > self._cleaner.hold and not self._full:
            cut = self._cleaner.place_to_cut(data)
            self._work()
            self._add([self._cleaner.clean(data[:cut])], which, at_us, continued=True)
            data = data[cut:]
        self._partial[which] = data

    def system(self, text: str, at_us: int) -> None:
        """Add lines of Runfleet's own. They are kept even beyond the limit."""
        self._work()
        for line in self._cleaner.clean(text.encode("utf-8", "replace")).split("\n"):
            self._keep([line], [size_of(line)], SYSTEM, at_us)
            self.produced += 1

    def finish(self, at_us: int) -> None:
        """Close the last, unfinished lines and add how many lines are missing. Call it once, at the end."""
        self._work()
        for which in (STDOUT, STDERR):
            data, self._partial[which] = self._partial[which], b""
            if data.strip(b"\r"):
                self._add([self._cleaner.clean(data)], which, at_us)
            if self._open[which]:
                self._drop(1, 0)
        if self.dropped_lines:
            where = (
                "before the first line shown" if self._on_full == "drop_old" else "after the last line before this one"
            )
            self.system(
                f"log_max_size = {self._limit} bytes was reached: {self.dropped_lines} lines "
                f"({self.dropped_bytes} bytes) are missing, {where}",
                at_us,
            )

    def take(self, max_bytes: int = TAKE_MAX) -> list[Line]:
        """The next lines to store, oldest first, up to *max_bytes* (but at least one, if there is any)."""
        self._work()
        taken: list[Line] = []
        size = 0
        pending, sizes = self._pending, self._pending_sizes
        while pending and (not taken or size + sizes[0] <= max_bytes):
            taken.append(pending.popleft())
            size += sizes.popleft()
        self._pending_bytes -= size
        return taken

    @property
    def begun(self) -> tuple[bytes, bytes]:
        """The unfinished lines of standard output and error, for comparison with earlier ones."""
        return (b"", b"") if self._full else (self._partial[STDOUT], self._partial[STDERR])

    def unfinished(self, stream: Stream) -> str:
        """The tail of the unfinished line of *stream*, as far as it may be shown; "" without one."""
        data = self._partial[STDOUT if stream == "stdout" else STDERR]
        if not data or self._full:
            return ""
        return self._cleaner.clean(self._cleaner.certain(data.rstrip(b"\r")))[-UNFINISHED_MAX:]

    def _receive(self, raw: bytes, which: int, at_us: int) -> None:
        """Whole lines, the last one without its end."""
        if self._on_full != "drop_old" or len(raw) > LINE_MAX:
            self._work()
            self._add(self._cleaner.clean(raw).split("\n"), which, at_us)
            return
        size = len(raw) + 1
        # Cleaning never makes a plain block shorter. So a block that has a limit's worth of them behind it is not kept.
        plain_size = 0 if b"\r" in raw or self._cleaner.has_secret(raw) else size
        self._raw.append(_Block(raw, which, at_us, size, plain_size))
        self._raw_bytes += size
        self._plain_bytes += plain_size
        while self._plain_bytes - self._raw[0].plain_size >= self._limit:
            block = self._raw.popleft()
            self._raw_bytes -= block.size
            self._plain_bytes -= block.plain_size
            self._forget_oldest(len(self._kept_sizes), -1)
            self._drop(block.raw.count(b"\n") + 1, block.size)
            self.first_kept = self.produced
        if self._raw_bytes > 2 * self._limit + TAKE_MAX:
            self._work()

    def _work(self) -> None:
        """Split received blocks into lines."""
        blocks, self._raw = self._raw, deque()
        self._raw_bytes = self._plain_bytes = 0
        for block in blocks:
            self._add(self._cleaner.clean(block.raw).split("\n"), block.which, block.at_us)

    def _add(self, texts: list[str], which: int, at_us: int, *, continued: bool = False) -> None:
        if sum(map(len, texts)) > LINE_MAX // 4 and max(map(size_of, texts)) > LINE_MAX + 1:
            for text in texts:
                *pieces, last = in_pieces(text)
                for piece in pieces:
                    self._add([piece], which, at_us, continued=True)
                self._add([last], which, at_us, continued=continued)
            return
        sizes = [size_of(text) for text in texts]
        if self._full:
            self._drop(len(texts), sum(sizes))
        elif self._on_full == "drop_old":
            self._add_newest(texts, sizes, which, at_us, continued)
        else:
            self._add_oldest(texts, sizes, which, at_us, continued)

    def _add_newest(self, texts: list[str], sizes: list[int], which: int, at_us: int, continued: bool) -> None:
        if sum(sizes) > self._limit:
            # Lines that the rest of their own block pushes out are never created.
            first, room = len(sizes) - 1, self._limit - sizes[-1]
            while first and sizes[first - 1] <= room:
                first -= 1
                room -= sizes[first]
            if first:
                self._forget_oldest(len(self._kept_sizes), -1)
                self._drop(first, sum(sizes[:first]))
                self.first_kept = self.produced
                texts, sizes = texts[first:], sizes[first:]
        self._keep(texts, sizes, which, at_us, continued)
        self.produced += len(texts)
        self._forget_oldest(len(self._kept_sizes) - 1, self._limit)

    def _add_oldest(self, texts: list[str], sizes: list[int], which: int, at_us: int, continued: bool) -> None:
        room = self._limit - self.bytes
        fitting = len(sizes)
        if sum(sizes) > room:
            fitting = 0
            while sizes[fitting] <= room:
                room -= sizes[fitting]
                fitting += 1
            self._full = True
            self.overflowed = self._on_full == "kill"
        self._keep(texts[:fitting], sizes[:fitting], which, at_us, continued)
        self.produced += fitting
        if fitting < len(sizes):
            self._drop(len(sizes) - fitting, sum(sizes[fitting:]))

    def _keep(self, texts: list[str], sizes: list[int], which: int, at_us: int, continued: bool = False) -> None:
        self._pending.extend(
            [Line(number, at_us, which, text, continued) for number, text in enumerate(texts, self.produced)]
        )
        self._pending_sizes.extend(sizes)
        if self._on_full == "drop_old":
            self._kept_sizes.extend(sizes)
        total = sum(sizes)
        self.lines += len(texts)
        self.bytes += total
        self._pending_bytes += total

    def _forget_oldest(self, at_most: int, until_bytes: int) -> None:
        """Drop the oldest kept lines, *at_most* that many, while more than *until_bytes* are kept."""
        kept, pending = self._kept_sizes, self._pending
        while at_most > 0 and kept and self.bytes > until_bytes:
            at_most -= 1
            size = kept.popleft()
            if pending and pending[0].n == self.first_kept:
                pending.popleft()
                self._pending_bytes -= self._pending_sizes.popleft()
            self.first_kept += 1
            self.bytes -= size
            self.lines -= 1
            self.dropped_lines += 1
            self.dropped_bytes += size
            self.truncated = True

    def _drop(self, lines: int, size: int) -> None:
        self.produced += lines
        self.dropped_lines += lines
        self.dropped_bytes += size
        self.truncated = True

    def _count(self, which: int, data: bytes) -> None:
        """Count dropped lines."""
        waiting, self._partial[which] = self._partial[which], b""
        self._drop(data.count(b"\n"), len(waiting) + len(data))
        self._open[which] = not data.endswith(b"\n")
