"""The text of ``docs/taskfile.md``, from the JSON Schema that the table of keys makes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from shared.config import schema
from shared.config.durations import DURATION_PATTERN, SIZE_PATTERN
from shared.tasks import NAME_PATTERN

INTRODUCTION: Final = """\
# The task file

`runfleet.toml` says which tasks there are. `runfleet check` reads it and names every mistake with its line;
`runfleet apply` hands it to the fleet in one step ([what it does only when asked](operate.md#apply-the-task-file)).
Nothing watches the file; SIGHUP makes a scheduler read it again. The words are explained in
[concepts](concepts.md).

```toml
include = "conf.d/*.toml"       # more files like this one

[defaults]                      # any key of a task, for all tasks that don't give their own
keep_for = "7d"

[tasks.report]
run = "python report.py"
cron = "30 2 * * 1-5"
timezone = "Europe/Berlin"
retry_attempts = 3
secrets = { API_KEY = "${REPORT_API_KEY}" }

[tasks.report.params.day]
pattern = '[0-9]{4}-[0-9]{2}-[0-9]{2}'

[tasks.import]
call = "jobs.imports:main"      # a Python function instead of a command
limits = ["db"]

[limits.db]                     # slots that tasks share
max = 2
```

- The file is strict: an unknown key is a mistake, and the message knows the nearest one.
- A **name** of a task, queue, limit or channel is 1 to 100 letters, digits and `.` `_` `-`.
- A **duration** is `500ms`, `10s`, `5m`, `1h30m` or `2d`, a **size** `500b`, `64kb`, `10mb` or `1gb` (a kb is 1024
  bytes), both in quotes. A number without its unit is a mistake.
- `${NAME}` in a string is taken from the environment when the file is read; a variable that is not set is a mistake,
  and `$${` stands for `${`. In `run` it is left to the shell, and in `secrets` to the worker.
- A task has one of `run`, `call` and `external`. `python` and `isolate` are for `call` only; an `external` task has no
  `cron` and no `retry_attempts`.
- `env`, `secrets`, `labels` and `params` of a task are added to those of `[defaults]`; any other key replaces.

One thing is read and checked already, but not acted upon yet: `notify` tells nobody.

This page is made by `make docs` from `shared/config/keys.py`.
"""

PARTS: Final = {
    "run": "What it does",
    "description": "For people",
    "cron": "When it starts",
    "replicas": "How many, where and in which order",
    "timeout": "How it is stopped",
    "retry_attempts": "What becomes of it when it fails",
    "log_max_size": "What is kept of it",
    "env": "What surrounds it",
    "params": "What it is given and shares",
}
"""The headings of the keys of a task: each begins at a key and goes on to the next one's."""


def taskfile_page() -> str:
    """The text of ``docs/taskfile.md``."""
    found = schema()
    task, top = found["definitions"]["task"]["properties"], found["properties"]
    text = INTRODUCTION + "\n## `[tasks.<name>]` and `[defaults]`\n"
    starts = [list(task).index(key) for key in PARTS]
    for (key, title), start, end in zip(PARTS.items(), starts, [*starts[1:], len(task)], strict=True):
        assert list(task)[start] == key
        text += f"\n### {title}\n\n{_table({name: task[name] for name in list(task)[start:end]})}"
    text += f"\n## `[tasks.<name>.params.<param>]`\n\n{_table(task['params']['additionalProperties']['properties'])}"
    for name in ("limits", "notify"):
        text += f"\n## `[{name}.<name>]`\n\n{top[name]['description']}\n\n"
        one = top[name]["additionalProperties"]
        text += _table(one["properties"], one["required"])
    return text + f"\n## At the top\n\n{_table({'include': top['include']})}"


def _table(properties: dict[str, Any], required: Sequence[str] = ()) -> str:
    text = "| key | value | default | meaning |\n| --- | --- | --- | --- |\n"
    for name, key in properties.items():
        default = f"`{json.dumps(key['default'])}`" if "default" in key else "required" if name in required else ""
        text += f"| `{name}` | {_kind(key)} | {default} | {_plain(key['description'])} |\n"
    return text


def _plain(text: str) -> str:
    """*text* such that Markdown shows every character of it."""
    return re.sub(r"([<*|])", r"\\\1", text)


def _kind(kind: dict[str, Any]) -> str:
    """What a value may be, in a few words."""
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
