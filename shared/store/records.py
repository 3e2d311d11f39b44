"""
Run records as the store answers them, and what to do with one that this release cannot read.

``decode_record`` decodes a single one, and raises Unreadable. In lists and sums an unreadable record is left
out and logged, so that it fails nothing else.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from shared.errors import Unreadable
from shared.runs import Record, Run, to_run
from shared.store.redis.call import Call, each, optional_strings
from shared.store.redis.decoding import reading
from shared.store.redis.scripts import script
from shared.telemetry import get_logger

_log = get_logger("store")
T = TypeVar("T")

AT_ONCE: Final = 500
"""Most records that are read by one script."""

MOST_NAMED: Final = 1000
"""Unreadable runs that a process names in its log; each once, however often it is listed."""

_named: set[bytes] = set()

decode_record: Final = reading(msgspec.msgpack.Decoder(Record).decode, "a run's record")
"""A stored record's fields. Raises Unreadable."""


def decode_run(run_id: bytes, value: bytes) -> Run:
    """A stored record as a run. Raises Unreadable."""
    return to_run(UUID(bytes=run_id), decode_record(value))


def read_records(ids: Sequence[bytes], read: Callable[[Any], T]) -> Call[T]:
    """The packed records of runs with their texts in them (``texts.py``), None for those that are gone."""
    return Call(script("read_records"), ("", *ids), read)


async def packed_records(ids: Sequence[bytes]) -> list[tuple[bytes, bytes | None]]:
    """
    Ids of runs with their packed records, None for those that are gone, in one round trip. Many are read by several
    scripts, so that none keeps Redis busy for long.
    """
    steps = [ids[first : first + AT_ONCE] for first in range(0, len(ids), AT_ONCE)]
    values = (await each(read_records(step, optional_strings) for step in steps)) if steps else []
    return list(zip(ids, (value for step in values for value in step), strict=True))


def readable(value: bytes | None) -> list[Record]:
    """The record, or nothing when there is none or it is one that this release cannot read."""
    try:
        return [decode_record(value)] if value else []
    except Unreadable:
        return []


def readable_rows(pairs: Iterable[tuple[bytes, bytes | None]]) -> list[tuple[UUID, Record]]:
    """Ids and records of *pairs* of packed ones; what is not there or cannot be read is left out."""
    found = []
    for one, value in pairs:
        if value:
            try:
                found.append((UUID(bytes=one), decode_record(value)))
            except Unreadable as error:
                _log_once(one, error)
    return found


def as_runs(rows: Iterable[tuple[UUID, Record]]) -> list[Run]:
    """Records as runs; one that holds a word or a value which this release does not know is left out."""
    found = []
    for run_id, record in rows:
        try:
            found.append(to_run(run_id, record))
        except Unreadable as error:
            _log_once(run_id.bytes, error)
    return found


def _log_once(run_id: bytes, error: Unreadable) -> None:
    if run_id not in _named and len(_named) < MOST_NAMED:
        _named.add(run_id)
        _log.warning("run.unreadable", run_id=str(UUID(bytes=run_id)), error=str(error))
