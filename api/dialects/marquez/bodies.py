"""Request bodies of Marquez's API, OpenLineage events, and query parameters."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec
from msgspec import Raw

from api.dialects.marquez import mapping
from shared.errors import Invalid, Malformed, Problem, RunfleetError

T = TypeVar("T", bound=msgspec.Struct)

PAGE: Final = 100
MAX_PAGE: Final = 1000
"""Entries in a list, by default and at most; a client that asks for more gets these."""

MAX_OFFSET: Final = 2**53


class BadQuery(RunfleetError):
    """A query parameter is out of range; the message is Marquez's."""

    status = 400
    title = "Bad Request"


class NamespaceBody(msgspec.Struct, frozen=True, rename="camel"):
    """``PUT /namespaces/{namespace}``."""

    owner_name: str | None = None
    description: str | None = None


class DatasetId(msgspec.Struct, frozen=True):
    """The name of a dataset, which is all that is stored of it."""

    namespace: str | None = None
    name: str | None = None


class JobBody(msgspec.Struct, frozen=True, rename="camel"):
    """``PUT /namespaces/{namespace}/jobs/{job}``."""

    type: Literal["BATCH", "STREAM", "SERVICE"] | None = None
    inputs: list[DatasetId] | None = None
    outputs: list[DatasetId] | None = None
    location: str | None = None
    description: str | None = None
    run_id: str | None = None
    tags: list[str] | None = None


class RunBody(msgspec.Struct, frozen=True, rename="camel"):
    """``POST /namespaces/{namespace}/jobs/{job}/runs``."""

    id: str | None = None
    nominal_start_time: str | None = None
    nominal_end_time: str | None = None
    args: dict[str, Any] | None = None


class EventRun(msgspec.Struct, frozen=True, rename="camel"):
    """``run`` of an event; each facet is stored as received."""

    run_id: str | None = None
    facets: dict[str, Raw] | None = None


class EventJob(msgspec.Struct, frozen=True):
    """``job`` of an event."""

    namespace: str | None = None
    name: str | None = None
    facets: dict[str, Raw] | None = None


class Event(msgspec.Struct, frozen=True, rename="camel"):
    """An OpenLineage event as received; ``read_event`` has checked that required fields are present."""

    event_type: str | None = None
    event_time: str | None = None
    producer: str | None = None
    schema_url: str | None = msgspec.field(default=None, name="schemaURL")
    run: EventRun | None = None
    job: EventJob | None = None
    inputs: list[DatasetId] | None = None
    outputs: list[DatasetId] | None = None
    dataset: DatasetId | None = None

    @property
    def kind(self) -> str:
        """``RunEvent``, ``JobEvent`` or ``DatasetEvent``, distinguished as in Marquez."""
        last = (self.schema_url or "").rpartition("/")[2]
        return last if last in ("JobEvent", "DatasetEvent") else "RunEvent"


class ParentFacet(msgspec.Struct, frozen=True):
    """Run facet ``parent``."""

    run: EventRun | None = None
    job: EventJob | None = None


class NominalTimeFacet(msgspec.Struct, frozen=True, rename="camel"):
    """Run facet ``nominalTime``."""

    nominal_start_time: str | None = None
    nominal_end_time: str | None = None


class ErrorFacet(msgspec.Struct, frozen=True):
    """Run facet ``errorMessage``."""

    message: str | None = None


class DocumentationFacet(msgspec.Struct, frozen=True):
    """Job facet ``documentation``."""

    description: str | None = None


class LocationFacet(msgspec.Struct, frozen=True):
    """Job facet ``sourceCodeLocation``."""

    url: str | None = None


class JobTypeFacet(msgspec.Struct, frozen=True, rename="camel"):
    """Job facet ``jobType``."""

    processing_type: str | None = None


_event = msgspec.json.Decoder(Event)


def read(kind: type[T], raw: bytes) -> T:
    """A body as a *kind*. Raises Malformed for anything else: Marquez responds 400 to wrong types as well."""
    return _decode(msgspec.json.Decoder(kind), raw)


