"""The surroundings of a run: the runs of its task before and after it."""

from msgspec import UNSET

from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from api.native.parameters import RunPath
from api.native.run_responses import NeighboursModel, StreakModel
from api.native.run_rows import row
from api.native.runs import find
from shared.store import run_rows
from shared.words import elapsed_ms

routes = Routes("Runs")


@routes.get(
    "/api/runs/{id}/neighbours", summary="Read the runs around a run", answers={200: NeighboursModel}, errors=(404,)
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
    return request.answer(
        NeighboursModel(
            previous=beside[0],
            next=beside[1],
            around=[(each.number, known.by_run[each.id], elapsed_ms(each, known.at)) for each in near.runs],
            streak=StreakModel(state=known.by_run[run.id], count=streak.count, since=streak.since) if streak else UNSET,
        )
    )
