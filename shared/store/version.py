"""Which release's data the store holds, so that an older release leaves a newer one's alone."""

from __future__ import annotations

from typing import Any, Final

from shared.errors import Misconfigured
from shared.store.call import Call, Key

SCHEMA: Final = 1
"""The layout that this release reads and writes; counts up when keys change so that older code cannot cope."""


def check() -> Call[None]:
    """
    Note the layout in an empty store, and see that it is one we know.

    Raises Misconfigured when a newer release wrote it.
    """

    def read(reply: Any) -> None:
        if reply is not None and int(reply) > SCHEMA:
            raise Misconfigured(
                f"the store was written by a newer release (layout {int(reply)}, this one knows {SCHEMA}); "
                "start that release, or use another RUNFLEET_KEY_PREFIX"
            )

    return Call("SET", (Key("version"), SCHEMA, "NX", "GET"), read)
