"""
What is the same in all events of a job, written once: a form, and how it is filled in for a run.

Making an event of OpenLineage's classes and JSON of that takes a third of a millisecond. A form is made of such an
event, after its client added what it was set up to add (tags, environment, where the source is); filling it in takes
a tenth of that.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import msgspec
from openlineage.client import OpenLineageClient
from openlineage.client.serde import Serde
from openlineage.client.transport import Transport

from shared.clock import rfc3339
from shared.lineage import details
from shared.lineage.events import event, moment, reason_why
from shared.runs import Reason, Record, Status, to_run
from shared.tasks import Task

FORMS_MAX: Final = 1000

_encode: Final = msgspec.json.Encoder().encode


class Form:
    """All that the events of a job have in common. *shown* is one of them, with every facet that there may be."""

    def __init__(self, shown: dict[str, Any]) -> None:
        facets = shown["run"]["facets"]
        self._ours = {name: value for name, value in facets.pop("runfleet").items() if name.startswith("_")}
        self._nominal_time = facets.pop("nominalTime")
        self._error = facets.pop("errorMessage")
        self._facets = {name: msgspec.Raw(_encode(facet)) for name, facet in facets.items()}
        self._event = shown | {"job": msgspec.Raw(_encode(shown["job"]))}

    def fill_in(self, run_id: UUID, record: Record) -> bytes:
        """The event that says how a run of the job stands, as JSON."""
        kind, at_us = moment(record)
        facets: dict[str, Any] = {**self._facets, "runfleet": self._ours | details(to_run(run_id, record))}
        if record.tick_us:
            facets["nominalTime"] = self._nominal_time | {"nominalStartTime": rfc3339(record.tick_us)}
        if kind == "FAIL":
            facets["errorMessage"] = self._error | {"message": reason_why(record)}
        run = {"runId": str(run_id), "facets": facets}
        return _encode(self._event | {"eventType": kind, "eventTime": rfc3339(at_us), "run": run})


class Forms:
    """The forms of all jobs, made by *client* as they are needed; it sends nothing any more, so it is nobody else's."""

    def __init__(self, client: OpenLineageClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._shown = _Shown()
        client.transport = self._shown
        self._known: dict[tuple[str, str], Form | None] = {}

    def fill_in(self, run_id: UUID, record: Record, task: Task | None) -> bytes | None:
        """The event that says how a run stands, as JSON; None if the client is set up to send none of its job."""
        key = (record.task, record.definition if task is not None else "")
        if key not in self._known:
            if len(self._known) >= FORMS_MAX:
                self._known.clear()
            self._known[key] = self._make(run_id, record, task)
        form = self._known[key]
        return form.fill_in(run_id, record) if form is not None else None

    def _make(self, run_id: UUID, record: Record, task: Task | None) -> Form | None:
        full = msgspec.structs.replace(record, status=Status.ENDED, reason=Reason.FAILED, tick_us=1, end_us=1)
        self._shown.event = None
        self._client.emit(event(self._namespace, run_id, full, task))
        return Form(Serde.to_dict(self._shown.event)) if self._shown.event is not None else None


class _Shown(Transport):
    """Keeps the event that the client would have sent."""

    kind = "runfleet"

    def __init__(self) -> None:
        self.event: Any = None

    def emit(self, event: Any) -> None:
        self.event = event
