"""The reader of one task: merges the defaults, and checks the rules between keys."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from shared.config.durations import format_duration
from shared.config.keys import ALSO_CALLED, TASK_KEYS
from shared.config.source_locations import Place, show
from shared.config.value_types import listed, read_table
from shared.tasks import NAME_MAX, Param, Task, is_task_name

KINDS: Final = ("run", "call", "external")
MERGED: Final = ("env", "secrets", "labels", "params")
"""Tables that are merged with the default; any other value replaces it."""

NOT_FOR: Final[dict[str, tuple[str, ...]]] = {
    "run": ("python", "isolate", "heartbeat_timeout"),
    "call": ("heartbeat_timeout",),
    "external": ("python", "isolate", "cron", "retry_attempts"),
}
"""Keys that do not apply to a kind of task: an error in the task, ignored in the defaults."""

_WHY_NOT: Final = {
    "python": "is for call only: remove it",
    "isolate": "is for call only: remove it",
    "cron": "workers never execute an external task: remove it",
    "retry_attempts": "an external task is never retried: remove it",
    "heartbeat_timeout": "is for external only; workers send the heartbeats of other tasks: remove it",
}


class Defaults:
    """The table ``[defaults]``: its valid values by key, and its place."""

    def __init__(self, table: object, place: Place) -> None:
        self.place = place
        self.values = read_table(TASK_KEYS, table, place, ALSO_CALLED)
        kinds = _kinds(table)
        if len(kinds) > 1:
            place.under(kinds[1]).problem(f"{listed(kinds)} are given: keep one")


def read_task(name: str, table: object, place: Place, defaults: Defaults) -> Task | None:
    """
    The Task that *table* describes, or None if it is not a table.

    Problems are reported at *place* or in the defaults; the Task then has only the valid values, for further checks.
    """
    if not is_task_name(name):
        place.problem(f"must be a task's name: 1 to {NAME_MAX} letters, digits and . _ -, not {show(name)}")
    own = read_table(TASK_KEYS, table, place, ALSO_CALLED)
    if not isinstance(table, Mapping):
        return None
    kinds = _kinds(table)
    if len(kinds) > 1:
        place.under(kinds[1]).problem(f"{listed(kinds)} are given: keep one")
    elif not kinds and not _kinds(defaults.values):
        place.problem('must have one of run, call and external: write for example run = "date"')
    kind = next(iter(kinds or _kinds(defaults.values)), "run")
    for key in NOT_FOR[kind]:
        if table.get(key, False) not in (False, [], 0) or (key == "isolate" and key in table):
            place.under(key).problem(_WHY_NOT[key])
    values = _merge(own, defaults.values, kind, bool(kinds))
    _check(name, values, own, _Places(place, table, defaults.place), kind)
    fields: dict[str, Any] = {TASK_KEYS[key].field or key: value for key, value in values.items()}
    return Task(name=name, **fields)


class _Places:
    """The place of each value: in the task, or in the defaults."""

    def __init__(self, task: Place, table: Mapping[str, object], defaults: Place) -> None:
        self.task, self.table, self.defaults = task, table, defaults

    def of(self, key: str) -> Place:
        return (self.task if key in self.table else self.defaults).under(key)


def _kinds(table: object) -> list[str]:
    return [kind for kind in KINDS if kind in table and table[kind] is not False] if isinstance(table, Mapping) else []


def _merge(own: dict[str, object], defaults: dict[str, object], kind: str, kind_is_own: bool) -> dict[str, object]:
    left_out = NOT_FOR[kind] + (KINDS if kind_is_own else ())
    values = {key: value for key, value in defaults.items() if key not in left_out}
    for key, value in own.items():
        inherited = values.get(key)
        both = key in MERGED and isinstance(inherited, dict) and isinstance(value, dict)
        values[key] = {**inherited, **value} if both else value  # type: ignore[dict-item]  # `both` says so
    return values


def _check(name: str, values: dict[str, Any], own: dict[str, object], places: _Places, kind: str) -> None:
    """Check the rules; each uses only values that are valid by themselves."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(Task)}
    timezone = values.get("timezone", defaults["timezone"])
    if values.get("cron"):
        _check_cron(values["cron"], timezone, places.of("cron"))
        _check_jitter(name, values["cron"], timezone, values.get("jitter", 0), places.of("jitter"))
    for index, needed in enumerate(values.get("depends_on", ())):
        if needed == name:
            places.of("depends_on").under(index).problem(f"{name} → {name}: a task can't depend on itself; remove it")
    most = values.get("max_replicas", defaults["max_replicas"])
    if values.get("replicas", 1) > most:
        places.of("replicas").problem(f"is more than max_replicas ({most}): raise that, or lower this")
    longest = values.get("retry_max_delay", defaults["retry_max_delay_ms"])
    delays = values.get("retry_delay", ())
    if any(delay > longest for delay in delays):
        limit = f"retry_max_delay ({format_duration(longest)})"
        needed = format_duration(max(delays))
        places.of("retry_delay").problem(f'is longer than {limit}: write retry_max_delay = "{needed}" too')
    if len(delays) > 1 and {"retry_delay", "retry_backoff"} <= own.keys() and own["retry_backoff"] != "constant":
        places.of("retry_backoff").problem("is for a single retry_delay, not for a list: remove one of the two")
    for variable in values.get("secrets", {}):
        if variable in values.get("env", {}):
            places.of("secrets").under(variable).problem("is given in env too: keep one")
    for key, param in values.get("params", {}).items():
        if values.get("cron") and isinstance(param, Param) and param.required:
            message = "is true, but a schedule gives no parameters: give it a default instead, or remove cron"
            places.of("params").under(key).under("required").problem(message)
        if kind == "call" and isinstance(param, Param) and param.pass_as != "env":
            message = f'is "{param.pass_as}", but call gets its parameters as keyword arguments: remove it'
            places.of("params").under(key).under("pass").problem(message)


def _check_jitter(name: str, expressions: tuple[str, ...], timezone: str, jitter_ms: int, place: Place) -> None:
    from shared import schedules

    if not jitter_ms:
        return
    try:
        period_ms = (schedules.parse(expressions, timezone).shortest_period_us() or jitter_ms * 1000) // 1000
    except schedules.BadSchedule:
        return  # reported at the expression
    if jitter_ms > period_ms:
        period = format_duration(period_ms)
        place.problem(
            f"{format_duration(jitter_ms)} is longer than the shortest period of {name} ({period}): "
            f'a tick would delay the next; write at most "{period}"'
        )


def _check_cron(expressions: tuple[str, ...], timezone: str, place: Place) -> None:
    from shared import schedules  # loads croniter, which reading a duration does not need

    for index, expression in enumerate(expressions):
        try:
            schedules.parse([expression], timezone)
        except schedules.BadSchedule as error:
            (place.under(index) if len(expressions) > 1 else place).problem(str(error))
