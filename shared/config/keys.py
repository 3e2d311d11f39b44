"""The table of every key of a task file. Reading, the JSON Schema and the documentation are made from it."""

from __future__ import annotations

import signal
import zoneinfo
from functools import lru_cache
from typing import Final

from shared.config.params import params
from shared.config.source_locations import Place, nearest, show
from shared.config.value_types import (
    ARGUMENT_MAX,
    Key,
    Kind,
    duration,
    flag,
    list_of,
    map_of,
    matches,
    matching,
    name,
    one_of,
    one_or_many,
    share,
    size,
    text,
    whole,
)
from shared.runs import Reason

ENV_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
RETRIED: Final = (Reason.FAILED, Reason.TIMEOUT, Reason.CRASHED, Reason.LOG_OVERFLOW)
SIGNALS: Final = tuple(sorted(item.name for item in signal.Signals))


def _read_run(value: object, place: Place) -> object:
    if isinstance(value, (list, tuple)):
        return list_of(text(most=ARGUMENT_MAX), least=1, unique=False).read(value, place)
    if not isinstance(value, str):
        raise ValueError(f'must be a command like "date", or a list like ["date", "-u"], not {show(value)}')
    return text(most=ARGUMENT_MAX).read(value, place)


def _parse_call(value: str) -> str:
    module, colon, function = value.partition(":")
    if not (colon and all(part.isidentifier() for part in [*module.split("."), *function.split(".")])):
        raise ValueError(f'must be a Python callable like "module.path:function", not {show(value)}')
    return value


def _parse_timezone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        if matches("[A-Z]{3,5}", value):  # CEST is near EST, and nothing could be further from what was meant
            raise ValueError(
                f"{show(value)} is an abbreviation, which says nothing of summer time: write an IANA name like "
                '"Europe/Berlin"'
            ) from None
        near = nearest(value, _timezones())
        meant = f'; did you mean "{near}"?' if near else ': write an IANA name like "Europe/Berlin"'
        raise ValueError(f"{show(value)} is not a known time zone{meant}") from None
    return value


@lru_cache(maxsize=1)
def _timezones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())  # opens some six hundred files


def _parse_signal(value: str) -> str:
    full = "SIG" + value.upper().removeprefix("SIG")
    if full not in SIGNALS:
        near = nearest(full, SIGNALS)
        meant = f'; did you mean "{near}"?' if near else ': write a name like "SIGTERM" or "SIGINT"'
        raise ValueError(f"{show(value)} is not a signal{meant}")
    return full


def _parse_retry_rule(value: str) -> str:
    if value in RETRIED:
        return value
    if value in tuple(Reason):
        whys = {"success": "a success needs no retry", "stopped": "somebody wanted it to end", "skipped": "nothing ran"}
        raise ValueError(f'"{value}" is never retried ({whys[value]}): remove it')
    first, dash, last = value.removeprefix("exit:").partition("-")
    numbers = [first, last] if dash else [first]
    if value.startswith("exit:") and all(matches("[0-9]{1,3}", number) and int(number) <= 255 for number in numbers):
        if int(first) > int(last or first):
            raise ValueError(f'"{value}" is an empty range: write "exit:{last}-{first}"')
        return value
    allowed = ", ".join(f'"{reason}"' for reason in RETRIED)
    near = nearest(value, RETRIED)
    meant = f'; did you mean "{near}"?' if near else ""
    raise ValueError(
        f'must be one of {allowed}, or like "exit:75" or "exit:64-78" (0 to 255), not {show(value)}{meant}'
    )


def _read_umask(value: object, place: Place) -> object:
    if isinstance(value, str) and matches("(0o)?[0-7]{1,4}", value) and int(value, 8) <= 0o777:
        return int(value, 8)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0o777:
        return value
    raise ValueError(f'must be octal, from "000" to "777", like "022", not {show(value)}')


def _read_cpu(value: object, place: Place) -> object:
    if not isinstance(value, str):
        return whole(1, 365 * 86_400).read(value, place)
    duration_ms = duration("1s", "365d").read(value, place)
    if not isinstance(duration_ms, int) or duration_ms % 1000:
        raise ValueError(f"must be whole seconds of CPU time, not {value}")
    return duration_ms // 1000


def _parse_user(value: str) -> str:
    if not matches(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}\$?", value):
        raise ValueError(f'must be the name of a user of the operating system, like "app", not {show(value)}')
    return value


