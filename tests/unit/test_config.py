"""The task file: what it accepts, what it says about what it doesn't, and that it always says it."""

import importlib.util
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.config import (
    Notify,
    format_duration,
    format_size,
    mismatch,
    parse_duration,
    parse_size,
    parse_task,
    read_config,
    schema,
    substitute,
)
from shared.config.keys import NOTIFY_KEYS, TASK_KEYS
from shared.config.params import PARAM_KEYS
from shared.config.toml_lines import find_lines, line_of
from shared.errors import ConfigInvalid, Invalid
from shared.tasks import Param, Task

ROOT = Path(__file__).parents[2]


def read(folder: Path, text: str, environ: Mapping[str, str] | None = None, **files: str) -> dict[str, Task]:
    return read_config(write(folder, text, **files), environ or {}).tasks


def write(folder: Path, text: str, **files: str) -> Path:
    for name, content in {"runfleet": text, **files}.items():
        (folder / f"{name}.toml").write_text(content, encoding="utf-8")
    return folder / "runfleet.toml"


def complaints(folder: Path, text: str, environ: Mapping[str, str] | None = None, **files: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        read(folder, text, environ, **files)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


# Durations and sizes


@given(st.integers(0, 10**15))
def test_a_duration_reads_back_as_it_was_written(duration_ms: int) -> None:
    assert parse_duration(format_duration(duration_ms)) == duration_ms


@given(st.integers(0, 10**15))
def test_a_size_reads_back_as_it_was_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("0s", 0)],
)
def test_a_duration_is_milliseconds(text: str, duration_ms: int) -> None:
    assert parse_duration(text) == duration_ms
    assert format_duration(duration_ms) == text


@pytest.mark.parametrize(("text", "size"), [("500b", 500), ("64kb", 65_536), ("10mb", 10_485_760), ("1gb", 2**30)])
def test_a_size_is_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("30", 'not a bare number: write "30s" or "30m" instead of 30'),
        ("-1.5", 'not a bare number: write "1s" or "1m" instead of -1.5'),
        ("1H 30M", 'not "1H 30M": write "1h30m"'),
        ("30m1h", 'not "30m1h"'),
        ("", 'not ""'),
        ("ten\nseconds", 'not "ten\\nseconds"'),
        ("٣s", 'not "\\u0663s"'),
        ("9" * 16 + "s", f'not "{"9" * 16}s"'),
    ],
)
def test_an_invalid_duration_gets_the_cure(text: str, cure: str) -> None:
    with pytest.raises(ValueError, match="must be a duration") as caught:
        parse_duration(text)
    assert str(caught.value) == f"must be a duration like 500ms, 10s, 5m, 1h30m or 2d, {cure}"


@pytest.mark.parametrize(
    ("text", "cure"),
    [("5", 'not a bare number: write "5kb" or "5mb" instead of 5'), ("10MB", 'not "10MB": write "10mb"')],
)
def test_an_invalid_size_gets_the_cure(text: str, cure: str) -> None:
    with pytest.raises(ValueError, match="must be a size") as caught:
        parse_size(text)
    assert str(caught.value) == f"must be a size like 500b, 64kb, 10mb or 1gb, {cure}"


# What is good


def test_a_file_is_read_with_its_includes_in_order(tmp_path: Path) -> None:
    main = write(tmp_path, 'include = ["c*.toml", "c1.toml"]', c2="[tasks.b]\nrun='b'", c1="[tasks.a]\nrun='a'")
    config = read_config(main, {})
    assert list(config.tasks) == ["a", "b"]
    assert [path.name for path in config.files] == ["runfleet.toml", "c1.toml", "c2.toml"]


