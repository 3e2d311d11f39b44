"""
Applies a task file to the catalog, and refuses dangerous changes.

Three changes need an option of their own, because each of them stops a fleet when it happens by mistake:
to remove more than half of the tasks, to replace signatures by none or by ones of another secret, and (for a scheduler,
which applies by itself) to replace a file by an older one.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from shared.clock import to_datetime
from shared.errors import NotApplied, StoreFull
from shared.signing import UNSIGNED, Keys
from shared.store import applying, version
from shared.store.applying import Generation, Row, Snapshot
from shared.tasks import Definition, Task, define, is_intact, sign, signer

if TYPE_CHECKING:
    from shared.config import Config

TRIES: Final = 5
"""How often applying is tried again when another file was applied in between."""

LITTLE_BYTES: Final = 1024 * 1024
"""
A change of at most so many bytes, definitions and all, is applied in a full Redis too. One must be able to lower
``keep_runs`` or remove schedules then, and so small a change fits.
"""

SHOWN: Final = 5
"""Most names that a message lists."""


class Change(msgspec.Struct, frozen=True):
    """
    The changes that applying a file makes, task names sorted.

    ``signatures``: tasks that stay and whose definition gets a signature of another secret, its first one, or none;
    also those of the API that ``RUNFLEET_SECRET_OLD`` has signed.
    ``number`` is that of the file from then on.
    """

    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: list[str]
    signatures: list[str]
    number: int = 0


async def apply_config(
    config: Config,
    keys: Keys = UNSIGNED,
    *,
    by: str = "",
    allow_removals: bool = False,
    allow_unsigned: bool = False,
    only_newer: bool = False,
) -> Change:
    """
    Apply a validated task file to the catalog, in one step. Tasks made through the API stay as they are.

    A file that changes nothing writes nothing, and one that changes little (``LITTLE_BYTES``) is applied while Redis is
    full; another one raises StoreFull then. *by* names who applies it;
    this machine's name if "". *allow_removals*: more than half of the file's tasks may go. *allow_unsigned*: signatures
    that *keys* do not know may be replaced. *only_newer*: not if it is older than the file that was applied last.

    Raises NotApplied when it would do what is not allowed, and Misconfigured when a newer release's data is there.
    """
    await version.check()
    wanted = [(task, define(task, keys)) for task in config.tasks.values()]
    digest = digest_of(wanted, config.limits)
    for _ in range(TRIES):
        before = await applying.snapshot()
        last = before.generation
        change = compare(before, wanted, keys)
        if only_newer:
            _require_newer(before, digest, config.modified_us)
        if not allow_unsigned:
            _require_known_signatures(before, config, keys)
        if not allow_removals:
            _require_few_removals(before, change)
        made_elsewhere = _signed_with_the_old(before, config, keys)
        if made_elsewhere:
            await applying.sign(list(made_elsewhere.values()))
        is_known = last is not None and last.digest == digest and before.limits == config.limits
        if is_known and not (change.added or change.changed or change.removed or change.signatures):
            return _with(change, made_elsewhere)
        changed_bytes = _changed_bytes(change, wanted) + (
            0 if before.limits == config.limits else sum(map(len, config.limits))
        )
        try:
            verdict = await applying.apply(
                wanted,
                config.limits,
                over=last.number if last else 0,
                digest=digest,
                by=by or socket.gethostname(),
                modified_us=config.modified_us,
                may_unsign=allow_unsigned,
                little=changed_bytes <= LITTLE_BYTES,
            )
        except StoreFull:
            raise StoreFull(
                f"Redis is full, and the task file changes {changed_bytes / LITTLE_BYTES:.1f} MiB of definitions, more "
                "than the 1 MiB that is taken then: apply a smaller change first, such as a lower keep_runs in "
                "the tasks with the longest history, or raise maxmemory"
            ) from None
        if verdict == "done":
            return _with(msgspec.structs.replace(change, number=(last.number if last else 0) + 1), made_elsewhere)
    raise NotApplied("Others apply task files at the same time, one after the other; nothing was applied, try again.")


def _changed_bytes(change: Change, wanted: Sequence[tuple[Task, Definition]]) -> int:
    """The bytes of a file's definitions that are new."""
    names = {*change.added, *change.changed}
    return sum(len(definition.body) + len(task.name) for task, definition in wanted if task.name in names)


