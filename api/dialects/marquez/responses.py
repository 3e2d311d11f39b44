"""Response objects: runs, jobs and namespaces with every key that Marquez has, null where there is no value."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, UnsetType

from api.dialects.marquez import bodies, mapping
from api.dialects.marquez.jobs import JobRef
from shared.clock import from_datetime, rfc3339
from shared.lineage import PRODUCER, RUNFLEET_SCHEMA, details
from shared.runs import Run
from shared.store.dialects.namespaces import Job, Namespace, newest
from shared.store.tasks import Entry

FACET: Final = "facet."
RUN_FACET: Final = f"{mapping.NAME}.{FACET}"
NOMINAL: Final = f"{mapping.NAME}.nominal"
STARTED: Final = f"{mapping.NAME}.started"
ENDED: Final = f"{mapping.NAME}.ended"
"""Metadata fields of a run. The last two are reported times that the record cannot have: they lie in the future."""

_SPEC: Final = "https://openlineage.io/spec/facets"
_SCHEMAS: Final = {
    "documentation": f"{_SPEC}/1-1-0/DocumentationJobFacet.json#/$defs/DocumentationJobFacet",
    "errorMessage": f"{_SPEC}/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
    "runfleet": RUNFLEET_SCHEMA,
}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode


class Nominal(msgspec.Struct, frozen=True, omit_defaults=True):
    """The interval that a run is for, as ``POST …/runs`` gave it; stored time, 0 if not given."""

    start: int = 0
    end: int = 0


class RunResponse(msgspec.Struct, frozen=True, rename="camel"):
    """A run."""

    id: str
    created_at: str
    updated_at: str
    nominal_start_time: str | None
    nominal_end_time: str | None
    state: str
    started_at: str | None
    ended_at: str | None
    duration_ms: int | None
    args: dict[str, str]
    job_version: dict[str, str] | None
    facets: dict[str, Raw]
    input_dataset_versions: list[Any] = []
    output_dataset_versions: list[Any] = []


class JobResponse(msgspec.Struct, frozen=True, rename="camel"):
    """A job."""

    id: dict[str, str]
    type: str
    name: str
    simple_name: str
    parent_job_name: str | None
    created_at: str
    updated_at: str
    namespace: str
    inputs: Raw
    outputs: Raw
    location: str | None
    description: str | None
    latest_run: RunResponse | None
    latest_runs: list[RunResponse] | None
    facets: dict[str, Raw]
    tags: Raw
    labels: list[str] = []
    parent_job_uuid: str | None = None
    current_version: None = None


class NamespaceResponse(msgspec.Struct, frozen=True, rename="camel"):
    """A namespace."""

    name: str
    created_at: str
    updated_at: str
    owner_name: str
    description: str | None
    is_hidden: bool = False


def run(found: Run, place: JobRef, metadata: Mapping[str, bytes]) -> RunResponse:
    """A run of the job at *place*."""
    facets = run_facets(found, place, metadata)
    started, ended = (
        _reported_us(metadata, STARTED, _us(found.start_at)),
        _reported_us(metadata, ENDED, _us(found.end_at)),
    )
    nominal_start, nominal_end = _nominal(found, facets, metadata)
    created = _us(found.created_at)
    state = mapping.state_of(found.status, found.end_reason or "")
    return RunResponse(
        id=str(found.id),
        created_at=rfc3339(created),
        updated_at=rfc3339(max(created, _us(found.start_at), _us(found.end_at))),
        nominal_start_time=_time(nominal_start),
        nominal_end_time=_time(nominal_end),
        state=state,
        started_at=_time(started),
        ended_at=_time(ended),
        duration_ms=(ended - started) // 1000 if started and ended else None,
        args=_args(found, facets),
        job_version=_version(place, found.definition) if found.end_reason else None,
        facets=facets,
    )


def run_facets(found: Run, place: JobRef, metadata: Mapping[str, bytes]) -> dict[str, Raw]:
    """A run's facets: those received, and for a task of ours those derived from the run."""
    facets: dict[str, Raw] = {}
    if place.own:
        facets["runfleet"] = _facet("runfleet", details(found))
        if found.message and mapping.state_of(found.status, found.end_reason or "") == "FAILED":
            facets["errorMessage"] = _facet(
                "errorMessage", {"message": found.message, "programmingLanguage": "unknown"}
            )
    for field, value in metadata.items():
        if field.startswith(RUN_FACET):
            facets[field.removeprefix(RUN_FACET)] = Raw(newest(value))
    return facets