def _check_variable(variable: str) -> None:
    if not matches(ENV_NAME, variable) or len(variable) > 200:
        raise ValueError("a variable's name is letters, digits and _, and doesn't start with a digit")
    if variable.startswith("RUNFLEET_"):
        raise ValueError("names that start with RUNFLEET_ are Runfleet's own: choose another")


def _check_label(label: str) -> None:
    if not label or len(label) > 100 or not label.isprintable():
        raise ValueError("a label's name is 1 to 100 printable characters")


def _parse_url(value: str) -> str:
    if not matches(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", value):  # the value is not shown, it may hold a password
        raise ValueError('must be a URL like "https://host/path" or an apprise URL like "slack://…"')
    return value


_VARIABLES: Final = map_of(text(most=ARGUMENT_MAX, empty=True, private=True), _check_variable, ENV_NAME)
_LABELS: Final = map_of(text(most=1000, empty=True), _check_label, ".{1,100}", most=100)
_RUN: Final = Kind(
    _read_run,
    {
        "anyOf": [
            {"type": "string", "minLength": 1, "maxLength": ARGUMENT_MAX},
            {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1, "maxLength": ARGUMENT_MAX}},
        ]
    },
)
_CALL: Final = matching(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*", _parse_call, "a Python callable")
_UMASK: Final = Kind(
    _read_umask,
    {"anyOf": [{"type": "string", "pattern": "^(0o)?[0-7]{1,4}$"}, {"type": "integer", "minimum": 0, "maximum": 511}]},
    lambda umask: f"{umask:03o}",
)
_CPU: Final = Kind(
    _read_cpu, {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 31_536_000}, duration("1s", "365d").schema]}
)
_RULE: Final = matching(f"{'|'.join(RETRIED)}|exit:[0-9]{{1,3}}(?:-[0-9]{{1,3}})?", _parse_retry_rule, "a string")
_USER: Final = matching(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}\$?", _parse_user, "a user's name")
_SIGNAL: Final = matching("(?:[Ss][Ii][Gg])?[A-Za-z]+[0-9+-]*", _parse_signal, 'a signal name like "SIGTERM"')

