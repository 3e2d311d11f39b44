"""
A relay between a process and its Valkey that counts round trips: each time a connection speaks again after an answer.

What is under way is named after the scripts in it, or after its command, so that a count can be read.
"""

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from shared.store.redis.scripts import script, script_names


@dataclass(frozen=True)
class Trip:
    """One round trip: when it began (measured seconds), which connection, what was asked for, bytes sent."""

    at_s: float
    connection: int
    what: str
    size: int


class Relay:
    """Listens on a loopback port in a thread of its own. Use it as a context manager."""

    def __init__(self, to: Path) -> None:
        self.trips: list[Trip] = []
        self._to = to
        self._names = {script(name).sha.encode(): name for name in script_names()}
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._connections += 1
        number = self._connections
        there_reader, there_writer = await asyncio.open_unix_connection(str(self._to))
        answered = asyncio.Event()
        answered.set()

        async def back() -> None:
            while data := await there_reader.read(1 << 20):
                answered.set()
                writer.write(data)
                await writer.drain()

        answers = asyncio.ensure_future(back())
        try:
            while data := await reader.read(1 << 20):
                if answered.is_set():
                    answered.clear()
                    self.trips.append(Trip(time.monotonic(), number, self._name(data), len(data)))
                there_writer.write(data)
                await there_writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            return  # the process hung up, or the measurement is over
        finally:
            answers.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await answers
            there_writer.close()
            writer.close()

    def _name(self, data: bytes) -> str:
        found = sorted((data.find(sha), name) for sha, name in self._names.items() if sha in data)
        if found:
            return "+".join(name for _, name in found)
        words = data.split(b"\r\n", 5)
        key = words[4].rpartition(b"}:")[2][:20] if len(words) > 4 else b""
        return f"{words[2].decode(errors='replace')} {key.partition(b':')[0].decode(errors='replace')}".strip()
