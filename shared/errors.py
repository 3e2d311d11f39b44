"""
The tree of expected errors.

::

    RunfleetError                     status  code
    ├── Invalid                       422     several problems at once, each with its location
    │   └── ConfigInvalid             –       a task file that cannot be applied
    ├── Malformed                     400     the request cannot be parsed
    ├── Unauthorized                  401
    ├── Forbidden                     403
    ├── NotFound                      404
    ├── Conflict                      409     the resource is in a state that does not allow it
    │   ├── Refused                   409     a transition that the state or the lease does not allow
    │   ├── DefinitionChanged         409     the task was redefined between reading and acting
    │   └── NotApplied                409     a task file that was not applied; the message says why
    ├── PreconditionFailed            412     the resource has changed since the client read it
    ├── TooManyRequests               429
    │   └── OverQuota                 429     the quota of the token is used up
    ├── StoreUnavailable              503     Redis is unavailable, loading or read-only
    │   └── StoreFull                 507     Redis has no memory for new runs
    ├── Unserviceable                 503     this process is draining or at a limit
    ├── Unreadable                    503     this release cannot read something in Redis
    └── Misconfigured                 –       the process cannot start; the message says what to set

The docstring of a class is its meaning; its message names the resource, its state and the cure.
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec


class RunfleetError(Exception):
    """An expected error. ``status`` is the status of the API's answer."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal Server Error"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One detail: ``location`` as in ``body.items[3].tags``; ``value`` as text, cut to 200 characters."""

    location: str
    message: str
    value: str = ""


class Invalid(RunfleetError):
    """The request can be parsed but is invalid; every problem is listed."""

    status = 422
    title = "Unprocessable Entity"

    def __init__(self, problems: Sequence[Problem], detail: str = "") -> None:
        super().__init__(detail or "; ".join(f"{p.location}: {p.message}" for p in problems[:3]))
        self.problems: Sequence[Problem] = problems


class ConfigProblem(Problem, frozen=True, kw_only=True, omit_defaults=True):
    """
    One detail of a task file. ``location`` is the key, as in ``tasks.report.cron[1]``, "" for the file as a whole.

    ``line``: the line of the mistake, or the nearest known one above it; 0 if unknown. ``nearest``: the key or name
    that was probably meant, or "".
    """

    file: str
    line: int = 0
    nearest: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        meant = f'; did you mean "{self.nearest}"?' if self.nearest else ""
        return ": ".join(part for part in (place, self.location, self.message + meant) if part)


class ConfigInvalid(Invalid):
    """The task file cannot be applied; every problem of every file is listed, and str() is that list, one a line."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        super().__init__(problems, "\n".join(str(problem) for problem in problems))
        self.problems: Sequence[ConfigProblem] = problems


class Malformed(RunfleetError):
    """The request cannot be parsed."""

    status = 400
    title = "Bad Request"


class Unauthorized(RunfleetError):
    """The token is missing, unknown or expired."""

    status = 401
    title = "Unauthorized"


class Forbidden(RunfleetError):
    """The token is known but may not do this; the message names the missing scope."""

    status = 403
    title = "Forbidden"


class NotFound(RunfleetError):
    """The resource does not exist."""

    status = 404
    title = "Not Found"


class Conflict(RunfleetError):
    """The resource is in a state that does not allow this."""

    status = 409
    title = "Conflict"


class Refused(Conflict):
    """A refused transition. ``state`` is the run's status in the store, or its end reason once it has ended."""

    def __init__(self, message: str, state: str) -> None:
        super().__init__(message)
        self.state = state


class DefinitionChanged(Conflict):
    """The task was redefined or removed meanwhile; read it again."""


class NotApplied(Conflict):
    """A valid task file that was not applied, because it requires a flag or is older than the last one."""


class PreconditionFailed(RunfleetError):
    """The resource is not the version that the request is for (``If-Match``)."""

    status = 412
    title = "Precondition Failed"


class TooManyRequests(RunfleetError):
    """The client sends too many requests."""

    status = 429
    title = "Too Many Requests"


class OverQuota(TooManyRequests):
    """The quota of the token is used up; try again in ``retry_after_s`` seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        self.retry_after_s = max(1, retry_after_s)
        super().__init__(f"{message}; try again in {self.retry_after_s} s")


class StoreUnavailable(RunfleetError):
    """Redis is unavailable; nothing was lost, try again."""

    status = 503
    title = "Service Unavailable"


class StoreFull(StoreUnavailable):
    """Redis is full: runs can still end and stop, but no new ones are accepted."""

    status = 507
    title = "Insufficient Storage"


class Unserviceable(RunfleetError):
    """This process cannot serve the request now (draining, or at a limit); try again later or elsewhere."""

    status = 503
    title = "Service Unavailable"


class Unreadable(RunfleetError):
    """
    Something in Redis that this release cannot read: a newer release or another program wrote it.

    Code that reads many of them skips and logs it, and continues.
    """

    status = 503
    title = "Service Unavailable"


class Misconfigured(RunfleetError):
    """The process cannot start like this; the message says which setting and what to write."""
