"""Routes for namespaces and the jobs in them."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from api.dialects.marquez import bodies, ingest, jobs, mapping, pagination, responses
from api.dialects.marquez.bodies import BadQuery, JobBody, NamespaceBody
from api.dialects.marquez.errors import DIALECT
from api.dialects.marquez.jobs import JobRef
from api.dialects.marquez.responses import JobResponse, RunResponse
from api.http.auth import Grant
from api.http.request import Request
from api.http.response import Response, json_response
from api.http.router import Routes
from shared import ops
from shared.errors import Conflict, Malformed, NotFound
from shared.runs import Run
from shared.store import listing, metadata, runs, tasks
from shared.store.dialects import namespaces
from shared.store.dialects.namespaces import JobChange
from shared.store.redis.call import each

routes = Routes(dialect=DIALECT)

LATEST: Final = 10
"""Runs that a job shows of itself."""

MAX_OWNER: Final = 1024
"""Characters of a namespace's owner."""

MAX_TAGS: Final = 100

SCAN: Final = 500
"""Jobs whose newest run is looked at in one step, when a list is of those with certain states."""

_encode = msgspec.json.Encoder().encode


@routes.put("/api/v1/namespaces/{namespace}", scope="run")
async def put_namespace(request: Request) -> Response:
    """Create it, or change its owner and description."""
    name = request.path["namespace"]
    body = bodies.read(NamespaceBody, request.body)
    bodies.require(["ownerName"] if not body.owner_name else [])
    jobs.require_names(name, "-")
    owner, description = body.owner_name or "", (body.description or "")[: ingest.MAX_TEXT]
    if len(owner) > MAX_OWNER:
        raise Malformed(f"ownerName has {len(owner)} characters; at most {MAX_OWNER} are kept")
    await request.store.run(jobs.require_namespace_for(name, request.grant))
    found = await request.store.run(namespaces.put_namespace(name, owner, description))
    return json_response(responses.namespace(found))


@routes.get("/api/v1/namespaces/{namespace}")
async def read_namespace(request: Request) -> Response:
    """One namespace."""
    found = await request.store.run(jobs.namespace(request.path["namespace"]))
    if not await request.store.run(jobs.is_visible(found.name, request.grant)):
        raise NotFound(f"Namespace '{found.name}' not found.")
    return json_response(responses.namespace(found))


@routes.delete("/api/v1/namespaces/{namespace}")
async def delete_namespace(request: Request) -> Response:
    """Delete it and its jobs. Their runs are kept as history, and a new report about one creates it again."""
    found = await request.store.run(jobs.namespace(request.path["namespace"]))
    await request.store.run(namespaces.drop_namespace(found.name))
    return json_response(responses.namespace(found, hidden=True))


@routes.get("/api/v1/namespaces")
async def list_namespaces(request: Request) -> Response:
    """Namespaces by name; that of our own tasks comes first, unless it was described."""
    limit, offset = bodies.paging(request.query)
    found = await request.store.run(_page(request.grant, limit, offset)) if limit else []
    return json_response({"namespaces": [responses.namespace(one) for one in found]})


@routes.put("/api/v1/namespaces/{namespace}/jobs/{job}", scope="run")
async def put_job(request: Request) -> Response:
    """Create or change a job. A ``runId`` must be a run of it."""
    body = bodies.read(JobBody, request.body)
    missing = [name for name in ("type", "inputs", "outputs") if getattr(body, name) is None]
    bodies.need_datasets(body, missing)
    bodies.require(missing)
    answer = await request.store.run(_put_job(request, body))
    return json_response(answer)


@routes.get("/api/v1/namespaces/{namespace}/jobs/{job}")
async def read_job(request: Request) -> Response:
    """One job with its newest runs."""
    answer = await request.store.run(_read_job(request))
    return json_response(answer)


@routes.delete("/api/v1/namespaces/{namespace}/jobs/{job}")
async def delete_job(request: Request) -> Response:
    """Delete a job. Its runs are kept as history, and a new report about it creates it again."""
    answer = await request.store.run(_delete_job(request))
    return json_response(answer)


