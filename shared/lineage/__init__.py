"""
OpenLineage: what our own runs tell systems that collect lineage.

``events.py`` says what a run looks like there, ``emitter.py`` sends it without anybody waiting for it; only they need
the library of the extra ``runfleet[openlineage]``. The API that takes such events from others is
``api.dialects.marquez``.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from shared import __version__
from shared.runs import Reason, Run

PRODUCER: Final = f"urn:runfleet:{__version__}"
"""Who says so, in every event and facet of ours."""

RUNFLEET_SCHEMA: Final = "urn:runfleet:facet:run:1"
"""The schema of our own run facet, ``runfleet``."""

NAMESPACE: Final = "runfleet"
"""The namespace of our tasks, unless OPENLINEAGE_NAMESPACE names another."""

EVENT_TYPES: Final[dict[Reason, str]] = {
    Reason.SUCCESS: "COMPLETE",
    Reason.FAILED: "FAIL",
    Reason.TIMEOUT: "FAIL",
    Reason.CRASHED: "FAIL",
    Reason.LOG_OVERFLOW: "FAIL",
    Reason.STOPPED: "ABORT",
    Reason.SKIPPED: "ABORT",
}
"""The type of the event that says how a run ended."""


def details(run: Run) -> dict[str, Any]:
    """What our own run facet says: all of a run that OpenLineage has no word for."""
    over = run.end_reason is not UNSET
    known = {
        "executionId": str(run.execution_id),
        "number": run.number,
        "attempt": run.retry_attempt,
        "retryOf": str(run.retry_of_run_id) if run.retry_of_run_id else UNSET,
        "replicaIndex": run.replica_index,
        "replicaCount": run.replica_count,
        "triggeredBy": run.triggered_by,
        "queue": run.queue,
        "worker": run.worker,
        "endReason": run.end_reason,
        "exitCode": run.exit_code if over else UNSET,
        "message": run.message,
    }
    return {name: value for name, value in known.items() if value is not UNSET}
