"""Routes for OpenLineage events: ingest, list."""

from typing import Final

from api.dialects.marquez import bodies, ingest, mapping
from api.dialects.marquez.bodies import BadQuery
from api.dialects.marquez.errors import DIALECT
from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from shared.store.dialects import lineage_events
from shared.store.dialects.lineage_events import EventPage

routes = Routes(dialect=DIALECT)

FIRST_US: Final = 1
LOOK: Final = 100
"""Events that are read at once for a token that is for some tasks only; each may have megabytes."""

MOST_LOOKED_AT: Final = 10_000
MAX_EVENT: Final = 4 * 1024 * 1024
"""Bytes of the largest event: those that carry a query plan of Spark's are larger than other bodies may be."""


@routes.post("/api/v1/lineage", max_body=MAX_EVENT)
async def take_event(request: Request) -> Response:
    """Ingest one event. It is stored and applied to its run before the response."""
    event = bodies.read_event(request.body)
    await request.store.run(ingest.record(request.catalog, event, request.body, request.grant))
    return Response(status=201)


@routes.get("/api/v1/events/lineage")
async def list_events(request: Request) -> Response:
    """Events of runs by their time: ``after`` ≤ time < ``before``. The total includes events without a run."""
    limit, offset = bodies.paging(request.query)
    direction = request.query.get("sortDirection", ["desc"])[0].lower()
    if direction not in ("asc", "desc"):
        raise BadQuery("query param sortDirection must be one of asc, desc")
    after_us, before_us = _moment(request, "after", FIRST_US), _moment(request, "before", mapping.LATEST_US)
    is_descending = direction == "desc"
    if request.grant.tasks:
        found = await request.store.run(_own(request, after_us, before_us, is_descending, offset, limit))
    else:
        found = await request.store.run(
            lineage_events.page(after_us, before_us, descending=is_descending, offset=offset, limit=limit)
        )
    return Response(b'{"events":[' + b",".join(found.bodies) + b'],"totalCount":%d}' % found.total)


async def _own(
    request: Request, after_us: int, before_us: int, is_descending: bool, offset: int, limit: int
) -> EventPage:
    """
    The events that a token for some tasks may see: tested one by one, at most ``MOST_LOOKED_AT``, until the page is
    full. The total counts what is on the page.
    """
    own: list[bytes] = []
    for start in range(0, MOST_LOOKED_AT, LOOK):
        some = await lineage_events.page(after_us, before_us, descending=is_descending, offset=start, limit=LOOK)
        for body in some.bodies:
            if await ingest.is_visible(request.catalog, bodies.read_event(body), request.grant):
                own.append(body)  # noqa: PERF401 (an operation cannot be asked within a comprehension)
        if len(some.bodies) < LOOK or len(own) >= offset + limit:
            break
    shown = own[offset : offset + limit]
    return EventPage(shown, len(shown))


def _moment(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, [""])[0].replace(" ", "+")  # the plus sign of an offset that was not percent-encoded
    return bodies.bound(text, name) if text else default
