"""
Random task files: those that are right by construction are taken, those that are wrong somewhere are refused.

How many of a kind are taken is asserted: a strategy whose documents are all refused would test nothing of what follows.
"""

import json
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config import parse_task, read_config, schema
from shared.config.keys import LIMIT_KEYS, NOTIFY_KEYS, TASK_KEYS
from shared.config.rules import NOT_FOR
from shared.errors import ConfigProblem, Invalid
from shared.tasks import define

Table = dict[str, Any]
T = TypeVar("T")

# Right by construction

words = st.text("abcdefghijklmnopqrstuvwxyzäé0123456789 -_.", min_size=1, max_size=12).filter(str.strip)
names = st.text("abcXYZ019._-", min_size=1, max_size=10)
variables = st.text("ABCXYZ_", min_size=1, max_size=8).filter(lambda name: not name.startswith("RUNFLEET"))
durations = st.builds(lambda number, unit: f"{number}{unit}", st.integers(1, 300), st.sampled_from(["s", "m", "h"]))
sizes = st.builds(lambda number, unit: f"{number}{unit}", st.integers(1, 900), st.just("mb"))
flags = st.booleans()
texts = st.dictionaries(variables, words, max_size=3)
crons = st.sampled_from(
    ["* * * * *", "30 2 * * 1-5", "@daily", "@every 90s", "*/10 * * * * *", "0 0 1 */3 *", "15,45 8-18 * * mon"]
)


@st.composite
def declared(draw: st.DrawFn, kind: str) -> Table:
    """A parameter: its default, choices and pattern fit its type."""
    type_ = draw(st.sampled_from(["string", "number", "bool", "json"]))
    value: st.SearchStrategy[Any] = {
        "string": st.just("abc"),
        "number": st.integers(-5, 5),
        "bool": flags,
        "json": st.just({"a": [1, "x"]}),
    }[type_]
    table: Table = {"type": type_, "description": draw(words)}
    if draw(flags):
        table["default"] = draw(value)
    if type_ == "string" and draw(flags):
        table["pattern"] = "[a-z]+"
    if kind != "call":
        table["pass"] = draw(st.sampled_from(["env", "arg", "option", *(["flag"] if type_ == "bool" else [])]))
    return table


RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "python": st.just("/usr/bin/python3"),
    "isolate": flags,
    "description": words,
    "group": words,
    "tags": st.lists(words, max_size=3, unique=True),
    "labels": st.dictionaries(words, words, max_size=3),
    "cron": crons | st.lists(crons, min_size=1, max_size=3, unique=True),
    "timezone": st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
    "jitter": st.just("0s"),
    "catch_up": st.integers(0, 1000),
    "manual_trigger": flags,
    "replicas": st.integers(1, 100),
    "max_replicas": st.integers(100, 10_000),
    "queue": names,
    "priority": st.integers(0, 9),
    "max_concurrent": st.integers(1, 100_000),
    "on_overlap": st.sampled_from(["queue", "skip", "kill"]),
    "max_queued": st.integers(0, 100_000),
    "timeout": durations,
    "stop_signal": st.sampled_from(["SIGTERM", "INT", "sigusr1"]),
    "graceful_stop": st.sampled_from(["0s", "500ms", "1d"]),
    "retry_attempts": st.integers(0, 100),
    "retry_delay": st.sampled_from(["0s", "5s"])
    | st.lists(st.sampled_from(["1s", "5s", "10s"]), min_size=2, max_size=4),
    "retry_backoff": st.just("constant"),
    "retry_max_delay": st.sampled_from(["10s", "5m", "365d"]),
    "retry_jitter": st.sampled_from([0, 0.5, 1, 1.0]),
    "retry_on": st.lists(st.sampled_from(["failed", "timeout", "crashed", "exit:75", "exit:0-255"]), unique=True),
    "success_codes": st.lists(st.integers(0, 255), min_size=1, max_size=4, unique=True),
    "on_interrupt": st.sampled_from(["retry", "rerun", "end"]),
    "strict_lease": flags,
    "heartbeat_timeout": st.sampled_from(["1s", "5m"]),
    "log_max_size": sizes,
    "log_on_full": st.sampled_from(["drop_old", "drop_new", "kill"]),
    "keep_runs": st.integers(1, 1_000_000),
    "keep_for": st.sampled_from(["1s", "30d", "36500d"]),
    "env": st.dictionaries(variables.map(lambda name: "E" + name), words, max_size=3),
    "env_file": st.just("x.env"),
    "secrets": st.dictionaries(variables.map(lambda name: "S" + name), st.just("${HOME}") | words, max_size=3),
    "secrets_file": st.just("secrets.env"),
    "working_dir": st.just("/tmp"),
    "umask": st.sampled_from(["022", "0o77", 18]),
    "nice": st.integers(-20, 19),
    "user": st.just("app"),
    "memory_limit": sizes,
    "address_space_limit": sizes,
    "cpu_limit": st.integers(1, 3600) | st.just("5m"),
}
"""For each key but those that name others: values that are right, whatever else the task says."""