def test_every_key_of_the_task_file_can_be_used(tmp_path: Path) -> None:
    text = """
[tasks."every.thing"]
run = ["report", "--all"]
cron = ["30 2 * * *", "@hourly"]
timezone = "Europe/Berlin"
stop_signal = "int"
retry_delay = ["1s", "1m"]
retry_on = ["failed", "exit:64-78"]
umask = "022"
memory_limit = "512mb"
address_space_limit = "2gb"
user = "app"
cpu_limit = "1m"
params = { full = { type = "bool", pass = "flag", default = false }, count = { type = "number", choices = [1, 2] } }
limits = ["db"]
notify = ["ops"]
[limits.db]
max = 3
[notify.ops]
url = "https://example.org/hook"
on = "recovered"
throttle = "5m"
"""
    config = read_config(write(tmp_path, text), {})
    assert config.limits == {"db": 3}
    assert config.notify == {
        "ops": Notify(name="ops", url="https://example.org/hook", on=("recovered",), throttle_ms=300_000)
    }
    assert config.tasks["every.thing"] == Task(
        name="every.thing",
        run=("report", "--all"),
        cron=("30 2 * * *", "@hourly"),
        timezone="Europe/Berlin",
        stop_signal="SIGINT",
        retry_delay_ms=(1000, 60_000),
        retry_on=("failed", "exit:64-78"),
        umask=0o022,
        memory_limit=512 * 2**20,
        address_space_limit=2 * 2**30,
        user="app",
        cpu_limit_s=60,
        params={
            "full": Param(type="bool", pass_as="flag", default=False),
            "count": Param(type="number", choices=(1, 2)),
        },
        limits=("db",),
        notify=("ops",),
    )


def test_defaults_hold_until_a_task_says_otherwise(tmp_path: Path) -> None:
    text = """
[defaults]
timeout = "1m"
isolate = false
cron = "@daily"
tags = ["all"]
env = { A = "1", B = "1" }
[tasks.plain]
run = "true"
[tasks.own]
call = "m:f"
timeout = "2m"
tags = []
env = { B = "2" }
[tasks.theirs]
external = true
"""
    tasks = read(tmp_path, text)
    assert tasks["plain"] == Task(
        name="plain", run="true", timeout_ms=60_000, cron=("@daily",), tags=("all",), env={"A": "1", "B": "1"}
    )
    assert (tasks["own"].timeout_ms, tasks["own"].tags, tasks["own"].isolate) == (120_000, (), False)
    assert tasks["own"].env == {"A": "1", "B": "2"}
    assert tasks["theirs"].cron == ()


def test_variables_are_put_in_everywhere_but_in_commands_and_secrets(tmp_path: Path) -> None:
    text = """
[tasks.x]
run = "echo ${HOME}"
timeout = "${T}"
env = { A = "<${V}>", B = "$${V} $V $" }
secrets = { S = "${V}" }
"""
    task = read(tmp_path, text, {"T": "5s", "V": "${T}"})["x"]
    assert (task.run, task.timeout_ms, task.env) == ("echo ${HOME}", 5000, {"A": "<${T}>", "B": "${V} $V $"})
    assert task.secrets == {"S": "${V}"}
    assert substitute(task.secrets["S"], {"V": "hush"}) == "hush"


