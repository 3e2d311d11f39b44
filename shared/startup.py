"""Checks across settings, which every process makes before it starts."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

import msgspec

from shared.addresses import is_local
from shared.errors import Misconfigured
from shared.settings import Settings, variable
from shared.telemetry import Log

ALIKE: Final = 0.8
"""How alike two names have to be for one to be meant by the other, from 0 to 1."""


def begin(settings: Settings, log: Log, environ: Mapping[str, str] | None = None) -> None:
    """
    Say what is odd about the settings, before anything else.

    Raises Misconfigured where a Redis on another machine is to be used without a secret.
    """
    require_secret(settings)
    if not settings.secret:
        log.warning("definitions.unsigned")
    for name, meant in misspelt(os.environ if environ is None else environ).items():
        log.warning("settings.unknown", name=name, nearest=meant)


def require_secret(settings: Settings) -> None:
    """Raises Misconfigured for a Redis on another machine without a secret, unless RUNFLEET_UNSIGNED allows it."""
    url = settings.redis_url
    if (
        settings.secret or settings.unsigned or not url.startswith("redis") or is_local(url)
    ):  # what is no URL is told so
        return
    raise Misconfigured(
        "Redis is on another machine and RUNFLEET_SECRET is not set: whoever can write to it could make workers run "
        "commands. Give every process the same RUNFLEET_SECRET (make one with `openssl rand -hex 32`), or set "
        "RUNFLEET_UNSIGNED=on if nobody else can reach that Redis."
    )


def misspelt(environ: Mapping[str, str]) -> dict[str, str]:
    """
    Variables of the environment that begin with ``RUNFLEET_``, are no setting, and are much like one: that one by name.

    Others may be what a task file uses as ``${NAME}``, or what Runfleet gives to runs.
    """
    known = [variable(field.name) for field in msgspec.structs.fields(Settings)]
    found = {}
    for name in sorted(environ):
        if name.startswith("RUNFLEET_") and name not in (*known, *_GIVEN):
            bare = name.removeprefix("RUNFLEET_").upper()
            near = get_close_matches(bare[:100], [one.removeprefix("RUNFLEET_") for one in known], 1, ALIKE)
            if near:
                found[name] = "RUNFLEET_" + near[0]
    return found


_GIVEN: Final = tuple(
    f"RUNFLEET_{name}"
    for name in (
        "TASK",
        "RUN_ID",
        "EXECUTION_ID",
        "REPLICA_INDEX",
        "REPLICA_COUNT",
        "RETRY_ATTEMPT",
        "TRIGGERED_BY",
        "SCHEDULED_FOR",
        "OUTPUT",
        "USER_PYTHONPATH",
        "LAUNCHER_FD",
        "ALIVE_FD",
        "FOLDER_MARK",
    )
)
"""Variables that our processes pass on to those that they start."""
