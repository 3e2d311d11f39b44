"""What ``runfleet doctor`` looks at and what it says: facts, and findings with their cure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from shared.schedules.overdue import Standing
from shared.settings import Settings
from shared.store.fleet import Queue, Worker
from shared.store.health import Health
from shared.store.redis.server_info import Server
from shared.store.tasks import Entry
from shared.store.tokens import ListedToken

Level = Literal["ok", "info", "warning", "error"]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    One thing that was looked at. ``code`` is its row in ``docs/operate.md``; ``subject`` is what was looked at and
    ``value`` how it was found; ``cure`` is "" when there is nothing to do.
    """

    code: str
    level: Level
    subject: str
    value: str
    message: str
    cure: str = ""


class TaskFile(msgspec.Struct, frozen=True):
    """The task file against the store: ``problems`` when it is wrong, else names of tasks that an apply would touch."""

    path: str
    problems: str = ""
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """
    All that the checks judge.

    ``clock_ahead_us``: how far Redis's clock is ahead of this machine's. ``layout`` is None in a store that nobody
    used. ``unreadable`` are tasks that this release cannot read, and why; ``standing`` is how the schedules of the
    others are, and ``health`` how the leader says it is, None when none does. ``old_definitions`` are
    those of tasks and of runs that ``RUNFLEET_SECRET_OLD`` has signed. ``task_file`` is None when there is none.
    """

    settings: Settings
    round_trip_ms: float
    clock_ahead_us: int
    server: Server
    layout: int | None
    leader: str
    standbys: Sequence[str]
    workers: Sequence[Worker]
    queues: Sequence[Queue]
    entries: Sequence[Entry]
    unreadable: Mapping[str, str] = {}
    standing: Standing = Standing({}, {})
    health: Health | None = None
    tokens: Sequence[ListedToken] = ()
    old_definitions: int = 0
    task_file: TaskFile | None = None


Check = Callable[[Facts], list[Finding]]

SHOWN: Final = 5
"""Names that a sentence lists before it says how many more there are."""


def unread(code: str, subject: str) -> list[Finding]:
    """For what the server keeps to itself."""
    return [
        Finding(code, "info", subject, "could not be read", "the server does not tell; managed ones often forbid it")
    ]


def names(of: Sequence[str]) -> str:
    """Some names for a sentence."""
    more = len(of) - SHOWN
    return ", ".join(of[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def count(number: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
