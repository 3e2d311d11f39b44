"""
Namespaces and their jobs: the groups and descriptions that other systems have for our tasks.

A job is identified by its task. Messages describe it in any order, and the newest value of each field stays.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from shared.errors import NotFound
from shared.store.redis.call import NOW, Call, Key, call_name, each, strings, together
from shared.store.redis.scripts import script

DROP_BATCH: Final = 100
"""Jobs deleted in one step with their namespace: few enough that Redis is not busy with it for 5 ms."""

_OWN: Final = ("namespace", "name", "created", "updated")
_STAMP: Final = 16
_encode = msgspec.msgpack.Encoder().encode


class Namespace(msgspec.Struct, frozen=True):
    """A namespace; ``description`` is "" without one. Times are stored time."""

    name: str
    owner: str
    description: str
    created_us: int
    updated_us: int


class JobChange(msgspec.Struct, frozen=True):
    """A change of a job; fields that are not named stay as they are. The sender chooses the names of fields."""

    task: str
    namespace: str
    name: str
    fields: Mapping[str, str] = {}

    def packed(self) -> bytes:
        """As the scripts read it (``lua/dialects/lib/jobs.lua``)."""
        return _encode((self.task, self.namespace, self.name, self.fields))


class Job(msgspec.Struct, frozen=True):
    """A job, with the newest value of each field."""

    task: str
    namespace: str
    name: str
    created_us: int
    updated_us: int
    fields: Mapping[str, bytes]


def put_namespace(name: str, owner: str = "", description: str = "", now: int | str = NOW) -> Call[Namespace]:
    """Make a namespace, or change its owner and description; "" leaves what it has (``anonymous`` at first)."""
    return Call(script("put_namespace"), (now, name, owner, description), lambda reply: _namespace(name, reply))


def namespace(name: str) -> Call[Namespace | None]:
    """The namespace, or None."""
    return Call("HGETALL", (Key("namespace:" + name),), lambda reply: _namespace(name, reply) if reply else None)


async def namespace_page(offset: int, limit: int) -> list[Namespace]:
    """Namespaces by name; *limit* is 1 or more."""
    names = await Call("ZRANGE", (Key("namespaces"), offset, offset + limit - 1), _texts)
    found: list[Namespace | None] = (await each(namespace(name) for name in names)) if names else []
    return [one for one in found if one is not None]


async def drop_namespace(name: str) -> None:
    """
    Delete a namespace and the jobs in it, in small steps; their tasks and runs stay.

    Jobs that are changed while it is under way stay, and the namespace with them.
    """

    def read(reply: Any) -> tuple[bool, bytes]:
        return bool(reply[0]), reply[1]

    is_done, since = False, b""
    while not is_done:
        is_done, since = await Call(script("drop_namespace"), (NOW, name, DROP_BATCH, since), read)


def put_job(change: JobChange, now: int | str = NOW) -> Call[Job]:
    """Make a job, or change it. Raises NotFound when there is no such namespace."""

    def read(reply: Any) -> Job:
        if not reply:
            raise NotFound(f"there is no namespace {change.namespace}")
        return _job(change.task, reply)

    return Call(script("put_job"), (now, change.packed()), read)


def job(task: str, *, brief: bool = False) -> Call[Job | None]:
    """The job with that task, or None; *brief*: without its fields."""
    key = Key("job:" + task)
    if not brief:
        return Call("HGETALL", (key,), lambda reply: _job(task, reply) if reply else None)

    def read(reply: Any) -> Job | None:
        return _job(task, [part for pair in zip(_OWN, reply, strict=True) for part in pair]) if reply[0] else None

    return Call("HMGET", (key, *_OWN), read)


async def job_names(in_namespace: str | None, offset: int, limit: int) -> tuple[list[str], int]:
    """Tasks of jobs in one namespace or in all (None), the last changed first, and how many there are in all."""
    key = Key("jobs" if in_namespace is None else "jobs:" + in_namespace)
    total, tasks = await together(
        Call("ZCARD", (key,), int), Call("ZREVRANGE", (key, offset, offset + limit - 1), _texts)
    )
    return tasks, total


def known_jobs(tasks: Sequence[str]) -> Call[list[bool]]:
    """Which of these tasks are jobs. *tasks* must not be empty."""
    return Call("ZMSCORE", (Key("jobs"), *tasks), lambda reply: [score is not None for score in reply])


def drop_job(task: str) -> Call[bool]:
    """Delete a job; its task and its runs stay. Whether there was one."""
    return Call(script("drop_job"), (NOW, task, call_name()), bool)


def newest(value: bytes) -> bytes:
    """The latest value of a field, without its time (``lua/dialects/lib/latest_values.lua``)."""
    return value[_STAMP:]


def _namespace(name: str, reply: Any) -> Namespace:
    fields = dict(zip(reply[::2], reply[1::2], strict=True))
    return Namespace(
        name=name,
        owner=fields[b"owner"].decode(),
        description=fields.get(b"description", b"").decode(),
        created_us=int(fields[b"created"]),
        updated_us=int(fields[b"updated"]),
    )


def _job(task: str, reply: Any) -> Job:
    named = zip(reply[::2], reply[1::2], strict=True)
    fields = {key.decode() if isinstance(key, bytes) else key: value for key, value in named}
    space, name, created, updated = (fields.pop(field) for field in _OWN)
    return Job(
        task=task,
        namespace=space.decode(),
        name=name.decode(),
        created_us=int(created),
        updated_us=int(updated),
        fields={field: newest(value) for field, value in fields.items()},
    )


def _texts(reply: Any) -> list[str]:
    return [name.decode() for name in strings(reply)]
