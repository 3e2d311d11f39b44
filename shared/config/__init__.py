"""
The task file: text to ``Task``, strict, with every problem named at its line.

Read ``keys.py`` first: the one table of every key. ``kinds.py`` says what a value may be, ``rules.py`` merges defaults
and holds the rules between keys, ``cross_checks.py`` those between tasks; ``reading.py`` deals with files and puts it
together.
"""

from shared.config.durations import format_duration, format_size, parse_duration, parse_size
from shared.config.params import mismatch
from shared.config.reading import Config, Notify, parse_task, read_config
from shared.config.schema import schema, task_schema
from shared.config.source_locations import nearest
from shared.config.substitution import references, substitute

__all__ = [
    "Config",
    "Notify",
    "format_duration",
    "format_size",
    "mismatch",
    "nearest",
    "parse_duration",
    "parse_size",
    "parse_task",
    "read_config",
    "references",
    "schema",
    "substitute",
    "task_schema",
]