def test_the_example_is_valid_and_its_callable_exists() -> None:
    config = read_config(ROOT / "runfleet.toml", {})
    assert set(config.tasks) == {"clock", "greet", "flaky", "chatty", "report"}
    spec = importlib.util.spec_from_file_location("hello", ROOT / "docs/examples/hello.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert config.tasks["greet"].call == "examples.hello:greet"
    assert module.greet("you", times=0) == {"greeted": "you", "times": 0}


# Tasks from the API


def test_a_task_of_the_api_is_read_like_one_of_the_file() -> None:
    assert parse_task("x", {"run": "true", "timeout": "1m"}) == Task(name="x", run="true", timeout_ms=60_000)


def test_a_bad_task_of_the_api_lists_its_problems_by_location() -> None:
    with pytest.raises(Invalid) as caught:
        parse_task("x", {"run": "true", "retry_on": ["failed", "no"], "crom": "@daily", "env": {"A": 1}})
    assert [(problem.location, problem.message[:40]) for problem in caught.value.problems] == [
        ("body.retry_on[1]", 'must be one of "failed", "timeout", "cra'),
        ("body.crom", 'unknown key; did you mean "cron"?'),
        ("body.env.A", "must be a string: write it in quotes"),
    ]


@pytest.mark.parametrize(
    ("param", "value", "expected"),
    [
        (Param(), "x", ""),
        (Param(), 1, "must be a string, not 1"),
        (Param(type="number"), True, "must be a number, not true"),
        (Param(type="number"), math.inf, "must be a number, not inf"),
        (Param(type="bool"), 1, "must be true or false, not 1"),
        (Param(type="json"), {"a": [None, 1.5]}, ""),
        (Param(type="json"), {"a": 2**64}, "must be something that JSON can hold, not a table"),
        (Param(type="number", choices=(1, 2)), 1.0, ""),
        (Param(type="json", choices=(1, "a")), True, 'must be one of 1, "a", not true'),
        (Param(pattern="[a-z]+"), "abc1", 'must match [a-z]+, not "abc1"'),
    ],
)
def test_a_parameter_says_why_a_value_does_not_fit(param: Param, value: object, expected: str) -> None:
    assert mismatch(param, value) == expected


# Lines


def test_every_key_has_its_line() -> None:
    text = '''# a comment with [brackets] and = signs
top = 1 # [x]
[tasks.a] # "
run = """
[not.a.table]
key = 1 \\""" """
"quoted key".'and another' = { in = 1, line = [2, { deep = 3 }] }
list = [
  "one", # ]
  'two', [
    4,
  ],
]
[[many]]
x = 1
[[many]]
  [many.sub]
  y = \'\'\'it's\'\'\'\'
[ tasks . "b.c" ]
when = 2020-01-01T00:00:00Z
last = true'''
    lines = find_lines(text)
    assert {path: line for path, line in lines.items() if path[0] == "tasks"} == {
        ("tasks",): 3,
        ("tasks", "a"): 3,
        ("tasks", "a", "run"): 4,
        ("tasks", "a", "quoted key"): 7,
        ("tasks", "a", "quoted key", "and another"): 7,
        ("tasks", "a", "quoted key", "and another", "in"): 7,
        ("tasks", "a", "quoted key", "and another", "line"): 7,
        ("tasks", "a", "quoted key", "and another", "line", 0): 7,
        ("tasks", "a", "quoted key", "and another", "line", 1): 7,
        ("tasks", "a", "quoted key", "and another", "line", 1, "deep"): 7,
        ("tasks", "a", "list"): 8,
        ("tasks", "a", "list", 0): 9,
        ("tasks", "a", "list", 1): 10,
        ("tasks", "a", "list", 2): 10,
        ("tasks", "a", "list", 2, 0): 11,
        ("tasks", "b.c"): 19,
        ("tasks", "b.c", "when"): 20,
        ("tasks", "b.c", "last"): 21,
    }
    assert [lines[path] for path in (("many", 0, "x"), ("many", 1), ("many", 1, "sub", "y"))] == [15, 16, 18]
    assert line_of(lines, ("tasks", "a", "gone", "below")) == 3
    assert line_of(lines, ("gone",)) == 0


@example("[x]\na = [}")
@given(st.text(alphabet="ab.=[]{}\"'#\\,\n 1", max_size=60))
def test_lines_of_what_is_no_toml_do_no_harm(text: str) -> None:
    assert all(1 <= line <= text.count("\n") + 1 for line in find_lines(text).values())


# The schema


def test_the_table_of_keys_covers_the_structs() -> None:
    for struct, keys in ((Task, TASK_KEYS), (Param, PARAM_KEYS), (Notify, NOTIFY_KEYS)):
        fields = {field.name for field in msgspec.structs.fields(struct)} - {"name"}
        assert {key.field or name for name, key in keys.items()} == fields


def test_the_schema_takes_the_example_and_refuses_what_the_reader_refuses() -> None:
    validator = jsonschema_rs.validator_for(schema())
    validator.validate(tomllib.loads((ROOT / "runfleet.toml").read_text()))
    for bad in (
        {"cronn": "x"},
        {"timeout": 30},
        {"timeout": "30"},
        {"replicas": 0},
        {"on_overlap": "x"},
        {"env": {"1": ""}},
    ):
        assert not validator.is_valid({"tasks": {"a": {"run": "true", **bad}}})


def test_the_schema_says_the_defaults_as_the_file_would() -> None:
    task = schema()["definitions"]["task"]["properties"]
    assert task["keep_for"]["default"] == "30d"
    assert task["retry_delay"]["default"] == "5s"
    assert task["log_max_size"]["default"] == "1mb"
    assert "default" not in task["timeout"]
    good = {key: value["default"] for key, value in task.items() if "default" in value}
    own = {key: value for key, value in good.items() if key not in ("isolate", "external")}
    assert parse_task("x", {"run": "true", **own}) == Task(name="x", run="true")
