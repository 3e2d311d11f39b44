"""The reader of the task file and its includes: reports all problems of all files at once."""

import glob
import itertools
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from shared.config.advice import advise
from shared.config.cross_checks import check_cycles, check_names, check_required
from shared.config.durations import format_size
from shared.config.keys import INCLUDE, LIMIT_KEYS, NOTIFY_KEYS
from shared.config.rules import Defaults, read_task
from shared.config.source_locations import Finding, Place, location, nearest, show
from shared.config.substitution import substitute_tree
from shared.config.toml_lines import find_lines, line_of
from shared.config.value_types import read, read_table
from shared.errors import ConfigInvalid, ConfigProblem, Invalid, Problem
from shared.tasks import NAME_MAX, Task, is_task_name

TABLES: Final = ("tasks", "notify", "limits")
DEPTH_MAX: Final = 32
INCLUDE_DEPTH_MAX: Final = 10
SIZE_MAX: Final = 4 * 1024 * 1024

NotifyOn = Literal["success", "failed", "stopped", "timeout", "crashed", "skipped", "log_overflow", "recovered"]


class Notify(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A notification channel. ``url`` may hold a password: never show it whole. ``throttle_ms`` 0: no limit."""

    name: str
    url: str
    on: tuple[NotifyOn, ...] = ("failed", "timeout", "crashed", "log_overflow")
    throttle_ms: int = 0


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """
    A task file: tasks by name with ``[defaults]`` merged in, slots of each limit, channels by name.

    ``files``: all files that were read, in order, the requested one first. ``modified_us``: when the newest of them was
    changed, in microseconds since the epoch. ``warnings``: valid settings that are probably not intended.
    """

    tasks: dict[str, Task]
    limits: dict[str, int]
    notify: dict[str, Notify]
    files: tuple[Path, ...]
    modified_us: int = 0
    warnings: tuple[ConfigProblem, ...] = ()


def read_config(path: Path, environ: Mapping[str, str], *, with_advice: bool = False) -> Config:
    """
    Read the task file at *path* and its includes.

    ``${NAME}`` is taken from *environ*, except in ``run``, where the shell resolves it, and in ``secrets``, where the
    worker does, so that the value never reaches the store. *with_advice*: fill ``warnings``. Raises ConfigInvalid with
    every problem of every file.
    """
    document = _Document(environ, with_advice=with_advice)
    document.load(path, Place(document.found, str(path)), ())
    config = document.config()
    if document.found:
        raise ConfigInvalid(document.problems(document.found))
    return config


def parse_task(name: str, table: Mapping[str, object], *, at: str = "body") -> Task:
    """
    Read a task from a *table* with the keys of the task file; for tasks defined through the API.

    Nothing is substituted. The caller checks whether the tasks, limits and channels that it names exist. Raises Invalid
    with locations like ``body.retry_on[1]``.
    """
    found: list[Finding] = []
    task = None
    if _is_too_deep(table):
        found.append(Finding("", (), _TOO_DEEP))
    else:
        task = read_task(name, table, Place(found), Defaults({}, Place([])))
    if task is None or found:
        raise Invalid([_to_problem(finding, at) for finding in dict.fromkeys(found)])
    return task


_TOO_DEEP: Final = f"tables and lists are nested deeper than {DEPTH_MAX}"


class _Document:
    """All files together. A table that is in two of them is reported with both places."""

    def __init__(self, environ: Mapping[str, str], *, with_advice: bool) -> None:
        self._with_advice = with_advice
        self.found: list[Finding] = []
        self.advised: list[Finding] = []
        self._environ = environ
        self._files: list[Path] = []
        self._seen: set[str] = set()
        self._modified_us = 0
        self._is_whole = True  # False: a file could not be read, so a missing name may be in it
        self._lines: dict[str, dict[tuple[str | int, ...], int]] = {}
        self._tables: dict[tuple[str, str], tuple[object, Place]] = {}
        self._defaults: tuple[object, Place] | None = None

    def load(self, path: Path, wanted: Place, parents: tuple[str, ...]) -> None:
        """Read the file at *path* and its includes. *wanted* is the place that refers to it."""
        real = os.path.realpath(path)
        if real in parents:
            wanted.problem(f"includes {path}, which includes this file: remove one of the two")
            return
        if real in self._seen:
            return  # matched by two patterns
        if len(parents) > INCLUDE_DEPTH_MAX:
            wanted.problem(f"files include each other deeper than {INCLUDE_DEPTH_MAX}")
            return
        self._seen.add(real)
        top = Place(self.found, str(path))
        text = self._read_text(path, wanted)
        table = None if text is None else self._parse(text, top)
        if table is None:
            self._is_whole = False
            return
        self._files.append(path)
        self._take(table, top, path, (*parents, real))

    def config(self) -> Config:
        """The result, after the last checks. Only useful if no problem was found."""
        defaults = Defaults(*(self._defaults or ({}, Place(self.found))))
        tasks: dict[str, Task] = {}
        notify: dict[str, Notify] = {}
        limits: dict[str, int] = {}
        for (kind, name), (table, place) in self._tables.items():
            if kind == "tasks":
                task = read_task(name, table, place, defaults)
                tasks |= {name: task} if task else {}
                continue
            if not is_task_name(name):
                place.problem(f"a name is 1 to {NAME_MAX} letters, digits and . _ -, not {show(name)}")
            values: dict[str, Any] = read_table(NOTIFY_KEYS if kind == "notify" else LIMIT_KEYS, table, place)
            if kind == "notify" and "url" in values:
                fields = {NOTIFY_KEYS[key].field or key: value for key, value in values.items()}
                notify[name] = Notify(name=name, **fields)
            if kind == "limits" and "max" in values:
                limits[name] = values["max"]
        if self._is_whole:
            known = {kind: [name for table, name in self._tables if table == kind] for kind in TABLES}
            check_names(tasks, known, self._place_of)
        check_cycles(tasks, self._place_of)
        check_required(tasks, self._place_of)
        if self._with_advice and not self.found:
            advise(tasks, bool(notify), self._advice_for)
        return Config(
            tasks=tasks,
            limits=limits,
            notify=notify,
            files=tuple(self._files),
            modified_us=self._modified_us,
            warnings=tuple(self.problems(self.advised)),
        )

    def problems(self, found: list[Finding]) -> list[ConfigProblem]:
        """The problems *found*, each once, sorted by file in the order of reading and by line."""
        problems = []
        for finding in dict.fromkeys(found):
            line = line_of(self._lines.get(finding.file, {}), finding.path)
            if not finding.path and (match := _LINE.search(finding.message)):
                line = int(match[1])
            message = _LINE.sub("", finding.message) if not finding.path else finding.message
            problem = ConfigProblem(
                location=location(finding.path), message=message, file=finding.file, line=line, nearest=finding.nearest
            )
            problems.append(problem)
        order = {str(path): index for index, path in enumerate(self._files)}
        return sorted(problems, key=lambda problem: (order.get(problem.file, len(order)), problem.line))

    def _read_text(self, path: Path, wanted: Place) -> str | None:
        try:
            if path.exists() and not path.is_file() and not path.is_dir():
                raise ValueError("it is a device or a pipe; name a file")  # which might never end
            with path.open("rb") as file:
                data = file.read(SIZE_MAX + 1)
                self._modified_us = max(self._modified_us, os.fstat(file.fileno()).st_mtime_ns // 1000)
            if len(data) > SIZE_MAX:
                raise ValueError(f"it is longer than {format_size(SIZE_MAX)}")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            wanted.problem(f"{path} cannot be read: {why}" if wanted.path else f"cannot be read: {why}")
            return None
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            Place(self.found, str(path)).problem(f"is not UTF-8: save it as UTF-8 (at line {line}, column 1)")
            return None

    def _parse(self, text: str, top: Place) -> dict[str, object] | None:
        try:
            table = tomllib.loads(text)
        except RecursionError:
            top.problem(_TOO_DEEP)
            return None
        except ValueError as error:
            end = text.count("\n") + 1 - text.endswith("\n")
            top.problem(f"not TOML: {error}".replace("(at end of document)", f"(at line {end}, column 1)"))
            return None
        if _is_too_deep(table):
            top.problem(_TOO_DEEP)
            return None
        self._lines[top.file] = find_lines(text)
        substituted = substitute_tree(table, self._environ, top)
        return substituted if isinstance(substituted, dict) else None

    def _take(self, table: dict[str, object], top: Place, path: Path, parents: tuple[str, ...]) -> None:
        known = ("defaults", "include", *TABLES)
        for key, value in table.items():
            at = top.under(key)
            if key == "include":
                continue
            if key not in known:
                at.problem(f"unknown key: a task file has {', '.join(known)}", nearest(key, known))
            elif not isinstance(value, dict):
                at.problem(f"must be a table, not {show(value)}")
            elif key == "defaults":
                if self._defaults:
                    at.problem(f"defaults are given in {self._where(self._defaults[1])} too: keep one")
                else:
                    self._defaults = (value, at)
            else:
                for name, content in value.items():
                    self._take_named(key, name, content, at.under(name))
        if "include" in table:  # last, so that a thing defined twice is reported in the file that was included
            self._include(table["include"], top.under("include"), path, parents)

    def _take_named(self, kind: str, name: str, content: object, at: Place) -> None:
        first = self._tables.setdefault((kind, name), (content, at))
        if first[1] != at:
            at.problem(f"is defined in {self._where(first[1])} too: rename or remove one of the two")

    def _include(self, value: object, at: Place, path: Path, parents: tuple[str, ...]) -> None:
        patterns = read(INCLUDE, value, at)
        if not isinstance(patterns, tuple):
            return
        for index, pattern in enumerate(patterns):
            place = at.under(index) if isinstance(value, list) else at
            names = sorted(glob.glob(pattern, root_dir=path.parent, recursive=True))
            if not names and glob.has_magic(pattern):
                self._report_nothing(pattern, path.parent, place)
            if not names and not glob.has_magic(pattern):
                names = [pattern]  # to report that it cannot be read
            for name in names:
                if not (glob.has_magic(pattern) and (path.parent / name).is_dir()):
                    self.load(path.parent / name, place, parents)

    def _report_nothing(self, pattern: str, root: Path, place: Place) -> None:
        """Report a pattern that matches nothing: a warning for an empty folder, an error for a missing one."""
        parts = Path(pattern).parts
        plain = root.joinpath(*itertools.takewhile(lambda part: not glob.has_magic(part), parts))
        if plain.is_dir():
            place._replace(found=self.advised).problem(f'"{pattern}" matches no file')
        else:
            self._is_whole = False
            place.problem(f'"{pattern}" matches no file: there is no folder {plain}')

    def _where(self, place: Place) -> str:
        return f"{place.file}:{line_of(self._lines.get(place.file, {}), place.path)}"

    def _advice_for(self, name: str, key: str) -> Place:
        if not name and not key:
            return Place(self.advised, str(self._files[0]))
        if not name:
            return next(place for (kind, _), (_, place) in self._tables.items() if kind == key)._replace(
                found=self.advised
            )
        table, place = self._tables["tasks", name]
        stands = isinstance(table, dict) and key in table
        return (place.under(key) if stands else place)._replace(found=self.advised)

    def _place_of(self, name: str, key: str) -> Place:
        table, place = self._tables["tasks", name]
        if self._defaults and isinstance(table, dict) and key not in table:
            place = self._defaults[1]
        return place.under(key)


_LINE: Final = re.compile(r" \(at line ([0-9]+), column [0-9]+\)$")


def _is_too_deep(table: object) -> bool:
    """Whether *table* is nested deeper than ``DEPTH_MAX``; dotted keys can nest deeper than Python may recurse."""
    level: list[object] = [table]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for item in level
            if isinstance(item, (Mapping, list, tuple))
            for child in (item.values() if isinstance(item, Mapping) else item)
        ]
        if not level:
            return False
    return True


def _to_problem(finding: Finding, at: str) -> Problem:
    meant = f'; did you mean "{finding.nearest}"?' if finding.nearest else ""
    return Problem(
        location=location((at, *finding.path)) if at else location(finding.path), message=finding.message + meant
    )
