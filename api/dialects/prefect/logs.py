"""The log lines of what clients execute, in the logs of their runs; and events that come by HTTP."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from api.dialects.door import Question, Routes
from api.dialects.prefect import events, taskruns
from api.dialects.prefect.bodies import in_us, in_utc
from api.dialects.prefect.errors import DIALECT
from api.dialects.prefect.finding import invalid
from api.dialects.prefect.routes import on
from api.reply import Reply
from shared.store import logs
from shared.tasks import MB

routes = Routes(DIALECT)

MOST_BYTES: Final = MB
"""Most bytes of text that the log of one run keeps."""

MOST_LINE: Final = 64 * 1024
"""Characters of the longest line; what is longer is parted."""

ERROR_LEVEL: Final = 40
_VISIBLE: Final = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\x1b"}


class Line(msgspec.Struct):
    """A record of a Python logger."""

    message: str
    timestamp: datetime
    level: int = 20
    task_run_id: UUID | None = None


@on(routes, "POST", "/api/logs", "run")
async def write_logs(ask: Question) -> Reply:
    """Take log lines. Those of a task run become its log; for those of a flow run there is no place here."""
    of_runs: defaultdict[UUID, list[tuple[int, int, str]]] = defaultdict(list)
    for line in _read(ask, list[Line]):
        if line.task_run_id is not None:
            stream = 1 if line.level >= ERROR_LEVEL else 0
            at_us = in_us(in_utc(line.timestamp))
            of_runs[line.task_run_id] += [(at_us, stream, text) for text in _lines(line.message)]
    store = ask.web.store
    views = await store.run(taskruns.read_many(list(of_runs)))
    known = [view for view in views if view is not None and not view.is_ours]
    for view in known:
        ask.grant.require_task(view.latest.record.task)
    for view in known:
        lines = of_runs[view.id]
        digest = hashlib.sha256(msgspec.json.encode(lines)).hexdigest()[:24]
        await store.do(logs.jot(view.latest.head, lines, MOST_BYTES, digest))
    return Reply(status=201)


@on(routes, "POST", "/api/events", "run")
async def take_events(ask: Question) -> Reply:
    """Take events, as over the WebSocket."""
    for raw in _read(ask, list[msgspec.Raw]):
        event = events.read_event(bytes(raw))
        if event is None:
            raise invalid("body", "must be a list of events")
        await ask.web.store.run(events.apply(ask.web.catalog, ask.grant, event))
    return Reply(status=204)


def _read(ask: Question, kind: Any) -> Any:
    try:
        return msgspec.json.decode(ask.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid("body", str(error)) from None


def _lines(message: str) -> list[str]:
    return [
        line[start : start + MOST_LINE].translate(_VISIBLE)
        for line in message.splitlines() or [""]
        for start in range(0, len(line) or 1, MOST_LINE)
    ]
