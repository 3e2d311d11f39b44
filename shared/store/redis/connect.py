"""
Connection pools for a Redis URL, and the translation of redis-py's errors to ours.

redis-py's clients are left out: a pool's connections send packed commands and read replies, which is all that an
executor needs, at a third of the cost.
"""

import os
import re
from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ClusterCrossSlotError,
    ConnectionError,
    DataError,
    InvalidResponse,
    MovedError,
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
from shared.redis_url import TLS_FILES, BadUrl, RedisUrl, parse, place
from shared.settings import Settings

AWAY = (ConnectionError, ReplyTimeout, OSError, ReadOnlyError)
"""
Errors of a connection that cannot be used any more; the command may or may not have been carried out. One that leads to
a replica was a primary's once: the same address may lead to the new one, but only when it is connected to again.
"""

SILENT = (ReplyTimeout, TimeoutError)
"""Those of ``AWAY`` that are time-outs. A second try would only make the caller wait twice."""

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
    "DataError",
    "NoScriptError",
    "OutOfMemoryError",
    "RedisError",
    "async_pool",
    "explain",
    "maker",
    "pool",
]


def pool(settings: Settings, *, timeout_s: float | None, size: int) -> Any:
    """
    A pool of blocking connections; ``timeout_s`` None never gives up on a reply. Raises Misconfigured for a bad URL.
    """
    url = _address(settings)
    arguments = _arguments(url, settings, timeout_s, size) | {"retry": Retry(NoBackoff(), 0)}
    if url.is_sentinel:
        from redis.sentinel import Sentinel

        watch: Any = Sentinel(url.hosts, sentinel_kwargs=_to_sentinels(url, settings))  # type: ignore[no-untyped-call]  # redis-py has no types here
        return watch.master_for(url.service, **arguments).connection_pool
    kind = (
        redis.UnixDomainSocketConnection if url.path else redis.SSLConnection if url.is_encrypted else redis.Connection
    )
    make: Any = redis.BlockingConnectionPool
    return make(connection_class=kind, timeout=timeout_s or 5, **arguments)


def async_pool(settings: Settings, *, timeout_s: float | None, size: int) -> Any:
    """As ``pool``, for an event loop."""
    from redis.asyncio import connection
    from redis.asyncio.retry import Retry as AsyncRetry

    url = _address(settings)
    arguments = _arguments(url, settings, timeout_s, size) | {"retry": AsyncRetry(NoBackoff(), 0)}
    if url.is_sentinel:
        from redis.asyncio.sentinel import Sentinel

        watch: Any = Sentinel(url.hosts, sentinel_kwargs=_to_sentinels(url, settings))  # type: ignore[no-untyped-call]  # redis-py has no types here
        return watch.master_for(url.service, **arguments).connection_pool
    kind: Any = connection.Connection
    if url.path:
        kind = connection.UnixDomainSocketConnection
    elif url.is_encrypted:
        kind = connection.SSLConnection
    return redis.asyncio.ConnectionPool(connection_class=kind, **arguments)


def maker(pool: Any) -> Callable[[], Any]:
    """
    Makes connections to where *pool* leads that are not the pool's: it neither counts nor keeps them.

    A pool would hold each of them for as long as the process lives, and one of the Sentinels' makes no more after so
    many.
    """
    return lambda: pool.connection_class(**pool.connection_kwargs)


def explain(error: BaseException) -> RunfleetError:
    """The error for callers that a redis-py error stands for."""
    code = getattr(error, "status_code", None)  # redis-py takes the codes that it knows away from the text
    text = f"{code} {error}" if code and code != "ERR" else str(error)
    if isinstance(error, OutOfMemoryError) or text.startswith("OOM"):
        return StoreFull("Redis has no memory left for new runs; raise maxmemory or lower keep_runs")
    if isinstance(error, AuthenticationError) or text.startswith(("WRONGPASS", "NOAUTH", "NOPERM")):
        return StoreUnavailable(f"Redis refuses this user: {text}")
    permanent = _permanent(error, text)
    if permanent:
        return Misconfigured(permanent)
    if type(error).__name__ == "MasterNotFoundError":  # there are two, in modules that most processes never load
        return StoreUnavailable(f"Redis cannot be used right now: {_no_primary(text)}")
    if isinstance(error, AWAY) or text.startswith(_PASSING):
        return StoreUnavailable(f"Redis cannot be used right now: {text or type(error).__name__}")
    if text.startswith("WRONGTYPE") or "Operation against a key holding the wrong kind" in text:
        return RunfleetError(
            "Redis refused a command: a key holds something that Runfleet did not write; `runfleet doctor` and "
            f"/api/fleet say which ({text})"
        )
    return RunfleetError(f"Redis refused a command: {text}")


