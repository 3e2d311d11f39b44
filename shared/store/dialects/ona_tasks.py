"""
Environments: tasks of the catalog that have an id and a reference, as Ona's API names tasks.

An environment is a namespace that is there as soon as it has a task. A task's entry here has what the catalog
has no place for; it goes with the task.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec

from shared.store.redis.call import NOW, Call, Key
from shared.store.redis.decoding import reading
from shared.store.redis.scripts import script
from shared.store.tasks import schedule_key
from shared.tasks import Definition, Task

Verdict = Literal["done", "exists", "stale", "owned_by_file"]
"""
The outcome of ``put_ona_tasks``. "exists": a reference is taken; "stale": something it was checked against has changed;
"owned_by_file": the task file has a task of that name.
"""


class OnaTask(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """
    A task of an environment as the store keeps it: a msgpack array in exactly this order. Only ever append a field,
    with a default.

    ``arrival`` (a number that only grows) and ``created_us`` are set by the store when they are 0. ``title`` is its
    display name, ``creator`` its author, ``triggers`` the names of what starts it, ``variables`` the order of its
    environment variables.
    """

    task: str
    environment: str
    reference: str
    arrival: int = 0
    created_us: int = 0
    title: str = ""
    creator: str = ""
    triggers: list[str] = []
    variables: list[str] = []
    prebuild_requires_success: bool = False


class TaskWrite(msgspec.Struct, frozen=True, kw_only=True):
    """One task to be written; ``before`` is what was read of it, None for a new one."""

    id: UUID
    listed: OnaTask
    before: OnaTask | None
    task: Task
    definition: Definition


_encode = msgspec.msgpack.Encoder().encode
_listed = reading(msgspec.msgpack.Decoder(OnaTask).decode, "a task of an environment")


def put_ona_tasks(items: Sequence[TaskWrite], pins: Mapping[str, str], now: int | str = NOW) -> Call[Verdict]:
    """
    Write tasks into the catalog and their environments, all or none.

    Each task of *pins* must still have the definition with that hash ("": none), each item be as it was before.
    """
    args: list[str | int | bytes] = [now, _encode(pins)]
    for item in items:
        args += [str(item.id), _encode(item.listed), _encode(item.before) if item.before else b""]
        args += [item.definition.hash, item.definition.body, item.definition.signature, schedule_key(item.task)]
    return Call(script("put_ona_tasks"), tuple(args), lambda reply: reply.decode())


def by_id(ids: Sequence[UUID]) -> Call[list[OnaTask | None]]:
    """The entries with each of the ids. *ids* must not be empty."""
    return Call(
        "HMGET",
        (Key("ona:tasks"), *map(str, ids)),
        lambda reply: [_listed(value) if value is not None else None for value in reply],
    )


def ids_of_tasks(names: Sequence[str]) -> Call[list[UUID | None]]:
    """The ids of tasks by their names. *names* must not be empty."""
    return Call("HMGET", (Key("ona:names"), *names), _ids)


def ids_of_references(wanted: Sequence[tuple[UUID, str]]) -> Call[list[UUID | None]]:
    """The ids of tasks by their environments and references. *wanted* must not be empty."""
    return Call("HMGET", (Key("ona:refs"), *(f"{environment}/{reference}" for environment, reference in wanted)), _ids)


def newest(environment: UUID | None, below: int | None, count: int) -> Call[list[tuple[int, UUID]]]:
    """
    The arrivals and ids of at most *count* tasks of an environment (None: of all), the newest first.

    *below*: only those that arrived before that one.
    """
    key = Key("ona:all" if environment is None else f"ona:env:{environment}")
    top = "+inf" if below is None else f"({below}"

    def read(reply: Any) -> list[tuple[int, UUID]]:
        return [(int(score), UUID(id_.decode())) for id_, score in zip(reply[::2], reply[1::2], strict=True)]

    return Call("ZREVRANGEBYSCORE", (key, top, "-inf", "WITHSCORES", "LIMIT", 0, count), read)


def _ids(reply: Any) -> list[UUID | None]:
    return [UUID(value.decode()) if value is not None else None for value in reply]
