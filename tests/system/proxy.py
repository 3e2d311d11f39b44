"""A way to Valkey that can become a black hole: connections stand, nothing passes, nobody is told."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path


class Proxy:
    """Forwards one unix socket to another, from a thread of its own, unless ``hole`` is set."""

    def __init__(self, path: Path, target: Path) -> None:
        self.url = f"unix://{path}"
        self._path, self._target = path, target
        self._open = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="proxy")

    def swallow(self) -> None:
        """From now on nothing passes, in either direction."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def pass_on(self) -> None:
        """All that was held back passes, and what follows."""
        self._loop.call_soon_threadsafe(self._open.set)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            with contextlib.suppress(asyncio.CancelledError):
                runner.run(self._listen())

    async def _listen(self) -> None:
        self._open.set()
        async with await asyncio.start_unix_server(self._connect, self._path) as server:
            self._ready.set()
            await server.serve_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there_reader, there_writer = await asyncio.open_unix_connection(self._target)
            await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

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
