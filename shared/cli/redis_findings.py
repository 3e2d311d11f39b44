"""The checks of ``runfleet doctor`` on Redis: connection, version, rights, memory and persistence."""

from collections.abc import Sequence
from typing import Final

from shared.addresses import is_local
from shared.cli.findings import Check, Facts, Finding, count, unread
from shared.redis_url import parse, place
from shared.settings import Settings
from shared.store.fleet import Worker
from shared.store.key_types import MistypedKey
from shared.store.preflight import EVICTION_CURE
from shared.store.redis.permissions import ON_CHANNELS, ON_KEYS, all_of
from shared.store.redis.server_info import OLDEST_MAJOR, Server
from shared.store.version import SCHEMA, mismatch

SLOW_MS: Final = 20.0
"""Slower round trips delay the start of every run noticeably."""

CLOCKS_APART_US: Final = 1_000_000
NEARLY_FULL: Final = 0.8

SCHEDULER_CONNECTIONS: Final = 2
API_CONNECTIONS: Final = 1
WORKER_CONNECTIONS: Final = 2
"""
Connections in addition to the pool: the API has one subscription, a worker one for heartbeats and one for logs. A
worker also has one blocking read per queue.
"""

MB: Final = 1024 * 1024


def wrong_keys(wrong: Sequence[MistypedKey], settings: Settings) -> list[Finding]:
    """Keys of Runfleet that another program wrote to."""
    return [
        Finding(
            "key-kind",
            "error",
            f"key {settings.key_prefix}:{one.key}",
            one.kind,
            f"is {one.kind}, and should be {one.wanted}: another program wrote it, and operations that need it fail",
            one.cure.replace("delete that key", f"`redis-cli DEL '{settings.key_prefix}:{one.key}'`"),
        )
        for one in wrong
    ]


def transport(settings: Settings) -> list[Finding]:
    """Whether the connection is encrypted. Needs no Redis."""
    where, scheme = place(settings.redis_url), settings.redis_url.partition(":")[0]
    if scheme == "unix":
        return [Finding("tls", "ok", "way to Redis", where, "is a socket on this machine")]
    if scheme.startswith("rediss") and not settings.redis_tls_verify:
        return [
            Finding(
                "tls-verify",
                "warning",
                "way to Redis",
                where,
                "is encrypted, but the certificate is not verified (man-in-the-middle attacks are possible)",
                "use a certificate that can be verified and remove RUNFLEET_REDIS_TLS_VERIFY=off; keep it for Heroku's "
                "self-signed certificates",
            )
        ]
    if scheme.startswith("rediss"):
        return [Finding("tls", "ok", "way to Redis", where, "is encrypted, and the certificate is verified")]
    if is_local(settings.redis_url):
        return [Finding("tls", "ok", "way to Redis", where, "does not leave this machine")]
    return [
        Finding(
            "tls",
            "warning",
            "way to Redis",
            where,
            "sends password and data in clear text",
            "use the rediss:// URL of your provider (or rediss+sentinel://), unless the network is private",
        )
    ]


def reached(facts: Facts) -> list[Finding]:
    """How long Redis takes to answer."""
    took = f"{facts.round_trip_ms:.1f} ms"
    if facts.round_trip_ms < SLOW_MS:
        return [Finding("redis", "ok", "round trip", took, "Redis answers")]
    return [
        Finding(
            "redis",
            "warning",
            "round trip",
            took,
            "each run needs a few of these",
            "run Runfleet in the region of its Redis; if it is, look for slow commands with SLOWLOG GET",
        )
    ]


def supported(facts: Facts) -> list[Finding]:
    """Whether the version of the server is supported."""
    server = facts.server
    major = (server.redis_version or "").partition(".")[0]
    if not major.isdigit():
        return unread("version", "server")
    value = f"{server.name} {server.version}"
    if int(major) >= OLDEST_MAJOR:
        return [Finding("version", "ok", "server", value, "is supported")]
    return [
        Finding(
            "version",
            "error",
            "server",
            value,
            f"is too old: Runfleet needs Redis {OLDEST_MAJOR} or later",
            f"upgrade to Redis {OLDEST_MAJOR} or later, or to any Valkey",
        )
    ]


