"""
Who sends our events: OpenLineage's own client, set up by the environment that all its users share, or, where that would
post them by plain HTTP, we ourselves in its place, at a fifth of the cost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

import msgspec
from openlineage.client import OpenLineageClient

from shared.lineage.events import event
from shared.lineage.http_transport import Busy, Posting, posting_of
from shared.lineage.templates import Forms
from shared.runs import Record
from shared.tasks import Task

PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)
"""Between tries of an event for which the other side asks for patience; others wait behind it meanwhile."""


class ClientSender:
    """Has the client send them, wherever to."""

    def __init__(self, client: OpenLineageClient, namespace: str) -> None:
        self._client, self._namespace = client, namespace

    def send(self, run_id: UUID, record: Record, task: Task | None) -> None:
        """Tell how a run stands. Raises whatever the client does."""
        self._client.emit(event(self._namespace, run_id, record, task))

    def close(self, timeout_s: float) -> None:
        """Wait for what is under way."""
        self._client.close(timeout_s)


class PostingSender:
    """Posts them; the client's transport has those that are not taken at once, and its patience with them."""

    def __init__(
        self,
        client: OpenLineageClient,
        namespace: str,
        posting: Posting,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._pause = pause
        self._transport = client.transport
        self._posting = posting
        self._forms = Forms(client, namespace)

    def send(self, run_id: UUID, record: Record, task: Task | None) -> None:
        """Tell how a run stands. Raises Refused, Busy when it stays so for a while, or whatever the transport does."""
        body = self._forms.fill_in(run_id, record, task)
        if body is not None and not self._post(body):
            self._transport.emit(msgspec.json.decode(body))

    def _post(self, body: bytes) -> bool:
        for pause_s in PAUSES_S:
            try:
                return self._posting.post(body)
            except Busy:
                self._pause(pause_s)
        return self._posting.post(body)

    def close(self, timeout_s: float) -> None:
        """Wait for what is under way."""
        self._posting.close()
        self._transport.close(timeout_s)


def open_sender(namespace: str) -> ClientSender | PostingSender:
    """The one for this process's environment. Raises whatever the client makes of that."""
    client = OpenLineageClient()
    posting = None
    with contextlib.suppress(Exception):  # what we make nothing of the client may
        posting = posting_of(client.transport)
    return PostingSender(client, namespace, posting) if posting is not None else ClientSender(client, namespace)
