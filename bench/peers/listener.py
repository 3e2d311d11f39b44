"""
An HTTP listener that accepts every POST at little cost, and answers a GET with their number.

``python -m bench.peers.listener <port>``: a system that collects lineage, without what it does with it.
"""

import asyncio
import sys
from typing import Any

import httptools
import uvloop

heard = 0


class Listener(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport  # uvloop's is no asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """The whole request is here."""
        global heard
        said = b""
        if self._parser.get_method() == b"GET":
            said = b"%d" % heard
        else:
            heard += 1
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Listener, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