@routes.get("/api/v1/namespaces/{namespace}/jobs")
async def list_jobs(request: Request) -> Response:
    """Jobs of a namespace, those with the latest report first."""
    return await _list(request, request.path["namespace"])


@routes.get("/api/v1/jobs")
async def list_all_jobs(request: Request) -> Response:
    """Our own tasks by name, then all jobs, those with the latest report first."""
    return await _list(request, None)


async def require_job(request: Request) -> JobRef:
    """The job that the path names. Raises NotFound for its namespace or itself, and Forbidden."""
    return await request.store.run(_place(request))


async def _page(grant: Grant, limit: int, offset: int) -> list[namespaces.Namespace]:
    """
    The items that *grant* may see. For a token for some tasks, items are tested one by one until the page is full.
    """
    if not grant.tasks:
        return await _namespaces(limit, offset)
    found: list[namespaces.Namespace] = []
    start = 0
    while len(found) < offset + limit:
        some = await _namespaces(SCAN, start)
        for one in some:
            if await jobs.is_visible(one.name, grant):
                found.append(one)  # noqa: PERF401 (an operation cannot be asked within a comprehension)
        start += SCAN
        if len(some) < SCAN:
            break
    return found[offset : offset + limit]


async def _namespaces(limit: int, offset: int) -> list[namespaces.Namespace]:
    described = await namespaces.namespace(mapping.HOME)
    if described is not None:
        return await namespaces.namespace_page(offset, limit)
    home = [(await jobs.namespace(mapping.HOME))] if not offset else []
    rest = limit - len(home)
    return home + ((await namespaces.namespace_page(max(0, offset - 1), rest)) if rest else [])


async def _place(request: Request) -> JobRef:
    namespace, name = request.path["namespace"], request.path["job"]
    place = await jobs.find(request.catalog, namespace, name)
    is_there = await jobs.require_place(place, request.grant)
    request.grant.authorise((place.task,), absent=f"Job '{name}' not found.")
    if not is_there:
        raise NotFound(f"Job '{name}' not found.")
    return place


async def _put_job(request: Request, body: JobBody) -> JobResponse:
    namespace, name = request.path["namespace"], request.path["job"]
    jobs.require_names(namespace, name)
    place = await jobs.find(request.catalog, namespace, name)
    request.grant.authorise((place.task,))
    await jobs.require_place(place, request.grant)
    if place.own:
        raise Conflict(f"Job '{name}' is a task of this fleet, and can be changed only where it is defined.")
    if body.run_id is not None:
        run_id = mapping.run_id(body.run_id)
        run: Run | None = (await runs.get(run_id)) if run_id else None
        if run is None or run.task_name != place.task:
            raise NotFound(f"Run '{body.run_id[:100]}' not found.")
    fields = {
        "type": body.type or "BATCH",
        "inputs": ingest.datasets(body.inputs or []),
        "outputs": ingest.datasets(body.outputs or []),
    }
    if body.location is not None:
        fields["location"] = body.location[: ingest.MAX_TEXT]
    if body.description is not None:
        fields["description"] = body.description[: ingest.MAX_TEXT]
    if body.tags is not None:
        fields["tags"] = ingest.truncated_json(body.tags[:MAX_TAGS])
    if namespace == mapping.HOME:
        await namespaces.put_namespace(namespace)
    await jobs.declare(request.catalog, place)
    job = await namespaces.put_job(JobChange(place.task, namespace, name, fields))
    return responses.job(job, (await _latest(request.catalog, [place], facets=True))[0])


async def _read_job(request: Request) -> JobResponse:
    place = await _place(request)
    latest = (await _latest(request.catalog, [place], facets=True))[0]
    if place.own:
        entry = await request.catalog.get(place.task, fresh=True)
        return responses.task(entry, latest)
    job = await namespaces.job(place.task)
    if job is None:
        raise NotFound(f"Job '{place.job}' not found.")
    return responses.job(job, latest)


