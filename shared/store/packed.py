"""
Records of runs as the store answers them.

What is large of their texts is kept once for an execution, and a reference stands in each record
(``lua/lib/texts.lua``). Whoever asks for the texts too reads records by what is here, not by GET.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from shared.runs import Record
from shared.store.redis.call import Call, RawKey, as_is, each
from shared.store.redis.scripts import script

T = TypeVar("T")

INLINE: Final = 256
"""Most bytes of a text that each record has itself, as ``lua/lib/shared_texts.lua`` has it."""

REFERENCE: Final = "@text:"
REFERENCE_LENGTH: Final = len(REFERENCE) + 32 + 40
TEXTS: Final = ("params", "tags", "labels")
"""Fields that may be a reference."""

AT_ONCE: Final = 500
"""Most records that are read by one script."""


def read(ids: Sequence[bytes], read: Callable[[Any], T]) -> Call[T]:
    """The packed records of the runs, None for those that are gone."""
    return Call(script("read_records"), ("", *ids), read)


async def packed(ids: Sequence[bytes]) -> list[tuple[bytes, bytes | None]]:
    """
    Runs with their packed records, None for those that are gone, in one round trip; of many in small steps, so that
    nobody waits long for it.
    """
    steps = [ids[first : first + AT_ONCE] for first in range(0, len(ids), AT_ONCE)]
    values = (await each(read(step, as_is) for step in steps)) if steps else []
    return list(zip(ids, (value for step in values for value in step), strict=True))


async def with_texts(execution_id: UUID, records: Sequence[Record]) -> list[Record]:
    """Records of a plan's steps with the texts that they refer to, in a round trip if they refer to any."""
    if not any(getattr(one, name).startswith(REFERENCE) for one in records for name in TEXTS):
        return list(records)
    flat = await Call("HGETALL", (RawKey(b"texts:" + execution_id.bytes),), as_is)
    texts = dict(zip(flat[::2], flat[1::2], strict=True))
    return [msgspec.structs.replace(one, **_behind(one, texts)) for one in records]


def packed_size(record: Record) -> int:
    """How many bytes a record has in each run that is made from it, about."""
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
