"""
Everything that can go wrong and has a name.

::

    RunfleetError                     status  code
    ├── Invalid                       422     several problems at once, each with its place
    │   └── ConfigInvalid             –       a task file that cannot be applied
    ├── Malformed                     400     not even readable
    ├── Unauthorized                  401
    ├── Forbidden                     403
    ├── NotFound                      404
    ├── Conflict                      409     the thing is in a state that does not allow it
    │   ├── Refused                   409     a move that the table or the lease does not allow
    │   ├── DefinitionChanged         409     the task was redefined between reading and acting
    │   └── NotApplied                409     a task file that was left alone; the message says why
    ├── PreconditionFailed            412     it has changed since the one who asks has seen it
    ├── TooManyRequests               429
    │   └── OverQuota                 429     the token has started, or has waiting, as much as it may
    ├── StoreUnavailable              503     Redis is away, loading, read-only or out of memory
    │   └── StoreFull                 507     Redis has no memory for new runs
    ├── Unserviceable                 503     this process is draining or at a limit
    ├── Unreadable                    503     something in Redis is not as this release writes it
    └── Misconfigured                 –       the process cannot start; the message says what to set

The docstring of a class is what it means; its message names the thing, its state and what was wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec


class RunfleetError(Exception):
    """Something with a name went wrong. ``status`` is what the API answers."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal Server Error"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One detail: ``location`` as in ``body.items[3].tags``; ``value`` as text, cut to 200 characters."""

    location: str
    message: str
    value: str = ""


class Invalid(RunfleetError):
    """The request is readable but wrong; every problem is listed."""

    status = 422
    title = "Unprocessable Entity"

    def __init__(self, problems: Sequence[Problem], detail: str = "") -> None:
        super().__init__(detail or "; ".join(f"{p.location}: {p.message}" for p in problems[:3]))
        self.problems: Sequence[Problem] = problems


class ConfigProblem(Problem, frozen=True, kw_only=True, omit_defaults=True):
    """
    One detail of a task file. ``location`` is the key, as in ``tasks.report.cron[1]``, "" for the file as a whole.

    ``line`` counts from 1; it is the nearest known one above the mistake, 0 when there is none. ``nearest`` is the
    known key or name that was probably meant, "" when nothing is near.
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
    """The request cannot be read at all."""

    status = 400
    title = "Bad Request"


class Unauthorized(RunfleetError):
    """No token, or one that is unknown or expired."""

    status = 401
    title = "Unauthorized"


class Forbidden(RunfleetError):
    """The token is known but may not do this; the message names the missing scope."""

    status = 403
    title = "Forbidden"


class NotFound(RunfleetError):
    """There is no such thing."""

    status = 404
    title = "Not Found"


class Conflict(RunfleetError):
    """The thing is in a state that does not allow this."""

    status = 409
    title = "Conflict"


class Refused(Conflict):
    """A move that was not made. ``state`` is the run's status (or reason once ended) as the store has it."""

    def __init__(self, message: str, state: str) -> None:
        super().__init__(message)
        self.state = state


class DefinitionChanged(Conflict):
    """The task was redefined or removed meanwhile; read it again."""


class NotApplied(Conflict):
    """A task file that could be applied and was not: it would do what somebody has to ask for by name."""


class PreconditionFailed(RunfleetError):
    """The thing is another one than the request is for (``If-Match``)."""

    status = 412
    title = "Precondition Failed"


class TooManyRequests(RunfleetError):
    """Slow down."""

    status = 429
    title = "Too Many Requests"


class OverQuota(TooManyRequests):
    """The token has started, or has waiting, as much as it may; try again in ``retry_after_s`` seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        self.retry_after_s = max(1, retry_after_s)
        super().__init__(f"{message}; try again in {self.retry_after_s} s")


class StoreUnavailable(RunfleetError):
    """Redis cannot be used right now; nothing was lost, try again."""

    status = 503
    title = "Service Unavailable"


class StoreFull(StoreUnavailable):
    """Redis is out of memory: runs still end and stop, new ones are not taken."""

    status = 507
    title = "Insufficient Storage"


class Unserviceable(RunfleetError):
    """This process cannot take it now (draining, or at a limit); another one or a later try can."""

    status = 503
    title = "Service Unavailable"


class Unreadable(RunfleetError):
    """
    Something in Redis is not as this release writes it: a newer release or a foreign hand wrote it.

    It concerns that one thing; whoever goes through many passes it over, says so, and goes on.
    """

    status = 503
    title = "Service Unavailable"


class Misconfigured(RunfleetError):
    """The process cannot start like this; the message says which setting and what to write."""
