"""A way to Valkey on which things go wrong: replies are lost, lines are cut or slow, or nothing passes at all."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

PIECE = 65536


class Proxy:
    """
    Forwards one unix socket to another, from a thread of its own.

    ``cut_every`` ends a connection after so many bytes of replies (of all connections together), 0 never. ``latency_s``
    is that of each reply, ``bytes_per_s`` the speed of each connection in each direction, 0 is unlimited. All may be
    set at any time.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self.url = f"unix://{path}"
        self.cut_every = 0
        self.cuts = 0
        self.latency_s = 0.0
        self.bytes_per_s = 0
        self._path, self._target = path, target
        self._lose_replies = False
        self._replied = 0
        self._lines: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="proxy")

    def swallow(self) -> None:
        """From now on nothing passes, in either direction: a black hole."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def pass_on(self) -> None:
        """All that was held back passes, and what follows."""
        self._loop.call_soon_threadsafe(self._open.set)

    def lose_replies(self, lose: bool = True) -> None:
        """From now on requests arrive and replies are lost; or not any more."""
        self._lose_replies = lose

    def lead_to(self, target: Path) -> None:
        """Cut all connections; new ones lead to another server."""

        def cut() -> None:
            self._target = target
            for line in self._lines:
                line.transport.abort()

        self._loop.call_soon_threadsafe(cut)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            with contextlib.suppress(asyncio.CancelledError):
                runner.run(self._listen())
            runner.run(_wind_up())

    async def _listen(self) -> None:
        self._open.set()
        async with await asyncio.start_unix_server(self._connect, self._path) as server:
            self._ready.set()
            await server.serve_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.close()
            return
        lines = {writer, there_writer}
        self._lines |= lines
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, there_writer, replies=False))
                pumps.create_task(self._pump(there_reader, writer, replies=True))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._lines -= lines
            for line in lines:
                line.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool) -> None:
        while data := await reader.read(min(PIECE, self.bytes_per_s or PIECE)):
            delay_s = (self.latency_s if replies else 0.0) + (len(data) / self.bytes_per_s if self.bytes_per_s else 0.0)
            if delay_s:
                await asyncio.sleep(delay_s)
            await self._open.wait()
            if replies and self._lose_replies:
                continue
            left = self._until_the_cut() if replies else PIECE
            if replies:
                self._replied += min(len(data), left)
            writer.write(data[:left])
            await writer.drain()
            if len(data) >= left and replies:
                self.cuts += 1
                raise ConnectionAbortedError
        writer.write_eof()

    def _until_the_cut(self) -> int:
        """How many bytes of replies still pass; a number that is never reached when lines are not cut."""
        return self.cut_every - self._replied % self.cut_every if self.cut_every else PIECE + 1

    @contextlib.contextmanager
    def serving(self) -> Iterator[Proxy]:
        """While inside, it is there."""
        self._thread.start()
        assert self._ready.wait(5)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(self._loop)])
            self._thread.join(5)


async def _wind_up() -> None:
    """Wait for what was cancelled: transports are closed in the rounds of the loop that follow."""
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
    for _ in range(3):
        await asyncio.sleep(0)
