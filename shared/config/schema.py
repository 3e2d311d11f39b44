"""The JSON Schema of the task file, for editors and the documentation, from the table in ``keys.py``."""

from typing import Final

import msgspec

from shared.config.keys import INCLUDE, LIMIT_KEYS, NOTIFY_KEYS, TASK_KEYS
from shared.config.reading import Notify
from shared.config.value_types import Key, Schema, table_schema
from shared.tasks import NAME_MAX, NAME_PATTERN, Task

DIALECT: Final = "http://json-schema.org/draft-07/schema#"
"""The newest that the common TOML editors understand."""


def schema() -> Schema:
    """
    Make the JSON Schema. It allows a little more than the reader: it lacks the rules between keys, and a string with
    ``${`` passes any pattern.
    """
    name = {"pattern": NAME_PATTERN, "minLength": 1, "maxLength": NAME_MAX}
    named = {"type": "object", "propertyNames": name}
    return {
        "$schema": DIALECT,
        "title": "Runfleet task file",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "include": {
                "description": "More files to read: paths or patterns with * and **, relative to this file.",
                **INCLUDE.schema,
            },
            "defaults": {"description": "Defaults for all tasks.", "$ref": "#/definitions/task"},
            "tasks": {"description": "Tasks by name.", **named, "additionalProperties": {"$ref": "#/definitions/task"}},
            "notify": {
                "description": "Notification channels.",
                **named,
                "additionalProperties": table_schema(NOTIFY_KEYS, _defaults(Notify, NOTIFY_KEYS)),
            },
            "limits": {
                "description": "Concurrency limits that tasks share.",
                **named,
                "additionalProperties": table_schema(LIMIT_KEYS),
            },
        },
        "definitions": {"task": task_schema()},
    }


def task_schema() -> Schema:
    """Make the JSON Schema of one task's table, with the same restrictions as ``schema``."""
    return table_schema(TASK_KEYS, _defaults(Task, TASK_KEYS))


def _defaults(struct: type[msgspec.Struct], keys: dict[str, Key]) -> dict[str, object]:
    """The struct's defaults by key; those that mean "none" are left out."""
    by_field = {field.name: field.default for field in msgspec.structs.fields(struct)}
    defaults = {name: by_field.get(key.field or name) for name, key in keys.items() if not key.required}
    return {name: value for name, value in defaults.items() if value not in (None, "", (), msgspec.NODEFAULT)}
