"""
Large texts of runs: parameters, tags and labels, which all runs of an execution share.

They are stored once for the execution, and each record refers to them (``lua/lib/texts.lua``). ``records.read_records``
reads records with the texts put in; GET reads the references.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import msgspec

from shared.runs import Record
from shared.store.redis.call import Call, RawKey, strings

INLINE: Final = 256
"""Most bytes of a text that each record has itself, as ``lua/lib/shared_texts.lua`` has it."""

REFERENCE: Final = "@text:"
REFERENCE_LENGTH: Final = len(REFERENCE) + 32 + 40
TEXTS: Final = ("params", "tags", "labels")
"""Fields that may be a reference."""


async def with_texts(execution_id: UUID, records: Sequence[Record]) -> list[Record]:
    """Records of a plan's steps with the texts that they refer to, in a round trip if they refer to any."""
    if not any(getattr(one, name).startswith(REFERENCE) for one in records for name in TEXTS):
        return list(records)
    flat = await Call("HGETALL", (RawKey(b"texts:" + execution_id.bytes),), strings)
    texts = dict(zip(flat[::2], flat[1::2], strict=True))
    return [msgspec.structs.replace(one, **_behind(one, texts)) for one in records]


def packed_size(record: Record) -> int:
    """About how many bytes a record takes in each run that is created from it."""
    saved = sum(
        max(0, len(getattr(record, name).encode()) - REFERENCE_LENGTH) for name in TEXTS if _is_shared(record, name)
    )
    return len(msgspec.msgpack.encode(record)) - saved


def _is_shared(record: Record, name: str) -> bool:
    return len(getattr(record, name).encode()) > INLINE


def _behind(record: Record, texts: Mapping[bytes, bytes]) -> dict[str, str]:
    fields = {name: getattr(record, name) for name in TEXTS}
    found = {name: texts.get(text[-40:].encode()) for name, text in fields.items() if text.startswith(REFERENCE)}
    return {name: text.decode() for name, text in found.items() if text is not None}
