"""
Every error as ``application/problem+json`` (RFC 9457): ours, the router's, and unexpected ones.

The status and title of an error are defined in ``shared.errors``; here they become a response.
"""

import re
import uuid
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

from litestar import Request as LitestarRequest
from litestar import Response as LitestarResponse
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.types import Scope
from msgspec import Meta, field, json

from api.http.paths import readable
from api.http.response import JSON, PROBLEM_JSON, Response, ResponseModel
from api.http.urls import urls_of
from shared.errors import (
    Invalid,
    Malformed,
    Misconfigured,
    NotFound,
    Problem,
    RunfleetError,
    StoreFull,
    StoreUnavailable,
    Unauthorized,
    Unserviceable,
)
from shared.telemetry import get_logger

MAX_PROBLEMS: Final = 100
"""Details listed in one answer; a body with a million wrong items gets the first hundred."""

RETRY_AFTER_S: Final = {429: 60, 503: 2, 507: 30}
"""Seconds after which to try again, by status; an error with ``retry_after_s`` of its own wins."""

AWAY: Final = "Redis cannot be used right now; nothing was lost, try again"
UNFIT: Final = "this process cannot use its Redis as it is; its log and `runfleet doctor` say why"
_REDIS_CODE: Final = re.compile(r"\b(LOADING|READONLY|MISCONF|MASTERDOWN|NOREPLICAS|CLUSTERDOWN|TRYAGAIN|BUSY)\b")

_log = get_logger("api")
_encoder = json.Encoder()


class ErrorModel(ResponseModel, kw_only=True, omit_defaults=False):
    """A problem as in RFC 9457."""

    type: Annotated[
        str,
        Meta(
            description="A URI reference to human-readable documentation for the error.",
            extra_json_schema={"format": "uri"},
        ),
    ] = "about:blank"
    title: Annotated[
        str,
        Meta(
            description="A short, human-readable summary of the problem type. "
            "This value should not change between occurrences of the error."
        ),
    ]
    status: Annotated[int, Meta(description="HTTP status code")]
    detail: Annotated[str, Meta(description="A human-readable explanation specific to this occurrence of the problem.")]
    instance: Annotated[
        str,
        Meta(
            description="A URI reference that identifies the specific occurrence of the problem.",
            extra_json_schema={"format": "uri"},
        ),
    ]
    errors: Annotated[list[Problem], Meta(description="Optional list of individual error details")] = field(
        default_factory=list
    )


class NotAllowed(RunfleetError):
    """The path exists, the method does not. ``allowed`` are the existing methods."""

    status = 405
    title = "Method Not Allowed"

    def __init__(self, method: str, path: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"{method} is not possible on {path}; possible: {', '.join(allowed)}")
        self.allowed = allowed


class TooLarge(RunfleetError):
    """The body exceeds the size limit."""

    status = 413
    title = "Content Too Large"


class TooSlow(RunfleetError):
    """The client took too long to send its request."""

    status = 408
    title = "Request Timeout"


class HeadTooLarge(RunfleetError):
    """The request line and headers exceed the size limit."""

    status = 431
    title = "Request Header Fields Too Large"


class WrongMediaType(RunfleetError):
    """The body's media type is not supported."""

    status = 415
    title = "Unsupported Media Type"


class Unexpected(RunfleetError):
    """An unexpected error. The log has it under ``error_id``, which is all that the client gets."""

    def __init__(self) -> None:
        self.error_id = str(uuid.uuid4())
        super().__init__(f"an unexpected error; the log has it under {self.error_id}")


def named(error: Exception, scope: Scope) -> RunfleetError:
    """
    *error* as one of ours: the router's errors are translated; an unexpected one is logged and becomes Unexpected.

    Messages about Redis name its address, so they are only logged: no token can be checked during an outage.
    """
    if isinstance(error, HTTPException):
        error = _of_router(error, scope)
    if isinstance(error, StoreUnavailable) and not isinstance(error, StoreFull):
        return StoreUnavailable(public_words(error))
    if isinstance(error, Misconfigured):
        return Unserviceable(UNFIT)
    if isinstance(error, RunfleetError):
        return error
    unexpected = Unexpected()
    method, path = scope.get("method"), scope.get("path")
    _log.error("api.failed", error_id=unexpected.error_id, method=method, path=path, exc_info=error)
    return unexpected


def public_words(error: Exception) -> str:
    """
    The message of an error for clients. When Redis cannot be used, it is replaced except for its error code: the
    address and other details are in the log.
    """
    if not isinstance(error, StoreUnavailable) or isinstance(error, StoreFull):
        return str(error)
    code = _REDIS_CODE.search(str(error))
    return AWAY.replace(";", f" ({code[0]});") if code else AWAY


def extra_headers(error: RunfleetError) -> list[tuple[bytes, bytes]]:
    """Headers of the response to *error* in every dialect."""
    headers: list[tuple[bytes, bytes]] = []
    if isinstance(error, NotAllowed):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    if isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", b'Bearer realm="runfleet"'))
    if error.status in RETRY_AFTER_S:
        wait_s: int = getattr(error, "retry_after_s", RETRY_AFTER_S[error.status])
        headers.append((b"retry-after", b"%d" % wait_s))
    if isinstance(error, TooLarge):
        # The rest of the body would be parsed as the next request.
        headers.append((b"connection", b"close"))
    return headers


def problem_reply(error: Exception, scope: Scope) -> Response:
    """The response to *error*. An unexpected one is a 500 with only the id that the log has too."""
    error = named(error, scope)
    problems: Sequence[Problem] = error.problems[:MAX_PROBLEMS] if isinstance(error, Invalid) else ()
    instance = f"urn:uuid:{error.error_id}" if isinstance(error, Unexpected) else ""
    headers = tuple(extra_headers(error))
    return _reply(scope, error.status, error.title, str(error), problems, headers, instance)


AnyRequest = LitestarRequest[Any, Any, Any]


def as_response(reply: Response) -> LitestarResponse[bytes]:
    """*reply* as the response that Litestar expects from an error handler."""
    media = next((value for name, value in reply.headers if name == b"content-type"), JSON)
    return LitestarResponse(
        reply.body,
        status_code=reply.status,
        media_type=media.decode(),
        headers={
            name.decode(): value.decode()
            for name, value in reply.headers
            if name not in (b"content-type", b"content-length")
        },
    )


def _of_router(error: HTTPException, scope: Scope) -> RunfleetError | HTTPException:
    path = readable(scope.get("path", ""))
    if isinstance(error, NotFoundException):
        return NotFound(f"there is nothing at {path}")
    if isinstance(error, MethodNotAllowedException):
        allowed = tuple(sorted((error.headers or {}).get("allow", "").split(", ")))
        return NotAllowed(str(scope.get("method")), path, allowed)
    if error.status_code < 500:
        return Malformed(error.detail or HTTPStatus(error.status_code).phrase)
    return error


def _reply(
    scope: Scope,
    status: int,
    title: str,
    detail: str,
    problems: Sequence[Problem] = (),
    headers: tuple[tuple[bytes, bytes], ...] = (),
    instance: str = "",
) -> Response:
    urls = urls_of(scope)
    raw_path = (scope.get("raw_path") or b"/").partition(b"?")[0]
    body = ErrorModel(
        schema=urls.error,
        title=title,
        status=status,
        detail=detail,
        instance=instance or urls.base + raw_path.decode("ascii", "replace"),
        errors=list(problems),
    )
    return Response(_encoder.encode(body), status=status, media=PROBLEM_JSON, headers=headers)
