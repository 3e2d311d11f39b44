"""
Rotation of the secret: definitions that the old one signed are signed with the new one.

The catalog leads to the newest definition of each task only. Runs that wait, that will be tried again, or whose plan is
not over are bound to the one that they were made from; so all that the store keeps are looked through, in small steps.
"""

from typing import Final

from shared.errors import Unreadable
from shared.signing import Keys
from shared.store import applying
from shared.tasks import Definition, is_intact, sign, signer

MOST_ROUNDS: Final = 1_000_000
"""Steps after which looking through the store is given up: each is of a thousand keys."""


async def signed_with_the_old(keys: Keys) -> dict[Definition, str]:
    """Every definition in the store that ``RUNFLEET_SECRET_OLD`` has signed, and the task that it is of."""
    found: dict[Definition, str] = {}
    cursor = 0
    for _ in range(MOST_ROUNDS):
        cursor, hashes = await applying.definition_names(cursor)
        for one in await applying.definitions(hashes):
            name = _task_of(one)
            if name and signer(one, keys, name) == "old":
                found[one] = name
        if cursor == 0:
            break
    return found


async def sign_again(keys: Keys) -> int:
    """
    Sign with ``RUNFLEET_SECRET`` every definition that ``RUNFLEET_SECRET_OLD`` has signed; how many there were.

    Definitions that neither of the two has signed stay as they are.
    """
    old = await signed_with_the_old(keys)
    anew = [(one, sign(one, keys, name)) for one, name in old.items()]
    count = 0
    for start in range(0, len(anew), applying.BATCH):
        count += await applying.sign(anew[start : start + applying.BATCH])
    return count


def _task_of(definition: Definition) -> str:
    """The task that it is of; "" when it cannot be read, or is not what its hash names."""
    try:
        return definition.task().name if is_intact(definition) else ""
    except Unreadable:
        return ""
