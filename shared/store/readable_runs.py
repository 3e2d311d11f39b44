"""Run records for lists and sums: one that this release cannot read is left out and logged, and fails nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from shared.errors import Unreadable
from shared.runs import Record, Run, to_run
from shared.store.runs import decode_record
from shared.telemetry import get_logger

_log = get_logger("store")

MOST_NAMED: Final = 1000
"""Runs that a process names in its log; each once, however often it is listed."""

_named: set[bytes] = set()


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
                _name(one, error)
    return found


def as_runs(rows: Iterable[tuple[UUID, Record]]) -> list[Run]:
    """Records as runs; one that holds a word or a value which this release does not know is left out."""
    found = []
    for run_id, record in rows:
        try:
            found.append(to_run(run_id, record))
        except Unreadable as error:
            _name(run_id.bytes, error)
    return found


def _name(run_id: bytes, error: Unreadable) -> None:
    if run_id not in _named and len(_named) < MOST_NAMED:
        _named.add(run_id)
        _log.warning("run.unreadable", run_id=str(UUID(bytes=run_id)), error=str(error))
