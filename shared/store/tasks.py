"""The catalog: which tasks there are, by which definition, and where their schedules stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from shared.errors import NotFound
from shared.runs import Reason, Run
from shared.store.call import Call, Key, Operation, as_is
from shared.store.listing import Filter, page
from shared.store.runs import NOW
from shared.store.scripts import script
from shared.tasks import Definition, Task

_entry = msgspec.msgpack.Decoder(list[str]).decode
_REASONS = tuple(Reason)

Verdict = Literal["added", "changed", "unchanged", "removed", "gone", "kept", "moved", "live"]
"""
What became of one task's change. "kept": it is the task file's; "moved": something it was checked against has changed.
"""


class Entry(msgspec.Struct, frozen=True):
    """A task in the catalog. ``source`` is "file" or "api"; ``applied_us`` is when this definition came."""

    name: str
    definition: Definition
    task: Task
    source: str
    applied_us: int
    paused: bool


class Applied(msgspec.Struct, frozen=True):
    """What an apply did, task names sorted. ``kept``: the API's that would have replaced one of the file's."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: list[str]
    kept: list[str]


class Counts(msgspec.Struct, frozen=True):
    """How many runs of a task there are, by state; reasons without a run are left out."""

    pending: int
    running: int
    by_reason: dict[str, int]
    total: int


def schedule_key(task: Task) -> str:
    """What a schedule is, as one text; "" without one. A task whose schedule changed owes nothing for the past."""
    return "|".join([*task.cron, task.timezone]) if task.cron else ""


def apply(
    definitions: Sequence[tuple[Task, Definition]],
    *,
    source: str = "file",
    remove: bool = True,
    limits: dict[str, int] | None = None,
    now: int | str = NOW,
) -> Call[Applied]:
    """Make *definitions* the tasks of *source*, in one step; ``remove`` takes away those of it that are not named."""
    args: list[str | int | bytes] = [now, source, "1" if remove else "0"]
    args.append(msgspec.msgpack.encode(limits) if limits is not None else b"")
    for task, definition in definitions:
        args += [task.name, definition.hash, definition.body, definition.signature, schedule_key(task)]

    def read(reply: Any) -> Applied:
        return Applied(*(sorted(name.decode() for name in names) for names in reply))

    return Call(script("apply"), tuple(args), read)


def define(task: Task, definition: Definition, pins: Mapping[str, str], now: int | str = NOW) -> Call[Verdict]:
    """
    Put one task of the API into the catalog, if each task of *pins* still has the definition with that hash ("": none).
    """
    packed = msgspec.msgpack.encode(pins)
    args = (now, task.name, definition.hash, definition.body, definition.signature, schedule_key(task), packed)
    return Call(script("define"), args, lambda reply: reply.decode())


def authored() -> Call[int]:
    """Counts up with every task defined through the API that may depend on others."""
    return Call("GET", (Key("authored"),), lambda reply: int(reply or 0))


def undefine(name: str, known: int, now: int | str = NOW) -> Call[tuple[Verdict, int, int]]:
    """
    Take one task of the API out of the catalog, if nothing of it lives and ``authored`` is still *known*.

    Answers the verdict and, when it is "live", how many runs are and the number of one of them.
    """

    def read(reply: Any) -> tuple[Verdict, int, int]:
        live, number = (int(part) for part in reply[1:] or (0, 0))
        return reply[0].decode(), live, number

    return Call(script("undefine"), (now, name, known), read)


def definition(hash_: str) -> Call[Definition | None]:
    """A definition by its hash; None when nothing uses it any more."""

    def read(reply: Any) -> Definition | None:
        return Definition(hash_, reply[0], (reply[1] or b"").decode()) if reply[0] else None

    return Call("HMGET", (Key("def:" + hash_), "body", "signature"), read)


def entry(name: str) -> Operation[Entry | None]:
    """A task as it is defined now, or None."""
    value = yield Call("HGET", (Key("tasks"), name), as_is)
    if value is None:
        return None
    hash_, source, applied, *_ = _entry(value)
    found = yield definition(hash_)
    if found is None:
        return None
    paused = yield Call("SISMEMBER", (Key("paused"), name), bool)
    return Entry(name, found, found.task(), source, int(applied), paused)


