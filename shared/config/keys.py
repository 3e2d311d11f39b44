"""All keys of the task file, in one table: the reader, the JSON Schema and the documentation use it."""

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
        if matches("[A-Z]{3,5}", value):  # CEST resembles EST, which would be a wrong suggestion
            raise ValueError(
                f"{show(value)} is an abbreviation, which does not define summer time: write an IANA name like "
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
        whys = {"success": "a success needs no retry", "stopped": "it was stopped on purpose", "skipped": "nothing ran"}
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
        raise ValueError(f'must be the name of an operating-system user, like "app", not {show(value)}')
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
    "run": Key(_RUN, "The command. A string is run by sh -e -c; a list is executed directly."),
    "call": Key(_CALL, "A Python callable as module.path:function, instead of run."),
    "python": Key(text(), "Python interpreter for call. Default: the worker's own."),
    "isolate": Key(flag(), "call only: true forks a process for each run; false reuses one process for many runs."),
    "external": Key(flag(), "Workers never execute it; the status of its runs is reported through the API."),
    "description": Key(text(empty=True), "Free text, shown in the API."),
    "group": Key(text(most=100, empty=True), "The dashboard lists the task under this heading."),
    "tags": Key(list_of(text(most=100), most=100), "Tags to filter by."),
    "labels": Key(_LABELS, "Names with values to filter by."),
    "cron": Key(
        one_or_many(text(most=200)), "Schedule: 5 fields, or 6 with seconds first, or @hourly, @every 30s and the like."
    ),
    "timezone": Key(
        matching(r"[A-Za-z0-9_+/-]+", _parse_timezone, "an IANA name"), "Time zone of cron, as an IANA name."
    ),
    "jitter": Key(
        duration("0s", "1d"),
        "Maximum delay of a tick, the same whenever that tick is computed. At most the schedule's shortest period.",
        "jitter_ms",
    ),
    "catch_up": Key(whole(0, 1000), "Number of missed ticks that are run late; the newest ones."),
    "manual_trigger": Key(
        flag(), "false: only its schedule or another task can start it, not the API or the dashboard."
    ),
    "replicas": Key(whole(1, 10_000), "Number of runs per trigger."),
    "max_replicas": Key(whole(1, 10_000), "Maximum replicas that a trigger may request; more are refused."),
    "queue": Key(name("a queue's name"), "Queue of its runs. Workers that serve this queue execute them."),
    "priority": Key(whole(0, 9), "Priority within its queue; 9 is the highest."),
    "depends_on": Key(list_of(name("a task's name")), "Tasks that must succeed first."),
    "max_concurrent": Key(whole(1, 100_000), "Maximum number of executions at once. Default: no limit."),
    "on_overlap": Key(
        one_of("queue", "skip", "kill"),
        "Effect of a trigger at max_concurrent: queue it, skip it, or kill the oldest execution.",
    ),
    "max_queued": Key(whole(0, 100_000), 'Maximum number of executions that wait under on_overlap = "queue".'),
    "timeout": Key(duration("1ms", "365d"), "Maximum duration of an attempt. Default: no limit.", "timeout_ms"),
    "stop_signal": Key(_SIGNAL, "Signal that asks the process group to end."),
    "graceful_stop": Key(duration("0s", "1d"), "Time between stop_signal and SIGKILL.", "graceful_stop_ms"),
    "retry_attempts": Key(whole(0, 100), "Maximum number of retries per replica."),
    "retry_delay": Key(
        one_or_many(duration("0s", "365d"), least=1, unique=False),
        "Delay before a retry. A list gives one delay per retry; its last one repeats.",
        "retry_delay_ms",
    ),
    "retry_backoff": Key(
        one_of("constant", "linear", "exponential"), "How a single retry_delay grows with each retry."
    ),
    "retry_max_delay": Key(
        duration("0s", "365d"), "Maximum delay before a retry, without its jitter.", "retry_max_delay_ms"
    ),
    "retry_jitter": Key(share(), "Random extra delay, up to this share of the delay."),
    "retry_on": Key(list_of(_RULE, most=100), "End reasons that are retried, and exit codes as exit:75 or exit:64-78."),
    "success_codes": Key(list_of(whole(0, 255), least=1, most=256), "Exit codes that count as success."),
    "on_interrupt": Key(
        one_of("retry", "rerun", "end"),
        "After its worker's shutdown: retry the run, rerun the same attempt, or end it.",
    ),
    "strict_lease": Key(
        flag(), "The worker kills a run whose lease it could not renew, before the run can be rescued."
    ),
    "heartbeat_timeout": Key(
        duration("1s", "365d"),
        "external only: a run with no status report for this long has crashed. Default: no limit.",
        "heartbeat_timeout_ms",
    ),
    "log_max_size": Key(size("1kb", "1gb"), "Maximum size of a run's log."),
    "log_on_full": Key(
        one_of("drop_old", "drop_new", "kill"),
        "Effect of log_max_size: drop old lines, drop new lines, or kill the run.",
    ),
    "keep_runs": Key(whole(1, 1_000_000), "Number of ended runs kept for each end reason."),
    "keep_for": Key(duration("1s", "36500d"), "How long ended runs are kept.", "keep_for_ms"),
    "env": Key(_VARIABLES, "Environment variables."),
    "env_file": Key(text(), "A file of environment variables on the worker."),
    "secrets": Key(_VARIABLES, "Environment variables that are never shown. The worker resolves ${NAME} in them."),
    "secrets_file": Key(text(), "A file of secret variables on the worker."),
    "working_dir": Key(text(), "Working directory of the command."),
    "umask": Key(_UMASK, "File mode creation mask in octal, like 022."),
    "nice": Key(whole(-20, 19), "Scheduling niceness."),
    "user": Key(
        _USER, "Operating-system user of its runs, one of the workers' RUNFLEET_RUN_USERS. Default: the worker's user."
    ),
    "memory_limit": Key(
        size("1mb", "1048576gb"), "Maximum memory of all processes of a run together. Default: no limit."
    ),
    "address_space_limit": Key(
        size("1mb", "1048576gb"), "Maximum address space of each process (RLIMIT_AS). Default: no limit."
    ),
    "cpu_limit": Key(_CPU, "Maximum CPU time of a process, in seconds. Default: no limit.", "cpu_limit_s"),
    "params": Key(params(), "Parameters that a trigger may give, by name."),
    "notify": Key(
        list_of(name("a name of [notify.<name>]"), most=100), "Notification channels for the ends of its runs."
    ),
    "limits": Key(list_of(name("a name of [limits.<name>]"), most=100), "Limits that it shares with other tasks."),
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
"""Keys of other tools with the same meaning, for suggestions."""

NOTIFY_KEYS: Final[dict[str, Key]] = {
    "url": Key(
        matching(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", _parse_url, "a URL"),
        "URL of a webhook, or an apprise URL.",
        "",
        True,
    ),
    "on": Key(
        one_or_many(one_of(*Reason, "recovered"), least=1),
        "End reasons that send a message; recovered is the first success after a failure.",
    ),
    "throttle": Key(duration("0s", "365d"), "Minimum time between two messages about the same task.", "throttle_ms"),
}

LIMIT_KEYS: Final[dict[str, Key]] = {
    "max": Key(whole(1, 100_000), "Number of slots, one per execution.", "", True),
}

INCLUDE: Final = one_or_many(text())
