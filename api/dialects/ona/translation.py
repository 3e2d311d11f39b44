"""
Translates between a task's spec in this dialect and its definition, both ways.

The definition holds the whole spec, so an execution shows the spec it was made with even after the task changed. Two
exceptions, neither of which affects execution: the order of variables, and ``prebuildRequiresSuccess``.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from api.dialects.ona import bodies
from api.http.auth import Grant
from api.http.decoding import invalid
from shared.config import parse_task
from shared.errors import Invalid, Problem
from shared.ops import REDACTED
from shared.store.dialects.ona_tasks import OnaTask
from shared.tasks import Task

NO_COMMAND: Final = ":"
"""The command of a task that only has dependencies; the shell does nothing for it."""

_NO_ENGINE: Final = (
    "/bin/sh",
    "-c",
    'echo "runsOn.docker asks for a container of $1, and there is no Docker engine here" >&2; exit 125',
    "runsOn.docker",
)
"""
What is executed for ``runsOn.docker``. The image, the command and the environment follow as arguments, so that they can
be read back.
"""

NO_ENGINE_CODE: Final = 125

_SECRET: Final = re.compile(r"\$\{RUNFLEET_SECRET_([0-9A-F]{8}(?:_[0-9A-F]{4}){3}_[0-9A-F]{12})\}")
_RUN: Final = re.compile(r"body\.run\[(\d+)\]")
_KEYS: Final = {
    "body.env": "body.spec.env",
    "body.secrets": "body.spec.env",
    "body.run": "body.spec.command",
    "body.description": "body.metadata.description",
    "body.depends_on": "body.dependsOn",
}


def spec_of(task: Task, listed: OnaTask | None) -> bodies.TaskSpec:
    """The spec of *task*; for a task of another API, as much of it as a spec can express."""
    runs_on: bodies.RunsOn | UnsetType = UNSET
    command = _command(task)
    image = image_of(task)
    if image and isinstance(task.run, tuple):
        _, command, *environment = task.run[len(_NO_ENGINE) :]
        runs_on = bodies.RunsOn(docker=bodies.Docker(image=image, environment=list(environment)))
    order = list(listed.variables) if listed else []
    names = [name for name in order if name in task.env or name in task.secrets]
    names += [name for name in sorted([*task.env, *task.secrets]) if name not in order]
    return bodies.TaskSpec(
        command="" if command == NO_COMMAND else command,
        runs_on=runs_on,
        env=[item for name in names if (item := _variable(name, task)) is not None],
        prebuild_requires_success=listed.prebuild_requires_success if listed else False,
    )


def redacted(spec: bodies.TaskSpec, grant: Grant) -> bodies.TaskSpec:
    """*spec* as shown: callers with scope ``read`` don't get the values of its variables."""
    if grant.scope != "read":
        return spec
    env = [item if item.value is UNSET else msgspec.structs.replace(item, value=REDACTED) for item in spec.env]
    return msgspec.structs.replace(spec, env=env)


def image_of(task: Task) -> str:
    """The image that ``runsOn.docker`` names; "" without one."""
    if isinstance(task.run, tuple) and task.run[: len(_NO_ENGINE)] == _NO_ENGINE:
        return task.run[len(_NO_ENGINE)]
    return ""


def definition(name: str, spec: bodies.TaskSpec, description: str, needed: Sequence[str], before: Task | None) -> Task:
    """
    The definition of task *name* that does what *spec* says, after the tasks *needed*; keys that the dialect does not
    have are kept from *before*. Raises Invalid with places in the message (``body.spec.env[1]``).
    """
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    problems: list[Problem] = []
    for index, item in enumerate(spec.env):
        at = f"body.spec.env[{index}]"
        if item.name in env or item.name in secrets:
            problems.append(Problem(at, f"{item.name} is given twice; keep one", item.name))
        if isinstance(item.value_from, bodies.EnvironmentVariableSource):
            id_ = str(UUID(item.value_from.secret_ref.id)).upper().replace("-", "_")
            secrets[item.name] = f"${{RUNFLEET_SECRET_{id_}}}"
        else:
            env[item.name] = item.value or ""
    table: dict[str, Any] = {
        "run": _run(spec),
        "description": description,
        "env": env,
        "secrets": secrets,
        "depends_on": needed,
    }
    try:
        read = parse_task(name, table)
    except Invalid as invalid:
        names = [item.name for item in spec.env]
        problems += [_placed(problem, names) for problem in invalid.problems]
    if problems:
        raise Invalid(problems)
    if before is None:
        return read
    given = {key: getattr(read, key) for key in table}
    given["secrets"] |= {
        name: value
        for name, value in before.secrets.items()
        if not _SECRET.fullmatch(value) and name not in given["env"]
    }
    return msgspec.structs.replace(before, **given, call=None)


def trigger_of(name: str) -> bodies.AutomationTrigger:
    """The trigger with this name on the wire."""
    return msgspec.convert({name: True}, bodies.AutomationTrigger)


def trigger_names(triggers: Sequence[bodies.AutomationTrigger], where: str) -> list[str]:
    """The names of the triggers. Raises Invalid for a trigger that names none, or is false."""
    names: list[str] = []
    for index, trigger in enumerate(triggers):
        given: Mapping[str, bool] = msgspec.to_builtins(trigger)
        if list(given.values()) != [True]:
            message = 'must name one trigger, like {"manual": true}; several are several objects'
            raise invalid(f"{where}[{index}]", message)
        names += given
    return list(dict.fromkeys(names))


def _command(task: Task) -> str:
    if isinstance(task.run, str):
        return task.run
    return " ".join(task.run) if task.run else task.call or ""


def _run(spec: bodies.TaskSpec) -> str | list[str]:
    docker = spec.runs_on.docker if isinstance(spec.runs_on, bodies.RunsOn) else UNSET
    command = spec.command if spec.command.strip() else NO_COMMAND
    if isinstance(docker, bodies.Docker):
        return [*_NO_ENGINE, docker.image, command, *docker.environment]
    return command


def _variable(name: str, task: Task) -> bodies.EnvironmentVariableItem | None:
    if name in task.env:
        return bodies.EnvironmentVariableItem(name=name, value=task.env[name])
    found = _SECRET.fullmatch(task.secrets[name])
    if found is None:
        return None  # a secret that a spec cannot express
    source = bodies.EnvironmentVariableSource(secret_ref=bodies.SecretRef(id=found[1].lower().replace("_", "-")))
    return bodies.EnvironmentVariableItem(name=name, value_from=source)


def _placed(problem: Problem, names: Sequence[str]) -> Problem:
    """A problem of the definition at its place in the message."""
    for key in ("body.env.", "body.secrets."):
        if problem.location.startswith(key):
            name = problem.location.removeprefix(key).strip('"')
            index = names.index(name) if name in names else 0
            return Problem(f"body.spec.env[{index}]", problem.message)
    part = _RUN.fullmatch(problem.location)
    if part:
        return Problem(_part_of_container(int(part[1]) - len(_NO_ENGINE)), problem.message, problem.value)
    for ours, theirs in _KEYS.items():
        if problem.location.startswith(ours):
            return Problem(theirs + problem.location.removeprefix(ours), problem.message, problem.value)
    return problem


def _part_of_container(index: int) -> str:
    """The container field behind item *index* of the ``_NO_ENGINE`` arguments: image, command or environment."""
    if index == 1:
        return "body.spec.command"
    return "body.spec.runsOn.docker." + (f"environment[{index - 2}]" if index else "image")
