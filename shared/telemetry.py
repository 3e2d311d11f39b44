"""
Structured logging: one event per line on stdout, and the table of all events.

Log events, not sentences: ``log.info("run.claimed", run_id=…, task=…)``. ``tests/promises`` fails for an event that is
not in ``EVENTS``, and for a row that is never logged. Importing this module costs nothing; ``configure`` or the first
event loads structlog.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from shared.outlet import Outlet
from shared.printable import printable

if TYPE_CHECKING:
    from shared.settings import Settings

EVENTS: Final[dict[str, str]] = {
    "api.started": "The API is listening on `host` and `port`.",
    "api.few_files": "The open-file limit (ulimit -n) is `files`, so the API serves at most `connections` at once.",
    "api.open": "RUNFLEET_OPEN=on: anyone who can reach this machine's loopback may do everything.",
    "api.token": "RUNFLEET_TOKEN is not set: the token is in `file`, which only its owner can read.",
    "api.stopped": "The API closed its streams, finished its requests and exited.",
    "api.failed": "A request failed with an unexpected error; the client's answer contains the `error_id`.",
    "api.socket_dropped": "A client closed a WebSocket during a Redis outage, as too many others did; its last "
    "message is lost.",
    "api.events_failed": "The event stream could not be read; its readers wait while the API retries.",
    "scheduler.leading": "This scheduler became the leader; its `fence` is higher than any earlier leader's.",
    "scheduler.standby": "Another scheduler leads; this one is ready to take over.",
    "scheduler.stopped": "The scheduler gave up its leadership and exited.",
    "scheduler.recovered": "A round of the scheduler succeeded after one that had failed (job `round`).",
    "scheduler.job_failed": "One job of the scheduler, or one part of it (`about`), failed and will be retried; the "
    "others continue. Repeated every minute while it lasts.",
    "definitions.refused": "The task file is invalid; nothing was applied, and the tasks in the store are unchanged.",
    "definitions.absent": "There is no task file at `path`; the tasks in the store are unchanged.",
    "schedule.unreadable": "This release cannot read a schedule in the store and does not fire it.",
    "schedule.fired": "A tick created an execution.",
    "schedule.missed": "Ticks were missed for the reason in `why`; `catch_up` is how many of them run now.",
    "schedule.repaired": "The leader's schedules differed from the catalog and were loaded again.",
    "schedule.ahead": "Last ticks were in the future because the Redis clock was set back; they were reset to now.",
    "store.keys_reset": "`keys` of Runfleet held data of another program and were reset. Find out what wrote it.",
    "queue.forgotten": "Empty queues that no task names and no worker serves were removed; `count` is how many.",
    "clock.stepped": "The Redis clock jumped by `seconds` (negative: back).",
    "run.unreadable": "This release cannot read a run, or the definition of a lost run, and skips it.",
    "run.claimed": "A worker claimed a run and starts it.",
    "run.ended": "A run ended, with its `reason` and `exit_code`.",
    "run.given_back": "A worker returned a claimed run that it had not started, for the reason in `why`; the run is "
    "pending again.",
    "run.not_given_back": "A claimed run could not be returned; the scheduler rescues it when its lease expires.",
    "run.broken": "A worker failed with an unexpected error while it had a run; the run ends with that error, unless "
    "it had ended.",
    "run.lost": "This worker's lease on a run expired; its process is killed and its result discarded.",
    "log.dropped": "`lines` lines of this process's own log were dropped, because its output was not read.",
    "run.lines_dropped": "`lines` log lines of a run were dropped: Redis, or this worker's buffer, was full.",
    "run.rescued": "A run whose worker sent no heartbeat for a lease was ended as crashed; `retry_on` decides on a "
    "retry.",
    "orphans.undetected": "Not on Linux: processes that a run leaves behind in other sessions are neither found nor "
    "killed.",
    "worker.started": "A worker process serves `queues` with `threads`.",
    "worker.drain": "A worker claims no more runs; its current ones have `grace_s` to finish.",
    "worker.stopped": "A worker process exited, and left no process behind.",
    "worker.restarted": "A worker process died and was replaced.",
    "worker.not_started": "A worker process could not be started; the launcher retries after a pause.",
    "worker.hanging": "A worker process gave no sign of life for `silent_s` seconds; it is killed and replaced.",
    "worker.launcher_failed": "The launcher met an unexpected error; its worker processes continue.",
    "worker.broken": "A worker process lost an essential thread; it exits, and its launcher starts another.",
    "worker.abandoned": "A worker's grace period ended before all ends were recorded; the scheduler rescues those "
    "runs.",
    "worker.unfit": "A worker cannot execute anything, for the reason in `why`, and claims no runs until that is "
    "fixed.",
    "worker.fit": "A worker that could not execute anything can again, and claims runs.",
    "worker.check_failed": "A worker's self-check failed; it will be repeated.",
    "worker.spawner_stopped": "Something, perhaps a run, stopped the spawner with SIGSTOP. It was continued.",
    "worker.spawner_unresponsive": "The spawner hangs; it is killed, and the worker process replaced.",
    "worker.miscounted": "A worker counted more busy threads than there are; the count was corrected.",
    "worker.processor_failed": "A processor of a worker met an unexpected error; it continues.",
    "worker.log_failed": "A worker's log shipper met an unexpected error; it stores the lines later.",
    "worker.claim_failed": "Redis refused a claim, though it is available; the worker retries.",
    "worker.heartbeat_failed": "Redis refused a heartbeat, though it is available.",
    "worker.secrets_unknown": "Redis refused the list of variables that tasks use as secrets; those already known "
    "stay secret.",
    "worker.replay_failed": "Redis refused replayed run ends, though it is available.",
    "lineage.dropped": "`events` OpenLineage events were not sent, for the reason in `why`; runs are not affected.",
    "lineage.missed": "Runs without a worker ended faster than they were read; lineage lacks some of these ends.",
    "lineage.unavailable": "OPENLINEAGE_URL is set but its library is not installed: pip install "
    "runfleet[openlineage].",
    "wakeup.failed": "The workers of a queue could not be woken; the scheduler's next check of the queue starts its "
    "runs.",
    "store.listener_failed": "The subscription to wake-ups failed and is being renewed; until then readers poll.",
    "store.unavailable": "Redis does not answer; runs continue, and writes wait.",
    "store.evicts": "Redis may evict expiring keys when memory is short (`policy`); set noeviction.",
    "store.wiped": "Redis lost all its data; this worker's running runs were written back.",
    "run.end_replayed": "Run ends lost in a Redis failover were replayed.",
    "store.recovered": "Redis answers again, after `away_s` seconds.",
    "definitions.applied": "The task file was applied: how many tasks were added, changed, removed and unchanged.",
    "definitions.left_alone": "The task file was not applied, for the reason in `why`; the tasks in the store are "
    "unchanged.",
    "definitions.seen": "The last applied task file, and who applied it; it is restored if Redis is wiped.",
    "definitions.restored": "Redis was wiped; the tasks of the last applied file were restored.",
    "definitions.standby": "This standby read its task file again; it will apply the file if it becomes the leader.",
    "definitions.failed": "The task file cannot be applied at the moment; the scheduler retries.",
    "settings.unknown": "An environment variable resembles a setting but is none; `nearest` is the setting that was "
    "probably meant.",
    "definitions.unsigned": "RUNFLEET_SECRET is not set: anyone who can write to Redis can make workers run commands.",
    "session.untrusted": "A session or sign-in link (`purpose`) was refused: its key in Redis is not signed with this "
    "fleet's RUNFLEET_SECRET.",
    "token.untrusted": "A token was refused: its row in Redis is not signed with this fleet's RUNFLEET_SECRET.",
    "definition.untrusted": "A definition is not signed with RUNFLEET_SECRET; it was not executed, and its run waits.",
}
"""Every event, and its meaning."""

_QUIET: Final = {
    "uvicorn.access": "warning",
    "uvicorn.error": "warning",
    "dramatiq": "warning",
    "asyncio": "warning",
    "openlineage": "warning",
    "urllib3": "error",
}
"""Libraries' loggers that are chatty at ``info``, and the level they start at unless ``log_level = debug``."""

