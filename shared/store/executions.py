"""Executions: read one with its steps and runs, or a page of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UnsetType

from shared.clock import from_datetime
from shared.executions import FINAL, Execution, Phase, Step, combined, phase_after, transitions_of
from shared.runs import Record, Run, to_run
from shared.store.records import as_runs, decode_record, packed_records, readable_rows
from shared.store.redis.call import Call, Key, RawKey, each, optional_number, optional_strings, strings, together
from shared.store.redis.decoding import json_reading, reading
from shared.store.redis.scripts import script
from shared.store.texts import with_texts

SCAN_LIMIT: Final = 10_000
"""Executions looked at for a page of those in certain phases, which no index knows."""

LOST: Final = (
    "Redis lost its other runs and the steps that were to follow: it was wiped, or went back to an older state"
)
"""Why an execution has not succeeded of which nothing is known but what workers wrote back."""

_STEP: Final = 100
_planned = reading(
    msgspec.msgpack.Decoder(
        tuple[Record, int, tuple[int, ...], int, tuple[int, ...], tuple[tuple[int, str], ...]]
    ).decode,
    "a step of a plan",
)
_outputs = json_reading(dict[str, Any], "what a run put out")
_SUMMARY: Final = ("task", "created", "groups", "version", "start", "over", "desired", "reason", "failure", "steps")


class Page(msgspec.Struct, frozen=True):
    """Executions, newest first. ``next_cursor`` is "" on the last page; ``total`` counts those before any phase."""

    executions: list[Execution]
    total: int
    next_cursor: str


async def get(execution_id: UUID) -> Execution | None:
    """The execution with all its steps and runs, or None."""
    found = await some([execution_id])
    return found[0] if found else None


async def some(ids: Sequence[UUID]) -> list[Execution]:
    """Those of the executions that exist, with all their steps and runs, in two or three round trips."""
    if not ids:
        return []
    plans, listed = await together(each(_plan(one) for one in ids), each(_run_ids(one) for one in ids))
    run_ids = [found or [one.bytes] for one, found in zip(ids, listed, strict=True)]
    kept = await _records([UUID(bytes=run) for found in run_ids for run in found])
    result = []
    for one, plan, found in zip(ids, plans, run_ids, strict=True):
        runs = [(run, kept[run]) for run in (UUID(bytes=raw) for raw in found) if run in kept]
        if plan:
            result.append(_with_plan(one, plan, runs))
        elif runs:
            result.append(_alone(one, runs))
    return result


async def tasks_of(ids: Sequence[UUID]) -> dict[UUID, frozenset[str]]:
    """
    Every task that each of the executions touches, in two or three round trips; without those that there are not.

    That is the task that was started and those of all steps, also of steps whose turn has not come.
    """
    if not ids:
        return {}
    heads = await each(Call("HMGET", (RawKey(b"plan:" + one.bytes), "task", "steps"), optional_strings) for one in ids)
    planned = {one: (task.decode(), int(steps or 0)) for one, (task, steps) in zip(ids, heads, strict=True) if task}
    alone = [one for one in ids if one not in planned]
    steps, listed = await together(
        each(
            Call("HMGET", (RawKey(b"plan:" + one.bytes), *map("step:{}".format, range(count))), optional_strings)
            for one, (_, count) in planned.items()
        ),
        each(_run_ids(one) for one in alone),
    )
    touched = {
        one: frozenset({task, *(_planned(step)[0].task for step in found if step)})
        for (one, (task, _)), found in zip(planned.items(), steps, strict=True)
    }
    runs_of = {one: [UUID(bytes=raw) for raw in found] or [one] for one, found in zip(alone, listed, strict=True)}
    kept = await _records([run for found in runs_of.values() for run in found])
    for one, found in runs_of.items():
        records = [kept[run] for run in found if run in kept]
        if records:
            touched[one] = frozenset({name for each in records for name in (each.task, each.target) if name})
    return touched


async def page(
    *, task: str = "", phases: Sequence[Phase] = (), limit: int = 50, cursor: str = "", after_us: int = 0
) -> Page:
    """
    Executions, newest first, without their steps; ``cursor`` is a page's ``next_cursor``.

    Raises ValueError for a cursor that is none.
    """
    key = _list_of(task)
    offset = await _offset(key, cursor)
    total = await Call("ZCARD", (key,), int)
    found: list[Execution] = []
    seen, last = 0, cursor
    while len(found) < limit and seen < SCAN_LIMIT:
        size = _STEP if phases else min(_STEP, limit - len(found))
        rows = await Call("ZREVRANGE", (key, offset + seen, offset + seen + size - 1, "WITHSCORES"), strings)
        if not rows:
            break
        ids = [UUID(bytes=raw) for raw in rows[::2]]
        for one, execution, score in zip(ids, (await _summaries(ids)), rows[1::2], strict=True):
            if len(found) == limit:
                break
            if int(float(score)) < after_us:
                return Page(found, total, "")
            seen, last = seen + 1, f"{int(float(score))}.{one.hex}"
            if execution is not None and (not phases or execution.phase in phases):
                found.append(execution)
    return Page(found, total, last if offset + seen < total else "")


def count(task: str) -> Call[int]:
    """How many executions of a task there are; "" stands for all tasks."""
    return Call("ZCARD", (_list_of(task),), int)


def newest(task: str, count: int, until_us: int | None = None) -> Call[list[tuple[int, UUID]]]:
    """When the *count* newest executions of a task were made, and their ids; those until *until_us* (None: of all)."""
    top = "+inf" if until_us is None else until_us

    def read(reply: Any) -> list[tuple[int, UUID]]:
        pairs = zip(reply[1::2], reply[::2], strict=True)
        return [(int(float(score)), UUID(bytes=raw)) for score, raw in pairs]

    return Call("ZREVRANGEBYSCORE", (_list_of(task), top, "-inf", "WITHSCORES", "LIMIT", 0, count), read)


def version(execution_id: UUID) -> Call[int | None]:
    """
    The version of an execution that keeps a plan, None for another.

    To read an execution takes several round trips: when its version is still the same, nothing has moved meanwhile.
    """
    return Call("HGET", (RawKey(b"plan:" + execution_id.bytes), "version"), lambda reply: reply and int(reply))


def inputs(execution_id: UUID, step: int) -> Call[list[tuple[str, dict[str, Any]]]]:
    """The outputs of the steps that this one depends on: (task, outputs), a pair for each replica that has any."""

    def read(reply: Any) -> list[tuple[str, dict[str, Any]]]:
        return [(task.decode(), _outputs(outputs)) for task, outputs in zip(reply[::2], reply[1::2], strict=True)]

    return Call(script("step_inputs"), (execution_id.bytes, step), read)


async def plan_of(execution_id: UUID) -> tuple[str, list[Record]] | None:
    """The started task and the template of each step of a kept plan, or None without one."""
    plan = await _plan(execution_id)
    if not plan:
        return None
    templates = [_planned(plan[b"step:%d" % n])[0] for n in range(int(plan[b"steps"]))]
    return plan[b"task"].decode(), (await with_texts(execution_id, templates))


def _plan(execution_id: UUID) -> Call[dict[bytes, bytes]]:
    key = RawKey(b"plan:" + execution_id.bytes)
    return Call("HGETALL", (key,), lambda reply: dict(zip(reply[::2], reply[1::2], strict=True)))


def _run_ids(execution_id: UUID) -> Call[list[bytes]]:
    return Call("LRANGE", (RawKey(b"exec-runs:" + execution_id.bytes), 0, -1), strings)


async def _summaries(ids: Sequence[UUID]) -> list[Execution | None]:
    """Each execution without its steps: from its plan if it has one, otherwise from the few runs it then has."""
    plans = await each(Call("HMGET", (RawKey(b"plan:" + one.bytes), *_SUMMARY), optional_strings) for one in ids)
    alone = [one for one, plan in zip(ids, plans, strict=True) if plan[0] is None]
    listed = (await each(_run_ids(one) for one in alone)) if alone else []
    runs_of = {one: [UUID(bytes=raw) for raw in found] or [one] for one, found in zip(alone, listed, strict=True)}
    firsts = [one for one in ids if one not in runs_of]
    rows = await _packed([*firsts, *(run for found in runs_of.values() for run in found)])
    kept = {one: record for one, record in readable_rows(rows) if as_runs([(one, record)])}
    result: list[Execution | None] = []
    for one, plan in zip(ids, plans, strict=True):
        if one not in runs_of:
            values = {name.encode(): value for name, value in zip(_SUMMARY, plan, strict=True) if value is not None}
            first = to_run(one, kept[one]) if one in kept else None
            result.append(_summary(one, values, first, ()))
        else:
            runs = [(run, kept[run]) for run in runs_of[one] if run in kept]
            whole = _alone(one, runs) if runs else None
            result.append(whole and msgspec.structs.replace(whole, steps=()))
    return result


async def _records(ids: Sequence[UUID]) -> dict[UUID, Record]:
    return {UUID(bytes=one): decode_record(value) for one, value in (await _packed(ids)) if value}


async def _packed(ids: Sequence[UUID]) -> list[tuple[bytes, bytes | None]]:
    return await packed_records([one.bytes for one in ids])


def _with_plan(execution_id: UUID, plan: dict[bytes, bytes], kept: list[tuple[UUID, Record]]) -> Execution:
    by_step: dict[int, list[Run]] = {}
    for run_id, record in kept:
        by_step.setdefault(record.step, []).append(to_run(run_id, record))
    steps = []
    for number in range(int(plan[b"steps"])):
        template, _, needs, group, _, has = _planned(plan[b"step:%d" % number])
        is_settled = b"over" in plan or group < int(plan[b"at"])
        steps.append(
            Step(
                task=template.task,
                definition=template.definition,
                group=group,
                needs=needs,
                replicas=template.replica_count,
                done_before=tuple((replica, UUID(run)) for replica, run in has),
                runs=tuple(by_step.get(number, ())),
                became=phase_after(plan.get(b"ended:%d" % number, b"").decode()) if is_settled else None,
                is_made=b"rest:%d" % number not in plan,
            )
        )
    first = next((to_run(*pair) for pair in kept if pair[0] == execution_id), None)
    return _summary(execution_id, plan, first, tuple(steps))


def _summary(execution_id: UUID, plan: dict[bytes, bytes], first: Run | None, steps: tuple[Step, ...]) -> Execution:
    over_us, start_us = int(plan.get(b"over", 0)), int(plan.get(b"start", 0))
    live = Phase.RUNNING if start_us else Phase.PENDING
    return Execution(
        id=execution_id,
        task=plan[b"task"].decode(),
        phase=phase_after(plan.get(b"reason", b"").decode()) if over_us else live,
        desired=Phase.STOPPED if b"desired" in plan else None,
        version=int(plan[b"version"]),
        created_us=int(plan[b"created"]),
        start_us=start_us,
        over_us=over_us,
        message=plan.get(b"failure", b"").decode(),
        first=first,
        groups=int(plan[b"groups"]),
        steps=steps,
    )


def _alone(execution_id: UUID, kept: list[tuple[UUID, Record]]) -> Execution:
    """
    An execution that keeps no plan: one replica of one step, in as many attempts as there are; or what was written back
    of one into a store that had lost it, which has not succeeded unless the last step is there with all its replicas.
    """
    runs = [to_run(*pair) for pair in kept]
    task = kept[0][1].target or kept[0][1].task
    steps = tuple(_step_alone([run for run in runs if run.task_name == name]) for name in _tasks(runs))
    phases = [step.phase for step in steps]
    is_whole = any(step.task == task and _is_whole(step) for step in steps)
    phase, message = Phase.RUNNING, ""
    if FINAL.issuperset(phases):
        phase = combined(phases) if is_whole else Phase.FAILED
        message = next((step.message for step in steps if step.message), "") if is_whole else LOST
    elif set(phases) == {Phase.PENDING}:
        phase = Phase.PENDING
    asked = any(run.stop_requested is True or run.end_reason == "stopped" for run in runs)
    starts = [stored for run in runs if (stored := _us(run.start_at))]
    return Execution(
        id=execution_id,
        task=task,
        phase=phase,
        desired=Phase.STOPPED if asked else None,
        version=transitions_of(runs),
        created_us=from_datetime(runs[0].created_at),
        start_us=min(starts, default=0),
        over_us=max(_us(run.end_at) for run in runs) if phase in FINAL else 0,
        message=message,
        first=next((run for run in runs if run.id == execution_id), None),
        groups=1,
        steps=steps,
    )


def _tasks(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(run.task_name for run in runs))


def _step_alone(runs: Sequence[Run]) -> Step:
    newest = runs[-1]
    return Step(
        task=newest.task_name,
        definition=newest.definition,
        group=0,
        needs=(),
        replicas=newest.replica_count,
        runs=tuple(runs),
    )


def _is_whole(step: Step) -> bool:
    """Whether all its replicas are there. One that was refused is a single record, however many it was to have."""
    return len(step.newest) == step.replicas or step.phase is Phase.SKIPPED


def _us(moment: datetime | UnsetType) -> int:
    return 0 if isinstance(moment, UnsetType) else from_datetime(moment)


def _list_of(task: str) -> Key:
    return Key(f"executions:t:{task}" if task else "executions:all")


async def _offset(key: Key, cursor: str) -> int:
    """Where in the list to go on: behind the execution named by *cursor*, or where it would stand."""
    if not cursor:
        return 0
    created, _, execution = cursor.partition(".")
    try:
        last, created_us = UUID(execution), int(created)
    except ValueError:
        raise ValueError("is not a cursor of this list; use next_cursor of the page before") from None
    rank = await Call("ZREVRANK", (key, last.bytes), optional_number)
    if rank is not None:
        return int(rank) + 1
    newer: Call[int] = Call("ZCOUNT", (key, f"({created_us}", "+inf"), int)
    return await newer
