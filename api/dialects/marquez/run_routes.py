"""Routes for runs: create, read, list, and the four verbs that report their state."""

import msgspec

from api.dialects.marquez import bodies, ingest, jobs, mapping, pagination, responses
from api.dialects.marquez.bodies import BadQuery, RunBody
from api.dialects.marquez.errors import DIALECT
from api.dialects.marquez.jobs import JobRef
from api.dialects.marquez.responses import Nominal, RunResponse
from api.dialects.marquez.routes import require_job
from api.http.request import Request
from api.http.response import Response, json_response
from api.http.router import Routes
from shared import ops
from shared.errors import Malformed, NotFound
from shared.runs import Run
from shared.store import metadata, runs
from shared.store.dialects import namespaces
from shared.store.listing import Filter, page
from shared.store.origin import Origin

routes = Routes(dialect=DIALECT)

_encode = msgspec.json.Encoder().encode


@routes.post("/api/v1/namespaces/{namespace}/jobs/{job}/runs")
async def create_run(request: Request) -> Response:
    """
    Create a run in state NEW. For a task of ours this is a trigger: our workers execute the run, and verbs are refused.

    As in Marquez, an id that is taken is refused, even if the request is the same.
    """
    body = bodies.read(RunBody, request.body or b"{}")
    run_id = mapping.run_id(body.id) if body.id is not None else None
    if body.id is not None and run_id is None:
        raise Malformed(f"run id '{body.id[:100]}' must be a UUID")
    nominal = Nominal(
        bodies.instant(body.nominal_start_time, "nominalStartTime") if body.nominal_start_time else 0,
        bodies.instant(body.nominal_end_time, "nominalEndTime") if body.nominal_end_time else 0,
    )
    place = await require_job(request)
    origin = Origin(
        api=mapping.NAME,
        run_id=run_id,
        nominal_us=nominal.start,
        metadata={responses.NOMINAL: _encode(nominal)} if nominal != Nominal() else {},
    )
    params = {name: mapping.argument(value) for name, value in (body.args or {}).items()}
    made = await request.store.run(ingest.begin(request.catalog, place, origin, request.grant, params))
    if made.repeated:
        raise ingest.exists(made.run.id, place)
    beside = await request.store.run(metadata.read(made.run.id))
    location = f"{request.urls.base}/api/v1/jobs/runs/{made.run.id}".encode()
    (run,) = await request.store.run(ops.without_secrets(request.catalog, [made.run]))
    return json_response(responses.run(run, place, beside), status=201, headers=((b"location", location),))


@routes.get("/api/v1/namespaces/{namespace}/jobs/{job}/runs")
async def list_runs(request: Request) -> Response:
    """Runs of a job, latest start first; runs that never started come last."""
    limit, offset = bodies.paging(request.query)
    place = await require_job(request)
    answer = await request.store.run(_page(request, place, limit, offset))
    return json_response(answer)


@routes.get("/api/v1/jobs/runs/{id}")
async def read_run(request: Request) -> Response:
    """One run, of any API."""
    return json_response(await request.store.run(_shown(request, await _find(request))))


@routes.get("/api/v1/jobs/runs/{id}/facets")
async def read_facets(request: Request) -> Response:
    """The facets of a run, or of its job (``type=run`` or ``job``)."""
    kind = request.query.get("type", [""])[0].lower()
    if kind not in ("run", "job"):
        raise BadQuery("query param type must be one of RUN, JOB" if kind else "query param type must not be null")
    run = await _find(request)
    facets = await request.store.run(_run_facets(run) if kind == "run" else _job_facets(request, run))
    return json_response({"runId": str(run.id), "facets": facets})


@routes.post("/api/v1/jobs/runs/{id}/start")
async def start(request: Request) -> Response:
    """Report that it runs. The earliest of several starts counts; one with a time is accepted even after the end."""
    return await _report(request, "start")


@routes.post("/api/v1/jobs/runs/{id}/complete")
async def complete(request: Request) -> Response:
    """Report that it succeeded."""
    return await _report(request, "complete")


@routes.post("/api/v1/jobs/runs/{id}/fail")
async def fail(request: Request) -> Response:
    """Report that it failed."""
    return await _report(request, "fail")


@routes.post("/api/v1/jobs/runs/{id}/abort")
async def abort(request: Request) -> Response:
    """Report that it was stopped."""
    return await _report(request, "abort")


async def _report(request: Request, verb: str) -> Response:
    at = request.query.get("at", [""])[0].replace(" ", "+")  # the plus sign of an offset that was not percent-encoded
    at_us = bodies.instant(at, "at", zone=True) if at else 0
    found = await _find(request)
    run = await request.store.run(ingest.report(request.catalog, found.id, verb, at_us))
    return json_response(await request.store.run(_shown(request, run)))


async def _find(request: Request) -> Run:
    text = request.path["id"]
    run_id = mapping.run_id(text)
    run = await request.store.run(runs.get(run_id)) if run_id else None
    if run is None:
        raise NotFound(f"Run '{text[:100]}' not found.")
    request.grant.authorise((run.task_name,), absent=f"Run '{text[:100]}' not found.")
    return run


async def _shown(request: Request, run: Run) -> RunResponse:
    (run,) = await ops.without_secrets(request.catalog, [run])
    place = await jobs.of_task(run.task_name)
    return responses.run(run, place, (await metadata.read(run.id)))


async def _page(request: Request, place: JobRef, limit: int, offset: int) -> dict[str, object]:
    found = await page(
        Filter(task_name=(place.task,)), sort_field="start_at", descending=True, limit=limit, offset=offset
    )
    beside = await pagination.metadata_of([run.id for run in found.runs])
    runs_shown = await ops.without_secrets(request.catalog, found.runs)
    shown = [responses.run(run, place, fields) for run, fields in zip(runs_shown, beside, strict=True)]
    return {"runs": shown, "totalCount": found.total}


async def _run_facets(run: Run) -> dict[str, msgspec.Raw]:
    place = await jobs.of_task(run.task_name)
    return responses.run_facets(run, place, (await metadata.read(run.id)))


async def _job_facets(request: Request, run: Run) -> dict[str, msgspec.Raw]:
    place = await jobs.of_task(run.task_name)
    if not place.own:
        job = await namespaces.job(place.task)
        return responses.job_facets(job) if job is not None else {}
    try:
        entry = await request.catalog.get(place.task)
    except NotFound:
        return {}
    return responses.task_facets(entry)
