"""The generator of ``docs/taskfile.md``, from the JSON Schema of the task file."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from shared.config import schema
from shared.config.durations import DURATION_PATTERN, SIZE_PATTERN
from shared.tasks import NAME_PATTERN

PARTS: Final = {
    "run": "Work",
    "description": "Description",
    "cron": "Schedule",
    "replicas": "Replicas, queue and concurrency",
    "timeout": "Stopping",
    "retry_attempts": "Failures and retries",
    "log_max_size": "Logs and history",
    "env": "Environment and resources",
    "params": "Parameters, notifications and limits",
}
"""Headings for the keys of a task: the first key under each."""


def task_file_keys(_: str) -> str:
    """A heading and a table for each group of keys."""
    found = schema()
    task, top = found["definitions"]["task"]["properties"], found["properties"]
    text = "## `[tasks.<name>]` and `[defaults]`\n"
    starts = [list(task).index(key) for key in PARTS]
    for (key, title), start, end in zip(PARTS.items(), starts, [*starts[1:], len(task)], strict=True):
        assert list(task)[start] == key
        text += f"\n### {title}\n\n{_table({name: task[name] for name in list(task)[start:end]})}"
    text += f"\n## `[tasks.<name>.params.<param>]`\n\n{_table(task['params']['additionalProperties']['properties'])}"
    for name in ("limits", "notify"):
        text += f"\n## `[{name}.<name>]`\n\n{top[name]['description']}\n\n"
        one = top[name]["additionalProperties"]
        text += _table(one["properties"], one["required"])
    return text + f"\n## Top level\n\n{_table({'include': top['include']})}"


def _table(properties: dict[str, Any], required: Sequence[str] = ()) -> str:
    text = "| key | value | default | meaning |\n| --- | --- | --- | --- |\n"
    for name, key in properties.items():
        default = f"`{json.dumps(key['default'])}`" if "default" in key else "required" if name in required else ""
        text += f"| `{name}` | {_kind(key)} | {default} | {_plain(key['description'])} |\n"
    return text


def _plain(text: str) -> str:
    """*text*, escaped for Markdown."""
    return re.sub(r"([<*|])", r"\\\1", text)


def _kind(kind: dict[str, Any]) -> str:
    """A value's type, in a few words."""
    if "anyOf" in kind:
        return " or ".join(_kind(choice) for choice in kind["anyOf"])
    if "enum" in kind:
        return ", ".join(f'`"{choice}"`' for choice in kind["enum"])
    match kind.get("type"):
        case "integer" | "number":
            noun = "whole number" if kind["type"] == "integer" else "number"
            return f"{noun}, {kind['minimum']} to {kind['maximum']}"
        case "boolean":
            return "`true`, `false`"
        case "array":
            return "list" if "enum" in kind["items"] else f"list ({_kind(kind['items']) or 'anything'})"
        case "object":
            return "table"
        case "string":
            pattern = kind.get("pattern", "")
            known = {DURATION_PATTERN: "duration", SIZE_PATTERN: "size", NAME_PATTERN[1:-1]: "name"}
            return next((noun for known_, noun in known.items() if pattern.startswith(f"^(?:{known_})$")), "string")
    return "anything"
