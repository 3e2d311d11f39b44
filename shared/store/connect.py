"""
From a URL to connection pools, and from redis-py's errors to ours.

redis-py's clients are left out: a pool's connections send packed commands and read replies, which is all that an
executor needs, at a third of the cost.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import (
    TimeoutError as ReplyTimeout,
)
from redis.retry import Retry

from shared.errors import Misconfigured, RunfleetError, StoreFull, StoreUnavailable
from shared.settings import Settings

AWAY = (ConnectionError, ReplyTimeout, OSError, ReadOnlyError)
"""
Errors of a connection that cannot be used any more; the command may or may not have been carried out. One that leads to
a replica was a primary's once: the same address may lead to the new one, but only when it is connected to again.
"""

SILENT = (ReplyTimeout, TimeoutError)
"""Those of ``AWAY`` that say: asked, and no answer in time. Asking again would only make the caller wait twice."""

_PASSING = (
    "LOADING",
    "READONLY",
    "MISCONF",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "NOREPLICAS",
    "TRYAGAIN",
    "BUSY",
    "UNBLOCKED",
)

__all__ = [
    "AWAY",
    "SILENT",
    "NoScriptError",
    "OutOfMemoryError",
    "RedisError",
    "async_pool",
    "explain",
    "pool",
]


def pool(settings: Settings, *, timeout_s: float | None, size: int) -> Any:
    """
    A pool of blocking connections; ``timeout_s`` None never gives up on a reply. Raises Misconfigured for a bad URL.
    """
    arguments = _arguments(settings, timeout_s, size) | {"retry": Retry(NoBackoff(), 0)}
    sentinels, service, url = _sentinels(settings.redis_url)
    try:
        if sentinels:
            from redis.sentinel import Sentinel

            watch: Any = Sentinel(sentinels, sentinel_kwargs={"socket_timeout": 1})  # type: ignore[no-untyped-call]  # redis-py has no types here
            return watch.master_for(service, **_plain(url, arguments)).connection_pool
        return redis.BlockingConnectionPool.from_url(_checked(settings.redis_url), timeout=timeout_s or 5, **arguments)
    except ValueError as error:
        raise Misconfigured(f"the Redis URL cannot be used: {error}") from None


def async_pool(settings: Settings, *, timeout_s: float | None, size: int) -> Any:
    """As ``pool``, for an event loop."""
    from redis.asyncio.retry import Retry as AsyncRetry

    arguments = _arguments(settings, timeout_s, size) | {"retry": AsyncRetry(NoBackoff(), 0)}
    sentinels, service, url = _sentinels(settings.redis_url)
    try:
        if sentinels:
            from redis.asyncio.sentinel import Sentinel

            watch: Any = Sentinel(sentinels, sentinel_kwargs={"socket_timeout": 1})  # type: ignore[no-untyped-call]  # redis-py has no types here
            return watch.master_for(service, **_plain(url, arguments)).connection_pool
        return redis.asyncio.ConnectionPool.from_url(_checked(settings.redis_url), **arguments)
    except ValueError as error:
        raise Misconfigured(f"the Redis URL cannot be used: {error}") from None


def explain(error: BaseException) -> RunfleetError:
    """What a redis-py error means to a caller."""
    code = getattr(error, "status_code", None)  # redis-py takes the codes that it knows away from the text
    text = f"{code} {error}" if code and code != "ERR" else str(error)
    if isinstance(error, OutOfMemoryError) or text.startswith("OOM"):
        return StoreFull("Redis has no memory left for new runs; raise maxmemory or lower keep_runs")
    if isinstance(error, AuthenticationError) or text.startswith(("WRONGPASS", "NOAUTH", "NOPERM")):
        return StoreUnavailable(f"Redis refuses this user: {text}")
    if isinstance(error, AWAY) or text.startswith(_PASSING):
        return StoreUnavailable(f"Redis cannot be used right now: {text or type(error).__name__}")
    return RunfleetError(f"Redis refused a command: {text}")


def _arguments(settings: Settings, timeout_s: float | None, size: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "protocol": 2,
        "max_connections": size,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": settings.redis_timeout_s,
        "health_check_interval": 0,
    }
    if settings.redis_url.startswith("rediss://") and not settings.redis_tls_verify:
        arguments |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    if settings.redis_url.startswith("unix://"):
        arguments.pop("socket_connect_timeout")
    return arguments


def _checked(url: str) -> str:
    if not url:
        raise Misconfigured("no Redis is set: write RUNFLEET_REDIS_URL=redis://host:6379/0 (or start `runfleet up`)")
    if not url.startswith(("redis://", "rediss://", "unix://")):
        scheme = url.partition(":")[0]
        raise Misconfigured(f"{scheme}:// is no Redis URL; write redis://, rediss://, unix:// or redis+sentinel://")
    return url


def _sentinels(url: str) -> tuple[list[tuple[str, int]], str, Any]:
    if not url.startswith("redis+sentinel://"):
        return [], "", None
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2].split(",")
    path = [part for part in parts.path.split("/") if part]
    if not path:
        raise Misconfigured("a Sentinel URL names its service: redis+sentinel://host:26379,host:26379/mymaster/0")
    pairs = [(host.rpartition(":")[0] or host, int(host.rpartition(":")[2] or 26379)) for host in hosts]
    return pairs, path[0], parts


def _plain(url: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    path = [part for part in url.path.split("/") if part]
    return arguments | {
        "username": url.username,
        "password": url.password,
        "db": int(path[1]) if len(path) > 1 else 0,
    }