OF_OTHERS = ("run", "call", "external", "depends_on", "limits", "notify", "params")


@st.composite
def right_tasks(draw: st.DrawFn) -> Table:
    """A task's table that is right by itself."""
    kind = draw(st.sampled_from(["run", "run", "call", "external"]))
    what: Any = {
        "run": st.just("true") | st.just(["date", "-u"]),
        "call": st.just("jobs.mail:send"),
        "external": st.just(True),
    }
    table: Table = {kind: draw(what[kind])}
    keys = draw(st.lists(st.sampled_from(sorted(set(RIGHT) & set(TASK_KEYS))), max_size=8, unique=True))
    table |= {key: draw(RIGHT[key]) for key in keys if key not in NOT_FOR[kind]}
    if draw(flags):
        table["params"] = draw(st.dictionaries(variables.map(str.lower), declared(kind), max_size=3))
    return table


@st.composite
def right_documents(draw: st.DrawFn) -> Table:
    """A task file: tasks depend on those before them, and name limits and channels that there are."""
    limits = draw(st.dictionaries(names, st.fixed_dictionaries({"max": st.integers(1, 100)}), max_size=2))
    channels = draw(st.dictionaries(names, st.just({"url": "https://x.example/y", "on": ["failed"]}), max_size=2))
    tasks: dict[str, Table] = {}
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        table = draw(right_tasks())
        for key, known in (("depends_on", tasks), ("limits", limits), ("notify", channels)):
            if known and draw(flags):
                table[key] = draw(st.lists(st.sampled_from(sorted(known)), max_size=2, unique=True))
        tasks[name] = table
    document: Table = {"tasks": tasks, "limits": limits, "notify": channels}
    if draw(flags):
        document["defaults"] = {"keep_for": "7d", "labels": {"team": "data"}}
    return document


# Wrong in some place

