"""The state of one API process: settings, store, catalog, authenticator, limits."""

import asyncio
from typing import Final

from api.http.auth import Authenticator
from api.http.event_tail import EventTail
from api.http.stream_limit import HandshakeLimit, StreamLimit
from shared.ops import Catalog
from shared.settings import Settings
from shared.store.redis.async_store import AsyncStore

LOG_READS: Final = 16
"""Windows of logs that are read for streams at once; while it is read, one may take megabytes."""


class AppState:
    """
    Created once per application; handlers reach it through ``Request.state``.

    ``unfinished_bytes`` counts the bytes of incomplete bodies. ``closing`` is set when the process is stopping: streams
    end, ``/ready`` fails, other requests are still served.
    """

    def __init__(self, settings: Settings, store: AsyncStore) -> None:
        self.settings = settings
        self.store = store
        self.catalog = Catalog()
        self.authenticator = Authenticator(settings, store)
        self.tail = EventTail(store)
        self.stream_limit = StreamLimit(settings.max_streams)
        self.handshake_limit = HandshakeLimit(
            max(10, settings.max_streams // 4), "WebSockets whose client has not signed in yet"
        )
        self.unfinished_bytes = 0
        self.log_reads = asyncio.Semaphore(LOG_READS)
        self.closing = asyncio.Event()
