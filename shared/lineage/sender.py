"""
The senders of OpenLineage events: OpenLineage's client, or, if that would use plain HTTP, a faster replacement.

Both are configured by the client's environment variables.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

import msgspec
from openlineage.client import OpenLineageClient

from shared.lineage.events import event
from shared.lineage.http_transport import Busy, FastTransport, fast_transport
from shared.lineage.templates import EventTemplates
from shared.runs import Record
from shared.tasks import Task

PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)
"""Pauses between attempts while the server is busy; other events wait meanwhile."""


class ClientSender:
    """Sends events with the client."""

    def __init__(self, client: OpenLineageClient, namespace: str) -> None:
        self._client, self._namespace = client, namespace

    def send(self, run_id: UUID, record: Record, task: Task | None) -> None:
        """Send the state of a run. Raises the exceptions of the client."""
        self._client.emit(event(self._namespace, run_id, record, task))

    def close(self, timeout_s: float) -> None:
        """Wait for events that are being sent."""
        self._client.close(timeout_s)


class HttpSender:
    """Sends events over HTTP; the client's transport retries those that were not accepted at once."""

    def __init__(
        self,
        client: OpenLineageClient,
        namespace: str,
        transport: FastTransport,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._pause = pause
        self._transport = client.transport
        self._fast = transport
        self._templates = EventTemplates(client, namespace)

    def send(self, run_id: UUID, record: Record, task: Task | None) -> None:
        """Send the state of a run. Raises Refused, Busy after several attempts, or exceptions of the transport."""
        body = self._templates.render(run_id, record, task)
        if body is not None and not self._post(body):
            self._transport.emit(msgspec.json.decode(body))

    def _post(self, body: bytes) -> bool:
        for pause_s in PAUSES_S:
            try:
                return self._fast.post(body)
            except Busy:
                self._pause(pause_s)
        return self._fast.post(body)

    def close(self, timeout_s: float) -> None:
        """Wait for events that are being sent."""
        self._fast.close()
        self._transport.close(timeout_s)


def open_sender(namespace: str) -> ClientSender | HttpSender:
    """The sender for this environment. Raises the exceptions of the client."""
    client = OpenLineageClient()
    fast = None
    with contextlib.suppress(Exception):  # the client may support what we do not
        fast = fast_transport(client.transport)
    return HttpSender(client, namespace, fast) if fast is not None else ClientSender(client, namespace)