async def _delete_job(request: Request) -> JobResponse:
    answer = await _read_job(request)
    place = await _place(request)
    if place.own:
        raise Conflict(f"Job '{place.job}' is a task of this fleet; remove it where it is defined.")
    await namespaces.drop_job(place.task)
    return answer


async def _list(request: Request, namespace: str | None) -> Response:
    limit, offset = bodies.paging(request.query)
    wanted = request.query.get("lastRunStates", [])
    unknown = [state for state in wanted if state not in mapping.STATES.values()]
    if unknown:
        raise BadQuery(
            f"query param lastRunStates must be one of NEW, RUNNING, COMPLETED, FAILED, ABORTED: {unknown[0][:50]}"
        )
    answer = await request.store.run(_jobs(request, namespace, frozenset(wanted), limit, offset))
    return json_response(answer)


async def _jobs(
    request: Request, namespace: str | None, wanted: frozenset[str], limit: int, offset: int
) -> dict[str, Any]:
    """
    A page of jobs: first our own tasks, then jobs. As in Marquez the total ignores the filter by state; for a token for
    some tasks it counts only the page.

    With a filter by state or a token for some tasks, jobs are tested one by one until the page is full; otherwise only
    the page is read.
    """
    if namespace is not None:
        await jobs.require_visible(namespace, request.grant)
    own: list[str] = []
    if namespace in (None, mapping.HOME):
        known = await tasks.names()
        own = [name for name in known if not mapping.is_ours(name) and request.grant.covers(name)]
    total = len(own) + (await namespaces.job_names(namespace, 0, 1))[1]
    found: list[str] = []
    looks = bool(wanted or request.grant.tasks)
    seen, skip, step = (0, offset, SCAN) if looks else (offset, 0, limit)
    while len(found) < limit and seen < total:
        names = await _names(own, namespace, seen, step)
        if not names:
            break
        seen += len(names)
        names = [name for name in names if request.grant.covers(name)]
        if wanted and names:
            states = await listing.latest(names)
            names = [
                name for name, state in zip(names, states, strict=True) if state and mapping.STATES[state] in wanted
            ]
        skip, names = max(0, skip - len(names)), names[skip:]
        found += names[: limit - len(found)]
    return {
        "jobs": (await _shown(request.catalog, own, found)),
        "totalCount": len(found) if request.grant.tasks else total,
    }


async def _names(own: Sequence[str], namespace: str | None, offset: int, count: int) -> list[str]:
    names = list(own[offset : offset + count])
    if len(names) < count:
        more, _ = await namespaces.job_names(namespace, max(0, offset - len(own)), count - len(names))
        names += more
    return names


async def _shown(catalog: ops.Catalog, own: Sequence[str], names: Sequence[str]) -> list[JobResponse]:
    entries = await tasks.some(set(own).intersection(names))
    rest = [name for name in names if name not in entries]
    jobs = {job.task: job for job in (await pagination.jobs(rest))}
    there = [name for name in names if name in entries or name in jobs]
    known = [
        JobRef(mapping.HOME, name, name, True)
        if name in entries
        else JobRef(jobs[name].namespace, jobs[name].name, name, False)
        for name in there
    ]
    latest = await _latest(catalog, known, facets=False)
    return [
        responses.task(entries[name], shown) if name in entries else responses.job(jobs[name], shown)
        for name, shown in zip(there, latest, strict=True)
    ]


async def _latest(catalog: ops.Catalog, known: Sequence[JobRef], *, facets: bool) -> list[list[RunResponse]]:
    """The newest runs of jobs, without facets, which may be megabytes."""
    if not known:
        return []
    newest = await each(listing.newest(place.task, LATEST) for place in known)
    shown = []
    for place, runs_found in zip(known, newest, strict=True):
        found = await ops.without_secrets(catalog, runs_found)
        beside: list[dict[str, bytes]] = [{}] * len(found)
        if facets:
            beside = await metadata.read_many([run.id for run in found])
        shown.append([responses.run(run, place, fields) for run, fields in zip(found, beside, strict=True)])
    return shown
