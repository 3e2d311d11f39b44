"""``make docs``: writes what is made from tables: pages of ``docs/``, ``.env.example``, the list of scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from shared.cli.events_page import events_page
from shared.cli.scripts_table import with_scripts
from shared.cli.taskfile_page import taskfile_page
from shared.settings import HELP, Settings, variable

ROOT: Final = Path(__file__).parents[2]

INTRODUCTION: Final = """\
# Settings

All of the environment that Runfleet reads. Every process reads the same variables and takes what concerns it; a bad
value stops it at the start with one line per mistake. Durations are seconds. A `RUNFLEET_` variable that is not listed
is left alone, so a task file may use it as `${VAR}`.

This page is made by `make docs` from `shared/settings.py`.

| variable | default | meaning |
| --- | --- | --- |
"""

OTHERS: Final = """
## Also read

| variable | meaning |
| --- | --- |
| `REDIS_URL` `REDIS_TLS_URL` `VALKEY_URL` | the first that is set, when `RUNFLEET_REDIS_URL` is not |
| `PORT` | the port of the API, when `RUNFLEET_PORT` is not set; the API then listens on all addresses |

Set for runs, not by you: `RUNFLEET_TASK`, `RUNFLEET_RUN_ID`, `RUNFLEET_EXECUTION_ID`, `RUNFLEET_REPLICA_INDEX`,
`RUNFLEET_REPLICA_COUNT`, `RUNFLEET_RETRY_ATTEMPT`, `RUNFLEET_TRIGGERED_BY`, `RUNFLEET_SCHEDULED_FOR`, `RUNFLEET_OUTPUT`
and `TRACEPARENT`. A run inherits none of the settings above, and no variable that another task makes a secret of
([what a run gets](concepts.md#what-a-run-gets)). `RUNFLEET_USER_PYTHONPATH` carries your `PYTHONPATH` past our own
processes to the runs, `RUNFLEET_LAUNCHER_FD`, `RUNFLEET_ALIVE_FD` and `RUNFLEET_FOLDER_MARK`
tie a worker process to the one that started it.
"""

HEADER: Final = """\
# Every setting, with its default. Copy to .env and uncomment what you change.
# Made by `make docs` from shared/settings.py.
"""


def settings_page() -> str:
    """The text of ``docs/settings.md``."""
    rows = [
        f"| `{variable(name)}` | {f'`{default}`' if default else ''} | {HELP[name]} |" for name, default in _defaults()
    ]
    return INTRODUCTION + "\n".join(rows) + "\n" + OTHERS


def env_example() -> str:
    """The text of ``.env.example``."""
    entries = [f"\n# {HELP[name]}\n#{variable(name)}={default}\n" for name, default in _defaults()]
    return HEADER + "".join(entries)


def main() -> None:
    """Write the files."""
    (ROOT / "docs" / "settings.md").write_text(settings_page(), "utf-8")
    (ROOT / "docs" / "taskfile.md").write_text(taskfile_page(), "utf-8")
    (ROOT / "docs" / "events.md").write_text(events_page(), "utf-8")
    data_model = ROOT / "shared" / "store" / "README.md"
    data_model.write_text(with_scripts(data_model.read_text("utf-8")), "utf-8")
    (ROOT / ".env.example").write_text(env_example(), "utf-8")


def _defaults() -> list[tuple[str, str]]:
    return [(field.name, _as_text(field.default)) for field in msgspec.structs.fields(Settings)]


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
