"""Liveness, readiness, and metrics of the fleet."""

from api.http.problems import UNFIT
from api.http.request import Request
from api.http.response import Response
from api.http.router import Media, Routes
from api.native.metrics import render
from api.native.responses import HealthModel
from shared.errors import Misconfigured, RunfleetError, StoreUnavailable, Unserviceable
from shared.store import fleet, preflight, scoped_fleet, tasks, version

routes = Routes("Health")

METRICS: bytes = b"text/plain; version=0.0.4; charset=utf-8"


@routes.get("/health", summary="The process lives", scope=None, answers={200: HealthModel})
async def health(request: Request) -> Response:
    """Makes no Redis call, so an outage does not fail liveness."""
    return request.answer(HealthModel(status="ok"))


@routes.get("/ready", summary="The process can serve", scope=None, answers={200: HealthModel}, errors=(503,))
async def ready(request: Request) -> Response:
    """
    Redis answers and accepts writes, this release can read its data, and the process is not stopping; otherwise 503
    says why.
    """
    if request.state.closing.is_set():
        raise Unserviceable("this process is stopping")
    try:
        await request.store.run(preflight.may_write())
        await request.store.run(_fits())
    except Misconfigured:
        raise Unserviceable(UNFIT) from None
    return request.answer(HealthModel(status="ok"))


async def _fits() -> None:
    """As ``version.check``, but a key that another program has overwritten does not make the process unready."""
    try:
        await version.check()
    except version.NotALayout:
        return
    except (Misconfigured, StoreUnavailable):
        raise
    except RunfleetError:  # of another type
        return


@routes.get(
    "/metrics",
    summary="Metrics of the fleet",
    answers={200: Media("text/plain", "Prometheus text format 0.0.4")},
)
async def metrics(request: Request) -> Response:
    """
    Metrics of the whole fleet, from any API process: all numbers come from the store, so scrape one process, not all. A
    token for some tasks sees the metrics of these, without those of Redis.
    """
    store = request.store
    names = await store.run(tasks.known_tasks())
    names = [name for name in names if request.grant.covers(name)]
    counts = await store.run(tasks.counts(names)) if names else {}
    only = request.grant.covers if request.grant.tasks else None
    text = render(
        await store.run(scoped_fleet.facts(only) if only else fleet.facts()),
        await store.run(scoped_fleet.queues(only) if only else fleet.queues()),
        await store.run(scoped_fleet.workers(only) if only else fleet.workers()),
        counts,
        streams=request.state.stream_limit.taken,
        most_streams=request.state.stream_limit.total,
    )
    return Response(text.encode(), media=METRICS)