_configured = threading.Event()
_later: list[Settings] = []
_hushed: list[bool] = []
_least = [0]
"""The lowest level that is logged, as a number; known here so that an event below it costs next to nothing."""

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Log:
    """A component's log. Values are keywords; time and level are added; no method ever raises."""

    __slots__ = ("_bound", "component")

    def __init__(self, component: str) -> None:
        self.component = component
        self._bound: Any = None

    def debug(self, event: str, **values: object) -> None:
        """A detail, useful for debugging only."""
        self._say("debug", event, values)

    def info(self, event: str, **values: object) -> None:
        """Something expected happened."""
        self._say("info", event, values)

    def warning(self, event: str, **values: object) -> None:
        """Something went wrong and was handled."""
        self._say("warning", event, values)

    def error(self, event: str, **values: object) -> None:
        """Something failed and needs a person's attention."""
        self._say("error", event, values)

    def exception(self, event: str, **values: object) -> None:
        """An error, with the traceback of the exception being handled."""
        self._say("error", event, {"exc_info": True, **values})

    def _say(self, level: str, event: str, values: dict[str, object]) -> None:
        if _LEVELS[level] < _least[0] or (_hushed and level != "error"):
            return
        try:
            getattr(self._logger(), level)(event, **values)
        except Exception as error:
            # No descriptor is left to load the library with, or a value has no repr: write a plain line instead.
            with suppress(Exception):
                fields = {
                    "at": datetime.now(UTC).isoformat(),
                    "level": level,
                    "component": self.component,
                    "event": event,
                    **values,
                    "log_error": repr(error),
                }
                write_line(
                    " ".join(
                        f"{key}={value if isinstance(value, str) and ' ' not in value else repr(value)}"
                        for key, value in fields.items()
                    )
                )

    def _logger(self) -> Any:
        if self._bound is None or not _configured.is_set():
            if not _configured.is_set():
                from shared.settings import Settings

                configure(_later[0] if _later else Settings())
            import structlog

            self._bound = structlog.get_logger(component=self.component)
        return self._bound


