"""Redaction of runs and definitions: secret values are replaced before they are shown."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from shared.ops.catalog import Catalog
from shared.runs import Run

REDACTED: Final = "[redacted]"
"""Stands for a value that is not shown."""


_HIDDEN: Final[dict[str, Any]] = {"default": REDACTED, "choices": [REDACTED]}


async def without_secrets(catalog: Catalog, found: Sequence[Run]) -> list[Run]:
    """
    The runs with ``[redacted]`` for their secret parameters, by the definition that each was made with.

    All parameters of a run whose definition is gone are redacted, since it is unknown which were secret. One round trip
    for each definition that is not in memory.
    """
    hidden: dict[str, frozenset[str] | None] = {}
    for definition in {run.definition for run in found if run.params}:
        task = await catalog.task(definition)
        hidden[definition] = (
            None if task is None else frozenset(name for name, param in task.params.items() if param.secret)
        )
    return [_shown(run, hidden[run.definition]) if run.params else run for run in found]


def definition_shown(body: bytes, *, env: bool) -> dict[str, Any]:
    """
    A definition as it is shown: names of secrets without their values, of secret parameters neither default nor
    choices, and with *env* the values of its environment.
    """
    shown = msgspec.json.decode(body, type=dict[str, Any])
    for key in ("secrets",) if env else ("secrets", "env"):
        if key in shown:
            shown[key] = dict.fromkeys(shown[key], REDACTED)
    for param in shown.get("params", {}).values():
        if param.get("secret"):
            param |= {
                key: REDACTED if key == "default" else [REDACTED] for key in ("default", "choices") if key in param
            }
    return shown


def _shown(run: Run, hidden: frozenset[str] | None) -> Run:
    assert run.params
    if hidden is not None and hidden.isdisjoint(run.params):
        return run
    params = {name: REDACTED if hidden is None or name in hidden else value for name, value in run.params.items()}
    return msgspec.structs.replace(run, params=params)
