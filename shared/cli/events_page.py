"""The text of ``docs/events.md``: what the processes log, and what the store's stream of events carries."""

from __future__ import annotations

from shared.store.events import TYPES
from shared.telemetry import EVENTS

INTRODUCTION = """\
# Events

This page is made by `make docs` from `shared/telemetry.py` and `shared/store/events.py`.

## In the log

Each process writes one event a line to its standard output: `at`, `level`, `component`, `event`, and what belongs
to it.

| event | meaning |
| --- | --- |
"""

STREAM = """
## On the stream

What `GET /api/events/stream` sends, and what the store keeps of it (about the last 10 000).

| type | meaning |
| --- | --- |
"""


def events_page() -> str:
    """The text of the page."""
    return INTRODUCTION + _rows(EVENTS) + STREAM + _rows(TYPES)


def _rows(table: dict[str, str]) -> str:
    return "".join(f"| `{name}` | {meaning} |\n" for name, meaning in sorted(table.items()))
