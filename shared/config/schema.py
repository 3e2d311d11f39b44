"""The JSON Schema of the task file, for editors and the documentation, from the same table that reads it."""

from __future__ import annotations

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
    A new JSON Schema. It is a little wider than the reader: rules between keys are not in it, and a string that holds
    ``${`` passes where a pattern is asked for.
    """
    name = {"pattern": NAME_PATTERN, "minLength": 1, "maxLength": NAME_MAX}
    named = {"type": "object", "propertyNames": name}
    return {
        "$schema": DIALECT,
        "title": "Runfleet task file",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "include": {"description": "More files, relative to this one; * and ** match.", **INCLUDE.schema},
            "defaults": {"description": "Keys for every task that doesn't give its own.", "$ref": "#/definitions/task"},
            "tasks": {"description": "Tasks by name.", **named, "additionalProperties": {"$ref": "#/definitions/task"}},
            "notify": {
                "description": "Who can be told how runs end.",
                **named,
                "additionalProperties": table_schema(NOTIFY_KEYS, _defaults(Notify, NOTIFY_KEYS)),
            },
            "limits": {
                "description": "Slots that tasks share.",
                **named,
                "additionalProperties": table_schema(LIMIT_KEYS),
            },
        },
        "definitions": {"task": task_schema()},
    }


def task_schema() -> Schema:
    """A new JSON Schema of one task's table, as wide as ``schema``."""
    return table_schema(TASK_KEYS, _defaults(Task, TASK_KEYS))


def _defaults(struct: type[msgspec.Struct], keys: dict[str, Key]) -> dict[str, object]:
    """The struct's defaults by key; those that mean "none" are left out."""
    by_field = {field.name: field.default for field in msgspec.structs.fields(struct)}
    defaults = {name: by_field.get(key.field or name) for name, key in keys.items() if not key.required}
    return {name: value for name, value in defaults.items() if value not in (None, "", (), msgspec.NODEFAULT)}
