"""Ingests log lines of runs that clients execute, and events sent over HTTP."""

import hashlib
import re
from collections import defaultdict
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from api.dialects.prefect import events, task_runs
from api.dialects.prefect.bodies import in_us, in_utc
from api.dialects.prefect.errors import DIALECT
from api.dialects.prefect.run_view import FLOW_RUNS, View
from api.http.decoding import invalid
from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from shared.store import logs
from shared.tasks import MB

routes = Routes(dialect=DIALECT)

MAX_LOG_BYTES: Final = MB
"""Most bytes of text that the log of one run keeps."""

MAX_BATCH_BYTES: Final = 6 * MB
"""Most bytes of lines that come at once: Prefect's client gathers up to 4 MB, and one line of up to 1 MB beyond."""

MAX_LINE: Final = 64 * 1024
"""Characters of the longest line; what is longer is parted."""

ERROR_LEVEL: Final = 40
_ODD: Final = re.compile("\x1b\\[[0-9;:]{0,30}m|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""A colour, which stays as it is, or another control character: in a terminal it could write over other lines."""

Text = tuple[int, int, str]
"""A line as the store takes it: stored time, stream, text."""


class Line(msgspec.Struct):
    """A record of a Python logger."""

    message: str
    timestamp: datetime
    level: int = 20
    task_run_id: UUID | None = None
    flow_run_id: UUID | None = None


@routes.post("/api/logs", max_body=MAX_BATCH_BYTES)
async def write_logs(request: Request) -> Response:
    """
    Store log lines. Lines of a known task run go to its log; those of a flow run, or of a task run that is not known
    (yet), go to the flow run's. A run outside the token's tasks is unknown.
    """
    reported = _read(request, list[Line])
    known = await request.store.run(_views_of(reported))
    views = {run_id: view for run_id, view in known.items() if request.grant.covers(view.latest.record.task)}
    of_runs: defaultdict[UUID, list[Text]] = defaultdict(list)
    for line in reported:
        run_id = next((one for one in (line.task_run_id, line.flow_run_id) if one in views), None)
        if run_id is not None:
            stream = 1 if line.level >= ERROR_LEVEL else 0
            of_runs[run_id] += [(in_us(in_utc(line.timestamp)), stream, text) for text in _lines(line.message)]
    for run_id, lines in of_runs.items():
        digest = hashlib.sha256(msgspec.json.encode(lines)).hexdigest()[:24]
        await request.store.run(logs.append_reported(views[run_id].latest.latest_attempt, lines, MAX_LOG_BYTES, digest))
    return Response(status=201)


async def _views_of(reported: list[Line]) -> dict[UUID, View]:
    """The runs that lines are about and that clients execute."""
    of_task_runs = list({line.task_run_id: None for line in reported if line.task_run_id is not None})
    of_flow_runs = list({line.flow_run_id: None for line in reported if line.flow_run_id is not None})
    found = await task_runs.read_many(of_task_runs)
    found += await task_runs.read_many(of_flow_runs, FLOW_RUNS)
    return {view.id: view for view in found if view is not None and not view.is_ours}


@routes.post("/api/events")
async def receive_events(request: Request) -> Response:
    """Receive events, as over the WebSocket."""
    for raw in _read(request, list[msgspec.Raw]):
        event = events.read_event(bytes(raw))
        if event is None:
            raise invalid("body", "must be a list of events")
        await request.store.run(events.apply(request.catalog, request.grant, event))
    return Response(status=204)


def _read(request: Request, kind: Any) -> Any:
    try:
        return msgspec.json.decode(request.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid("body", str(error)) from None


def _lines(message: str) -> list[str]:
    return [
        _ODD.sub(_shown, line[start : start + MAX_LINE])
        for line in message.splitlines() or [""]
        for start in range(0, len(line) or 1, MAX_LINE)
    ]


def _shown(found: re.Match[str]) -> str:
    """The text with colours kept, and other control characters replaced by visible signs."""
    text = found[0]
    if len(text) > 1 or text == "\t":
        return text
    code = ord(text)
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else f"\\x{code:02x}"