def role(facts: Facts) -> list[Finding]:
    """Whether the server accepts writes."""
    if facts.server.role is None:
        return unread("role", "role")
    if facts.server.role == "master":
        return [Finding("role", "ok", "role", "primary", "accepts writes")]
    return [
        Finding(
            "role",
            "error",
            "role",
            "replica",
            "accepts no writes: nothing can be started, ended or logged",
            "point RUNFLEET_REDIS_URL at the primary, or at the Sentinels "
            "(redis+sentinel://host:26379,host:26379/service), which know the primary",
        )
    ]


def eviction(facts: Facts) -> list[Finding]:
    """Whether Redis may evict keys when memory is short, and whether it has."""
    policy, evicted = facts.server.eviction_policy, facts.server.evicted_keys
    if policy is None:
        return unread("eviction-policy", "eviction policy")
    cure = f"{EVICTION_CURE}, or use a separate Redis for Runfleet"
    if policy == "noeviction":
        found = [
            Finding("eviction-policy", "ok", "eviction policy", policy, "Redis evicts nothing when memory is short")
        ]
    elif policy.startswith("volatile-"):
        message = "when memory is short, Redis evicts expiring keys early: idempotency keys, a worker's last claims"
        found = [Finding("eviction-policy", "warning", "eviction policy", policy, message, cure)]
    else:
        message = "when memory is short, Redis may evict any key, even runs and schedules; Runfleet does not start"
        found = [Finding("eviction-policy", "error", "eviction policy", policy, message, cure)]
    if evicted:
        found.append(
            Finding(
                "evicted-keys",
                "warning",
                "evicted keys",
                str(evicted),
                "were evicted since the server started; some may have been Runfleet's",
                "set the policy to noeviction, then check recent runs and run `runfleet apply` again",
            )
        )
    return found


def persistence(facts: Facts) -> list[Finding]:
    """Which data is lost when the server is killed."""
    server = facts.server
    cure = "CONFIG SET appendonly yes and appendfsync everysec (or your provider's plan with persistence)"

    def finding(level: str, value: str, message: str) -> list[Finding]:
        if level == "ok":
            return [Finding("persistence", "ok", "persistence", value, message)]
        return [Finding("persistence", "warning", "persistence", value, message, cure)]

    if server.appends is None:
        return unread("persistence", "persistence")
    if server.appends:
        match server.append_fsync:
            case "always":
                return finding("ok", "AOF, always", "a crash of the server loses nothing")
            case "no":
                return finding(
                    "warning", "AOF, no fsync", "a crash of its machine loses what the kernel has not written"
                )
            case "everysec":
                return finding("ok", "AOF, every second", "a crash of its machine loses about a second")
        return finding("ok", "AOF", "a restart of the server loses little; how often it syncs could not be read")
    if server.save is None:
        return unread("persistence", "persistence")
    if server.save:
        return finding("warning", "snapshots only", "a crash of the server loses all changes since the last snapshot")
    return finding("warning", "none", "a restart of the server loses all runs, logs and tasks")


def last_write(server: Server) -> list[Finding]:
    """Whether the server could write to its disk; one that could not refuses every write (MISCONF)."""
    if server.append_is_well is None and server.snapshot_is_well is None:
        return unread("disk", "server's disk")
    cure = "see the server's log; usually its disk is full: free or enlarge it"
    if server.appends and server.append_is_well is False:
        message = "the append-only file cannot be written: Redis refuses every write (MISCONF)"
        return [Finding("disk", "error", "server's disk", "AOF write failed", message, cure)]
    if server.snapshot_is_well is False:
        refuses = server.save != "" and server.denies_after_snapshot is not False
        message = "Redis refuses every write (MISCONF)" if refuses else "there is no fresh snapshot to restore from"
        return [Finding("disk", "error" if refuses else "warning", "server's disk", "snapshot failed", message, cure)]
    return [Finding("disk", "ok", "server's disk", "fine", "the last writes went well")]


def memory(facts: Facts) -> list[Finding]:
    """How full Redis is."""
    used, most = facts.server.memory_bytes, facts.server.max_memory_bytes
    if used is None or most is None:
        return unread("memory", "memory")
    if not most:
        message = (
            "maxmemory is not set; set it on a shared machine, or the kernel may kill processes when memory is short"
        )
        return [Finding("memory", "info", "memory", f"{used / MB:.0f} MB", message)]
    value = f"{used / MB:.0f} of {most / MB:.0f} MB"
    if used <= most * NEARLY_FULL:
        return [Finding("memory", "ok", "memory", value, f"{used / most:.0%} is used")]
    return [
        Finding(
            "memory",
            "warning",
            "memory",
            value,
            f"{used / most:.0%} is used; when it is full, runs can still end, but no new ones are accepted",
            "raise maxmemory, or lower keep_runs, keep_for and log_max_size of the tasks with the most output",
        )
    ]


