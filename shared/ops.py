"""
What the product does: trigger, stop, rerun, fire, release, rescue, apply, forget.

Each is an operation of the store: it decides with the pure modules, makes a move by one script, and rings the bell
for what became ready. The same operation is run by a request, a chore or a test.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

import msgspec

from shared import ids, params, retry
from shared.clock import rfc3339
from shared.config.durations import format_duration
from shared.errors import Conflict, DefinitionChanged, Forbidden, Invalid, NotFound
from shared.runs import Reason, Record, Run, Status, Trigger
from shared.store import bells, runs, tasks, version
from shared.store.annex import Annex
from shared.store.call import Operation
from shared.store.runs import Create, Created, Ended, Reported, Retry
from shared.store.tasks import Applied, Entry
from shared.tasks import OnInterrupt, Task, define

if TYPE_CHECKING:
    from shared.config import Config

MOST_DEFINITIONS: Final = 10_000
"""Definitions of runs that one process remembers."""

FORGET_BATCH: Final = 50
"""Runs forgotten in one step: few enough that nobody waits 5 ms for it."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """
    One wish to run a task. Everything may be left out.

    ``due_us`` (stored time) or ``delay_ms`` delays it; ``replicas`` and ``priority`` override the task's.
    ``idempotency_key`` makes repeats answer the same run for 24 hours, as long as ``body_digest`` is the same.
    ``run_id`` is what another system calls replica 0's run: when there is such a run, that is answered. ``annex`` is
    written with it, and ``nominal_us`` (stored time, 0: none) is the instant it is for. ``via`` is the other system's
    API that asks; while there is a run that was made ``once`` under that name, it is answered; ``inbox``: a consumer
    outside fetches the run to execute it; ``limits`` are shared limits that it must pass beside its task's.
    """

    params: Mapping[str, Any] | None = None
    external_execution_id: str = ""
    due_us: int | None = None
    delay_ms: int | None = None
    priority: int | None = None
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    replicas: int | None = None
    triggered_by: Trigger = "api"
    idempotency_key: str = ""
    body_digest: str = ""
    run_id: UUID | None = None
    annex: Mapping[str, bytes] = {}
    nominal_us: int = 0
    via: str = ""
    once: str = ""
    inbox: bool = False
    limits: tuple[str, ...] = ()


class Triggered(msgspec.Struct, frozen=True):
    """The run of replica 0. ``repeated``: an earlier request with the same idempotency key or ``run_id`` made it."""

    run: Run
    repeated: bool


class Catalog:
    """
    What one process remembers of the catalog, so that a trigger needs one round trip.

    An entry may be old: the script that creates runs refuses an old definition, and the entry is read again.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._tasks: OrderedDict[str, Task] = OrderedDict()

    def get(self, name: str, *, fresh: bool = False) -> Operation[Entry]:
        """The task *name*, from memory unless it must be ``fresh``. Raises NotFound."""
        found = None if fresh else self.entries.get(name)
        if found is None:
            found = yield from tasks.entry(name)
            if found is None:
                self.entries.pop(name, None)
                raise NotFound(f"there is no task {name}")
            self.entries[name] = found
        return found

    def task(self, definition: str) -> Operation[Task | None]:
        """The task with the definition of that hash, which never changes; None when the store has it no more."""
        task = self._tasks.get(definition)
        if task is None:
            found = yield tasks.definition(definition)
            if found is None:
                return None
            task = self._tasks[definition] = found.task()
            if len(self._tasks) > MOST_DEFINITIONS:
                self._tasks.popitem(last=False)
        return task


def trigger(catalog: Catalog, name: str, request: Request) -> Operation[Triggered]:
    """
    Start an execution of task *name*.

    Raises NotFound, Forbidden (``manual_trigger = false``), Invalid (parameters, or an idempotency key used before with
    another body) and Conflict (a plan, which cannot be executed yet).
    """
    now_us = time.time_ns() // 1000
    entry = yield from catalog.get(name)
    for fresh in (False, True, True):
        if fresh:
            entry = yield from catalog.get(name, fresh=True)
        what = _wanted(entry, request, now_us)
        try:
            created: Created = yield runs.create(what)
        except DefinitionChanged:
            continue
        yield from _ring(created.ready)
        assert created.run is not None
        existed = created.verdict == "exists" and (request.run_id is not None or request.once != "")
        return Triggered(created.run, created.verdict == "repeated" or existed)
    raise Conflict(f"task {name} changes faster than it can be started; try again")