def _permanent(error: BaseException, text: str) -> str:
    """The message of an error that does not pass by itself; "" for any other."""
    if isinstance(error, MovedError):
        return (
            f"this is one node of a Redis Cluster, and Runfleet's keys are on another one, {error.host}:{error.port} "
            f"(slot {error.slot_id}): set RUNFLEET_REDIS_URL to that node, or use a Redis that is no cluster"
        )
    if isinstance(error, ClusterCrossSlotError) or text.startswith("CROSSSLOT"):
        return (
            "this is a Redis Cluster, which keeps our keys together only for what is in braces: write "
            "RUNFLEET_KEY_PREFIX={runfleet}, or use a Redis that is no cluster"
        )
    if "DB index is out of range" in text:
        return "the Redis URL names a database that this server does not have: most have 0 to 15, some only 0"
    if "SELECT is not allowed" in text or text.startswith("SELECT"):
        return f"this Redis has no database but 0; leave the number out of the Redis URL ({text})"
    if isinstance(error, InvalidResponse):
        return "what answers at the address in the Redis URL is no Redis: look at its host and port"
    return ""


def _no_primary(text: str) -> str:
    """redis-py's message about Sentinels that name no primary, without its Python objects."""
    service = text.partition("'")[2].partition("'")[0]
    asked = ", ".join(f"{host}:{port}" for host, port in re.findall(r"host=([^,)]+),port=(\d+)", text))
    reason = f"not reached: {asked}" if asked else "the Sentinels were reached"
    return f"no Sentinel names a primary for service {service!r} ({reason}); look at the service's name and the hosts"


def _address(settings: Settings) -> RedisUrl:
    """The URL, taken apart. Raises Misconfigured."""
    if not settings.redis_url:
        raise Misconfigured("no Redis is set: write RUNFLEET_REDIS_URL=redis://host:6379/0 (or start `runfleet up`)")
    try:
        url = parse(settings.redis_url)
    except BadUrl as error:
        raise Misconfigured(f"the Redis URL {place(settings.redis_url)} cannot be used: {error}") from None
    for name in TLS_FILES:
        path = url.tls.get(name)
        if path and not os.access(path, os.R_OK):
            raise Misconfigured(f"the Redis URL cannot be used: {name}={path} is not there, or cannot be read")
    return url


def _arguments(url: RedisUrl, settings: Settings, timeout_s: float | None, size: int) -> dict[str, Any]:
    """The arguments of redis-py's pools and connections."""
    arguments: dict[str, Any] = {
        "protocol": 2,
        "max_connections": size,
        "socket_timeout": timeout_s,
        "health_check_interval": 0,
        "username": url.username,
        "password": url.password,
        "db": url.db,
        "client_name": url.client_name,
    }
    if url.path:
        return arguments | {"path": url.path}
    arguments["socket_connect_timeout"] = settings.redis_timeout_s
    if url.is_sentinel:
        return arguments | _tls(url, settings) | ({"ssl": True} if url.is_encrypted else {})
    [(host, port)] = url.hosts
    return arguments | _tls(url, settings) | {"host": host, "port": port}


def _to_sentinels(url: RedisUrl, settings: Settings) -> dict[str, Any]:
    """How to connect to the Sentinels, who ask for a user and a password of their own."""
    own = {"socket_timeout": 1, "username": url.sentinel_username, "password": url.sentinel_password}
    return own | _tls(url, settings) | ({"ssl": True} if url.is_encrypted else {})


def _tls(url: RedisUrl, settings: Settings) -> dict[str, Any]:
    if not url.is_encrypted:
        return {}
    unverified = {} if settings.redis_tls_verify else {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    return {**url.tls, **unverified}
