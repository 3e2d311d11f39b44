"""
What the processes say about themselves: one log event a line on stdout, and the table of every event there is.

Events, not sentences: ``log.info("run.claimed", run_id=…, task=…)``. An event that is not in ``EVENTS`` fails
``tests/promises``, and so does a row that nobody emits. Importing this costs nothing; structlog is loaded by
``configure`` or by the first event.
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
    "api.started": "The API answers on `host` and `port`.",
    "api.few_files": "Only so many `files` may be open (ulimit -n), so that so many `connections` are served at once.",
    "api.open": "RUNFLEET_OPEN=on: everybody who can reach this machine's loopback may do everything.",
    "api.token": "No RUNFLEET_TOKEN is set: the token is in `file`, which only its owner can read.",
    "api.stopped": "The API ended its streams, finished its requests and is gone.",
    "api.failed": "A request met an error nobody foresaw; `error_id` is in the client's answer.",
    "api.socket_dropped": "A client left a WebSocket while Redis was away, as too many did; what it said last is lost.",
    "api.events_failed": "The stream of events could not be read; those who follow it wait, and it is tried again.",
    "scheduler.leading": "This scheduler is the one that acts; `fence` is higher than that of each leader before.",
    "scheduler.standby": "Another scheduler leads; this one waits to take over.",
    "scheduler.stopped": "The scheduler handed its leadership over and is gone.",
    "scheduler.recovered": "A round of the scheduler went well again as a whole, after one that failed (job `round`).",
    "scheduler.job_failed": "One job of the scheduler, or one part of it (`about`), failed; it is tried again, the "
    "others go on. Said again each minute while it lasts.",
    "definitions.refused": "The task file is wrong; nothing of it was applied, the store's tasks stay as they are.",
    "definitions.absent": "There is no task file at `path`; the tasks in the store stay as they are.",
    "schedule.unreadable": "A schedule in the store that this release cannot read; it does not fire it.",
    "schedule.fired": "A tick made an execution.",
    "schedule.missed": "Ticks were not fired in time, and `why`; `catch_up` says how many of them run now.",
    "schedule.repaired": "Schedules stood otherwise in the leader's timetable than in the catalog; it was read anew.",
    "schedule.ahead": "Last ticks were in the future, because Redis's clock went back: they count as of now.",
    "store.begun_anew": "`keys` of ours held what somebody else wrote; they were begun anew. Find out who did.",
    "queue.forgotten": "So many queues, in which nothing waits and which no task names and no worker serves, are gone.",
    "clock.stepped": "Redis's clock went so many `seconds` further than time did (less than 0: back).",
    "run.unreadable": "A run, or a lost one's definition, cannot be read by this release. It is passed over.",
    "run.claimed": "A worker has the run and starts it.",
    "run.ended": "A run's end is on record, with its `reason` and `exit_code`.",
    "run.given_back": "A claimed run of which nothing was started is pending again, and `why`.",
    "run.not_given_back": "A claimed run could not be given back; it is rescued when its lease is over.",
    "run.broken": "A worker met an error nobody foresaw while it had a run; that became the run's end, if it had none.",
    "run.lost": "This worker's right to a run was over; its process is ended and its result not taken.",
    "log.dropped": "So many `lines` of this process's own log were lost, because nobody read them.",
    "run.lines_dropped": "`lines` log lines of a run were dropped: Redis, or this worker's buffer, was full.",
    "run.rescued": "A run whose worker was not heard for a lease was ended as crashed; `retry_on` says what follows.",
    "leftovers.unseen": "Not on Linux: what a run leaves behind in sessions of its own is neither found nor killed.",
    "worker.started": "A worker process serves `queues` with `threads`.",
    "worker.drain": "A worker takes nothing new; its runs have `grace_s` to finish.",
    "worker.stopped": "A worker process is gone; nothing of it is left running.",
    "worker.restarted": "A worker process died and another one took its place.",
    "worker.not_started": "A worker process could not be started; it is tried again after a pause.",
    "worker.hanging": "A worker process did not say for `silent_s` that it is alive; it is killed and replaced.",
    "worker.launcher_failed": "The launcher met an error nobody foresaw; its worker processes go on.",
    "worker.broken": "A worker process lost a thread it cannot be without; it ends, and its launcher starts another.",
    "worker.abandoned": "A worker's grace was over and runs had no end on record; the scheduler rescues them.",
    "worker.unfit": "A worker cannot execute anything, and `why`: it claims no runs until that is mended.",
    "worker.fit": "A worker that could not execute anything can again, and claims runs.",
    "worker.look_failed": "A worker could not look after itself; it tries again.",
    "worker.spawner_stopped": "Something, perhaps a run, stopped (SIGSTOP) the process that starts runs. It goes on.",
    "worker.spawner_silent": "The process that starts a worker's runs hangs; it is killed, and the worker replaced.",
    "worker.miscounted": "More of a worker's threads counted as busy than are; the count was put right.",
    "worker.slot_failed": "A worker's thread met an error nobody foresaw; it goes on.",
    "worker.log_failed": "A worker's log writer met an error nobody foresaw; what it had to store is stored later.",
    "worker.claim_failed": "The store refused a claim for a reason that is not an outage; it is made again.",
    "worker.heartbeat_failed": "The store refused a heartbeat for a reason that is not an outage.",
    "worker.secrets_unknown": "The store refused to say what tasks make secrets of; those known stay secret.",
    "worker.repeat_failed": "The store refused ends that were said again for a reason that is not an outage.",
    "lineage.dropped": "So many OpenLineage `events` were not sent, and `why`; runs are not affected.",
    "lineage.missed": "Ends of runs without a worker came faster than they were looked at; lineage lacks some.",
    "lineage.unavailable": "OPENLINEAGE_URL is set but its library is not there: pip install runfleet[openlineage].",
    "wakeup.failed": "The workers of a queue could not be woken; its runs start at the scheduler's next look at it.",
    "store.listener_failed": "Listening for wake-ups failed and begins anew; meanwhile readers look by themselves.",
    "store.unavailable": "Redis does not answer; what runs goes on, what must be written waits.",
    "store.evicts": "Redis may drop keys that expire when its memory is short (`policy`); noeviction is what fits.",
    "store.wiped": "Redis has forgotten everything; the runs that are executed here are written back.",
    "run.end_replayed": "Ends that a failed primary took with it were said again.",
    "store.recovered": "Redis answers again, after `away_s` seconds.",
    "definitions.applied": "The task file reached the store: how many tasks were added, changed, removed, unchanged.",
    "definitions.left_alone": "The task file was not applied, and `why`; the tasks in the store stay as they are.",
    "definitions.seen": "The task file that was applied last, and by whom; it is written back should Redis be wiped.",
    "definitions.restored": "Redis was wiped; the tasks of the file that was applied last were written back.",
    "definitions.standby": "The task file was read again; the leader applies its own, this scheduler should it lead.",
    "definitions.failed": "The task file cannot be applied at the moment; it is tried again.",
    "settings.unknown": "A variable that is no setting is much like one; `nearest` is the one that was probably meant.",
    "definitions.unsigned": "No RUNFLEET_SECRET is set: whoever can write to Redis can make workers run commands.",
    "token.untrusted": "A token was refused: its row in Redis is not signed with this fleet's RUNFLEET_SECRET.",
    "definition.untrusted": "A definition's signature is not ours; nothing was executed, and its run waits.",
}
"""Every event, and what it tells the person who reads the log."""

_QUIET: Final = {
    "uvicorn.access": "warning",
    "uvicorn.error": "warning",
    "dramatiq": "warning",
    "asyncio": "warning",
    "openlineage": "warning",
    "urllib3": "error",
}
"""Foreign loggers that are chatty at ``info``; at ``log_level = debug`` they say everything."""

_configured = threading.Event()
_later: list[Settings] = []
_hushed: list[bool] = []


class Log:
    """A component's log. Values are given as keywords; times and level are added; nothing here ever raises."""

    __slots__ = ("_bound", "component")

    def __init__(self, component: str) -> None:
        self.component = component
        self._bound: Any = None

    def debug(self, event: str, **values: object) -> None:
        """Something only of use to who looks into this very matter."""
        self._say("debug", event, values)

    def info(self, event: str, **values: object) -> None:
        """Something that is meant to happen did."""
        self._say("info", event, values)

    def warning(self, event: str, **values: object) -> None:
        """Something was not as it should be and was coped with."""
        self._say("warning", event, values)

    def error(self, event: str, **values: object) -> None:
        """Something failed that a person should look at."""
        self._say("error", event, values)

    def exception(self, event: str, **values: object) -> None:
        """An error, with the traceback of the exception being handled."""
        self._say("error", event, {"exc_info": True, **values})

    def _say(self, level: str, event: str, values: dict[str, object]) -> None:
        if _hushed and level != "error":
            return
        try:
            getattr(self._logger(), level)(event, **values)
        except Exception as error:
            # No descriptor is left to load the library with, or a value cannot be shown: it is said at least.
            with suppress(Exception):
                said = {
                    "at": datetime.now(UTC).isoformat(),
                    "level": level,
                    "component": self.component,
                    "event": event,
                    **values,
                    "unsaid": repr(error),
                }
                write_line(
                    " ".join(
                        f"{key}={value if isinstance(value, str) and ' ' not in value else repr(value)}"
                        for key, value in said.items()
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
    handler = _Foreign()
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
    _configured.set()


@contextmanager
def hushed() -> Iterator[None]:
    """Let no event out but errors: for a command, which has words of its own for the person who waits."""
    _hushed.append(True)
    try:
        yield
    finally:
        _hushed.pop()


def configure_later(settings: Settings) -> None:
    """As ``configure``, at the first event: for a process that may never have one, and uses nobody else's loggers."""
    _later[:] = [settings]


def _load_without_rich() -> None:
    """
    Import structlog. It would load rich if that is installed, for tracebacks that are not shown here: 5 MB a process.
    """
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # how the import system is told that there is none
    try:
        import structlog  # noqa: F401  # for its effect
    finally:
        del sys.modules["rich"]


def write_line(line: str) -> None:
    """
    Have a line written to sys.stdout, which is looked up each time, so that a redirected one is honoured. Never waits.
    """
    try:
        stream = sys.stdout
        try:
            fd = stream.fileno()
        except (OSError, ValueError):  # no file: a test, or a program that collects what we say
            stream.write(line + "\n")
            return
        if (stream.encoding or "utf-8").lower() not in ("utf-8", "utf8"):  # a terminal or locale that knows ASCII only
            line = line.encode(stream.encoding, "backslashreplace").decode(stream.encoding)
        _outlet.put(fd, line + "\n")
    except (OSError, ValueError, LookupError, AttributeError):
        pass  # it is closed


def _say_dropped(lines: int) -> None:
    log = get_logger("log")
    log.warning("log.dropped", lines=lines)


_outlet = Outlet(_say_dropped)


class _Lines:
    """Where rendered events go."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: str) -> None:
        write_line(line)

    debug = info = warning = error = critical = fatal = exception = log = msg


class _Foreign(logging.Handler):
    """Sends records of uvicorn, dramatiq, litestar and everybody else through the same door."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):  # its traceback would go to standard error, which may not be read either
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
    # A name in Redis may be somebody else's, and whoever reads this log may read it on a terminal. JSON escapes it all.
    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}
