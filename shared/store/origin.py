"""Where an execution comes from, when another system's API started it."""

from collections.abc import Mapping
from uuid import UUID

import msgspec


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """
    The other system that started an execution, and what its API needs beyond an ordinary trigger.

    ``api`` names that API in the record of each run. ``run_id`` is the id that the other system gave the first run: if
    there is such a run, it is the answer. So is a run that was made with the same ``dedupe_key``, while it exists.
    With ``for_consumer`` an outside consumer fetches the run and executes it. ``nominal_us`` (stored time, 0: none) is
    the instant that the run is for. ``limits`` are shared limits beside those of the task. ``metadata`` is written with
    the first run (``store.metadata``).
    """

    api: str = ""
    run_id: UUID | None = None
    dedupe_key: str = ""
    for_consumer: bool = False
    nominal_us: int = 0
    limits: tuple[str, ...] = ()
    metadata: Mapping[str, bytes] = {}