def rerun(catalog: Catalog, ref: str, *, idempotency_key: str = "") -> Operation[Triggered]:
    """
    Start a new execution like that of an ended run: same task as defined now, same parameters, tags, labels and
    replicas. The same *idempotency_key* gives the same one again.

    Raises NotFound, Conflict when the run is live, and Invalid for a key that was used for something else.
    """
    run = yield from runs.find(ref)
    if run.status is not Status.ENDED:
        raise Conflict(f"run {run.id} is {run.status}; wait for its end, or stop it, before running it again")
    request = Request(
        params=run.params or None,
        tags=tuple(run.tags or ()),
        labels=run.labels or {},
        replicas=run.replica_count,
        external_execution_id=run.external_execution_id or "",
        idempotency_key=idempotency_key,
        body_digest=f"again {run.id}" if idempotency_key else "",
    )
    return (yield from trigger(catalog, run.task_name, request))


def declare(catalog: Catalog, task: Task) -> Operation[Entry]:
    """
    The catalog's entry for a task that others execute and name: made, or changed to *task*, unless it is just so.

    A task of the file with that name is not touched, and answered as it is. Raises ValueError for a task that somebody
    here would execute: those are not defined by just naming them.
    """
    if not task.external:
        raise ValueError(f"task {task.name} is not external")
    wanted = define(task)
    known = catalog.entries.get(task.name)
    if known is None or known.definition.hash != wanted.hash:
        yield tasks.apply([(task, wanted)], source="api", remove=False)
        known = yield from catalog.get(task.name, fresh=True)
    return known


def report(
    catalog: Catalog,
    run_id: UUID,
    target: Literal["running", "ended"],
    *,
    reason: Reason | None = None,
    exit_code: int = 0,
    message: str = "",
    at_us: int = 0,
    outputs: Mapping[str, Any] | None = None,
    late_start: bool = False,
    backdated: bool = False,
    annex: Annex | None = None,
) -> Operation[Reported]:
    """
    Say how a run of an external task goes; see ``runs.report``. What becomes ready by its end is rung for.

    While it runs, the next report has to come within the task's ``heartbeat_timeout``. Raises NotFound.
    """
    record: Record | None = yield runs.record(run_id)
    if record is None:
        raise NotFound(f"there is no run {run_id}")
    task = yield from catalog.task(record.definition)
    reported: Reported = yield runs.report(
        run_id,
        target,
        reason=reason,
        exit_code=exit_code,
        message=message,
        at_us=at_us,
        outputs=_json(outputs),
        lease_us=(task.heartbeat_timeout_ms or 0) * 1000 if task else 0,
        late_start=late_start,
        backdated=backdated,
        annex=annex,
    )
    yield from _ring(reported.ready)
    return reported


def stop(ref: str, *, force: bool = False, by: str = "a person") -> Operation[Run]:
    """
    Stop a run: a pending one has ended when this returns, a running one is asked through its worker.

    ``force`` skips the stop signal and goes straight to SIGKILL. Raises NotFound, and Refused when it has ended.
    """
    run = yield from runs.find(ref)
    answer = yield runs.stop(run.id, "kill" if force else "stop", f"stopped by {by}")
    stopped: Run = answer[1]
    yield from _ring(answer[2])
    return stopped


def stop_task(name: str, *, force: bool = False, by: str = "a person") -> Operation[int]:
    """Stop every live run of a task; how many were stopped or asked."""
    return (yield from _stop_all(name, None, force, by))


def stop_execution(execution_id: UUID, *, force: bool = False, by: str = "a person") -> Operation[int]:
    """Stop every live run of an execution; how many were stopped or asked."""
    return (yield from _stop_all("", execution_id, force, by))


def delete(ref: str) -> Operation[None]:
    """Forget an ended run and its log. Raises NotFound, and Conflict when it is live."""
    run = yield from runs.find(ref)
    yield runs.delete(run)


def pause(name: str) -> Operation[Entry]:
    """Let a task's schedule rest; its ticks meanwhile are not missed ticks. Raises NotFound."""
    return (yield from _set_paused(name, True))


