"""``runfleet doctor``: checks settings, Redis, fleet and tasks, and prints a cure for each problem."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from cyclopts import Parameter

from shared.errors import ConfigInvalid, Misconfigured, RunfleetError, StoreUnavailable
from shared.printable import printable

if TYPE_CHECKING:
    from shared.cli.findings import Facts, Finding, TaskFile
    from shared.settings import Settings
    from shared.store.redis.sync_store import Store
    from shared.store.tasks import Entry

PINGS: Final = 5
"""The reported round trip is the median of this many."""

VALUE_WIDTH: Final = 28
"""Maximum width of the column of values; a longer one moves its own sentence."""

COLOURS: Final = {"ok": "32", "info": "36", "warning": "33", "error": "31"}


def doctor(
    *,
    data: Path = Path(".runfleet"),
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
    strict: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """
    Check settings, Redis, workers, queues and tasks; print each problem with its cure.

    Changes nothing. Exits with 0 without errors, 1 with errors, 2 if the settings are invalid, 6 if Redis cannot be
    reached. Without REDIS_URL it checks the store of the `runfleet up` that uses the data folder.

    Parameters
    ----------
    data
        Data folder of a `runfleet up`.
    as_json
        Print one JSON object.
    strict
        Exit with 1 for warnings too.
    """
    from shared.cli import EXIT_CODES

    found, code = examine(os.environ, data)
    if code == EXIT_CODES["done"] and any(one.level == "error" or (strict and one.level == "warning") for one in found):
        code = EXIT_CODES["failed"]
    tally = {level: sum(one.level == level for one in found) for level in COLOURS}
    if as_json:
        report = {"healthy": code == EXIT_CODES["done"], "counts": tally, "findings": found}
        # As ASCII, which cannot control a terminal.
        sys.stdout.write(json.dumps(msgspec.to_builtins(report), indent=2).replace("\x7f", "\\u007f") + "\n")
        return code
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in lines(found, width=width, colours=colours):
        sys.stdout.write(line + "\n")
    sys.stderr.write(", ".join(f"{number} {level}" for level, number in reversed(tally.items()) if number) + "\n")
    return code


def examine(environ: Mapping[str, str], data: Path) -> tuple[list[Finding], int]:
    """All findings, and the exit code before errors among them count."""
    from shared.cli import EXIT_CODES, fleet_findings, redis_findings
    from shared.cli.findings import Finding
    from shared.redis_url import place
    from shared.store import (
        dialects,  # noqa: F401  # adds its keys to the known ones
        open_store,
    )
    from shared.store.key_types import mistyped_keys
    from shared.store.redis import permissions, server_info

    try:
        settings = _settings(environ, data)
        store = open_store(settings)
    except Misconfigured as error:
        cure = "docs/settings.md lists all settings"
        return [Finding("settings", "error", "settings", "invalid", str(error), cure)], EXIT_CODES["usage"]
    found = [Finding("settings", "ok", "settings", "valid", "all values are valid")]
    refused: Sequence[str] = ()
    try:
        refused = store.run(permissions.refused())
        found += redis_findings.rights(refused, settings)
        wrong = store.run(mistyped_keys())
        found += redis_findings.wrong_keys(wrong, settings)
        try:
            facts = gather(store, settings, environ)
        except RunfleetError as error:
            if not wrong or isinstance(error, StoreUnavailable):
                raise
            return found, EXIT_CODES["failed"]  # they prevent all other checks
    except StoreUnavailable as error:
        if refused:  # the missing rights are the reason
            return found, EXIT_CODES["failed"]
        if first := permissions.refused_by(str(error)):  # a right that all other checks need
            return [*found, *redis_findings.rights([first], settings)], EXIT_CODES["failed"]
        found += redis_findings.transport(settings)
        where = place(settings.redis_url)
        found.append(Finding("redis", "error", "Redis", where, str(error), _cure(str(error))))
        if "MISCONF" in str(error):  # its own state can still be read
            with contextlib.suppress(RunfleetError):
                found += redis_findings.last_write(store.run(server_info.server()))
        return found, EXIT_CODES["unreachable"]
    finally:
        store.close()
    for check in (*redis_findings.CHECKS, *fleet_findings.CHECKS):
        found += check(facts)
    return found, EXIT_CODES["done"]


def gather(store: Store, settings: Settings, environ: Mapping[str, str]) -> Facts:
    """Read all facts, without changing anything. Raises StoreUnavailable."""
    from shared.cli.findings import Facts
    from shared.ops import rotation
    from shared.schedules.overdue import standing
    from shared.store import fleet, leadership, tasks, tokens, version
    from shared.store.health import stored_health
    from shared.store.redis import server_info

    store.run(fleet.ping())  # connects, which must not count
    took_ms: list[float] = []
    for _ in range(PINGS):
        began_s = time.perf_counter()
        store.run(fleet.ping())
        took_ms.append((time.perf_counter() - began_s) * 1000)
    before_us = time.time_ns() // 1000
    redis_us = store.run(fleet.clock())
    after_us = time.time_ns() // 1000
    leaders = store.run(leadership.schedulers(redis_us))
    catalog = store.run(tasks.catalog())
    cursors = store.run(tasks.cursors())
    rows = store.run(tokens.listing(settings.keys))
    return Facts(
        settings=settings,
        round_trip_ms=statistics.median(took_ms),
        clock_ahead_us=redis_us - (before_us + after_us) // 2,
        server=store.run(server_info.server()),
        layout=store.run(version.found()),
        leader=leaders.leader,
        standbys=leaders.standbys,
        workers=store.run(fleet.workers()),
        queues=store.run(fleet.queues()),
        entries=catalog.entries,
        unreadable=catalog.unreadable,
        standing=standing([one.task for one in catalog.entries if not one.paused], cursors, redis_us),
        health=store.run(stored_health()),
        tokens=rows,
        old_definitions=len(store.run(rotation.signed_with_the_old(settings.keys))) if settings.secret_old else 0,
        task_file=compare(Path(settings.config), catalog.entries, environ),
    )


def compare(path: Path, entries: Sequence[Entry], environ: Mapping[str, str]) -> TaskFile | None:
    """Compare the task file at *path* with the tasks in the store; None without a file."""
    from shared.cli.findings import TaskFile
    from shared.config import read_config
    from shared.tasks import define

    if not path.is_file():
        return None
    try:
        config = read_config(path, environ)
    except ConfigInvalid as error:
        first, *more = str(error).splitlines()
        return TaskFile(str(path), first + (f" (and {len(more)} more)" if more else ""))
    stored = {entry.name: entry for entry in entries}
    wanted = {task.name: define(task).hash for task in config.tasks.values()}
    return TaskFile(
        str(path),
        added=tuple(sorted(wanted.keys() - stored.keys())),
        changed=tuple(sorted(name for name in wanted.keys() & stored if stored[name].definition.hash != wanted[name])),
        removed=tuple(sorted(one.name for one in entries if one.source == "file" and one.name not in wanted)),
    )


def lines(found: Sequence[Finding], *, width: int = 0, colours: bool = False) -> Iterator[str]:
    """The findings as aligned text; sentences are wrapped at *width* columns, unless that is 0."""
    found = [_printable(one) for one in found]
    subject_width = max(len(one.subject) for one in found)
    value_width = min(VALUE_WIDTH, max(len(one.value) for one in found))
    indent = 7 + 2 + subject_width + 2 + value_width + 2
    for one in found:
        level = f"\x1b[{COLOURS[one.level]}m{one.level:<7}\x1b[0m" if colours else f"{one.level:<7}"
        sentences = one.message.splitlines() + ([f"→ {one.cure}"] if one.cure and one.level != "ok" else [])
        if width - indent >= VALUE_WIDTH:
            sentences = [line for sentence in sentences for line in textwrap.wrap(sentence, width - indent)]
        yield f"{level}  {one.subject:<{subject_width}}  {one.value:<{value_width}}  {sentences[0]}"
        for sentence in sentences[1:]:
            yield " " * indent + sentence


def _printable(one: Finding) -> Finding:
    """Names in Redis may come from an attacker: they must not control the terminal, or look like findings."""
    return msgspec.structs.replace(
        one,
        subject=printable(one.subject, one_line=True),
        value=printable(one.value, one_line=True),
        message=printable(one.message),
        cure=printable(one.cure, one_line=True),
    )


def _settings(environ: Mapping[str, str], data: Path) -> Settings:
    """The settings, with the store, secret and token of the ``runfleet up`` on *data* when no Redis is set."""
    from shared.cli.apply import borrowed
    from shared.cli.data_dir import DataFolder
    from shared.settings import read_settings

    own = dict(environ)
    lent = borrowed(data)
    if lent:
        own |= lent
        own.setdefault("RUNFLEET_TOKEN", DataFolder(data).kept("token"))
    settings = read_settings(own)
    if not settings.redis_url:
        raise Misconfigured(f"No Redis to check: set REDIS_URL, or start `runfleet up` on {data} (--data).")
    return settings


def _cure(error: str) -> str:
    """The cure for a connection error."""
    if "CERTIFICATE_VERIFY_FAILED" in error:
        return "this machine does not trust its certificate: for Heroku's own, set RUNFLEET_REDIS_TLS_VERIFY=off"
    if "WRONG_VERSION_NUMBER" in error:
        return "that port does not use TLS: write redis:// instead of rediss://, or use the TLS port"
    if "Connection reset" in error or "Connection closed" in error:
        return "if that port uses TLS, write rediss:// instead of redis://; else read the server's log"
    if "refuses this user" in error:
        return "check user and password in RUNFLEET_REDIS_URL, and the rights of the user (ACL LIST)"
    if "MISCONF" in error or "LOADING" in error:
        return "read the server's log"
    return "check RUNFLEET_REDIS_URL, that the server runs, and that no firewall blocks it"
