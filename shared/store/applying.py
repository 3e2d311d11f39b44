"""
The applied task file: reads the last one from the store, and replaces it by another.

Definitions are not decoded here, because they may be those of another release.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from shared.store.redis.call import NOW, Call, Key, KeyPattern, each, optional_strings, together
from shared.store.redis.decoding import pairs_of, texts_of
from shared.store.redis.scripts import script
from shared.store.tasks import schedule_key
from shared.tasks import Definition, Task

_encode = msgspec.msgpack.Encoder().encode
_entry = msgspec.msgpack.Decoder(list[str]).decode
_PAUSED: Final = Call("SMEMBERS", (Key("paused"),), lambda reply: sorted(texts_of(reply)))
BATCH: Final = 1000
"""Definitions read in one round trip."""


class Generation(msgspec.Struct, frozen=True):
    """
    The task file that was applied last.

    ``number`` counts up with every file. ``digest`` names what it said, ``by`` who applied it, ``at_us`` when that was
    (stored time), ``modified_us`` when the newest of its parts was changed, by the clock of its host.
    """

    number: int
    digest: str
    by: str
    at_us: int
    modified_us: int


class Row(msgspec.Struct, frozen=True):
    """A task in the catalog as it is stored; ``body`` is b"" when its definition is gone."""

    name: str
    source: str
    schedule: str
    hash: str
    body: bytes
    signature: str

    @property
    def definition(self) -> Definition:
        """Its definition, not looked into."""
        return Definition(self.hash, self.body, self.signature)


class Snapshot(msgspec.Struct, frozen=True):
    """
    The task file and tasks in the store: the file applied last (None: none was), all tasks, the file's limits.

    ``files`` are the digests of the files applied so far, and the number of each; ``paused`` are tasks whose schedule
    is paused.
    """

    generation: Generation | None
    rows: list[Row]
    limits: dict[str, int]
    files: dict[str, int]
    paused: list[str]


def generation() -> Call[Generation | None]:
    """The task file that was applied last; None when none was."""

    def read(reply: Any) -> Generation | None:
        if reply[0] is None:
            return None
        number, digest, by, at, modified = (part.decode() for part in reply)
        return Generation(int(number), digest, by, int(at), int(modified))

    return Call("HMGET", (Key("applied"), "number", "digest", "by", "at", "modified"), read)


async def look() -> tuple[Generation | None, list[str]]:
    """The task file that was applied last (None: none was), and the tasks whose schedule is paused. One round trip."""
    last, paused = await together(generation(), _PAUSED)
    return last, paused


async def snapshot() -> Snapshot:
    """All of it, in two round trips, and one more for each further ``BATCH`` tasks."""
    last, packed, limits, files, paused = await together(
        generation(),
        Call("HGETALL", (Key("tasks"),), pairs_of),
        Call("HGETALL", (Key("limits:file"),), pairs_of),
        Call("ZRANGE", (Key("applied:files"), 0, -1, "WITHSCORES"), pairs_of),
        _PAUSED,
    )
    rows: list[Row] = []
    entries = [(name, _entry(value)) for name, value in sorted(packed.items())]
    for start in range(0, len(entries), BATCH):
        part = entries[start : start + BATCH]
        found = await each(
            Call("HMGET", (Key("def:" + row[0]), "body", "signature"), optional_strings) for _, row in part
        )
        rows += [
            Row(name, row[1], row[3], row[0], body or b"", (signature or b"").decode())
            for (name, row), (body, signature) in zip(part, found, strict=True)
        ]
    return Snapshot(
        last,
        rows,
        {name: int(most) for name, most in limits.items()},
        {digest: int(float(number)) for digest, number in files.items()},
        paused,
    )


def apply(
    definitions: Sequence[tuple[Task, Definition]],
    limits: Mapping[str, int],
    *,
    over: int,
    digest: str,
    by: str,
    modified_us: int,
    may_unsign: bool = False,
    little: bool = False,
    now: int | str = NOW,
) -> Call[Literal["done", "stale"]]:
    """
    Make a file's *definitions* and *limits* those of the store, in one step, if the file with number *over* (0: none)
    is still the one that was applied last; otherwise the answer is "stale". *little*: also in a full Redis.
    """
    about = {"call": secrets.token_hex(8), "digest": digest, "by": by, "modified": str(modified_us)}
    args: list[str | int | bytes] = [
        now,
        "file",
        "1",
        _encode(limits),
        over,
        _encode(about),
        "1" if may_unsign else "0",
    ]
    for task, definition in definitions:
        args += [task.name, definition.hash, definition.body, definition.signature, schedule_key(task)]
    return Call(script("apply_little" if little else "apply"), tuple(args), _verdict)


def restore(before: Snapshot, now: int | str = NOW) -> Call[Literal["done", "stale"]]:
    """
    Restore the file's tasks to a store that was wiped, with their signatures and paused schedules.

    "stale": a file was applied meanwhile. Tasks defined through the API are not written back.
    """
    last = before.generation
    if last is None:
        raise ValueError("no file was applied")
    about = {
        "call": secrets.token_hex(8),
        "digest": last.digest,
        "by": last.by,
        "modified": str(last.modified_us),
        "number": last.number,
        "at": str(last.at_us),
        "files": before.files,
        "paused": before.paused,
    }
    args: list[str | int | bytes] = [now, "file", "0", _encode(before.limits), 0, _encode(about), "0"]
    for row in before.rows:
        if row.source == "file" and row.body:
            args += [row.name, row.hash, row.body, row.signature, row.schedule]
    return Call(script("apply"), tuple(args), _verdict)


def definition_names(cursor: int) -> Call[tuple[int, list[str]]]:
    """A page of definition hashes: the next *cursor* (0 when that was all), and the hashes."""

    def read(reply: Any) -> tuple[int, list[str]]:
        return int(reply[0]), [key.rpartition(b":")[2].decode(errors="replace") for key in reply[1]]

    return Call("SCAN", (cursor, "MATCH", KeyPattern("def:*"), "COUNT", BATCH), read)


async def definitions(hashes: Sequence[str]) -> list[Definition]:
    """The definitions with these hashes, without those that are gone. One round trip, none without hashes."""
    if not hashes:
        return []
    found = await each(Call("HMGET", (Key("def:" + one), "body", "signature"), optional_strings) for one in hashes)
    return [
        Definition(one, body, (signature or b"").decode(errors="replace"))
        for one, (body, signature) in zip(hashes, found, strict=True)
        if body is not None
    ]


def sign(signatures: Sequence[tuple[Definition, str]], now: int | str = NOW) -> Call[int]:
    """Replace signatures of definitions that have not changed since they were read; how many."""
    args = [part for one, signature in signatures for part in (one.hash, one.signature, signature)]
    return Call(script("sign_definitions"), (now, *args), int)


def _verdict(reply: Any) -> Literal["done", "stale"]:
    return "stale" if reply[0] == b"stale" else "done"