def resume(name: str) -> Operation[Entry]:
    """Let a task's schedule go on from now. Raises NotFound."""
    return (yield from _set_paused(name, False))


def apply_config(config: Config, secret: bytes = b"") -> Operation[Applied]:
    """
    Make a validated task file the catalog, in one step. Tasks made through the API stay as they are.

    Raises Misconfigured when a newer release's data is in the store.
    """
    yield from version.check()
    definitions = [(task, define(task, secret)) for task in config.tasks.values()]
    applied: Applied = yield tasks.apply(definitions, limits=config.limits)
    return applied


def fire(entry: Entry, tick_us: int) -> Operation[bool]:
    """Make the execution that a tick owes, once, whoever else tries; whether it was this one that made it."""
    task = entry.task
    what = Create(
        ids=[ids.tick_id(task.name, tick_us, index) for index in range(task.replicas)],
        template=_template(entry, Request(triggered_by="cron"), params.accept(task, None)[0], tick_us),
        gates=gates(task),
        overlap=task.on_overlap,
        max_queued=task.max_queued,
        tick_us=tick_us,
        refuse=_no_plans(task),
    )
    created: Created = yield runs.create(what)
    yield from _ring(created.ready)
    return created.verdict == "created"


def miss(entry: Entry, first_us: int, last_us: int, count: int) -> Operation[bool]:
    """Leave one skipped record for *count* ticks from *first_us* to *last_us* that nobody fired in time."""
    span = rfc3339(first_us) if count == 1 else f"{rfc3339(first_us)} to {rfc3339(last_us)}"
    what = Create(
        ids=[ids.tick_id(entry.name, last_us, 0)],
        template=_template(entry, Request(triggered_by="cron"), {}, last_us),
        tick_us=last_us,
        refuse=f"skipped: missed {count} {'tick' if count == 1 else 'ticks'} ({span}) while no scheduler was there",
    )
    created: Created = yield runs.create(what)
    return created.verdict == "created"


def release(batch: int = 500) -> Operation[tuple[int, int | None]]:
    """Let delayed runs whose time has come into their queues: how many, and when the next is due (or None)."""
    count, next_due_us, ready = yield runs.release(batch)
    yield from _ring(ready)
    return count, next_due_us


def rescue(run_id: UUID, record: Record, task: Task | None) -> Operation[Ended]:
    """End a run whose worker was lost, with the retry it owes by its own definition (none when that is gone)."""
    message = f"crashed: worker {record.worker} was lost"
    if record.external:
        within = format_duration(task.heartbeat_timeout_ms) if task and task.heartbeat_timeout_ms else "its time"
        message = f"crashed: nobody reported on it within {within} (heartbeat_timeout)"
    attempt = next_attempt(run_id, record, task, Reason.CRASHED, -2)
    if attempt is None and record.crashes + 1 >= retry.POISON_CRASHES:
        message += f"; not tried again after {record.crashes + 1} crashes in a row"
    ended: Ended = yield runs.rescue(run_id, message, attempt)
    yield from _ring(ended.ready)
    return ended


def forget(name: str, task: Task) -> Operation[bool]:
    """Forget one small step of what of a task's history is beyond its bounds; whether there is more."""
    count: int = yield runs.forget(name, task.keep_runs, task.keep_for_ms * 1000, FORGET_BATCH)
    return count == FORGET_BATCH


