"""Errors in Prefect's three shapes, and the check of a client's API version."""

import re
from typing import Any, Final

import msgspec
from litestar.types import Scope as Connection

from api.http.problems import MAX_PROBLEMS, extra_headers
from api.http.request import Request
from api.http.response import Response
from api.http.router import Dialect
from shared.errors import Conflict, Invalid, Malformed, NotFound, Problem, RunfleetError, StoreFull

API_VERSION: Final = "0.8.4"
"""The supported version of the REST API."""

PACKAGE_VERSION: Final = "3.8.8"
"""The version of Prefect whose server this stands for; its clients compare the major."""

OLDEST: Final = (0, 8, 0)

_STEP = re.compile(r"[^.\[\]]+")


class PlainNotFound(NotFound):
    """NotFound in the shape of Prefect's orchestration, without a ``detail``."""


class Locked(RunfleetError):
    """No slot is free. The client should try again after ``retry_after_s``."""

    status = 423
    title = "Locked"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def refuse(error: RunfleetError, scope: Connection) -> Response:
    """The response to *error*. Retryable errors are 503, the only status that Prefect's clients retry."""
    status = 503 if isinstance(error, StoreFull) else error.status
    body: dict[str, Any]
    if isinstance(error, Invalid | Malformed):
        status = 422
        problems = error.problems if isinstance(error, Invalid) else [Problem("body", str(error))]
        body = {
            "exception_message": "Invalid request received.",
            "exception_detail": [_detail(problem) for problem in problems[:MAX_PROBLEMS]],
            "request_body": None,
        }
    elif status in (401, 500, 503):
        body = {"exception_message": _MESSAGES[status]}
    elif isinstance(error, PlainNotFound):
        body = {"exception_message": str(error)}
    elif isinstance(error, Conflict):
        body = {"detail": f"Data integrity conflict. {error}"}
    else:
        body = {"detail": str(error)}
    headers = extra_headers(error)
    if isinstance(error, Locked):
        headers.append((b"retry-after", b"%.3f" % error.retry_after_s))
    return Response(_encode(body), status=status, headers=tuple(headers))


_MESSAGES: Final = {401: "Unauthorized", 500: "Internal Server Error", 503: "Service Unavailable"}


def _detail(problem: Problem) -> dict[str, Any]:
    """One error in pydantic's format."""
    is_missing = problem.message == "is required"
    return {
        "type": "missing" if is_missing else "value_error",
        "loc": [int(step) if step.isdigit() else step for step in _STEP.findall(problem.location)],
        "msg": "Field required" if is_missing else problem.message,
        "input": problem.value or None,
    }


_encode = msgspec.json.Encoder().encode


def require_version(request: Request) -> None:
    """Raises BadVersion when the client's API version is older than the oldest supported one, or malformed."""
    wanted = request.header("x-prefect-api-version")
    if not wanted:
        return
    parts = wanted.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 9 for part in parts):
        raise BadVersion(f"Invalid X-PREFECT-API-VERSION header format. Expected format: x.y.z, got {wanted[:50]!r}")
    if tuple(map(int, parts)) < OLDEST:
        raise BadVersion(
            f"The client specified API version {wanted} but this server has {API_VERSION}; use 0.8.0 or later"
        )


class BadVersion(RunfleetError):
    """The client's API version is not supported."""

    status = 400
    title = "Bad Request"


DIALECT: Final = Dialect(
    name="prefect",
    refuse=refuse,
    check=require_version,
    prefixes=tuple(
        f"/api/{name}"
        for name in (
            "admin",
            "concurrency_limits",
            "csrf-token",
            "flow_run_states",
            "flow_runs",
            "flows",
            "health",
            "hello",
            "logs",
            "ready",
            "task_run_states",
            "task_runs",
            "task_workers",
            "v2/concurrency_limits",
            "version",
        )
    ),
)
