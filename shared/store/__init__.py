"""
The data in Redis: its keys, the scripts, and the calls that the three processes make.

``README.md`` beside this file is the data model: every key with its type, its life, who writes and who reads it. Start
reading at ``redis/call.py`` (an operation is a value), then ``runs.py`` and the script it names. Nothing outside this
package knows a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.settings import Settings
    from shared.store.redis.async_store import AsyncStore
    from shared.store.redis.sync_store import Store


def open_store(settings: Settings) -> Store:
    """A store for threads. Connects at its first call. Raises Misconfigured for a URL that cannot be used."""
    from shared.store.redis.sync_store import Store

    return Store(settings)


def open_async_store(settings: Settings) -> AsyncStore:
    """A store for one event loop. Connects at its first call. Raises Misconfigured for a URL that cannot be used."""
    from shared.store.redis.async_store import AsyncStore

    return AsyncStore(settings)
