"""OpenLineage events: taken, and given back as they came."""

from __future__ import annotations

from typing import Final

from api.dialects.door import Question, Routes
from api.dialects.marquez import bodies, recording, words
from api.dialects.marquez.dialect import DIALECT, BadQuery
from api.reply import Reply
from shared.errors import Forbidden
from shared.store import lineage

routes = Routes(DIALECT)

FIRST_US: Final = 1
MAX_EVENT: Final = 4 * 1024 * 1024
"""Bytes of the largest event: those that carry a query plan of Spark's are larger than other bodies may be."""


@routes.on("POST", "/api/v1/lineage", scope="run", max_body=MAX_EVENT)
async def take_event(ask: Question) -> Reply:
    """One event. When this is answered it is stored, and the run it is about has moved if that was to be."""
    event = bodies.read_event(ask.body)
    await ask.web.store.run(recording.record(ask.web.catalog, event, ask.body, ask.grant))
    return Reply(status=201)


@routes.on("GET", "/api/v1/events/lineage", scope="read")
async def list_events(ask: Question) -> Reply:
    """Events of runs by the time they tell: ``after`` ≤ time < ``before``. The total counts those of no run as well."""
    limit, offset = bodies.paging(ask.query)
    direction = ask.query.get("sortDirection", ["desc"])[0].lower()
    if direction not in ("asc", "desc"):
        raise BadQuery("query param sortDirection must be one of asc, desc")
    if ask.grant.tasks:
        raise Forbidden(f"events are of all tasks; {ask.grant.who} is for tasks that fit {ask.grant.tasks!r}")
    found = await ask.web.store.run(
        lineage.page(
            _moment(ask, "after", FIRST_US),
            _moment(ask, "before", words.LATEST_US),
            descending=direction == "desc",
            offset=offset,
            limit=limit,
        )
    )
    return Reply(b'{"events":[' + b",".join(found.bodies) + b'],"totalCount":%d}' % found.total)


def _moment(ask: Question, name: str, default: int) -> int:
    text = ask.query.get(name, [""])[0].replace(" ", "+")  # an offset's plus that was sent as it is
    return bodies.bound(text, name) if text else default
