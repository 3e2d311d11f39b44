"""
Pages of a list: their size, and the token of the next one.

A client of the 0.x line requests the next page with the same body and the token in the query, so the query wins.
"""

import base64
from typing import Final, NamedTuple

from api.dialects.ona.bodies import PaginationRequest
from api.http.decoding import invalid
from api.http.request import Request
from shared.errors import Invalid

SIZE: Final = 25
"""Items of a page when the client gives no size."""

MOST: Final = 100


class PageRequest(NamedTuple):
    """The requested page: at most *size* items after *place* ("" for the first page)."""

    size: int
    place: str


def page_request(request: Request, pagination: PaginationRequest) -> PageRequest:
    """The page that query and body request. Raises Invalid for an unknown parameter or a bad token."""
    size, token = pagination.page_size, pagination.token
    in_query = {} if request.connection.get("method") == "GET" else request.query  # where a GET has its message
    for name, values in in_query.items():
        if name in ("pageSize", "page_size"):
            if not (values[0].isascii() and values[0].isdigit() and len(values[0]) < 4 and int(values[0]) <= MOST):
                raise invalid("query.pageSize", f"must be a whole number from 0 to {MOST}", values[0])
            size = int(values[0])
        elif name == "token":
            token = values[0]
        else:
            raise invalid(f"query.{name}"[:100], "is not a known parameter; there are token and pageSize")
    return PageRequest(size or SIZE, place(token))


def token(place: str) -> str:
    """An opaque text for a place in a list; "" for ""."""
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def place(token: str) -> str:
    """Decodes a ``token``. Raises Invalid for any other text."""
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True).decode()
    except ValueError:
        raise bad_token(token) from None


def bad_token(token: str = "") -> Invalid:
    """The error for an invalid page token."""
    return invalid("body.pagination.token", "is not a valid token; use nextToken of the previous page", token[:100])