def digest_of(wanted: Sequence[tuple[Task, Definition]], limits: dict[str, int]) -> str:
    """A file's content as one name: the same for the same tasks and limits, wherever its comments and lines are."""
    parts = sorted((task.name, definition.hash) for task, definition in wanted)
    return hashlib.sha256(msgspec.json.encode([parts, sorted(limits.items())])).hexdigest()[:32]


def compare(before: Snapshot, wanted: Sequence[tuple[Task, Definition]], keys: Keys) -> Change:
    """The changes that applying *wanted* makes to a store that is as *before*."""
    known = {row.name: row for row in before.rows}
    named = {task.name: definition for task, definition in wanted}
    stays = sorted(name for name in named.keys() & known)
    return Change(
        added=sorted(named.keys() - known.keys()),
        changed=[name for name in stays if _differs(known[name], named[name])],
        removed=sorted(row.name for row in before.rows if row.source == "file" and row.name not in named),
        unchanged=[name for name in stays if not _differs(known[name], named[name])],
        signatures=[name for name in stays if _is_signed_anew(known[name], keys)],
        number=before.generation.number if before.generation else 0,
    )


def _signed_with_the_old(before: Snapshot, config: Config, keys: Keys) -> dict[str, tuple[Definition, str]]:
    """Tasks of the API that the old secret has signed: definition, and the signature of the present one."""
    return {
        row.name: (row.definition, sign(row.definition, keys, row.name))
        for row in before.rows
        if row.source != "file" and row.name not in config.tasks and signer(row.definition, keys, row.name) == "old"
    }


def _with(change: Change, signed: Iterable[str]) -> Change:
    return msgspec.structs.replace(change, signatures=sorted([*change.signatures, *signed]))


def _differs(row: Row, definition: Definition) -> bool:
    return row.hash != definition.hash or row.source != "file" or row.body != definition.body


def _is_signed_anew(row: Row, keys: Keys) -> bool:
    """Whether its definition, replaced by one that *keys* sign, is of another signer than before."""
    return signer(row.definition, keys, row.name) != "new" if keys else row.signature != ""


def _require_newer(before: Snapshot, digest: str, modified_us: int) -> None:
    last = before.generation
    if last is None or last.digest == digest:
        return
    number = before.files.get(digest)
    if number is not None:
        raise NotApplied(
            f"This task file is older than the one in the store: it was applied as number {number}, and after it "
            f"{_described(last)}. The tasks in the store stay as they are. To go back to this, run `runfleet apply`."
        )
    if modified_us < last.modified_us:
        raise NotApplied(
            f"This task file was changed at {_stamp(modified_us)}, before the one in the store was "
            f"({_stamp(last.modified_us)}; {_described(last)}). The tasks in the store stay as they are. If this is "
            "the right one, run `runfleet apply`."
        )


def _require_known_signatures(before: Snapshot, config: Config, keys: Keys) -> None:
    ours = [row for row in before.rows if row.source == "file" or row.name in config.tasks]
    foreign = [
        row.name
        for row in ours
        if row.signature and is_intact(row.definition) and not signer(row.definition, keys, row.name)
    ]
    if not foreign:
        return
    which = f"{len(foreign)} of {len(ours)} tasks in the store ({_some(foreign)}) are signed"
    if not keys:
        raise NotApplied(
            f"{which}, and RUNFLEET_SECRET is not set here, so that workers would execute nothing of what is applied. "
            "Nothing was applied. Set the RUNFLEET_SECRET that the fleet has; or take the signatures away with "
            "--allow-unsigned."
        )
    raise NotApplied(
        f"{which} with another secret than the RUNFLEET_SECRET that is set here; workers that have the other one would "
        "execute nothing of what is applied. Nothing was applied. Set the secret that the fleet has; or, to change it, "
        "set that one as RUNFLEET_SECRET_OLD; or, if it is lost, replace the signatures with --allow-unsigned."
    )


def _require_few_removals(before: Snapshot, change: Change) -> None:
    there = sum(row.source == "file" for row in before.rows)
    if len(change.removed) * 2 > there:
        raise NotApplied(
            f"This task file would remove {len(change.removed)} of {there} tasks ({_some(change.removed)}). Nothing "
            "was applied. If that is meant, run `runfleet apply --allow-removals`."
        )


def _described(last: Generation) -> str:
    return f"number {last.number} was applied at {_stamp(last.at_us)} by {last.by}"


def _stamp(at_us: int) -> str:
    return to_datetime(at_us).isoformat(sep=" ", timespec="seconds")


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
