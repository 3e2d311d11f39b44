"""
Maps Marquez's and OpenLineage's states, names and times to ours. Pure.

Marquez's rules are those of its source at 0.51, OpenLineage's those of its specification 2.0.
"""

import hashlib
import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from shared import external_names
from shared.clock import from_datetime
from shared.runs import NOTHING_RAN, Reason, Status

NAME: Final = "marquez"
HOME: Final = "runfleet"
"""The namespace of all tasks that no job of this dialect made: those of the task file, and other dialects'."""

LATEST_US: Final = 2**53 - 1
"""The year 2255; later times cannot be distinguished in the store, whose numbers are floats."""

State = Literal["NEW", "RUNNING", "COMPLETED", "FAILED", "ABORTED"]

STATES: Final[dict[str, State]] = {
    Status.PENDING: "NEW",
    Status.RUNNING: "RUNNING",
    Reason.SUCCESS: "COMPLETED",
    Reason.FAILED: "FAILED",
    Reason.TIMEOUT: "FAILED",
    Reason.CRASHED: "FAILED",
    Reason.LOG_OVERFLOW: "FAILED",
    Reason.STOPPED: "ABORTED",
    Reason.SKIPPED: "ABORTED",
}
"""Marquez's state for a status, or for the end reason of a run that ended."""


class Report(NamedTuple):
    """
    The report of a verb or an event. ``reason`` None: it runs. ``exit_code`` is invented: Runfleet sees no process.
    """

    target: Literal["running", "ended"]
    reason: Reason | None = None
    exit_code: int = 0
    message: str = ""


_RUNS: Final = Report("running")
_COMPLETED: Final = Report("ended", Reason.SUCCESS)
_FAILED: Final = Report("ended", Reason.FAILED, 1, "reported as failed")
_ABORTED: Final = Report("ended", Reason.STOPPED, NOTHING_RAN, "reported as aborted")

VERBS: Final[dict[str, Report]] = {"start": _RUNS, "complete": _COMPLETED, "fail": _FAILED, "abort": _ABORTED}
"""``POST /jobs/runs/{id}/<verb>``."""

_EVENT_TYPES: Final[dict[str, Report | None]] = {
    "": None,
    "OTHER": None,
    "COMPLETE": _COMPLETED,
    "FAIL": _FAILED,
    "ABORT": _ABORTED,
}

_NAMESPACE: Final = re.compile(r"[a-zA-Z0-9:;=/_\-.@+]{1,1024}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CLOCK_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}")
_REGION: Final = re.compile(r"\[[A-Za-z0-9_+\-/]{1,64}\]$")
MAX_JOB_NAME: Final = 1024


def state_of(status: str, reason: str) -> State:
    """A run's state. ``reason`` is "" until it ended."""
    return STATES[reason or status]


def report_of(event_type: str) -> Report | None:
    """
    The report of an event of that type (any case, "" without one); None when it reports no more than the run's id.

    As in Marquez an unknown type means that it runs; OTHER, by the specification, is outside the run's life cycle.
    """
    return _EVENT_TYPES.get(event_type.upper(), _RUNS)


@lru_cache(maxsize=2000)
def task_of(namespace: str, job: str) -> str:
    """The task for a job of this dialect."""
    return external_names.task_name(NAME, namespace, job)


def is_ours(task: str) -> bool:
    """Whether a task may be a job of this dialect, by its name."""
    return task.startswith(NAME + ".")


def is_namespace(name: str) -> bool:
    """Whether Marquez allows that name for a namespace."""
    return _NAMESPACE.fullmatch(name) is not None


def is_job_name(name: str) -> bool:
    """Whether Marquez allows that name for a job: no control characters and line breaks."""
    return 0 < len(name) <= MAX_JOB_NAME and not _CONTROL.search(name)


def full_name(job: str, parent: str) -> str:
    """A job's name prefixed with its parent's ("": none), as Marquez names jobs whose event has a parent."""
    parent = parent_name(job, parent)
    return job if not parent or job == parent or job.startswith(parent + ".") else f"{parent}.{job}"


def parent_name(job: str, parent: str) -> str:
    """The parent's name; some producers send the child's own for it, and mean the part before the last dot."""
    return parent.rpartition(".")[0] if parent == job and "." in parent else parent


def run_id(text: str) -> UUID | None:
    """A run's id in a path; None for a text that is not a UUID."""
    return UUID(text) if _UUID.fullmatch(text) else None


def run_id_of(text: str) -> UUID:
    """An event's run id; a text that is not a UUID becomes the version-3 UUID of its bytes, as in Java."""
    found = run_id(text)
    if found is None:
        digest = hashlib.md5(text.encode(errors="surrogatepass"), usedforsecurity=False).digest()
        found = UUID(bytes=digest, version=3)
    return found


def instant(text: str, *, zone: bool) -> int:
    """
    An ISO 8601 date and time as stored time.

    Without a zone it is UTC, unless *zone* requires one. Raises ValueError for anything else, also for times before
    1970 or beyond ``LATEST_US``, which the store cannot hold.
    """
    us = _microseconds(text, zone=zone)
    if not 0 < us <= LATEST_US:
        raise ValueError("must be after 1970 and before 2255")
    return us


def bound(text: str) -> int:
    """Same, but a time that the store cannot hold becomes the nearest possible one."""
    return min(max(_microseconds(text, zone=False), 1), LATEST_US)


def _microseconds(text: str, *, zone: bool) -> int:
    bare = _REGION.sub("", text.strip())  # as Java writes them: 2020-12-28T19:52:00+10:00[Australia/Sydney]
    if not _CLOCK_TIME.match(bare):
        raise ValueError("must be a date and a time, such as 2026-11-22T04:36:00Z")
    try:
        moment = datetime.fromisoformat(bare.upper())
    except ValueError:
        raise ValueError("must be a date and a time, such as 2026-11-22T04:36:00Z") from None
    if moment.tzinfo is None:
        if zone:
            raise ValueError("has no time zone; append Z or an offset")
        moment = moment.replace(tzinfo=UTC)
    return from_datetime(moment)


def argument(value: Any) -> str:
    """A run's argument as Marquez stores it: text; any other JSON value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