def facet(kind: type[T], facets: Mapping[str, Raw] | None, *names: str) -> T | None:
    """The first present facet among these, as a *kind*. Raises Malformed when it is not one."""
    for name in names:
        value = bytes(facets.get(name, b"")) if facets else b""
        if value and value != b"null":
            try:
                return msgspec.json.decode(value, type=kind)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Malformed(f"facet {name} cannot be read: {error}") from None
    return None


def kept_facet(kind: type[T], facets: Mapping[str, Raw], *names: str) -> T | None:
    """Same for stored facets; None also for an unreadable one, so that it hides no run."""
    try:
        return facet(kind, facets, *names)
    except Malformed:
        return None


def read_event(raw: bytes) -> Event:
    """An event. Raises Malformed, and Invalid with everything that is missing."""
    event = _decode(_event, raw)
    missing: list[str] = []

    def need(value: object, path: str) -> None:
        if value is None:
            missing.append(path)

    need(event.event_time, "eventTime")
    need(event.producer, "producer")
    if event.kind == "DatasetEvent":
        need(event.dataset, "dataset")
        _need_dataset(event.dataset, "dataset", missing)
    else:
        need(event.job, "job")
        if event.job is not None:
            need(event.job.namespace, "job.namespace")
            need(event.job.name, "job.name")
        need_datasets(event, missing)
    if event.kind == "RunEvent":
        need(event.run, "run")
        if event.run is not None:
            need(event.run.run_id, "run.runId")
            _need_parent(event.run, missing)
    require(missing)
    return event


def require(missing: list[str]) -> None:
    """Raises Invalid with Marquez's message when anything is missing."""
    if missing:
        raise Invalid([Problem(f"body.{path}", "must not be null") for path in missing])


def instant(text: str, name: str, *, zone: bool = False) -> int:
    """A time, as ``mapping.instant``. Raises Malformed, naming it."""
    return _time(lambda: mapping.instant(text, zone=zone), text, name)


def bound(text: str, name: str) -> int:
    """A bound for comparisons with times, as ``mapping.bound``. Raises Malformed, naming it."""
    return _time(lambda: mapping.bound(text), text, name)


def _time(read: Callable[[], int], text: str, name: str) -> int:
    try:
        return read()
    except ValueError as error:
        raise Malformed(f"{name} '{text[:100]}' {error}") from None


def paging(query: Mapping[str, list[str]]) -> tuple[int, int]:
    """Limit and offset of a list. Raises BadQuery."""
    limit, offset = _whole(query, "limit", PAGE), _whole(query, "offset", 0)
    return min(limit, MAX_PAGE), min(offset, MAX_OFFSET)


def _whole(query: Mapping[str, list[str]], name: str, default: int) -> int:
    text = query.get(name, [str(default)])[0]
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise BadQuery(f"query param {name} must be a whole number")
    if text.startswith("-") and int(digits):
        raise BadQuery(f"query param {name} must be greater than or equal to 0")
    return int(digits)


def need_datasets(body: JobBody | Event, missing: list[str]) -> None:
    """Append to *missing* the required fields that a job's datasets lack."""
    for side, datasets in (("inputs", body.inputs), ("outputs", body.outputs)):
        for number, one in enumerate(datasets or []):
            _need_dataset(one, f"{side}[{number}]", missing)


def _need_dataset(one: DatasetId | None, path: str, missing: list[str]) -> None:
    if one is not None:
        missing += [f"{path}.{name}" for name in ("namespace", "name") if getattr(one, name) is None]


def _need_parent(run: EventRun, missing: list[str]) -> None:
    parent = facet(ParentFacet, run.facets, "parent", "parentRun")
    if parent is None:
        return
    if parent.run is None or parent.run.run_id is None:
        missing.append("run.facets.parent.run.runId")
    if parent.job is None or parent.job.namespace is None:
        missing.append("run.facets.parent.job.namespace")
    if parent.job is None or parent.job.name is None:
        missing.append("run.facets.parent.job.name")


def _decode(decoder: msgspec.json.Decoder[T], raw: bytes) -> T:
    try:
        raw.decode()  # skipped content would not be checked, and is returned to others as it is
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"Unable to process JSON: {error}") from None
