"""Errors as in the Connect protocol (https://connectrpc.com/docs/protocol), and the paths of the services."""

import base64
from typing import Final

import msgspec
from litestar.types import Scope as Connection

from api.dialects.ona.wire import ConnectError, ErrorDetail
from api.http.problems import MAX_PROBLEMS, extra_headers
from api.http.request_body import UnknownEncoding
from api.http.response import Response
from shared.errors import Conflict, Invalid, NotFound, Problem, RunfleetError

CALLS: Final = "/api/gitpod.v1.EnvironmentAutomationService/"
"""The path of the calls about tasks and executions, each a POST."""

ENVIRONMENTS: Final = "/api/gitpod.v1.EnvironmentService/"
EVENTS: Final = "/api/gitpod.v1.EventService/"

LOGS: Final = "/api/gitpod.v1.TaskExecutionLogs/"
"""Where the text of an execution is, under its id; clients know the URL from ``logUrl`` only."""

HTTP: Final = {
    "invalid_argument": 400,
    "failed_precondition": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "already_exists": 409,
    "resource_exhausted": 429,
    "internal": 500,
    "unimplemented": 501,
    "unavailable": 503,
    "deadline_exceeded": 504,
}
"""The status of a code."""

_CODES: Final = {
    400: "invalid_argument",
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    405: "unimplemented",
    408: "deadline_exceeded",
    409: "failed_precondition",
    412: "failed_precondition",
    413: "resource_exhausted",
    415: "unimplemented",
    422: "invalid_argument",
    429: "resource_exhausted",
    431: "resource_exhausted",
    503: "unavailable",
    507: "resource_exhausted",
}
"""The code of a status that the native API would give."""

_WORTH_A_RETRY: Final = (408, 429, 503, 507)
_OF_THE_PROTOCOL: Final = (405, 415)
"""These keep their status, by which clients know them."""

_encode = msgspec.json.Encoder().encode


class AlreadyExists(Conflict):
    """The environment already has a task with that reference."""


def refuse(error: RunfleetError, scope: Connection) -> Response:
    """
    Any error as ``{code, message, details}``.

    Clients of the 0.x line repeat a request after 409, 429 and 5xx, unless ``x-should-retry`` is false.
    """
    code = "already_exists" if isinstance(error, AlreadyExists) else _CODES.get(error.status, "internal")
    is_of_protocol = error.status in _OF_THE_PROTOCOL and not isinstance(error, UnknownEncoding)
    status = error.status if is_of_protocol else HTTP[code]
    message, details = str(error), list[ErrorDetail]()
    if isinstance(error, Invalid):
        problems = [_placed(problem) for problem in error.problems[:MAX_PROBLEMS]]
        message = "; ".join(f"{problem.location}: {problem.message}".removeprefix(": ") for problem in problems)
        details = [_bad_request(problems)]
    if type(error) is NotFound and scope.get("path") == message.removeprefix("there is nothing at "):
        name = message.rpartition("/")[2]
        code, message = "unimplemented", f"there is no call {name} here; those about tasks and task executions are"
    headers = extra_headers(error)
    if error.status not in _WORTH_A_RETRY:
        headers.append((b"x-should-retry", b"false"))
    if status == 415:
        headers.append((b"accept-post", b"application/json, application/proto"))
    return Response(_encode(ConnectError(code, message, details)), status=status, headers=tuple(headers))


def _placed(problem: Problem) -> Problem:
    """The problem with its location as a path in the message."""
    return Problem(problem.location.removeprefix("body").removeprefix("."), problem.message)


def _bad_request(problems: list[Problem]) -> ErrorDetail:
    """
    The problems as the message ``google.rpc.BadRequest``: field 1 holds the violations, each with its field (1) and
    description (2).
    """
    packed = b"".join(
        _delimited(1, _delimited(1, problem.location.encode()) + _delimited(2, problem.message.encode()))
        for problem in problems
    )
    shown = [{"field": problem.location, "description": problem.message} for problem in problems]
    value = base64.b64encode(packed).decode().rstrip("=")
    return ErrorDetail("google.rpc.BadRequest", value, {"fieldViolations": shown})


def _delimited(number: int, content: bytes) -> bytes:
    """A length-delimited field in the binary encoding: tag, varint length, bytes."""
    length, rest = bytearray(), len(content)
    while rest > 127:
        length.append(rest & 127 | 128)
        rest >>= 7
    return bytes([number << 3 | 2, *length, rest]) + content
