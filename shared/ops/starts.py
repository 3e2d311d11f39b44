"""Starts executions: by a trigger, a rerun, or a tick."""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Literal
from uuid import UUID

import msgspec

from shared import ids
from shared.clock import rfc3339
from shared.errors import Conflict, DefinitionChanged, NotFound, StoreUnavailable
from shared.executions import FINAL, Execution, Phase
from shared.ops.catalog import Catalog
from shared.ops.new_execution import NOTHING_DONE, Progress, Request, creation, shown_bytes, template_of
from shared.runs import Reason, Run, Status, to_run
from shared.store import executions, runs
from shared.store.creation import Create, create, create_rest, is_made_at_once
from shared.store.tasks import Entry
from shared.store.wakeups import wake_queues


class Triggered(msgspec.Struct, frozen=True):
    """The run of replica 0. ``repeated``: an earlier request with the same key or id made it."""

    run: Run
    repeated: bool


Permit = Callable[[Collection[str]], None]
"""Raises unless the caller may touch all these tasks."""

Charge = Callable[[int], int]
"""
Gets the bytes of parameters, tags and labels of all runs of a trigger, and answers how many pending runs its task may
have then (0: any). Raises OverQuota when the caller has started too much.
"""


async def trigger(
    catalog: Catalog,
    name: str,
    request: Request,
    progress: Progress = NOTHING_DONE,
    *,
    permit: Permit | None = None,
    charge: Charge | None = None,
) -> Triggered:
    """
    Start an execution of task *name*, with all it depends on first.

    With *progress* what an earlier execution did is not done again. *permit* gets all tasks that are started, before
    anything is written. Raises what that raises, NotFound, Forbidden
    (``manual_trigger = false``) and Invalid (parameters, or an idempotency key used before with another body).
    """
    now_us, most_pending = time.time_ns() // 1000, 0
    for fresh in (False, True, True):
        entry = await catalog.get(name, fresh=fresh)
        needed = await catalog.needed(entry, fresh=fresh)
        if permit is not None:
            permit([name, *needed])
        what = creation(entry, request, now_us, needed=needed, progress=progress)
        if charge is not None:
            most_pending, charge = charge(shown_bytes(what)), None
        try:
            created = await create(msgspec.structs.replace(what, most_pending=most_pending))
        except DefinitionChanged:
            continue
        await wake_queues(created.ready)
        assert created.run is not None
        await _create_rest(what, created.run)
        origin = request.origin
        is_known = origin is not None and (origin.run_id is not None or origin.dedupe_key != "")
        return Triggered(created.run, created.verdict == "repeated" or (created.verdict == "exists" and is_known))
    raise Conflict(f"task {name} changes faster than it can be started; try again")


async def _create_rest(what: Create, run: Run) -> None:
    """Create the runs that were too many for one step. The scheduler continues if this fails."""
    if not is_made_at_once(what):
        with suppress(StoreUnavailable):
            await make_all(run.execution_id)


async def make_all(execution_id: UUID, may_go_on: Callable[[], bool] = lambda: True) -> int:
    """Create the remaining runs of an execution, in small steps; how many steps."""
    left, steps = 1, 0
    while left and may_go_on():
        left, ready = await create_rest(execution_id)
        await wake_queues(ready)
        steps += 1
    return steps


async def rerun(
    catalog: Catalog,
    ref: str,
    *,
    idempotency_key: str = "",
    permit: Permit | None = None,
    charge: Charge | None = None,
) -> Triggered:
    """
    Start a new execution like that of an ended run: same task as defined now, same parameters, tags, labels and
    replicas. The same *idempotency_key* gives the same one again.

    Raises NotFound, Conflict when the run is live, and Invalid for a key that was used for something else.
    """
    run = await runs.find(ref)
    if run.status is not Status.ENDED:
        raise Conflict(f"run {run.id} is {run.status}; wait for its end, or stop it, before running it again")
    request = _request_like(run, idempotency_key, f"again {run.id}")
    return await trigger(catalog, run.task_name, request, permit=permit, charge=charge)


