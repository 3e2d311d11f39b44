"""A trigger's parameters against what the task declares, and how they reach the process. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from shared.config import mismatch
from shared.errors import Problem
from shared.tasks import Task

MAX_BYTES: Final = 256 * 1024
"""Most bytes of JSON that a trigger's parameters may have."""


DEPTH_MAX: Final = 100
"""How deep lists and objects may be nested: a parser takes one stack frame for each level."""


def is_deep(value: object) -> bool:
    """Whether lists and objects in *value* are deeper within each other than ``DEPTH_MAX``."""
    level = [value]
    for _ in range(DEPTH_MAX):
        inner: list[object] = []
        for one in level:
            if isinstance(one, Mapping):
                inner += one.values()
            elif isinstance(one, (list, tuple)):
                inner += one
        if not inner:
            return False
        level = [one for one in inner if isinstance(one, (Mapping, list, tuple))]
    return bool(level)


def accept(task: Task, given: Mapping[str, Any] | None) -> tuple[dict[str, Any], list[Problem]]:
    """
    The parameters of a run of *task*: those given, and the defaults of those left out; with every problem found.

    A command takes declared parameters only; a callable takes any, as keyword arguments.
    """
    values, problems = dict(given or {}), list[Problem]()
    deep = next((name for name, value in values.items() if is_deep(value)), None)
    if deep is not None:
        return {}, [
            Problem(f"body.params.{deep}", f"is nested deeper than {DEPTH_MAX}; pass it as text, or a reference")
        ]
    if len(msgspec.json.encode(values)) > MAX_BYTES:
        return values, [Problem("body.params", f"is larger than {MAX_BYTES // 1024} KiB; pass a reference instead")]
    for name in values:
        if name not in task.params and task.call is None and not task.external:
            known = ", ".join(task.params) or "none"
            problems.append(Problem(f"body.params.{name}", f"is not a parameter of task {task.name}; it has: {known}"))
    for name, declared in task.params.items():
        if name in values:
            wrong = mismatch(declared, values[name])
            if wrong:
                problems.append(
                    Problem(f"body.params.{name}", wrong, "" if declared.secret else _text(values[name])[:200])
                )
        elif declared.default is not msgspec.UNSET:
            values[name] = declared.default
        elif declared.required:
            problems.append(Problem(f"body.params.{name}", f"is required by task {task.name}"))
    return values, problems


def environment(task: Task, values: Mapping[str, Any]) -> dict[str, str]:
    """The variables of parameters passed by ``env``: ``RUNFLEET_PARAM_<NAME>``, JSON for anything but a string."""
    return {
        f"RUNFLEET_PARAM_{name.upper()}": _text(values[name])
        for name, declared in task.params.items()
        if declared.pass_as == "env" and name in values
    }


def arguments(task: Task, values: Mapping[str, Any]) -> list[str]:
    """
    Whole argv elements for ``arg``, ``option`` (``--name value``) and ``flag`` (``--name``), in the order declared.
    """
    argv: list[str] = []
    for name, declared in task.params.items():
        if name not in values:
            continue
        option = "--" + name.replace("_", "-")
        if declared.pass_as == "arg":
            argv.append(_text(values[name]))
        elif declared.pass_as == "option":
            argv += [option, _text(values[name])]
        elif declared.pass_as == "flag" and values[name] is True:
            argv.append(option)
    return argv


def secrets(task: Task, values: Mapping[str, Any]) -> frozenset[str]:
    """The secret texts in a run's parameters: each secret parameter as it is passed, and every text within it."""
    hidden: set[str] = set()
    waiting = [value for name, value in values.items() if name in task.params and task.params[name].secret]
    hidden.update(map(_text, waiting))
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            hidden.add(value)
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return frozenset(hidden)


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