hostile: st.SearchStrategy[Any] = st.sampled_from(
    [
        0, -1, 2**70, 10**400, True, None, 1.5, math.nan, math.inf, "", " ", "a\0b", "\udc80", "x" * 200_000, "${",
        "${X}", "5s", "1kb", "exit:1-", "exit:٣", "a:b", "UTC", "America", "* * * * *", "/", "..", "\n", [], [[]],
        [None], ["a", "a"], [1, True], {}, {"a": {}}, {"a": "b"}, {"": ""}, {"\0": "\udc80"}, {1: 2}, b"bytes", ("a",),
        {"p": {"type": "json", "default": {"a": [1]}}}, {"p": {"pattern": "[[a](?P<", "default": "a"}},
        {"p": {"choices": [[1], {"a": 1}], "type": "json"}}, datetime(2020, 1, 1),
    ]
)  # fmt: skip
json_like: st.SearchStrategy[Any] = st.recursive(
    hostile | st.text(max_size=20) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def spoilt_documents(draw: st.DrawFn) -> Table:
    """A right document with anything at all in one place of it."""
    document = draw(right_documents())
    place = draw(st.sampled_from(["top", "task", "key", "limit", "channel", "defaults"]))
    task = document["tasks"][draw(st.sampled_from(sorted(document["tasks"])))]
    value = draw(json_like)
    if place == "top":
        document[draw(st.sampled_from(["tasks", "defaults", "notify", "limits", "include", "x"]))] = value
    elif place == "task":
        document["tasks"][draw(st.sampled_from([".", "a b", "", "a"]))] = value
    elif place == "key":
        task[draw(st.sampled_from([*TASK_KEYS, "x"]))] = value
    elif place == "limit":
        document["limits"]["spoilt"] = {draw(st.sampled_from([*LIMIT_KEYS, "x"])): value}
    elif place == "channel":
        document["notify"]["spoilt"] = {draw(st.sampled_from([*NOTIFY_KEYS, "x"])): value}
    else:
        document["defaults"] = {draw(st.sampled_from([*TASK_KEYS, "x"])): value}
    return document


class Tally:
    """How many of those that were looked at were taken."""

    def __init__(self) -> None:
        self.taken = self.seen = 0

    def note(self, taken: bool) -> None:
        self.seen += 1
        self.taken += taken

    @property
    def share(self) -> float:
        assert self.seen >= 50
        return self.taken / self.seen


def or_invalid(make: Callable[[], T]) -> T | Invalid:
    try:
        return make()
    except Invalid as error:
        return error


def to_toml(value: object) -> str:
    """What TOML doesn't have becomes the nearest thing to it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {to_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=any("\ud800" <= char <= "\uffff" for char in value)).replace("\x7f", "?")
    if isinstance(value, bool) or not isinstance(value, (int, float, datetime)):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def write(folder: Path, document: Table) -> Path:
    path = folder / "document.toml"
    path.write_text("".join(f"{key} = {to_toml(value)}\n" for key, value in document.items()))
    return path


def test_the_strategies_know_every_key() -> None:
    assert sorted(TASK_KEYS) == sorted({*RIGHT, *OF_OTHERS} & set(TASK_KEYS))


def test_a_file_that_is_right_is_taken_with_all_that_it_says(tmp_path: Path) -> None:
    @settings(max_examples=100)
    @given(right_documents())
    def look(document: Table) -> None:
        config = read_config(write(tmp_path, document), {}, with_advice=True)
        assert set(config.tasks) == set(document["tasks"])
        assert config.limits == {name: table["max"] for name, table in document["limits"].items()}
        for task in config.tasks.values():
            definition = define(task)
            assert definition.task() == task
            assert define(definition.task()) == definition

    look()


def test_a_file_that_is_spoilt_in_one_place_is_taken_or_refused_with_its_place(tmp_path: Path) -> None:
    tally = Tally()

    @settings(max_examples=200)
    @given(spoilt_documents())
    def look(document: Table) -> None:
        path = write(tmp_path, document)
        result = or_invalid(lambda: read_config(path, {"X": "\udc80"}))
        tally.note(not isinstance(result, Invalid))
        if isinstance(result, Invalid):
            assert len(str(result).splitlines()) == len(result.problems) > 0
            assert all(isinstance(problem, ConfigProblem) and problem.file == str(path) for problem in result.problems)

    look()
    assert 0 < tally.share < 0.6  # some values are right where they were put


@pytest.mark.parametrize("key", TASK_KEYS)
@settings(max_examples=60)
@given(value=json_like, kind=st.sampled_from([{"run": "true"}, {"call": "m:f"}, {"external": True}, {}]))
def test_any_value_of_any_key_is_taken_or_refused(key: str, value: object, kind: dict[str, object]) -> None:
    result = or_invalid(lambda: parse_task("x", {**kind, key: value}))
    if isinstance(result, Invalid):
        assert result.problems
        assert all(problem.message.isprintable() and problem.location.isprintable() for problem in result.problems)
    else:
        definition = define(result)
        assert define(definition.task()) == definition


def test_the_schema_takes_all_that_the_reader_takes() -> None:
    tally, validator = Tally(), jsonschema_rs.validator_for(schema())

    @settings(max_examples=200)
    @given(right_tasks(), st.sampled_from([None, *TASK_KEYS]), json_like)
    def look(table: Table, spoilt: str | None, value: object) -> None:
        if spoilt is not None and spoilt[0] > "m":  # half of them stay right
            table = {**table, spoilt: value}
        try:
            parse_task("x", table)
            raw = msgspec.json.decode(msgspec.json.encode(table))
        except (Invalid, TypeError, ValueError, OverflowError):
            tally.note(False)
            return
        tally.note(True)
        validator.validate({"tasks": {"x": raw}})

    look()
    assert tally.share > 0.4


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.text(alphabet="tasks.run=\"'[]{}\n#1,", max_size=100).map(str.encode))
def test_any_bytes_are_taken_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.toml"
    path.write_bytes(data)
    result = or_invalid(lambda: read_config(path, {}))
    assert not isinstance(result, Invalid) or result.problems