async def rerun_execution(
    catalog: Catalog,
    execution_id: UUID,
    *,
    failed_only: bool = False,
    idempotency_key: str = "",
    permit: Permit | None = None,
    charge: Charge | None = None,
) -> Triggered:
    """
    Start a new execution like one that is over: same task as defined now, same parameters, tags, labels and replicas.

    With *failed_only* what succeeded is not run again: only the replicas that did not, and the steps after them; what
    the others have put out is handed on. Raises NotFound, Conflict when it is live or nothing of it failed, and Invalid
    for a key that was used for something else.
    """
    before = await executions.get(execution_id)
    if before is None:
        raise NotFound(f"there is no execution {execution_id}")
    if before.phase not in FINAL:
        raise Conflict(
            f"execution {execution_id} is {before.phase}; wait for its end, or stop it, before running it again"
        )
    like = await _like(before)
    progress: Progress = NOTHING_DONE
    if failed_only:
        progress = await _progress(before)
        if before.phase is Phase.SUCCEEDED:
            raise Conflict(f"execution {execution_id} succeeded; nothing of it failed. Run it again as a whole")
    request = _request_like(like, idempotency_key, f"again {execution_id} {failed_only}")
    return await trigger(catalog, before.task, request, progress, permit=permit, charge=charge)


def _request_like(run: Run, idempotency_key: str, digest: str) -> Request:
    return Request(
        params=run.params or None,
        tags=tuple(run.tags or ()),
        labels=run.labels or {},
        replicas=run.replica_count,
        external_execution_id=run.external_execution_id or "",
        idempotency_key=idempotency_key,
        body_digest=digest if idempotency_key else "",
    )


async def _like(before: Execution) -> Run:
    """A run of the task that was started, made or not."""
    found = next((run for step in before.steps if step.task == before.task for run in step.runs), None)
    if found is not None:
        return found
    plan = await executions.plan_of(before.id)
    template = next((one for one in plan[1] if one.task == before.task), None) if plan else None
    if template is None:
        raise NotFound(
            f"of execution {before.id} no run of {before.task} is kept, nor what it was started with; "
            f"start {before.task} itself"
        )
    return to_run(before.id, template)


async def _progress(before: Execution) -> dict[str, dict[int, UUID]]:
    """The replicas that succeeded, as far as their outputs are still there."""
    borrowed = [run for step in before.steps for _, run in step.done_before]
    there = {run.id for run in (await runs.many(borrowed))} if borrowed else set[UUID]()
    done: dict[str, dict[int, UUID]] = {}
    for step in before.steps:
        has = {replica: run for replica, run in step.done_before if run in there}
        has |= {run.replica_index: run.id for run in step.newest if run.end_reason == Reason.SUCCESS}
        if has:
            done[step.task] = has
    return done


async def fire(catalog: Catalog, entry: Entry, tick_us: int) -> bool:
    """
    Create the execution of a tick, once among all schedulers; whether this call created it.

    Raises DefinitionChanged when *entry* is not what the catalog has.
    """
    request = Request(triggered_by="cron")
    for fresh in (False, True):
        try:
            needed = await catalog.needed(entry, fresh=fresh)
        except NotFound as error:
            what = _skipped(entry, tick_us, f"skipped: {error}")
        else:
            what = creation(entry, request, tick_us, needed=needed, tick_us=tick_us)
        try:
            created = await create(what)
        except DefinitionChanged:
            if fresh or not entry.task.depends_on:
                raise
            continue  # perhaps it was one of those it depends on
        await wake_queues(created.ready)
        if created.run is not None:
            await _create_rest(what, created.run)
        return created.verdict == "created"
    raise AssertionError("the second try either makes it or raises")


async def miss(
    entry: Entry, first_us: int, last_us: int, count: int, why: str, *, after_us: int = 0
) -> Literal["created", "exists", "stale", "paused"]:
    """
    Create one skipped record for *count* ticks from *first_us* to *last_us* that were not fired in time; *why* is the
    cause (``Redis was away``).

    They were counted after the schedule's cursor *after_us* (0: it is not asked for). If that has moved since, nothing
    is recorded ("stale"): some of them were handled.
    """
    span = rfc3339(first_us) if count == 1 else f"{rfc3339(first_us)} to {rfc3339(last_us)}"
    ticks = f"{count} {'tick' if count == 1 else 'ticks'} ({span})"
    what = _skipped(entry, last_us, f"skipped: missed {ticks} while {why}")
    created = await create(msgspec.structs.replace(what, after_us=after_us))
    assert created.verdict != "repeated", "it has no idempotency key"
    return created.verdict


def _skipped(entry: Entry, tick_us: int, why: str) -> Create:
    template = template_of(entry, Request(triggered_by="cron"), {}, tick_us)
    run_id = ids.tick_id(entry.name, tick_us, 0, entry.definition.signature)
    return Create(ids=[run_id], template=template, tick_us=tick_us, refuse=why)