def clocks(facts: Facts) -> list[Finding]:
    """Whether this machine and Redis agree on the time."""
    apart_us = facts.clock_ahead_us
    value = f"{abs(apart_us) / 1e6:.1f} s apart"
    if abs(apart_us) <= CLOCKS_APART_US:
        return [Finding("clock", "ok", "clocks", value, "this machine and Redis agree")]
    ahead = "ahead of" if apart_us > 0 else "behind"
    return [
        Finding(
            "clock",
            "warning",
            "clocks",
            value,
            f"Redis is {ahead} this machine; schedules use the clock of Redis, your commands that of their machine",
            "synchronise both machines by NTP (timedatectl set-ntp true)",
        )
    ]


def connections(facts: Facts) -> list[Finding]:
    """Whether the whole fleet can connect."""
    most, now = facts.server.max_connections, facts.server.connections
    if most is None or now is None:
        return unread("connections", "connections")
    wanted = connections_wanted(facts.workers, 1 + len(facts.standbys), facts.settings.redis_pool)
    value = f"{now} of {most}"
    if max(now, wanted) <= most * NEARLY_FULL:
        return [Finding("connections", "ok", "connections", value, f"this fleet and one API need up to {wanted}")]
    return [
        Finding(
            "connections",
            "warning",
            "connections",
            value,
            f"this fleet and one API need up to {wanted}, and twice as many during a deployment",
            "raise maxclients (or take a larger plan), or use fewer RUNFLEET_WORKER_PROCESSES with more "
            "RUNFLEET_WORKER_THREADS each, or lower RUNFLEET_REDIS_POOL",
        )
    ]


def connections_wanted(workers: Sequence[Worker], schedulers: int, pool: int) -> int:
    """The number of connections that these processes and one API open when all are busy; calls share the *pool*."""
    each = [min(worker.slots, pool) + WORKER_CONNECTIONS + len(worker.queues) for worker in workers if worker.alive]
    return sum(each) + schedulers * SCHEDULER_CONNECTIONS + pool + API_CONNECTIONS


def layout(facts: Facts) -> list[Finding]:
    """Whether this release can read the data."""
    prefix = facts.settings.key_prefix
    if facts.layout is None:
        message = f"this store has never been used (prefix {prefix})"
        return [Finding("layout", "info", "data", "empty", message)]
    value = f"layout {facts.layout}"
    if facts.layout == SCHEMA:
        return [Finding("layout", "ok", "data", value, "this release can read it")]
    wrong, cure = mismatch(facts.layout)
    return [Finding("layout", "error", "data", value, f"no process of this release starts: {wrong}", cure)]


def rights(refused: Sequence[str], settings: Settings) -> list[Finding]:
    """Whether the Redis user has all rights that Runfleet needs."""
    if not refused:
        return [Finding("rights", "ok", "rights", "sufficient", "this user has all rights that Runfleet needs")]
    prefix = settings.key_prefix
    wanted = [f"+{name.lower()}" for name in refused]
    if all_of(ON_KEYS, refused):
        wanted = [f"~{prefix}*", *(word for word in wanted if word.upper()[1:] not in _names_of(ON_KEYS))]
    if all_of(ON_CHANNELS, refused):
        wanted = [f"&{prefix}*", *(word for word in wanted if word.upper()[1:] not in _names_of(ON_CHANNELS))]
    if "EVAL" in refused:
        wanted = ["+@scripting", *(word for word in wanted if word not in ("+eval", "+evalsha"))]
    user = parse(settings.redis_url).username or "default"
    return [
        Finding(
            "rights",
            "error",
            "rights",
            f"{count(len(wanted), 'right')} missing",
            f"Redis refuses this user {', '.join(wanted[:8])}{' and more' if len(wanted) > 8 else ''}",
            f"ACL SETUSER {user} {' '.join(wanted[:8])} (docs/deploy.md lists all rights)",
        )
    ]


def _names_of(lines: Sequence[str]) -> set[str]:
    return {line.partition(" ")[0] for line in lines}


CHECKS: Final[tuple[Check, ...]] = (
    lambda facts: transport(facts.settings),
    reached,
    supported,
    role,
    eviction,
    persistence,
    lambda facts: last_write(facts.server),
    memory,
    clocks,
    connections,
    layout,
)
"""The checks, in the order of the output."""
