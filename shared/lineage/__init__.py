"""
OpenLineage: sends events about runs to systems that collect lineage.

``events.py`` builds the events, and ``emitter.py`` sends them in the background; only these need the library of the
extra ``runfleet[openlineage]``. The API that receives such events is ``api.dialects.marquez``.
"""

from typing import Any, Final

from msgspec import UNSET

from shared import __version__
from shared.runs import Reason, Run

PRODUCER: Final = f"urn:runfleet:{__version__}"
"""The producer in all events and facets of Runfleet."""

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
"""The event type for each end reason."""


def details(run: Run) -> dict[str, Any]:
    """The fields of Runfleet's own run facet, for which OpenLineage has no other place."""
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
