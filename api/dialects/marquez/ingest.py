"""Operations that apply Marquez's verbs and OpenLineage events to runs."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Raw

from api.dialects.marquez import bodies, jobs, mapping, responses
from api.dialects.marquez.bodies import DatasetId, Event
from api.dialects.marquez.jobs import JobRef
from api.dialects.marquez.mapping import Report
from api.http.auth import Grant
from shared import ops
from shared.clock import from_datetime
from shared.errors import Malformed, NotFound, Refused
from shared.lineage import PRODUCER
from shared.ops import Catalog, Triggered
from shared.runs import Run
from shared.store import metadata, runs
from shared.store.dialects import lineage_events, namespaces
from shared.store.dialects.lineage_events import Kept, LineageEvent
from shared.store.dialects.namespaces import JobChange
from shared.store.metadata import MetadataChange
from shared.store.origin import Origin
from shared.store.redis.call import Call
from shared.store.runs import Reported
from shared.tasks import Task

MAX_FACET_BYTES: Final = 64 * 1024
"""Bytes of the largest facet that is kept of a run or a job; the event has it all the same."""

MAX_FACETS: Final = 150
"""Facets of one event that are stored for its run, and for its job: while Redis stores them it serves nothing else."""

_WITH_A_MEANING: Final = frozenset(
    {"parent", "parentRun", "nominalTime", "errorMessage", "documentation", "sourceCodeLocation", "jobType"}
)

MAX_TEXT: Final = 10_000
"""Characters that are kept of a job's description and location, and of a namespace's description."""

MAX_NAME: Final = 256
MAX_MESSAGE: Final = 1000

_encode = msgspec.json.Encoder().encode


async def begin(
    catalog: Catalog, place: JobRef, origin: Origin, grant: Grant, params: Mapping[str, Any] | None = None
) -> Triggered:
    """Create a run of a job; our workers execute those of our own tasks. Raises as ``ops.trigger``."""
    await jobs.declare(catalog, place)
    request = ops.Request(params=params, triggered_by="cloud", origin=origin)
    try:
        return await ops.trigger(catalog, place.task, request, permit=grant.authorise, charge=grant.charge)
    except NotFound:
        if place.own:
            raise
    catalog.entries.pop(place.task, None)  # it was removed since the catalog was read
    await jobs.declare(catalog, place)
    return await ops.trigger(catalog, place.task, request, permit=grant.authorise, charge=grant.charge)


async def report(catalog: Catalog, run_id: UUID, verb: str, at_us: int) -> Run:
    """
    Apply the transition of *verb* to a run, at stored time *at_us* (0: now); the run afterwards.

    Raises NotFound, and Refused when the run's status does not allow it.
    """
    update = mapping.VERBS[verb]
    reported = await _report(catalog, run_id, update, at_us, late_start=at_us > 0)
    if reported.verdict not in ("changed", "same"):
        raise Refused(_why(run_id, verb, reported.state), reported.state)
    assert reported.run is not None
    return reported.run


async def record(catalog: Catalog, event: Event, body: bytes, grant: Grant) -> None:
    """
    Store an event, and apply it to its run if that is an external one whose status allows it.

    Late events are stored, and their facts are added, rather than refused. Raises Malformed for invalid names and
    times, and Forbidden for tasks outside *grant*; then nothing is stored.
    """
    at_us = bodies.instant(event.event_time or "", "eventTime")
    if event.job is None or event.kind == "DatasetEvent":
        await lineage_events.keep(LineageEvent(body, at_us, event.kind))
        return
    parent = _parent(event)
    name = mapping.full_name(event.job.name or "", parent.job if parent else "")
    jobs.require_names(event.job.namespace or "", name)
    place = await jobs.find(catalog, event.job.namespace or "", name)
    grant.authorise((place.task,))
    change = None if place.own else JobChange(place.task, place.namespace, place.job, _job_fields(event, parent))
    if event.run is None or event.kind == "JobEvent":
        await lineage_events.keep(LineageEvent(body, at_us, event.kind, job=change))
        return
    run_id = mapping.run_id_of(event.run.run_id or "")
    facets = {responses.RUN_FACET + facet: text for facet, text in _facets(event.run.facets).items()}
    kind = (event.event_type or "").upper()
    origin = Origin(api=mapping.NAME, run_id=run_id, nominal_us=_nominal_us(event))
    kept = lineage_events.keep(LineageEvent(body, at_us, kind, run_id, change, facets))
    update = mapping.report_of(kind)
    if update is not None and update.exit_code:
        update = update._replace(message=_error_of(event) or update.message)
    is_known = False
    if place.own or grant.tasks:
        found = await runs.record(run_id)
        is_known = found is not None
        if found is not None:
            grant.authorise((found.task,))
    if parent is not None:
        await _record_parent(catalog, parent, at_us, grant)
    if place.own and not is_known:
        await kept  # of a run that is missing or deleted: other systems may not create runs of our tasks
        return
    await _apply(
        catalog, place, origin, update, at_us, kept, grant, is_new=kind in ("", "START", "OTHER") and not is_known
    )


async def is_visible(catalog: Catalog, event: Event, grant: Grant) -> bool:
    """Whether an event is about a job whose task *grant* covers, or about no job."""
    if event.job is None:
        return False
    parent = _parent(event)
    name = mapping.full_name(event.job.name or "", parent.job if parent else "")
    place = await jobs.find(catalog, event.job.namespace or "", name)
    return grant.covers(place.task)


def exists(run_id: UUID, place: JobRef) -> Malformed:
    """The error for a run id that is taken: 400 in Marquez."""
    return Malformed(f"Run '{run_id}' already exists for '{place.job}' under namespace '{place.namespace}'.")


class Parent(msgspec.Struct, frozen=True):
    """The parent run of an event's run."""

    run: UUID
    namespace: str
    job: str


