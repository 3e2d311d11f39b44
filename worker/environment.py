"""
What a run's process is started with: arguments, environment, secrets.

The environment is the user's, not ours: the worker's own without ``RUNFLEET_*``, then ``env_file``, ``env``,
``secrets_file``, ``secrets``, the parameters, and last the run's own facts, which nothing may hide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from shared import params
from shared.clock import rfc3339
from shared.config import substitute
from shared.errors import RunfleetError
from shared.runs import Record
from shared.tasks import Task

MOST_HANDED_ON: Final = 64 * 1024
"""Characters of the longest output that is handed on; Linux takes no variable of more than 128 KiB."""


class Unprepared(RunfleetError):
    """A run cannot be started as it is defined; the message says what is missing on this worker."""


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """
    The environment of the worker as its children see it: without our settings, with the user's own ``PYTHONPATH``.
    """
    env = {name: value for name, value in environ.items() if not name.startswith("RUNFLEET_")}
    users = environ.get("RUNFLEET_USER_PYTHONPATH")  # set by whoever kept it from our own processes; "" for none
    if users is not None:
        env.pop("PYTHONPATH", None)
        if users:
            env["PYTHONPATH"] = users
    return env


def compose(
    task: Task,
    run_id: UUID,
    record: Record,
    values: Mapping[str, Any],
    output_file: str,
    environ: Mapping[str, str],
    inputs: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> tuple[dict[str, str], list[str]]:
    """
    The whole environment of a run, and the secret values in it, to be masked in its log.

    *inputs* are the outputs of the steps that it depends on, by task. Raises Unprepared for a file that cannot be read
    and for a secret whose variable is not set on this worker.
    """
    env = inherited(environ)
    env.update(_read_file(task.env_file, task))
    env.update(task.env)
    hidden = {**_read_file(task.secrets_file, task), **_resolve(task, environ)}
    env.update(hidden)
    env.update(params.environment(task, values))
    env.update(handed_on(inputs))
    execution = UUID(record.execution) if record.execution else run_id
    env.update(
        {
            "RUNFLEET_TASK": task.name,
            "RUNFLEET_RUN_ID": str(run_id),
            "RUNFLEET_EXECUTION_ID": str(execution),
            "RUNFLEET_REPLICA_INDEX": str(record.replica_index),
            "RUNFLEET_REPLICA_COUNT": str(record.replica_count),
            "RUNFLEET_RETRY_ATTEMPT": str(record.attempt),
            "RUNFLEET_TRIGGERED_BY": record.triggered_by,
            "RUNFLEET_SCHEDULED_FOR": rfc3339(record.tick_us) if record.tick_us else "",
            "RUNFLEET_OUTPUT": output_file,
            "TRACEPARENT": f"00-{execution.hex}-{run_id.hex[16:]}-01",
        }
    )
    return env, list(hidden.values())


def handed_on(inputs: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """
    Outputs as variables ``RUNFLEET_OUTPUT_<TASK>_<KEY>``: in capitals, ``_`` for what no variable's name may have.

    JSON for anything but a string. Of replicas with the same key the last counts.
    """
    return {
        f"RUNFLEET_OUTPUT_{_as_name(task)}_{_as_name(key)}": text.replace("\0", "")
        for task, outputs in inputs
        for key, value in outputs.items()
        if len(text := value if isinstance(value, str) else msgspec.json.encode(value).decode()) <= MOST_HANDED_ON
    }


def arguments(task: Task, values: Mapping[str, Any]) -> tuple[str, ...]:
    """The argument vector of a command; a string is a shell's, with parameters as ``$1``…, never spliced into it."""
    extra = params.arguments(task, values)
    if isinstance(task.run, str):
        return ("/bin/sh", "-e", "-c", task.run, task.name, *extra)
    return (*(task.run or ()), *extra)


def decode_params(record: Record) -> dict[str, Any]:
    """The parameters of a run."""
    values: dict[str, Any] = msgspec.json.decode(record.params) if record.params else {}
    return values


def _as_name(text: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", text.upper())


def _resolve(task: Task, environ: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, value in task.secrets.items():
        try:
            found[name] = substitute(value, environ)
        except ValueError as error:
            raise Unprepared(f"secret {name} of task {task.name} cannot be resolved on this worker: {error}") from None
    return found


def _read_file(path: str | None, task: Task) -> dict[str, str]:
    """
    ``NAME=value`` lines; blank ones and ``#`` comments are skipped, one pair of quotes around a value is taken off.
    """
    if path is None:
        return {}
    file = Path(task.working_dir or ".", path)
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Unprepared(f"{path} of task {task.name} cannot be read on this worker: {error}") from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip().isidentifier():
            raise Unprepared(f"{path}:{number} of task {task.name} is not NAME=value")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[name.strip()] = value
    return found