def job(found: Job, runs: Sequence[RunResponse]) -> JobResponse:
    """A job of this dialect; *runs* are its newest."""
    fields = found.fields
    parent = fields.get("parent", b"").decode()
    return JobResponse(
        id={"namespace": found.namespace, "name": found.name},
        type=fields.get("type", b"BATCH").decode(),
        name=found.name,
        simple_name=found.name.removeprefix(parent + ".") if parent else found.name,
        parent_job_name=parent or None,
        created_at=rfc3339(found.created_us),
        updated_at=rfc3339(found.updated_us),
        namespace=found.namespace,
        inputs=Raw(fields.get("inputs", b"[]")),
        outputs=Raw(fields.get("outputs", b"[]")),
        location=fields.get("location", b"").decode() or None,
        description=fields.get("description", b"").decode() or None,
        latest_run=runs[0] if runs else None,
        latest_runs=list(runs) or None,
        facets=job_facets(found),
        tags=Raw(fields.get("tags", b"[]")),
    )


def job_facets(found: Job) -> dict[str, Raw]:
    """The received facets of a job."""
    return {field.removeprefix(FACET): Raw(value) for field, value in found.fields.items() if field.startswith(FACET)}


def task(entry: Entry, runs: Sequence[RunResponse]) -> JobResponse:
    """A task of ours as a job of the namespace ``mapping.HOME``."""
    return JobResponse(
        id={"namespace": mapping.HOME, "name": entry.name},
        type="BATCH",
        name=entry.name,
        simple_name=entry.name,
        parent_job_name=None,
        created_at=rfc3339(entry.applied_us),
        updated_at=rfc3339(entry.applied_us),
        namespace=mapping.HOME,
        inputs=Raw(b"[]"),
        outputs=Raw(b"[]"),
        location=None,
        description=entry.task.description or None,
        latest_run=runs[0] if runs else None,
        latest_runs=list(runs) or None,
        facets=task_facets(entry),
        tags=Raw(_encode(entry.task.tags)),
    )


def task_facets(entry: Entry) -> dict[str, Raw]:
    """The facets of a task of ours."""
    if not entry.task.description:
        return {}
    return {"documentation": _facet("documentation", {"description": entry.task.description})}


def namespace(found: Namespace, *, hidden: bool = False) -> NamespaceResponse:
    """A namespace; ``hidden`` once it was deleted."""
    return NamespaceResponse(
        name=found.name,
        created_at=rfc3339(found.created_us),
        updated_at=rfc3339(found.updated_us),
        owner_name=found.owner,
        description=found.description or None,
        is_hidden=hidden,
    )


def _nominal(found: Run, facets: Mapping[str, Raw], metadata: Mapping[str, bytes]) -> tuple[int, int]:
    given = _decode(metadata[NOMINAL], type=Nominal) if NOMINAL in metadata else Nominal(_us(found.scheduled_for))
    facet = bodies.kept_facet(bodies.NominalTimeFacet, facets, "nominalTime")
    if facet is None:
        return given.start, given.end
    return (
        mapping.instant(facet.nominal_start_time, zone=False) if facet.nominal_start_time else given.start,
        mapping.instant(facet.nominal_end_time, zone=False) if facet.nominal_end_time else given.end,
    )


def _args(found: Run, facets: Mapping[str, Raw]) -> dict[str, str]:
    """The given arguments, and those that Marquez derives from facets."""
    args: dict[str, str | None] = {}
    nominal = bodies.kept_facet(bodies.NominalTimeFacet, facets, "nominalTime")
    if nominal is not None:
        args = {"nominal_start_time": nominal.nominal_start_time, "nominal_end_time": nominal.nominal_end_time}
    parent = bodies.kept_facet(bodies.ParentFacet, facets, "parent", "parentRun")
    if parent is not None and parent.run is not None and parent.job is not None:
        args |= {"run_id": parent.run.run_id, "name": parent.job.name, "namespace": parent.job.namespace}
    given = found.params or {}
    texts = {name: value for name, value in args.items() if value is not None}
    return texts | {name: mapping.argument(value) for name, value in given.items()}


def _version(place: JobRef, definition: str) -> dict[str, str]:
    version = uuid.uuid3(uuid.NAMESPACE_URL, f"{place.namespace}:{place.job}:{definition}")
    return {"namespace": place.namespace, "name": place.job, "version": str(version)}


def _reported_us(metadata: Mapping[str, bytes], field: str, on_record_us: int) -> int:
    """The reported time, if the record has the time derived from it; else the record's."""
    reported, _, made = metadata.get(field, b"").partition(b" ")
    return int(reported) if reported and int(made) == on_record_us else on_record_us


def _us(moment: Any) -> int:
    return 0 if isinstance(moment, UnsetType) else from_datetime(moment)


def _time(us: int) -> str | None:
    return rfc3339(us) if us else None


def _facet(name: str, fields: Mapping[str, Any]) -> Raw:
    return Raw(_encode({"_producer": PRODUCER, "_schemaURL": _SCHEMAS[name], **fields}))