async def _apply(
    catalog: Catalog,
    place: JobRef,
    origin: Origin,
    update: Report | None,
    at_us: int,
    kept: Call[Kept],
    grant: Grant,
    *,
    is_new: bool,
) -> None:
    """
    Create the run if it is missing, apply *update* to it, and store the event; *is_new* is a guess that saves a read.
    """
    run_id = origin.run_id
    assert run_id is not None
    entry = await jobs.declare(catalog, place)
    if is_new:
        await begin(catalog, place, origin, grant)
    if update is None:
        await kept
        return
    task = entry.task if entry is not None else None
    try:
        reported = await _report(catalog, run_id, update, at_us, late_start=True, task=task, beside=[kept])
    except NotFound:
        await begin(catalog, place, origin, grant)
        reported = await _report(catalog, run_id, update, at_us, late_start=True, task=task, beside=[kept])
    if task is not None and reported.run is not None and reported.run.task_name != place.task:
        await _report(catalog, run_id, update, at_us, late_start=True)  # another task's run, which may have a lease


async def _report(
    catalog: Catalog,
    run_id: UUID,
    update: Report,
    at_us: int,
    *,
    late_start: bool,
    task: Task | None = None,
    beside: Sequence[Call[Any]] = (),
) -> Reported:
    reported = await ops.report(
        catalog,
        run_id,
        update.target,
        reason=update.reason,
        exit_code=update.exit_code,
        message=update.message,
        at_us=at_us,
        late_start=late_start,
        backdated=True,
        task=task,
        beside=beside,
    )
    if at_us > time.time_ns() // 1000 and reported.verdict in ("changed", "same"):
        await _store_reported_times(reported, update, at_us)
    return reported


async def _store_reported_times(reported: Reported, update: Report, at_us: int) -> None:
    """Store a reported time that lies in the future as metadata: the record cannot hold it."""
    run = reported.run
    assert run is not None
    is_start = update.target == "running"
    field, on_record = (responses.STARTED, run.start_at) if is_start else (responses.ENDED, run.end_at)
    if isinstance(on_record, msgspec.UnsetType) or (reported.verdict == "same" and not is_start):
        return
    value = b"%d %d" % (at_us, from_datetime(on_record))
    before = (await metadata.read(run.id)).get(field, b"")
    if reported.verdict == "changed" or (before and int(before.partition(b" ")[0]) > at_us):
        await metadata.write(MetadataChange(run.id, {field: value}))


def _why(run_id: UUID, verb: str, state: str) -> str:
    if state == "owned":
        return f"Run '{run_id}' is executed by Runfleet's workers, which report its state; {verb} changes nothing."
    if state == "waiting":
        return f"Run '{run_id}' is not due yet, or its job's max_concurrent holds it back; {verb} changes nothing."
    return f"Run '{run_id}' is {mapping.STATES[state]}; {verb} changes nothing."


