"""What ``runfleet doctor`` thinks of Redis: the way to it, its version, what it keeps and what it may lose."""

from __future__ import annotations

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
"""A round trip that takes longer makes every run start noticeably later."""

CLOCKS_APART_US: Final = 1_000_000
NEARLY_FULL: Final = 0.8

SCHEDULER_CONNECTIONS: Final = 2
API_CONNECTIONS: Final = 1
WORKER_CONNECTIONS: Final = 2
"""
Of an API and of a worker process beside those that their calls share: one that is subscribed; one that renews leases
and one that writes logs. A worker waits for each of its queues on one more.
"""

MB: Final = 1024 * 1024


def wrong_keys(wrong: Sequence[MistypedKey], settings: Settings) -> list[Finding]:
    """Keys of ours that somebody else wrote to."""
    return [
        Finding(
            "key-kind",
            "error",
            f"key {settings.key_prefix}:{one.key}",
            one.kind,
            f"is {one.kind}, and should be {one.wanted}: somebody else wrote it, and whatever needs it fails",
            one.cure.replace("delete that key", f"`redis-cli DEL '{settings.key_prefix}:{one.key}'`"),
        )
        for one in wrong
    ]


def transport(settings: Settings) -> list[Finding]:
    """Whether others on the way can read along. Needs no Redis."""
    where, scheme = place(settings.redis_url), settings.redis_url.partition(":")[0]
    if scheme == "unix":
        return [Finding("tls", "ok", "way to Redis", where, "a socket of this machine")]
    if scheme.startswith("rediss") and not settings.redis_tls_verify:
        return [
            Finding(
                "tls-verify",
                "warning",
                "way to Redis",
                where,
                "encrypted, but whoever is in between can pose as the server",
                "give the server a certificate that can be verified and remove RUNFLEET_REDIS_TLS_VERIFY=off; with "
                "Heroku's self-signed chain it has to stay",
            )
        ]
    if scheme.startswith("rediss"):
        return [Finding("tls", "ok", "way to Redis", where, "encrypted, and the certificate is verified")]
    if is_local(settings.redis_url):
        return [Finding("tls", "ok", "way to Redis", where, "does not leave this machine")]
    return [
        Finding(
            "tls",
            "warning",
            "way to Redis",
            where,
            "password and data travel in clear text",
            "use the rediss:// URL of your provider (or rediss+sentinel://), unless the network between is your own",
        )
    ]


def reached(facts: Facts) -> list[Finding]:
    """How long Redis takes to answer; that it does is known."""
    took = f"{facts.round_trip_ms:.1f} ms"
    if facts.round_trip_ms < SLOW_MS:
        return [Finding("redis", "ok", "round trip", took, "Redis answers")]
    return [
        Finding(
            "redis",
            "warning",
            "round trip",
            took,
            "every run waits for a few of these",
            "run Runfleet in the region of its Redis; if it is there, look for slow commands with SLOWLOG GET",
        )
    ]


def supported(facts: Facts) -> list[Finding]:
    """Whether the server is one we work with."""
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
            f"Runfleet needs what came with Redis {OLDEST_MAJOR}",
            f"upgrade to Redis {OLDEST_MAJOR} or later, or to any Valkey",
        )
    ]


def role(facts: Facts) -> list[Finding]:
    """Whether the server takes writes."""
    if facts.server.role is None:
        return unread("role", "role")
    if facts.server.role == "master":
        return [Finding("role", "ok", "role", "primary", "takes writes")]
    return [
        Finding(
            "role",
            "error",
            "role",
            "replica",
            "it takes no writes: nothing can be started, ended or logged",
            "point RUNFLEET_REDIS_URL at the primary, or at the Sentinels "
            "(redis+sentinel://host:26379,host:26379/service), which know who that is",
        )
    ]


def eviction(facts: Facts) -> list[Finding]:
    """What goes when memory is short, and what went already."""
    policy, evicted = facts.server.eviction_policy, facts.server.evicted_keys
    if policy is None:
        return unread("eviction-policy", "eviction policy")
    cure = f"{EVICTION_CURE}, or use a Redis of its own for Runfleet"
    if policy == "noeviction":
        found = [
            Finding("eviction-policy", "ok", "eviction policy", policy, "Redis drops nothing when memory is short")
        ]
    elif policy.startswith("volatile-"):
        message = "when memory is short, keys that expire go early: idempotency keys, a worker's last claims"
        found = [Finding("eviction-policy", "warning", "eviction policy", policy, message, cure)]
    else:
        message = "when memory is short, any key may go, and runs and schedules with it; our processes refuse to start"
        found = [Finding("eviction-policy", "error", "eviction policy", policy, message, cure)]
    if evicted:
        found.append(
            Finding(
                "evicted-keys",
                "warning",
                "evicted keys",
                str(evicted),
                "dropped since the server was started; some may have been Runfleet's",
                "set the policy to noeviction, then check recent runs and `runfleet apply` the task file once more",
            )
        )
    return found


