"""The version of the data layout, which keeps a release from using data that it cannot read."""

from typing import Any, Final

from shared.errors import Misconfigured
from shared.store.redis.call import Call, Key

SCHEMA: Final = 2
"""The layout that this release reads and writes; counts up when keys change so that other releases cannot cope."""


class NotALayout(Misconfigured):
    """Key ``version`` holds something that we did not write."""


async def check() -> None:
    """
    Note the layout in an empty store, and see that it is one we know.

    Raises Misconfigured when another release wrote it, NotALayout when that cannot be told. Only an empty store is
    written to, so that a process can start on a Redis that is full.
    """
    layout = await found()
    if layout is None:
        layout = await Call("SET", (Key("version"), SCHEMA, "NX", "GET"), _layout)
    if layout is not None and layout != SCHEMA:
        raise Misconfigured("; ".join(mismatch(layout)))


def mismatch(layout: int) -> tuple[str, str]:
    """The problem with data of another layout, and the cure."""
    if layout > SCHEMA:
        return (
            f"a newer release wrote the data (layout {layout}, this one reads {SCHEMA})",
            "start that release, or use another RUNFLEET_KEY_PREFIX",
        )
    return (
        f"an older release wrote the data (layout {layout}, this one reads {SCHEMA})",
        "stop all processes of that release, then set another RUNFLEET_KEY_PREFIX and apply the task file (the old "
        "keys stay), or delete all keys with the present prefix (history and tasks of the API are lost)",
    )


def found() -> Call[int | None]:
    """The layout of the data that is there, without changing anything; None in an empty store."""
    return Call("GET", (Key("version"),), _layout)


def _layout(reply: Any) -> int | None:
    if reply is None or reply.isdigit():
        return None if reply is None else int(reply)
    raise NotALayout(
        f"the layout of the data in Redis (key version) is {reply[:50]!r}, no number: another program wrote it. "
        f"Write {SCHEMA} there, or use another RUNFLEET_KEY_PREFIX"
    )