async def _record_parent(catalog: Catalog, parent: Parent, at_us: int, grant: Grant) -> None:
    """
    Create an unknown parent, as running since its child did; its own events correct that. A parent outside *grant* is
    not created.
    """
    if (await runs.record(parent.run)) is not None:
        return
    place = await jobs.find(catalog, parent.namespace, parent.job)
    if place.own or not grant.covers(place.task):
        return
    await namespaces.put_namespace(place.namespace)
    await namespaces.put_job(JobChange(place.task, place.namespace, place.job))
    await begin(catalog, place, Origin(api=mapping.NAME, run_id=parent.run), grant)
    await _report(catalog, parent.run, mapping.VERBS["start"], at_us, late_start=True)


def _parent(event: Event) -> Parent | None:
    facet = bodies.facet(bodies.ParentFacet, event.run.facets if event.run else None, "parent", "parentRun")
    if facet is None or facet.run is None or facet.job is None or event.job is None:
        return None
    job = mapping.parent_name(event.job.name or "", facet.job.name or "")
    jobs.require_names(facet.job.namespace or "", job)
    run = mapping.run_id_of(facet.run.run_id or "")
    is_itself = event.run is not None and run == mapping.run_id_of(event.run.run_id or "")
    return None if is_itself else Parent(run, facet.job.namespace or "", job)


def _job_fields(event: Event, parent: Parent | None) -> dict[str, str]:
    job = event.job
    assert job is not None
    documentation = bodies.facet(bodies.DocumentationFacet, job.facets, "documentation")
    location = bodies.facet(bodies.LocationFacet, job.facets, "sourceCodeLocation")
    kind = bodies.facet(bodies.JobTypeFacet, job.facets, "jobType")
    fields = {
        "description": documentation.description if documentation else None,
        "location": location.url if location else None,
        "type": ("STREAM" if kind.processing_type == "STREAMING" else "BATCH") if kind else None,
        "parent": parent.job if parent else None,
    }
    found = {name: value[:MAX_TEXT] for name, value in fields.items() if value}
    found |= {name: datasets(given) for name, given in (("inputs", event.inputs), ("outputs", event.outputs)) if given}
    return found | {responses.FACET + name: text for name, text in _facets(job.facets).items()}


def datasets(given: Iterable[DatasetId]) -> str:
    """The names of datasets as JSON, as many as fit into ``MAX_FACET_BYTES``."""
    return truncated_json({"namespace": one.namespace, "name": one.name} for one in given)


def truncated_json(given: Iterable[Any]) -> str:
    """The items as a JSON list, cut to ``MAX_FACET_BYTES`` bytes."""
    items: list[str] = []
    room = MAX_FACET_BYTES
    for one in given:
        encoded = _encode(one)
        room -= len(encoded) + 1
        if room < 0:
            break
        items.append(encoded.decode())
    return f"[{','.join(items)}]"


def _facets(given: Mapping[str, Raw] | None) -> dict[str, str]:
    """
    The facets to store, as JSON: those that are interpreted, and the first of the rest. One that is too large is stored
    without its content.
    """
    kept: dict[str, str] = {}
    for name, raw in sorted((given or {}).items(), key=lambda one: one[0] not in _WITH_A_MEANING):
        if len(kept) == MAX_FACETS:
            break
        value = bytes(raw)
        if value == b"null" or len(name) > MAX_NAME:
            continue
        if len(value) > MAX_FACET_BYTES:
            left_out: dict[str, Any] = {"_producer": PRODUCER, "_schemaURL": "", "leftOutBytes": len(value)}
            value = _encode(left_out)
        kept[name] = value.decode()
    return kept


def _nominal_us(event: Event) -> int:
    facet = bodies.facet(bodies.NominalTimeFacet, event.run.facets if event.run else None, "nominalTime")
    if facet is None:
        return 0
    start = bodies.instant(facet.nominal_start_time, "nominalStartTime") if facet.nominal_start_time else 0
    if facet.nominal_end_time:
        bodies.instant(facet.nominal_end_time, "nominalEndTime")
    return start


def _error_of(event: Event) -> str:
    facet = bodies.facet(bodies.ErrorFacet, event.run.facets if event.run else None, "errorMessage")
    return " ".join(((facet.message if facet else None) or "").split())[:MAX_MESSAGE]
