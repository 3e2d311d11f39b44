"""The catalog: its tasks, their definitions, and the state of their schedules."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

import msgspec

from shared.errors import NotFound, Unreadable
from shared.runs import Reason
from shared.store.redis.call import (
    NOW,
    Call,
    Key,
    call_name,
    each,
    numbers,
    optional_string,
    optional_strings,
    together,
)
from shared.store.redis.decoding import pairs_of, reading, text_of, texts_of
from shared.store.redis.scripts import script
from shared.tasks import Definition, Task

_entry = reading(msgspec.msgpack.Decoder(list[str]).decode, "an entry of the catalog")
_retired = reading(msgspec.msgpack.Decoder(tuple[int, int], strict=False).decode, "the bounds of a removed task")
_REASONS = tuple(Reason)
_ENTRIES: Final[Call[dict[bytes, bytes]]] = Call(
    "HGETALL", (Key("tasks"),), lambda reply: dict(zip(reply[::2], reply[1::2], strict=True))
)
_PAUSED: Final[Call[set[bytes]]] = Call("SMEMBERS", (Key("paused"),), set)
_LOOKS: Final = 5
"""How often an entry whose definition is gone is read again before it counts as one that cannot be read."""

Verdict = Literal["added", "changed", "unchanged", "removed", "gone", "owned_by_file", "stale", "live"]
"""
The outcome of one task's change. "owned_by_file": only the task file changes it; "stale": something it was checked
against has changed.
"""


class Entry(msgspec.Struct, frozen=True):
    """A task in the catalog. ``source`` is "file" or "api"; ``applied_us`` is when this definition came."""

    name: str
    definition: Definition
    task: Task
    source: str
    applied_us: int
    paused: bool


class Catalog(msgspec.Struct, frozen=True):
    """All tasks, by name, and those that this release cannot read: name → why."""

    entries: list[Entry]
    unreadable: dict[str, str]


class Row(msgspec.Struct, frozen=True):
    """A task in the catalog without its definition: the hash of that, whether it has a schedule, whether that rests."""

    hash: str
    scheduled: bool
    paused: bool


class Standing(msgspec.Struct, frozen=True):
    """
    The state of the schedules: rows of the catalog and cursors by task, and the version before and after the reading.
    """

    before: int
    rows: dict[str, Row]
    cursors: dict[str, int]
    after: int


class Applied(msgspec.Struct, frozen=True):
    """The outcome of an apply, task names sorted. ``kept``: the API's that would have replaced one of the file's."""

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
    """A schedule as one text; "" without one. A changed schedule has no missed ticks."""
    return "|".join([*task.cron, task.timezone]) if task.cron else ""


def apply(
    definitions: Sequence[tuple[Task, Definition]],
    *,
    source: str = "file",
    remove: bool = True,
    limits: dict[str, int] | None = None,
    now: int | str = NOW,
) -> Call[Applied]:
    """
    Make *definitions* the tasks of *source*, in one step; ``remove`` takes away those of it that are not named.

    Nothing is checked, and it does not count as a file (``applying.apply`` is for those).
    """
    args: list[str | int | bytes] = [now, source, "1" if remove else "0"]
    args += [msgspec.msgpack.encode(limits) if limits is not None else b"", "", "", "0"]
    for task, definition in definitions:
        args += [task.name, definition.hash, definition.body, definition.signature, schedule_key(task)]

    def read(reply: Any) -> Applied:
        return Applied(*(sorted(name.decode() for name in names) for names in reply))

    return Call(script("apply"), tuple(args), read)


def define(task: Task, definition: Definition, expected: Mapping[str, str], now: int | str = NOW) -> Call[Verdict]:
    """
    Store one task of the API in the catalog, if each task of *expected* still has that hash ("": no such task).
    """
    packed = msgspec.msgpack.encode(expected)
    args = (now, task.name, definition.hash, definition.body, definition.signature, schedule_key(task), packed)
    return Call(script("define"), args, lambda reply: reply.decode())


def api_tasks_version() -> Call[int]:
    """Counts up with every task defined through the API that may depend on others."""
    return Call("GET", (Key("api-tasks-version"),), lambda reply: int(reply or 0))


def undefine(name: str, known: int, now: int | str = NOW) -> Call[tuple[Verdict, int, int]]:
    """
    Remove one task of the API from the catalog, if none of its runs is live and ``api_tasks_version`` is still *known*.

    Answers the verdict and, when it is "live", how many runs are and the number of one of them.
    """

    def read(reply: Any) -> tuple[Verdict, int, int]:
        live, number = (int(part) for part in reply[1:] or (0, 0))
        return reply[0].decode(), live, number

    return Call(script("undefine"), (now, name, known, call_name()), read)


def definition(hash_: str) -> Call[Definition | None]:
    """A definition by its hash; None when nothing uses it any more."""

    def read(reply: Any) -> Definition | None:
        return Definition(hash_, reply[0], (reply[1] or b"").decode()) if reply[0] else None

    return Call("HMGET", (Key("def:" + hash_), "body", "signature"), read)


async def entry(name: str) -> Entry | None:
    """A task as it is defined now, or None. Raises Unreadable."""
    return (await some([name], strict=True)).get(name)


async def some(names: Iterable[str], *, strict: bool = False) -> dict[str, Entry]:
    """The tasks that exist, by name. One that cannot be read is left out, or raises (``strict``)."""
    wanted = list(names)
    found = await _catalog((await _rows(wanted)) if wanted else {})
    if strict and found.unreadable:
        raise Unreadable("; ".join(f"task {name}: {why}" for name, why in found.unreadable.items()))
    return {one.name: one for one in found.entries}


def names() -> Call[list[str]]:
    """The names of all tasks in the catalog, sorted."""
    return Call("HKEYS", (Key("tasks"),), lambda reply: sorted(texts_of(reply)))


def since_us() -> Call[int]:
    """When the definition that has been in the catalog longest came, as stored time; 0 without tasks."""
    return Call("HVALS", (Key("tasks"),), lambda reply: min((int(_entry(value)[2]) for value in reply), default=0))


async def bounds(name: str) -> Task:
    """
    The task by whose ``keep_runs`` and ``keep_for_ms`` its history is kept: as it is defined now, else one with those
    that it had when it was removed. Raises Unreadable.
    """
    found = await entry(name)
    if found is not None:
        return found.task
    kept = await Call("HGET", (Key("retired"), name), optional_string)
    if kept is None:
        return Task(name=name)
    keep_runs, keep_for_ms = _retired(kept)
    default = Task(name=name)
    return Task(name=name, keep_runs=keep_runs or default.keep_runs, keep_for_ms=keep_for_ms or default.keep_for_ms)


def limits() -> Call[dict[str, int]]:
    """The shared limits: most executions by name."""
    return Call("HGETALL", (Key("limits"),), lambda reply: {name: int(most) for name, most in pairs_of(reply).items()})


async def entries() -> list[Entry]:
    """All tasks, by name; one that cannot be read is left out (``catalog`` says which)."""
    return (await catalog()).entries


async def catalog() -> Catalog:
    """All tasks."""
    packed, paused = await together(_ENTRIES, _PAUSED)
    rows = {text_of(name): (value, name in paused) for name, value in packed.items()}
    return await _catalog(rows)


async def standing() -> Standing:
    """The schedules in the store, for a scheduler to compare its own with; one round trip."""
    version = catalog_version()
    before, packed, paused, found, after = await together(version, _ENTRIES, _PAUSED, cursors(), version)
    rows = {}
    for name, value in packed.items():
        with suppress(Unreadable, IndexError):
            row = _entry(value)
            rows[text_of(name)] = Row(row[0], row[3] != "", name in paused)
    return Standing(before, rows, found, after)


async def _rows(names: Sequence[str]) -> dict[str, tuple[bytes, bool]]:
    """Packed entry, and whether the schedule rests, of those of the tasks that there are."""
    packed, paused = await together(
        Call("HMGET", (Key("tasks"), *names), optional_strings),
        Call("SMISMEMBER", (Key("paused"), *names), numbers),
    )
    triples = zip(names, packed, paused, strict=True)
    return {name: (value, bool(rests)) for name, value, rests in triples if value is not None}


async def _catalog(rows: dict[str, tuple[bytes, bool]]) -> Catalog:
    """
    The tasks of these packed entries.

    A definition goes with the last that refers to it: one that is gone was replaced since its entry was read, which is
    read again then.
    """
    found: dict[str, Entry] = {}
    unreadable: dict[str, str] = {}
    for _ in range(_LOOKS):
        known: list[tuple[str, list[str], bool]] = []
        for name, (value, paused) in rows.items():
            try:
                known.append((name, _entry(value), paused))
            except Unreadable as error:
                unreadable[name] = str(error)
        bodies = await each(definition(row[0]) for _, row, _ in known)
        gone = []
        for (name, row, paused), body in zip(known, bodies, strict=True):
            if body is None:
                gone.append(name)
                continue
            try:
                found[name] = Entry(name, body, body.task(), row[1], int(row[2]), paused)
            except (Unreadable, ValueError, IndexError) as error:
                unreadable[name] = str(error)
        if not gone:
            break
        rows = await _rows(gone)
    else:
        unreadable |= dict.fromkeys(gone, "its definition is not in Redis")
    return Catalog([found[name] for name in sorted(found)], dict(sorted(unreadable.items())))


async def sample(count: int) -> list[tuple[str, Definition]]:
    """The names and definitions of at most *count* tasks that workers execute, picked at random."""
    packed = await Call("HRANDFIELD", (Key("tasks"), count, "WITHVALUES"), pairs_of)
    rows = []
    for name, value in packed.items():
        with suppress(Unreadable):  # one of a newer release, which says nothing about signatures
            rows.append((name, _entry(value)[0]))
    found = await each(definition(hash_) for _, hash_ in rows)
    return [
        (name, one)
        for (name, _), one in zip(rows, found, strict=True)
        if one is not None and b'"external":true' not in one.body
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
    """
    For each task with a schedule, the last tick that was handled, as stored time. One that is no number is left out.
    """

    def read(reply: Any) -> dict[str, int]:
        return {name: int(value) for name, value in pairs_of(reply).items() if value.isdigit()}

    return Call("HGETALL", (Key("ticks"),), read)


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
    return Call("ZRANGE", (Key("history"), 0, -1), texts_of)


def prune_candidates(count: int) -> Call[list[str]]:
    """Take up to *count* names of tasks in which runs ended since they were last tidied."""
    return Call("SPOP", (Key("prune-candidates"), count), texts_of)
