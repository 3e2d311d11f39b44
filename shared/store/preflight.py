"""Preflight checks of each process: can this release read the data, and will Redis keep it?"""

from typing import Final

from shared.errors import Misconfigured, RunfleetError, StoreUnavailable
from shared.store import version
from shared.store.redis.call import Call, nothing
from shared.store.redis.scripts import script
from shared.store.redis.server_info import OLDEST_MAJOR, eviction_policy, release

EVICTION_CURE: Final = (
    "CONFIG SET maxmemory-policy noeviction (and maxmemory-policy noeviction in the server's configuration, or in the "
    "provider's settings: `heroku redis:maxmemory --policy noeviction`, a parameter group at AWS)"
)


async def check() -> str:
    """
    Check that the store can be used; the name of an eviction policy to warn of, or "" when nothing is wrong.

    Raises Misconfigured when the server is too old or one that cannot be used, when a newer release wrote the data, and
    when Redis may evict any key: one that is dropped in the middle of things takes runs, locks or whole queues with it.
    Under ``volatile-*`` only what expires anyway may go (idempotency keys, a worker's last claims), so that is only
    warned of. A policy that cannot be read is not checked.
    """
    try:
        await _check_release()
        await version.check()
        policy = await eviction_policy()
    except (StoreUnavailable, Misconfigured):
        raise
    except RunfleetError as error:
        # Not there for this user, renamed, or no Redis at all: asking again would be refused for ever.
        raise Misconfigured(f"this Redis cannot be used: {error}") from None
    if policy.startswith("allkeys-"):
        raise Misconfigured(
            f"Redis may drop any key when its memory is short (its maxmemory-policy is {policy}), and with it runs and "
            f"schedules. Set it with {EVICTION_CURE}, or use a Redis of its own for Runfleet."
        )
    return policy if policy.startswith("volatile-") else ""


def may_write() -> Call[None]:
    """
    Whether Redis takes what is written. Raises StoreUnavailable when it does not: it cannot save (MISCONF), is a
    replica (READONLY) or has too few of them (NOREPLICAS). Short memory is no reason: what runs can still end.
    """
    return Call(script("probe"), (), nothing)


async def _check_release() -> None:
    """Raises Misconfigured for a Redis that lacks what our scripts use, if it says its version."""
    name, number = await release()
    major = number.partition(".")[0]
    if major.isdigit() and int(major) < OLDEST_MAJOR:
        raise Misconfigured(
            f"this is {name} {number}, and Runfleet needs what came with Redis {OLDEST_MAJOR}: upgrade to Redis "
            f"{OLDEST_MAJOR} or later, or to any Valkey"
        )
