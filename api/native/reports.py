"""Status reports for runs of external tasks."""

from typing import Final

import msgspec
from msgspec import UNSET

from api.http.decoding import raise_if_any
from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from api.native.parameters import RunPath
from api.native.requests import ReportRequest
from api.native.runs import answered, find, moment
from shared import ops
from shared.errors import Problem
from shared.params import DEPTH_MAX, is_deep
from shared.runs import Reason, Run

routes = Routes("Runs")

MAX_OUTPUTS: Final = 256 * 1024
"""Bytes of JSON that a report's outputs may have: they are in the record, which every list reads."""

_encoder = msgspec.json.Encoder()


@routes.post(
    "/api/runs/{id}/report",
    summary="Report on a run",
    answers={200: Run},
    errors=(404, 409, 413, 415),
    body_required=False,
)
async def report(request: Request, path: RunPath, body: ReportRequest) -> Response:
    """
    The status of a run of an `external` task, from its executor: that it is running (without a body), as often as it
    likes, and how it ended. `stop_requested` in the response asks it to stop. With `heartbeat_timeout` a report must
    come within that time, or the run has crashed.
    """
    raise_if_any(_problems_of(body))
    run = await find(request, path.id)
    reported = await request.store.run(
        ops.report(
            request.catalog,
            run.id,
            "running" if body.end_reason is UNSET else "ended",
            reason=None if body.end_reason is UNSET else Reason(body.end_reason),
            exit_code=None if body.exit_code is UNSET else body.exit_code,
            message=body.message or "",
            at_us=moment(body.at) or 0,
            outputs=body.outputs or None,
        )
    )
    return await answered(request, ops.accepted(run.id, reported))


def _problems_of(body: ReportRequest) -> list[Problem]:
    """Problems of a report that involve several fields."""
    given = {"exit_code": body.exit_code, "message": body.message, "outputs": body.outputs}
    problems = [
        Problem(f"body.{name}", "requires end_reason; leave it out while the run goes on")
        for name, value in given.items()
        if value is not UNSET and body.end_reason is UNSET
    ]
    if body.outputs and is_deep(body.outputs):
        problems.append(Problem("body.outputs", f"is nested deeper than {DEPTH_MAX}; give it as text"))
    elif body.outputs and len(_encoder.encode(body.outputs)) > MAX_OUTPUTS:
        problems.append(Problem("body.outputs", f"must be at most {MAX_OUTPUTS // 1024} KiB of JSON in all"))
    return problems