def persistence(facts: Facts) -> list[Finding]:
    """What is lost when the server is killed."""
    server = facts.server
    cure = "CONFIG SET appendonly yes and appendfsync everysec (or your provider's plan with persistence)"

    def say(level: str, value: str, message: str) -> list[Finding]:
        if level == "ok":
            return [Finding("persistence", "ok", "persistence", value, message)]
        return [Finding("persistence", "warning", "persistence", value, message, cure)]

    if server.appends is None:
        return unread("persistence", "persistence")
    if server.appends:
        match server.append_fsync:
            case "always":
                return say("ok", "AOF, always", "a crash of the server loses nothing")
            case "no":
                return say("warning", "AOF, no fsync", "a crash of its machine loses what the kernel had not written")
            case "everysec":
                return say("ok", "AOF, every second", "a crash of its machine loses about a second")
        return say("ok", "AOF", "a restart of the server loses little; how often it syncs could not be read")
    if server.save is None:
        return unread("persistence", "persistence")
    if server.save:
        return say("warning", "snapshots only", "a crash of the server loses all that happened since the last snapshot")
    return say("warning", "none", "a restart of the server loses all runs, logs and tasks")


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
    """How full it is."""
    used, most = facts.server.memory_bytes, facts.server.max_memory_bytes
    if used is None or most is None:
        return unread("memory", "memory")
    if not most:
        message = "no maxmemory is set; on a machine that is shared, set one, so that not the kernel decides what dies"
        return [Finding("memory", "info", "memory", f"{used / MB:.0f} MB", message)]
    value = f"{used / MB:.0f} of {most / MB:.0f} MB"
    if used <= most * NEARLY_FULL:
        return [Finding("memory", "ok", "memory", value, f"{used / most:.0%} are used")]
    return [
        Finding(
            "memory",
            "warning",
            "memory",
            value,
            f"{used / most:.0%} are used; when it is full, runs still end but no new ones are taken",
            "raise maxmemory, or lower keep_runs, keep_for and log_max_size of the tasks that print most",
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
            f"Redis is {ahead} this machine; schedules go by Redis's clock, what your commands see is this one's",
            "let both machines keep time by NTP (timedatectl set-ntp true)",
        )
    ]


def connections(facts: Facts) -> list[Finding]:
    """Whether all of the fleet can connect."""
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
            f"this fleet and one API need up to {wanted}, and for the time of a deployment twice as many",
            "raise maxclients (or take a larger plan), or use fewer RUNFLEET_WORKER_PROCESSES with more "
            "RUNFLEET_WORKER_THREADS each; RUNFLEET_REDIS_POOL is what the calls of one process share",
        )
    ]


def connections_wanted(workers: Sequence[Worker], schedulers: int, pool: int) -> int:
    """
    Connections that these processes and one API open when all of them are busy; the calls of each share *pool*.
    """
    each = [min(worker.slots, pool) + WORKER_CONNECTIONS + len(worker.queues) for worker in workers if worker.alive]
    return sum(each) + schedulers * SCHEDULER_CONNECTIONS + pool + API_CONNECTIONS


def layout(facts: Facts) -> list[Finding]:
    """Whether the data is what this release reads."""
    prefix = facts.settings.key_prefix
    if facts.layout is None:
        message = f"no process has used this store yet (prefix {prefix})"
        return [Finding("layout", "info", "data", "empty", message)]
    value = f"layout {facts.layout}"
    if facts.layout == SCHEMA:
        return [Finding("layout", "ok", "data", value, "this release reads and writes it")]
    wrong, cure = mismatch(facts.layout)
    return [Finding("layout", "error", "data", value, f"no process of this release starts: {wrong}", cure)]


def rights(refused: Sequence[str], settings: Settings) -> list[Finding]:
    """Whether the user of the URL may do what our processes do."""
    if not refused:
        return [Finding("rights", "ok", "rights", "sufficient", "this user may do all that our processes do")]
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
            f"ACL SETUSER {user} {' '.join(wanted[:8])} (docs/deploy.md has all that is needed)",
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
"""In the order in which they are shown."""
