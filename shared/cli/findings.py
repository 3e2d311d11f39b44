"""The facts that ``runfleet doctor`` checks, and its findings with their cures."""

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
    The result of one check. ``code`` is its row in ``docs/operate.md``, ``value`` the state of its ``subject``, and
    ``cure`` is "" when there is nothing to do.
    """

    code: str
    level: Level
    subject: str
    value: str
    message: str
    cure: str = ""


class TaskFile(msgspec.Struct, frozen=True):
    """The task file compared with the store: its ``problems``, or the names of tasks that an apply would change."""

    path: str
    problems: str = ""
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """
    All facts that the checks use.

    ``clock_ahead_us``: how far the clock of Redis is ahead of this machine's. ``layout``: None in a store that was
    never used. ``unreadable``: tasks that this release cannot read, and why. ``standing``: overdue schedules of the
    others. ``health``: as the leader reports it, None without one. ``old_definitions``: the number signed with
    ``RUNFLEET_SECRET_OLD``. ``task_file``: None when there is none.
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
"""How many names a sentence lists."""


def unread(code: str, subject: str) -> list[Finding]:
    """The finding for a fact that the server does not disclose."""
    return [
        Finding(code, "info", subject, "could not be read", "the server does not disclose it, as many managed ones")
    ]


def names(of: Sequence[str]) -> str:
    """A list of names, shortened for a sentence."""
    more = len(of) - SHOWN
    return ", ".join(of[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def count(number: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