def some(names: Iterable[str]) -> Operation[dict[str, Entry]]:
    """Those of the tasks that there are, by name."""
    wanted = list(names)
    if not wanted:
        return {}
    packed, paused = yield [
        Call("HMGET", (Key("tasks"), *wanted), as_is),
        Call("SMISMEMBER", (Key("paused"), *wanted), as_is),
    ]
    rows = [
        (name, _entry(value), bool(rests))
        for name, value, rests in zip(wanted, packed, paused, strict=True)
        if value is not None
    ]
    definitions = yield [definition(row[0]) for _, row, _ in rows]
    return {
        name: Entry(name, one, one.task(), row[1], int(row[2]), rests)
        for (name, row, rests), one in zip(rows, definitions, strict=True)
        if one is not None
    }


def names() -> Call[list[str]]:
    """The names of all tasks in the catalog, sorted."""
    return Call("HKEYS", (Key("tasks"),), lambda reply: sorted(name.decode() for name in reply))


def since_us() -> Call[int]:
    """When the definition that has been in the catalog longest came, as stored time; 0 without tasks."""
    return Call("HVALS", (Key("tasks"),), lambda reply: min((int(_entry(value)[2]) for value in reply), default=0))


def limits() -> Call[dict[str, int]]:
    """The shared limits: most executions by name."""
    return Call(
        "HGETALL",
        (Key("limits"),),
        lambda reply: {n.decode(): int(v) for n, v in zip(reply[::2], reply[1::2], strict=True)},
    )


def entries() -> Operation[list[Entry]]:
    """All tasks, by name."""
    packed = yield Call("HGETALL", (Key("tasks"),), lambda reply: dict(zip(reply[::2], reply[1::2], strict=True)))
    paused = yield Call("SMEMBERS", (Key("paused"),), set)
    rows = [(name, _entry(value)) for name, value in sorted(packed.items())]
    definitions = yield [definition(row[0]) for _, row in rows]
    return [
        Entry(name.decode(), one, one.task(), row[1], int(row[2]), name in paused)
        for (name, row), one in zip(rows, definitions, strict=True)
        if one is not None
    ]


def catalog_version() -> Call[int]:
    """Counts up with every change of a schedule in the catalog."""
    return Call("GET", (Key("catalog"),), lambda reply: int(reply or 0))


def pause(name: str, paused: bool, now: int | str = NOW) -> Call[None]:
    """Pause or resume a task's schedule. Raises NotFound."""

    def read(reply: Any) -> None:
        if reply == 0:
            raise NotFound(f"there is no task {name}")

    return Call(script("pause"), (now, name, "1" if paused else "0"), read)


def cursors() -> Call[dict[str, int]]:
    """For each task with a schedule, its last tick that was seen to, as stored time."""
    return Call(
        "HGETALL",
        (Key("ticks"),),
        lambda reply: {n.decode(): int(v) for n, v in zip(reply[::2], reply[1::2], strict=True)},
    )


def counts(names: Sequence[str]) -> Call[dict[str, Counts]]:
    """How many runs each of the tasks has."""
    states = ("pending", "running", *map(str, _REASONS))

    def read(reply: Any) -> dict[str, Counts]:
        result = {}
        for number, name in enumerate(names):
            sizes = dict(zip(states, reply[number * len(states) : (number + 1) * len(states)], strict=True))
            total = sum(sizes.values())
            pending, running = sizes.pop("pending"), sizes.pop("running")
            result[name] = Counts(pending, running, {reason: n for reason, n in sizes.items() if n}, total)
        return result

    return Call(script("counts"), tuple(names), read)


def known_tasks() -> Call[list[str]]:
    """Names of all tasks that have runs, also of those removed from the catalog, sorted."""
    return Call("ZRANGE", (Key("history"), 0, -1), lambda reply: [name.decode() for name in reply])


def last_runs(names: Sequence[str]) -> Operation[dict[str, Run]]:
    """The newest run of each of the tasks that has one."""
    newest: dict[str, Run] = {}
    for name in names:
        found = yield from page(Filter(task_name=(name,)), limit=1)
        if found.runs:
            newest[name] = found.runs[0]
    return newest


def dirty(count: int) -> Call[list[str]]:
    """Take up to *count* names of tasks in which runs ended since they were last tidied."""
    return Call("SPOP", (Key("dirty"), count), lambda reply: [name.decode() for name in reply])
