"""Status reports for external runs."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from shared.errors import NotFound, Refused
from shared.ops.catalog import Catalog
from shared.ops.new_execution import as_json
from shared.runs import FATE_UNKNOWN, NOTHING_RAN, Reason, Run
from shared.store import runs
from shared.store.metadata import MetadataChange
from shared.store.redis.call import Call, each, together
from shared.store.runs import Reported
from shared.store.wakeups import wake_queues
from shared.tasks import Task


async def report(
    catalog: Catalog,
    run_id: UUID,
    target: Literal["running", "ended"],
    *,
    reason: Reason | None = None,
    exit_code: int | None = None,
    message: str = "",
    at_us: int = 0,
    outputs: Mapping[str, Any] | None = None,
    late_start: bool = False,
    backdated: bool = False,
    change: MetadataChange | None = None,
    task: Task | None = None,
    beside: Sequence[Call[Any]] = (),
) -> Reported:
    """
    Report the status of an external run; see ``runs.report``. Workers are woken for what its end makes ready.

    An end without an *exit_code* gets what its reason implies: 0, NOTHING_RAN or FATE_UNKNOWN.

    While it runs, the next report has to come within the task's ``heartbeat_timeout``; who knows the *task* of the run
    saves looking for it. Calls that are to be made as well may go *beside* it. Raises NotFound.
    """
    if task is None:
        record = await runs.record(run_id)
        if record is None:
            raise NotFound(f"there is no run {run_id}")
        task = await catalog.task(record.definition)
    call = runs.report(
        run_id,
        target,
        reason=reason,
        exit_code=_unseen(reason) if exit_code is None else exit_code,
        message=message,
        at_us=at_us,
        outputs=as_json(outputs),
        lease_us=(task.heartbeat_timeout_ms or 0) * 1000 if task else 0,
        late_start=late_start,
        backdated=backdated,
        change=change,
    )
    reported, _ = await together(call, each(beside))
    if reported.verdict == "gone":
        raise NotFound(f"there is no run {run_id}")
    await wake_queues(reported.ready)
    return reported


def accepted(run_id: UUID, reported: Reported) -> Run:
    """
    The run as a report left it. Raises NotFound and Refused, naming what the run is, when it left nothing.
    """
    if reported.run is None:
        raise NotFound(f"there is no run {run_id}")
    if reported.verdict in ("changed", "same"):
        return reported.run
    whys = {
        "owned": "is executed by our workers; only runs of external tasks are reported",
        "waiting": "has to wait: it is not due yet, or an overlap rule holds it back",
        "running": "is running; that cannot be reported of it",
    }
    why = whys.get(reported.state, f"is ended ({reported.state}); an end is final")
    raise Refused(f"run {run_id} {why}", reported.state)


def _unseen(reason: Reason | None) -> int:
    """The exit code of a run that ended for *reason* (None: it has not) when none is reported."""
    if reason in (None, Reason.SUCCESS):
        return 0
    return NOTHING_RAN if reason is Reason.SKIPPED else FATE_UNKNOWN