TASK_KEYS: Final[dict[str, Key]] = {
    "run": Key(_RUN, "The command: a string goes to sh -e -c, a list is executed as it is."),
    "call": Key(_CALL, "A Python callable instead of run, as module.path:function."),
    "python": Key(text(), "The interpreter for call; the worker's own if absent."),
    "isolate": Key(flag(), "call only: true forks each run, false lets one warm child serve many."),
    "external": Key(flag(), "Nobody here executes it; its runs are reported through the API."),
    "description": Key(text(empty=True), "For people."),
    "group": Key(text(most=100, empty=True), "A heading under which the dashboard lists it."),
    "tags": Key(list_of(text(most=100), most=100), "Words to filter by."),
    "labels": Key(_LABELS, "Names and values to filter by."),
    "cron": Key(one_or_many(text(most=200)), "When it starts: 5 fields, 6 with seconds first, @hourly, @every 30s."),
    "timezone": Key(matching(r"[A-Za-z0-9_+/-]+", _parse_timezone, "an IANA name"), "IANA name of cron's time zone."),
    "jitter": Key(
        duration("0s", "1d"),
        "Most that a tick is delayed, always the same for the same tick. At most the schedule's shortest period.",
        "jitter_ms",
    ),
    "catch_up": Key(whole(0, 1000), "How many ticks missed in a downtime are run, the newest ones."),
    "manual_trigger": Key(flag(), "false: API and dashboard may not start it."),
    "replicas": Key(whole(1, 10_000), "Runs made per trigger."),
    "max_replicas": Key(whole(1, 10_000), "Most replicas that a trigger may ask for; more is refused."),
    "queue": Key(name("a queue's name"), "Which workers it is for."),
    "priority": Key(whole(0, 9), "Within its queue; 9 goes first."),
    "depends_on": Key(list_of(name("a task's name")), "Tasks that have to succeed first."),
    "max_concurrent": Key(whole(1, 100_000), "Most executions at once; no limit if absent."),
    "on_overlap": Key(one_of("queue", "skip", "kill"), "What a trigger does at max_concurrent."),
    "max_queued": Key(whole(0, 100_000), 'Most executions waiting under on_overlap = "queue".'),
    "timeout": Key(duration("1ms", "365d"), "Longest an attempt may take; no limit if absent.", "timeout_ms"),
    "stop_signal": Key(_SIGNAL, "The signal that asks the process group to end."),
    "graceful_stop": Key(duration("0s", "1d"), "Time between stop_signal and SIGKILL.", "graceful_stop_ms"),
    "retry_attempts": Key(whole(0, 100), "Extra attempts per replica."),
    "retry_delay": Key(
        one_or_many(duration("0s", "365d"), least=1, unique=False),
        "Wait before a retry; a list gives each its own, the last repeats.",
        "retry_delay_ms",
    ),
    "retry_backoff": Key(one_of("constant", "linear", "exponential"), "How a single retry_delay grows."),
    "retry_max_delay": Key(
        duration("0s", "365d"), "Longest wait before a retry, its jitter not counted.", "retry_max_delay_ms"
    ),
    "retry_jitter": Key(share(), "Uniform extra of up to that share of the delay."),
    "retry_on": Key(list_of(_RULE, most=100), "End reasons that are retried, or exit:<code or a-b>."),
    "success_codes": Key(list_of(whole(0, 255), least=1, most=256), "Exit codes that count as success."),
    "on_interrupt": Key(one_of("retry", "rerun", "end"), "What becomes of a run whose worker shuts down."),
    "strict_lease": Key(flag(), "The worker kills a run that it could not renew, before anybody may rescue it."),
    "heartbeat_timeout": Key(
        duration("1s", "365d"),
        "external only: a running run that nobody reports on for so long has crashed; no limit if absent.",
        "heartbeat_timeout_ms",
    ),
    "log_max_size": Key(size("1kb", "1gb"), "Most captured output of a run."),
    "log_on_full": Key(one_of("drop_old", "drop_new", "kill"), "What happens at log_max_size."),
    "keep_runs": Key(whole(1, 1_000_000), "Runs of each end reason kept in the history."),
    "keep_for": Key(duration("1s", "36500d"), "How long runs are kept in the history.", "keep_for_ms"),
    "env": Key(_VARIABLES, "Environment variables."),
    "env_file": Key(text(), "A file of environment variables on the worker."),
    "secrets": Key(_VARIABLES, "Variables that are shown nowhere; ${NAME} in them is resolved by the worker."),
    "secrets_file": Key(text(), "A file of secret variables on the worker."),
    "working_dir": Key(text(), "Where the command is started."),
    "umask": Key(_UMASK, "Octal file mode creation mask, like 022."),
    "nice": Key(whole(-20, 19), "Scheduling niceness."),
    "user": Key(_USER, "Another operating-system user for its runs, one of RUNFLEET_RUN_USERS of their workers."),
    "memory_limit": Key(
        size("1mb", "1048576gb"), "Most memory of all processes of a run together; no limit if absent."
    ),
    "address_space_limit": Key(
        size("1mb", "1048576gb"), "Most address space of each process (RLIMIT_AS); no limit if absent."
    ),
    "cpu_limit": Key(_CPU, "Most seconds of CPU time of a process; no limit if absent.", "cpu_limit_s"),
    "params": Key(params(), "Declared parameters by name."),
    "notify": Key(list_of(name("a name of [notify.<name>]"), most=100), "Who hears how its runs end."),
    "limits": Key(list_of(name("a name of [limits.<name>]"), most=100), "Slots it shares with other tasks."),
}

ALSO_CALLED: Final[dict[str, str]] = {
    "cmd": "run",
    "command": "run",
    "function": "call",
    "schedule": "cron",
    "tz": "timezone",
    "retries": "retry_attempts",
    "max_retries": "retry_attempts",
    "backoff": "retry_backoff",
    "concurrency": "max_concurrent",
    "environment": "env",
    "cwd": "working_dir",
    "workdir": "working_dir",
    "needs": "depends_on",
    "after": "depends_on",
    "parameters": "params",
    "kill_after": "graceful_stop",
    "on_failure": "notify",
    "on_success": "notify",
    "alert": "notify",
    "notifications": "notify",
}
"""Words that other tools use for the same thing."""

NOTIFY_KEYS: Final[dict[str, Key]] = {
    "url": Key(
        matching(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", _parse_url, "a URL"), "A webhook, or an apprise URL.", "", True
    ),
    "on": Key(one_or_many(one_of(*Reason, "recovered"), least=1), "End reasons it hears of, or recovered."),
    "throttle": Key(duration("0s", "365d"), "At most one message per task in this time.", "throttle_ms"),
}

LIMIT_KEYS: Final[dict[str, Key]] = {
    "max": Key(whole(1, 100_000), "How many slots there are.", "", True),
}

INCLUDE: Final = one_or_many(text())
