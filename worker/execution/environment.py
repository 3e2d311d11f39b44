"""
The arguments, environment and secrets of a run's process.

The environment is the worker's own as far as ``RUNFLEET_INHERIT_ENV`` allows, without our settings and the variables
that other tasks use as secrets; then ``env_file``, ``env``, ``secrets_file``, ``secrets``, the parameters, and last the
``RUNFLEET_`` variables of the run, which nothing overrides.
"""

import re
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from shared import params
from shared.clock import rfc3339
from shared.config import references, substitute
from shared.errors import RunfleetError
from shared.runs import Record
from shared.settings import is_ours
from shared.tasks import Task

MOST_HANDED_ON: Final = 64 * 1024
"""Maximum length of an output in a variable, in characters; Linux accepts at most 128 KiB."""

NEVER_GIVEN: Final = frozenset(["RUNFLEET_SECRET", "RUNFLEET_SECRET_OLD"])
"""Variables that no secret of a task may be made of."""

# Programs need these. A secret may be composed of them (``${HOME}/.key``); they are not secret themselves.
NEEDED: Final = frozenset(
    re.findall(
        r"\w+",
        "PATH HOME USER LOGNAME SHELL LANG LANGUAGE TERM TZ PWD OLDPWD SHLVL HOSTNAME TMPDIR TMP TEMP "
        "PYTHONPATH PYTHONHOME VIRTUAL_ENV LD_LIBRARY_PATH DYLD_LIBRARY_PATH",
    )
)
"""Variables of the environment that are never secret, even if a task makes a secret of them."""


class Unprepared(RunfleetError):
    """A run cannot be started as defined; the message names what is missing on this worker."""


class Inherited:
    """
    The part of the worker's environment *environ* that runs inherit.

    *allowed* are names of variables; a trailing ``*`` matches any rest (``RUNFLEET_INHERIT_ENV``).
    """

    def __init__(self, environ: Mapping[str, str], allowed: Sequence[str] = ("*",)) -> None:
        self.environ: Final = environ
        """All of it, for the ``${NAME}`` of secrets."""
        given = {name: value for name, value in environ.items() if not is_ours(name)}
        users = environ.get("RUNFLEET_USER_PYTHONPATH")  # set by `isolation.isolated`; "" for none
        if users is not None:
            given.pop("PYTHONPATH", None)
            if users:
                given["PYTHONPATH"] = users
        starts = tuple(name[:-1] for name in allowed if name.endswith("*"))
        self._given = {name: value for name, value in given.items() if name in allowed or name.startswith(starts)}

    def without(self, variables: Set[str]) -> dict[str, str]:
        """A copy without *variables*."""
        return {name: value for name, value in self._given.items() if name not in variables}


def compose(
    task: Task,
    run_id: UUID,
    record: Record,
    values: Mapping[str, Any],
    output_file: str,
    inherited: Inherited,
    withheld: Set[str] = frozenset(),
    inputs: Sequence[tuple[str, Mapping[str, Any]]] = (),
    of_user: Mapping[str, str] | None = None,
) -> tuple[dict[str, str], frozenset[str]]:
    """
    The whole environment of a run, and the secret values in it, which must not be shown.

    *withheld* are variables that a run inherits only if its own task uses them as secrets, *inputs* the outputs of the
    steps that it depends on, by task, *of_user* the variables of another operating-system user.

    Raises Unprepared for a file that cannot be read and for a secret whose variable is not set on this worker.
    """
    own = sources(task)
    env = inherited.without(withheld - own)
    env.update(of_user or {})
    env.update(_read_file(task.env_file, task))
    env.update(task.env)
    hidden = {**_read_file(task.secrets_file, task), **_resolve(task, inherited.environ)}
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
    return env, frozenset([*hidden.values(), *(inherited.environ.get(name, "") for name in own - NEEDED)])


def sources(task: Task) -> frozenset[str]:
    """The variables of the worker's environment that the task uses as secrets."""
    return frozenset(name for value in task.secrets.values() for name in references(value))


def handed_on(inputs: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """
    Outputs as variables ``RUNFLEET_OUTPUT_<TASK>_<KEY>``: upper case, ``_`` for characters that names cannot have.

    JSON for anything but a string. When replicas have the same key, the last one wins.
    """
    return {
        f"RUNFLEET_OUTPUT_{_as_name(task)}_{_as_name(key)}": text.replace("\0", "")
        for task, outputs in inputs
        for key, value in outputs.items()
        if len(text := value if isinstance(value, str) else msgspec.json.encode(value).decode()) <= MOST_HANDED_ON
    }


def arguments(task: Task, values: Mapping[str, Any]) -> tuple[str, ...]:
    """The argument vector of a command; a string runs in a shell, with parameters as ``$1``…, never spliced into it."""
    extra = params.arguments(task, values)
    if isinstance(task.run, str):
        return ("/bin/sh", "-e", "-c", task.run, task.name, *extra)
    return (*(task.run or ()), *extra)


def parameters(task: Task, record: Record) -> dict[str, Any]:
    """
    The parameters of a run, validated again: no signature covers its record, so they may have been changed.

    Raises Unprepared for parameters that *task* does not accept.
    """
    try:
        given = msgspec.json.decode(record.params) if record.params else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unprepared(f"the parameters of this run cannot be read: {error}") from None
    if not isinstance(given, dict):
        raise Unprepared("the parameters of this run are not names and values")
    values, problems = params.accept(task, given)
    if problems:
        wrong = "; ".join(f"{one.location.removeprefix('body.')} {one.message}" for one in problems[:3])
        raise Unprepared(f"task {task.name} does not accept the parameters of this run: {wrong}")
    return values


def _as_name(text: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", text.upper())


def _resolve(task: Task, environ: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, value in task.secrets.items():
        if not NEVER_GIVEN.isdisjoint(references(value)):
            raise Unprepared(
                f"secret {name} of task {task.name} uses a secret of Runfleet's own "
                f"({', '.join(sorted(NEVER_GIVEN))}), which no run may have: it could make every worker run anything"
            )
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