def get_logger(component: str) -> Log:
    """The log of *component* (``api``, ``worker``, ``store``…). Cheap enough for the top of a module."""
    return Log(component)


def configure(settings: Settings) -> None:
    """
    Set the format and level of this process's events, and send the standard library's loggers the same way.

    Call once at the start of a process, before its threads; calling again replaces what was set.
    """
    _load_without_rich()
    import structlog

    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    terminal = sys.stdout.isatty()
    wanted = settings.log_format if settings.log_format != "auto" else ("pretty" if terminal else "logfmt")
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    last: list[Any]
    if wanted == "pretty":
        last = [
            structlog.processors.format_exc_info,
            _for_terminals,
            structlog.dev.ConsoleRenderer(
                colors=terminal,
                timestamp_key="at",
                # The rich formatter would print local variables, and those can be secrets.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
    elif wanted == "json":
        last = [structlog.processors.format_exc_info, _ordered, structlog.processors.JSONRenderer(default=str)]
    else:
        last = [
            structlog.processors.format_exc_info,
            _plain_keys,
            _for_terminals,
            _ordered,
            structlog.processors.LogfmtRenderer(bool_as_flag=False),
        ]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Lines,
        cache_logger_on_first_use=False,
    )
    handler = _LibraryHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _name_component],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, quiet in _QUIET.items():
        foreign = logging.getLogger(name)
        foreign.handlers.clear()
        foreign.propagate = True
        foreign.setLevel(max(level, logging.getLevelNamesMapping()[quiet.upper()]) if level > logging.DEBUG else level)
    logging.captureWarnings(True)
    _least[0] = level
    _configured.set()


@contextmanager
def hushed() -> Iterator[None]:
    """Suppress all events but errors: for a command, which prints messages of its own."""
    _hushed.append(True)
    try:
        yield
    finally:
        _hushed.pop()


def configure_later(settings: Settings) -> None:
    """``configure`` at the first event: for a process that may never log, and uses no library's loggers."""
    _later[:] = [settings]


def _load_without_rich() -> None:
    """Import structlog without rich, which it would load for tracebacks that are not shown here: 5 MB a process."""
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # makes the import system report it as missing
    try:
        import structlog  # noqa: F401  # for its effect
    finally:
        del sys.modules["rich"]


def write_line(line: str) -> None:
    """Queue a line for the current ``sys.stdout`` (also a redirected one). Never blocks."""
    try:
        stream = sys.stdout
        try:
            fd = stream.fileno()
        except (OSError, ValueError):  # not a file: a test, or a program that captures output
            stream.write(line + "\n")
            return
        if (stream.encoding or "utf-8").lower() not in ("utf-8", "utf8"):  # an ASCII terminal or locale
            line = line.encode(stream.encoding, "backslashreplace").decode(stream.encoding)
        _outlet.put(fd, line + "\n")
    except (OSError, ValueError, LookupError, AttributeError):
        pass  # it is closed


def _say_dropped(lines: int) -> None:
    log = get_logger("log")
    log.warning("log.dropped", lines=lines)


_outlet = Outlet(_say_dropped)


class _Lines:
    """The logger that structlog hands rendered events to."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: str) -> None:
        write_line(line)

    debug = info = warning = error = critical = fatal = exception = log = msg


class _LibraryHandler(logging.Handler):
    """Writes the records of libraries (uvicorn, dramatiq, litestar, …) the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):  # its traceback would go to stderr, which may not be read either
            write_line(self.format(record))


def _name_component(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    record = event.get("_record")
    event["component"] = record.name if record is not None else "python"
    return event


def _ordered(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    first = {key: event[key] for key in ("at", "level", "component", "event") if key in event}
    return first | dict(event)


def _plain_keys(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # The logfmt renderer raises on a space in a key, and a carriage return in a value would break its line.
    return {
        key.replace(" ", "_"): value.replace("\r\n", "\n").replace("\r", " ") if isinstance(value, str) else value
        for key, value in event.items()
    }


def _for_terminals(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # A name in Redis may come from an attacker, and this log may be read on a terminal. JSON escapes it anyway.
    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}