def next_attempt(
    run_id: UUID,
    record: Record,
    task: Task | None,
    reason: Reason,
    exit_code: int,
    *,
    interrupted: OnInterrupt | None = None,
) -> Retry | None:
    """
    The retry that this ending owes, or None.

    By ``retry_on`` and the attempts left; never after three crashes in a row. With *interrupted* (its worker left) what
    that says: ``retry`` uses up an attempt, ``rerun`` makes the same one again, at most five times; both without delay.
    """
    crashes = record.crashes + 1 if reason is Reason.CRASHED else 0
    attempt, delay_us, reruns = record.attempt + 1, 0, record.reruns
    if task is None or interrupted == "end":
        return None
    if interrupted == "rerun":
        attempt, crashes, reruns = record.attempt, record.crashes, record.reruns + 1
        if reruns > retry.MAX_RERUNS:
            return None
    elif crashes >= retry.POISON_CRASHES or record.attempt >= task.retry_attempts:
        return None
    elif interrupted is None:
        if not retry.is_retried(reason, exit_code, task):
            return None
        delay_us = retry.delay_ms(attempt, task, random.random) * 1000
    return Retry(
        id=ids.retry_id(run_id, time.time_ns() // 1000),
        delay_us=delay_us,
        attempt=attempt,
        crashes=crashes,
        reruns=reruns,
        execution=record.execution or str(run_id),
        retry_of=str(run_id),
    )


def _wanted(entry: Entry, request: Request, now_us: int) -> Create:
    task = entry.task
    if not task.manual_trigger and request.triggered_by != "cron":
        raise Forbidden(f"task {task.name} may not be started by hand (manual_trigger = false)")
    if task.depends_on:
        raise Conflict(_no_plans(task))
    values, problems = params.accept(task, request.params)
    if problems:
        raise Invalid(problems)
    count = task.replicas if request.replicas is None else request.replicas
    chosen = [request.run_id or ids.new_id(now_us), *(ids.new_id(now_us) for _ in range(count - 1))]
    return Create(
        ids=chosen,
        template=_template(entry, request, values, request.nominal_us, count),
        gates=[*gates(task), *((f"limit:{name}", 0) for name in request.limits)],
        overlap=task.on_overlap,
        max_queued=task.max_queued,
        delay_us=(request.delay_ms or 0) * 1000,
        idem=f"{task.name}:{request.idempotency_key}" if request.idempotency_key else "",
        digest=request.body_digest,
        once=request.once,
        inbox=request.inbox,
        annex=Annex(chosen[0], request.annex) if request.annex else None,
    )


def _template(
    entry: Entry, request: Request, values: Mapping[str, Any], tick_us: int, count: int | None = None
) -> Record:
    task = entry.task
    tags = list(dict.fromkeys([*task.tags, *request.tags]))
    labels = {**task.labels, **request.labels}
    return Record(
        status=Status.PENDING,
        reason="",
        exit_code=0,
        task=task.name,
        queue=task.queue,
        priority=task.priority if request.priority is None else request.priority,
        triggered_by=request.triggered_by,
        created_us=0,
        start_us=0,
        end_us=0,
        due_us=request.due_us or 0,
        tick_us=tick_us,
        execution="",
        replica_index=0,
        replica_count=task.replicas if count is None else count,
        attempt=0,
        retry_of="",
        number=0,
        definition=entry.definition.hash,
        worker="",
        token=0,
        wish="",
        message="",
        external_id=request.external_execution_id,
        params=_json(values),
        tags=_json(tags),
        labels=_json(labels),
        outputs="",
        log_bytes=0,
        log_lines=0,
        log_truncated=0,
        peak_memory=0,
        cpu_ms=0,
        crashes=0,
        reruns=0,
        external=1 if task.external else 0,
        via=request.via,
    )


def gates(task: Task) -> list[tuple[str, int]]:
    """The limits an execution of *task* must pass, as ``runs.Create`` wants them."""
    own = [(f"task:{task.name}", task.max_concurrent)] if task.max_concurrent is not None else []
    return own + [(f"limit:{name}", 0) for name in task.limits]


def _no_plans(task: Task) -> str:
    if not task.depends_on:
        return ""
    needed = ", ".join(task.depends_on)
    return f"task {task.name} depends on {needed}, and plans cannot be executed yet; start these by themselves"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode() if value else ""


def _ring(ready: Mapping[str, int]) -> Operation[None]:
    if ready:
        yield bells.ring(ready)


def _stop_all(name: str, execution: UUID | None, force: bool, by: str) -> Operation[int]:
    wish: Literal["stop", "kill"] = "kill" if force else "stop"
    total: int = 0
    while True:
        stopped, pending, ready = yield runs.stop_all(name, execution, wish, f"stopped by {by}")
        total += stopped
        yield from _ring(ready)
        if not pending:
            return total


def _set_paused(name: str, paused: bool) -> Operation[Entry]:
    yield tasks.pause(name, paused)
    entry = yield from tasks.entry(name)
    if entry is None:
        raise NotFound(f"there is no task {name}")
    return entry
