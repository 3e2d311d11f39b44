"""
The task file: a strict reader that turns it into ``Task`` values and reports every mistake with its line.

Read ``keys.py`` first: the table of all keys. ``value_types.py`` defines the types of values, ``rules.py`` merges
defaults and has the rules between keys, ``cross_checks.py`` those between tasks, and ``reading.py`` reads the files.
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
