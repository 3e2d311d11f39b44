"""Path and query parameters that several routes share, and the current time."""

import time
from uuid import UUID

from api.http.decoding import invalid
from api.http.request import Request
from shared.errors import NotFound


def uuid_in(request: Request, name: str = "id") -> UUID:
    """The id in the path. Raises NotFound when it is not a UUID."""
    text = request.path[name]
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("Not Found") from None


def run_in_query(request: Request, name: str) -> UUID:
    """The run id in the query. Raises Invalid when it is missing."""
    try:
        return UUID(request.query.get(name, [""])[0])
    except ValueError:
        raise invalid(f"query.{name}", "must be a UUID") from None


def now_us() -> int:
    """The current time as stored time, for values derived from a record while it is read."""
    return time.time_ns() // 1000
