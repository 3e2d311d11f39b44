"""Errors in Marquez's two shapes: one with a code, one that lists problems."""

from typing import Final

import msgspec
from litestar.types import Scope as Connection

from api.dialects.marquez.bodies import BadQuery
from api.dialects.marquez.unsupported import alternative_to
from api.http.problems import MAX_PROBLEMS, RETRY_AFTER_S, NotAllowed, extra_headers
from api.http.response import Response
from api.http.router import Dialect
from shared.errors import Invalid, NotFound, RunfleetError, StoreFull, StoreUnavailable

_NOTHING_THERE: Final = (NotFound.status, NotAllowed.status)

_encode = msgspec.json.Encoder().encode


def refuse(error: RunfleetError, scope: Connection) -> Response:
    """
    *error* in Marquez's shape: ``{"errors": […]}`` for problems of a body or a query, else a code and a message.

    A full store is 503, because OpenLineage's client repeats an event after that, and drops it after a 507.
    """
    status = error.status
    headers = extra_headers(error)
    if isinstance(error, StoreFull):
        status = StoreUnavailable.status
        headers = [(b"retry-after", b"%d" % RETRY_AFTER_S[error.status])]
    body: dict[str, object]
    if isinstance(error, BadQuery):
        body = {"errors": [str(error)]}
    elif isinstance(error, Invalid):
        problems = error.problems[:MAX_PROBLEMS]
        body = {"errors": [f"{one.location.removeprefix('body.')} {one.message}" for one in problems] or [str(error)]}
    else:
        instead = alternative_to(scope["path"]) if error.status in _NOTHING_THERE else ""
        body = {"code": status, "message": instead or str(error)}
    return Response(_encode(body), status=status, headers=tuple(headers))


DIALECT: Final = Dialect(name="marquez", refuse=refuse, prefixes=("/api/v1/",))
