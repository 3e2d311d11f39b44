"""
The positions of what is stored as an array: scripts read it by position, and so do processes of other releases.

A field may be added at the end, here too, with a default. Nothing that is here may move, go, or get another name.
"""

from typing import Any

import msgspec
import pytest

from shared.runs import Record
from shared.store.dialects.ona_tasks import OnaTask
from shared.store.log_record import StoredLine

Layout = list[tuple[str, Any]]

RECORD: Layout = [
    ("status", "ended"),
    ("reason", "failed"),
    ("exit_code", 3),
    ("task", "report"),
    ("queue", "reports"),
    ("priority", 5),
    ("triggered_by", "cron"),
    ("created_us", 1_700_000_000_000_007),
    ("start_us", 1_700_000_000_000_008),
    ("end_us", 1_700_000_000_000_009),
    ("due_us", 1_700_000_000_000_010),
    ("tick_us", 1_700_000_000_000_011),
    ("execution", "018bcfe5-6800-7000-8000-00000000000c"),
    ("replica_index", 13),
    ("replica_count", 14),
    ("attempt", 15),
    ("retry_of", "018bcfe5-6800-7000-8000-000000000010"),
    ("number", 17),
    ("definition", "a hash"),
    ("worker", "host:1:abc"),
    ("token", 20),
    ("stop_request", "kill"),
    ("message", "exited with 3"),
    ("external_id", "theirs"),
    ("params", '{"p":24}'),
    ("tags", '["t25"]'),
    ("labels", '{"l":"26"}'),
    ("outputs", '{"o":27}'),
    ("log_bytes", 28),
    ("log_lines", 29),
    ("log_truncated", 1),
    ("peak_memory", 31),
    ("cpu_ms", 32),
    ("crashes", 33),
    ("reruns", 34),
    ("external", 1),
    ("log_first", 36),
    ("via", "prefect"),
    ("step", 38),
    ("needs", 39),
    ("target", "nightly"),
]
REQUIRED = 35
"""So many fields of a record have no default: it may have been stored before the others were added."""

LINE: Layout = [
    ("n", 7),
    ("at_us", 1_700_000_000_000_001),
    ("stream", 2),
    ("text", "a line"),
    ("continued", True),
]
LISTED: Layout = [
    ("task", "ona-1"),
    ("environment", "env"),
    ("reference", "build"),
    ("arrival", 3),
    ("created_us", 1_700_000_000_000_004),
    ("title", "Build"),
    ("creator", "ada"),
    ("triggers", ["manual"]),
    ("variables", ["A", "B"]),
    ("prebuild_requires_success", True),
]


@pytest.mark.parametrize(("kind", "layout"), [(Record, RECORD), (StoredLine, LINE), (OnaTask, LISTED)])
def test_what_another_release_stored_is_read_and_stored_again_as_it_was(kind: type[Any], layout: Layout) -> None:
    stored = msgspec.msgpack.encode([value for _, value in layout])
    found = msgspec.msgpack.decode(stored, type=kind)
    assert list(msgspec.structs.asdict(found).items()) == layout
    assert msgspec.msgpack.encode(found) == stored


def test_a_record_of_before_the_newer_fields_is_read() -> None:
    found = msgspec.msgpack.decode(msgspec.msgpack.encode([value for _, value in RECORD[:REQUIRED]]), type=Record)
    newer = {name: getattr(found, name) for name, _ in RECORD[REQUIRED:]}
    assert newer == {"external": 0, "log_first": 0, "via": "", "step": -1, "needs": 0, "target": ""}
