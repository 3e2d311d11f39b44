"""The surroundings of a run: the runs before and after it, and why it is in its state."""

from msgspec import UNSET

from api.http.compact import compact
from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from api.native.parameters import RunPath
from api.native.run_responses import CauseModel, ChangeModel, LimitModel, NeighboursModel, StreakModel, WhyModel
from api.native.run_rows import row, rows
from api.native.runs import find
from shared.ops.explanation import Cause, explain
from shared.store import run_rows
from shared.words import elapsed_ms

routes = Routes("Runs")


@routes.get(
    "/api/runs/{id}/neighbours",
    summary="Read the runs around a run",
    answers={200: NeighboursModel, 304: None},
    errors=(404,),
)
async def read_neighbours(request: Request, path: RunPath) -> Response:
    """
    Of the same task, by number. `streak` counts runs that ended alike, whatever their number; skipped ones in between
    do not count. It is absent until the run has ended.
    """
    run = await find(request, path.id)
    near = await request.store.run(run_rows.neighbours(run))
    known = await request.store.run(run_rows.states(near.runs))
    at = near.runs.index(run)
    beside = [
        row(other, known.by_run[other.id]) if other else UNSET
        for other in (near.runs[at - 1] if at else None, near.runs[at + 1] if at + 1 < len(near.runs) else None)
    ]
    streak = near.streak
    return compact(
        request,
        NeighboursModel(
            previous=beside[0],
            next=beside[1],
            around=[(each.number, known.by_run[each.id], elapsed_ms(each, known.at)) for each in near.runs],
            streak=StreakModel(state=known.by_run[run.id], count=streak.count, since=streak.since) if streak else UNSET,
        ),
    )


@routes.get(
    "/api/runs/{id}/why", summary="Explain the state of a run", answers={200: WhyModel, 304: None}, errors=(404,)
)
async def explain_run(request: Request, path: RunPath) -> Response:
    """Why it waits, whether it takes longer than usual, or, for a bad end, what differs from the last success."""
    run = await find(request, path.id)
    found = await request.store.run(explain(run, request.grant.covers))
    return compact(
        request,
        WhyModel(
            run=row(run, found.state),
            state=found.state,
            text=found.text,
            because=[await _cause(request, cause) for cause in found.because],
            earliest_at=found.earliest_at or UNSET,
            changed=[ChangeModel(code=change.code, text=change.text) for change in found.changed],
        ),
    )


async def _cause(request: Request, cause: Cause) -> CauseModel:
    limit = cause.limit
    return CauseModel(
        code=cause.code,
        text=cause.text,
        since=cause.since or UNSET,
        run=(await rows(request, [cause.run]))[0] if cause.run else UNSET,
        limit=LimitModel(name=limit[0], held=limit[1], max=UNSET if limit[2] is None else limit[2]) if limit else UNSET,
        place=cause.place,
        cure=cause.cure,
    )
