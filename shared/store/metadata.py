"""
Metadata of a run: what another system's API stores beside its record.

Fields are called ``<dialect>.<name>``; their values are bytes that only the dialect understands. Metadata is written in
the same step as the transition that it belongs to, and deleted with its run.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from shared.store.redis.call import Call, RawKey, each
from shared.store.redis.decoding import pairs_of
from shared.store.redis.scripts import script


class MetadataChange(msgspec.Struct, frozen=True):
    """
    A change of *run*'s metadata. A value b"" removes its field.

    ``expect`` is a field and the value it must have (b"" for none) for anything to be written.
    """

    run: UUID
    fields: Mapping[str, bytes]
    expect: tuple[str, bytes] = ("", b"")

    def arguments(self) -> tuple[str | bytes, ...]:
        """As the scripts read it, the last of their arguments (``lua/lib/metadata.lua``)."""
        return (self.run.bytes, *self.expect, *(part for pair in self.fields.items() for part in pair))


def read(run_id: UUID) -> Call[dict[str, bytes]]:
    """All metadata of a run; {} without any."""
    return Call("HGETALL", (RawKey(b"meta:" + run_id.bytes),), pairs_of)


async def read_many(ids: Sequence[UUID]) -> list[dict[str, bytes]]:
    """The metadata of runs, in their order, in one round trip."""
    if not ids:
        return []
    return await each(read(one) for one in ids)


def write(change: MetadataChange) -> Call[bool]:
    """
    Change metadata; False when the expected value is another, or when there is no such run. True when what is to be
    written is there already: then the same call may have written it.
    """
    return Call(script("write_metadata"), ("", *change.arguments()), bool)
