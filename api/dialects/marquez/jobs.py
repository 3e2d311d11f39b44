"""The mapping between jobs and tasks, and which of them a token may see."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from api.dialects.marquez import mapping
from api.http.auth import Grant
from shared import ops
from shared.errors import Forbidden, Malformed, NotFound
from shared.ops import Catalog
from shared.store import tasks
from shared.store.dialects import namespaces
from shared.store.dialects.namespaces import Namespace
from shared.store.tasks import Entry
from shared.tasks import Task, is_task_name

MOST_KNOWN: Final = 10_000
STEP: Final = 1000
"""Jobs of a namespace that are read in one step."""

_known: OrderedDict[str, tuple[str, str]] = OrderedDict()
"""Namespace and name of jobs by their task, which never change: the task's name is made from them."""


class JobRef(NamedTuple):
    """A job. ``own``: this dialect did not create its task, which is in the namespace ``mapping.HOME``."""

    namespace: str
    job: str
    task: str
    own: bool


async def find(catalog: Catalog, namespace: str, job: str) -> JobRef:
    """The job of that name, whether it exists or not."""
    if namespace == mapping.HOME and is_task_name(job):
        try:
            await catalog.get(job)
        except NotFound:
            pass
        else:
            if not mapping.is_ours(job) or not (await namespaces.known_jobs([job]))[0]:
                return JobRef(namespace, job, job, True)
    return JobRef(namespace, job, mapping.task_of(namespace, job), False)


async def of_task(task: str) -> JobRef:
    """The job for a task."""
    if mapping.is_ours(task):
        known = _known.get(task)
        if known is None:
            job = await namespaces.job(task)
            if job is not None:
                known = _known[task] = (job.namespace, job.name)
                if len(_known) > MOST_KNOWN:
                    _known.popitem(last=False)
        if known is not None:
            return JobRef(*known, task, False)
    return JobRef(mapping.HOME, task, task, True)


async def namespace(name: str) -> Namespace:
    """The namespace; ``mapping.HOME`` always exists. Raises NotFound."""
    found = await namespaces.namespace(name)
    if found is None and name == mapping.HOME:
        since_us = (await tasks.since_us()) or 1
        found = Namespace(name, "runfleet", "The tasks of this fleet", since_us, since_us)
    if found is None:
        raise NotFound(f"Namespace '{name}' not found.")
    return found


async def is_visible(name: str, grant: Grant) -> bool:
    """Whether the namespace is empty, or *grant* covers any task in it."""
    return not grant.tasks or (await _any(name, grant.covers, empty=True))


async def require_visible(name: str, grant: Grant) -> None:
    """Raises NotFound when the namespace is missing, or *grant* may not see it."""
    await require_namespace(name)
    if not (await is_visible(name, grant)):
        raise NotFound(f"Namespace '{name}' not found.")


async def require_namespace_for(name: str, grant: Grant) -> None:
    """Raises Forbidden unless *grant* covers every task in the namespace, which may be empty or missing."""
    if grant.tasks and (await _any(name, lambda task: not grant.covers(task), empty=False)):
        raise Forbidden(f"{grant.who} may not describe namespace '{name}'")


async def _any(name: str, fits: Callable[[str], bool], *, empty: bool) -> bool:
    """Whether any task in the namespace matches; *empty* when it has none."""
    found = False
    if name == mapping.HOME:
        own: list[str] = [task for task in (await tasks.names()) if not mapping.is_ours(task)]
        found = bool(own)
        if any(map(fits, own)):
            return True
    start = 0
    while True:
        some, _ = await namespaces.job_names(name, start, STEP)
        if any(map(fits, some)):
            return True
        found, start = found or bool(some), start + STEP
        if len(some) < STEP:
            return empty and not found


async def require_place(place: JobRef, grant: Grant) -> bool:
    """
    Whether the job exists. Raises NotFound when the namespace is missing, or *grant* may not see it: an existing job
    within the grant makes it visible, a missing one does not.
    """
    is_there = place.own or bool((await namespaces.known_jobs([place.task]))[0])
    if is_there and grant.covers(place.task):
        await require_namespace(place.namespace)
    else:
        await require_visible(place.namespace, grant)
    return is_there


async def require_namespace(name: str) -> None:
    """Raises NotFound when the namespace is missing."""
    if name != mapping.HOME and (await namespaces.namespace(name)) is None:
        raise NotFound(f"Namespace '{name}' not found.")


def require_names(namespace: str, job: str) -> None:
    """Raises Malformed for names that Marquez does not allow."""
    if not mapping.is_namespace(namespace):
        raise Malformed(f"namespace '{namespace[:100]}' must be 1 to 1024 letters, digits and : ; = / _ - . @ +")
    if not mapping.is_job_name(job):
        raise Malformed(
            f"job '{job[:100]}' must be 1 to {mapping.MAX_JOB_NAME} characters, none of them a control character"
        )


async def declare(catalog: Catalog, place: JobRef) -> Entry | None:
    """Ensure that the catalog has the job's task, as an external one; None for a task of our own."""
    if place.own:
        return None
    known = catalog.entries.get(place.task)
    if known is None:
        about = f"Job {place.job} of namespace {place.namespace}"
        task = Task(name=place.task, external=True, group=mapping.NAME, description=about)
        known = await ops.declare(catalog, task)
    return known
