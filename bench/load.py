"""
A load client: ``python -m bench.load <port> <connections> <seconds> <target>`` posts as fast as it is answered; with
``events`` as a last word it posts OpenLineage events, a START and a COMPLETE of one new run after another.

A program of its own, so that it takes no time from the server's interpreter. Prints one line of JSON.
"""

import asyncio
import itertools
import json
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import uvloop

from bench.client import request
from bench.figures import percentile


class Connection(asyncio.Protocol):
    """Sends a request, and the next one when it was answered, until the time is over."""

    def __init__(
        self, requests: Iterator[bytes], end_s: float, times_ms: list[float], over: asyncio.Future[None]
    ) -> None:
        self._requests, self._end_s, self._times_ms, self._over = requests, end_s, times_ms, over
        self._read = b""
        self._sent_s = 0.0
        self.bad = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first one."""
        self._transport: Any = transport  # uvloop's are no subclass of asyncio.Transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Note how long an answer took, and send the next request."""
        self._read += data
        end = self._read.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._read[:end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self._read) < end + 4 + length:
            return
        self.bad += head[9:10] != b"2"
        self._read = b""
        now_s = time.perf_counter()
        self._times_ms.append((now_s - self._sent_s) * 1000)
        if now_s < self._end_s:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Done."""
        if not self._over.done():
            self._over.set_result(None)

    def _send(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(next(self._requests))


async def post(port: int, connections: int, seconds: float, requests: Iterator[bytes]) -> dict[str, float]:
    """Answers a second, and their times."""
    loop = asyncio.get_running_loop()
    times_ms: list[float] = []
    began_s = time.perf_counter()
    made: list[Connection] = []
    waiting: list[asyncio.Future[None]] = []
    for _ in range(connections):
        over: asyncio.Future[None] = loop.create_future()
        connection = Connection(requests, began_s + seconds, times_ms, over)
        await loop.create_connection(partial(_given, connection), "127.0.0.1", port)
        made.append(connection)
        waiting.append(over)
    await asyncio.gather(*waiting)
    taken_s = time.perf_counter() - began_s
    return {
        "count": len(times_ms),
        "rate": len(times_ms) / taken_s,
        "p50_ms": percentile(times_ms, 50),
        "p99_ms": percentile(times_ms, 99),
        "bad": sum(connection.bad for connection in made),
    }


def _given(connection: Connection) -> Connection:
    return connection


def events(target: str) -> Iterator[bytes]:
    """Requests with events as a job of Airflow's or Spark's sends them, of about a kilobyte each."""
    namespace = f"bench-{uuid.uuid4().hex[:8]}"
    facets = {
        "nominalTime": {"_producer": "urn:bench", "_schemaURL": "urn:x", "nominalStartTime": "2026-11-22T00:00:00Z"},
        "processing_engine": {"_producer": "urn:bench", "_schemaURL": "urn:x", "name": "bench", "version": "1"},
        "note": {"_producer": "urn:bench", "_schemaURL": "urn:x", "text": "x" * 200},
    }
    tables = [{"namespace": "postgres://db:5432", "name": f"sales.public.table_{number}"} for number in range(3)]
    for number in itertools.count():
        run_id = str(uuid.uuid4())
        for kind in ("START", "COMPLETE"):
            event = {
                "eventType": kind,
                "eventTime": datetime.now(UTC).isoformat(),
                "producer": "urn:bench",
                "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
                "run": {"runId": run_id, "facets": facets},
                "job": {"namespace": namespace, "name": f"job-{number % 20}", "facets": {}},
                "inputs": tables,
                "outputs": tables[:1],
            }
            yield request("POST", target, msgspec.json.encode(event))


if __name__ == "__main__":
    port, connections, seconds, target, *kind = sys.argv[1:]
    requests = events(target) if kind else itertools.repeat(request("POST", target))
    print(json.dumps(uvloop.run(post(int(port), int(connections), float(seconds), requests))))  # noqa: T201  # the answer
